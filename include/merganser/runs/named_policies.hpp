// Policies by name, with their settings: "local_merging:block=2,rate=0.5".
#pragma once

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/models/stack_config.hpp>
#include <merganser/runs/option.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// Where a policy of a name stands, unless its settings say otherwise.
struct PolicyPlace {
  std::vector<Index> blocks = {2};  ///< counted from 0; none: every block. The last one, where there are fewer
  merge::Site site = merge::Site::before_block;
  merge::SizeBias size_bias = merge::SizeBias::none;
};

/// A policy that programs know by name.
struct NamedPolicy {
  std::string name, description;
  std::function<OptionTable()> settings;  ///< of a policy as it is without any, for help
  /// By the text of its settings, "block=2,rate=0.5" or "".
  std::function<Vector<merge::Placement<float>>(const std::string& settings, const models::StackConfig& stack)> place;
  /// Settings that say how much goes: without one of them, and without a rate of the call, nothing does. None: it knows
  /// by itself.
  std::vector<std::string> amounts = {};
};

namespace detail {

inline constexpr OptionRole policy_role = OptionRole::model;

/// "0/2/4" or "all".
inline Option blocks_setting(std::vector<Index>& blocks) {
  Option option =
      blank_option("block", "N/...", "blocks that it stands at, from 0, with / between them, or all", policy_role);
  option.read = [&blocks](const std::string& text) {
    constexpr Index most_blocks = 1000;
    blocks.clear();
    if (text == "all") return;
    if (text.empty() || text.back() == '/') refuse_value(text, "all, or block numbers with / between them");
    for (const std::string& part : split(text, '/'))
      blocks.push_back(read_number<Index>(part, 0, most_blocks, "all, or block numbers with / between them,"));
  };
  option.text = [&blocks]() -> std::optional<std::string> {
    std::vector<std::string> numbers;
    numbers.reserve(blocks.size());
    for (const Index block : blocks) numbers.push_back(std::to_string(block));
    return blocks.empty() ? "all" : joined(numbers, "/");
  };
  return option;
}

inline OptionTable place_settings(PolicyPlace& place) {
  static const Choices<merge::Site> sites = {{"entry", merge::Site::before_block},
                                             {"attention", merge::Site::after_attention}};
  static const Choices<merge::SizeBias> biases = {{"none", merge::SizeBias::none},
                                                  {"log_size", merge::SizeBias::log_size}};
  return {blocks_setting(place.blocks),
          choice_option("at", "on entry to the block, or behind its attention", policy_role, place.site, sites),
          choice_option("size_bias", "log_size: a row of several tokens weighs as they did", policy_role,
                        place.size_bias, biases)};
}

inline OptionTable settings_table(PolicyPlace& place, OptionTable own) {
  OptionTable table = place_settings(place);
  for (Option& option : own) table.push_back(std::move(option));
  return table;
}

/// "KEY=VALUE", and "nothing" behind a comma at the end.
inline std::vector<std::pair<std::string, std::string>> pairs_of(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::vector<std::string> parts = split(text, ',');
  if (text.ends_with(',')) parts.emplace_back();
  for (const std::string& part : parts) {
    const std::size_t equals = part.find('=');
    pairs.emplace_back(part.substr(0, equals), equals == std::string::npos ? "" : part.substr(equals + 1));
  }
  return pairs;
}

/// Returns the keys that were given.
inline std::set<std::string> read_policy_settings(const std::string& name, const std::string& text,
                                                  const OptionTable& table) {
  std::set<std::string> keys;
  for (const auto& [key, value] : pairs_of(text)) {
    const Option* option = find_option(table, key);
    if (option == nullptr || value.empty()) {
      std::vector<std::string> known;
      for (const Option& one : table) known.push_back(one.name);
      throw std::invalid_argument("policy " + name + ": got the setting " + (key.empty() ? "nothing" : key) +
                                  (value.empty() ? "" : "=" + value) + ", expected KEY=VALUE, of " +
                                  joined(known, ", "));
    }
    if (!keys.insert(key).second)
      throw std::invalid_argument(std::string("policy ").append(name).append(": ").append(key).append(
          ": got it twice, expected each setting once"));
    try {
      option->read(value);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(
          std::string("policy ").append(name).append(": ").append(key).append(": ").append(error.what()));
    }
  }
  return keys;
}

inline Vector<Index> blocks_of(const std::string& name, const PolicyPlace& place, bool given, Index blocks) {
  Vector<Index> result;
  for (const Index block : place.blocks) {
    if (given && block >= blocks)
      throw std::invalid_argument("policy " + name + ": block: got " + std::to_string(block) +
                                  ", expected block numbers below " + std::to_string(blocks));
    result.push_back(std::min(block, blocks - 1));
  }
  if (!place.blocks.empty()) return result;
  result.resize(blocks);
  std::iota(result.begin(), result.end(), Index{0});
  return result;
}

}  // namespace detail

/// An entry for a policy whose settings are those of `usual`, bound by `bind(usual)`, and which `make(settings, stack)`
/// makes: one of a user's own, too.
template <class Settings, class Bind, class Make>
NamedPolicy named_policy(std::string name, std::string description, Settings usual, const PolicyPlace& usual_place,
                         Bind bind, Make make) {
  NamedPolicy entry;
  entry.name = name;
  entry.description = std::move(description);
  entry.settings = [usual, usual_place, bind] {
    Settings settings = usual;
    PolicyPlace place = usual_place;
    OptionTable table = detail::settings_table(place, bind(settings));
    for (Option& option : table) option.read = {}, option.text = {};  // what they are bound to ends here
    return table;
  };
  entry.place = [name = std::move(name), usual, usual_place, bind, make](const std::string& text,
                                                                         const models::StackConfig& stack) {
    Settings settings = usual;
    PolicyPlace place = usual_place;
    const auto keys = detail::read_policy_settings(name, text, detail::settings_table(place, bind(settings)));
    Vector<merge::Placement<float>> placements;
    for (const Index block : detail::blocks_of(name, place, keys.contains("block"), stack.blocks))
      placements.emplace_back(block, place.site, make(settings, stack), place.size_bias);
    return placements;
  };
  return entry;
}

/// The same for a policy that is its own settings.
template <class P, class Bind>
NamedPolicy named_policy(std::string name, std::string description, P usual, const PolicyPlace& place, Bind bind) {
  return named_policy(std::move(name), std::move(description), std::move(usual), place, bind,
                      [](const P& policy, const models::StackConfig&) { return merge::Policy<float>(policy); });
}

namespace detail {

/// The name and the settings of "NAME:KEY=VALUE,...".
inline std::pair<std::string, std::string> name_and_settings(const std::string& text) {
  const std::size_t colon = text.find(':');
  return {text.substr(0, colon), colon == std::string::npos ? "" : text.substr(colon + 1)};
}

inline const NamedPolicy& find_named_policy(const std::string& name, const std::vector<NamedPolicy>& known) {
  std::vector<std::string> names;
  for (const NamedPolicy& policy : known) {
    if (policy.name == name) return policy;
    names.push_back(policy.name);
  }
  throw std::invalid_argument("policy " + (name.empty() ? "without a name" : name) +
                              ": there is none of this name; there are " + joined(names, ", "));
}

}  // namespace detail

/// The placements of "NAME" or "NAME:KEY=VALUE,...", each with that text for a name.
/// @throws std::invalid_argument with the list of names if there is no such policy, or with that of its settings
inline Vector<merge::Placement<float>> named_placements(const std::string& text, const models::StackConfig& stack,
                                                        const std::vector<NamedPolicy>& known) {
  const auto [name, settings] = detail::name_and_settings(text);
  auto placements = detail::find_named_policy(name, known).place(settings, stack);
  for (merge::Placement<float>& placement : placements) placement.name = text;
  return placements;
}

/// For calls without a rate.
/// @throws std::invalid_argument if no setting says how much goes, so that nothing would
inline void check_amount(const std::string& text, const std::vector<NamedPolicy>& known) {
  const auto [name, settings] = detail::name_and_settings(text);
  const std::vector<std::string>& amounts = detail::find_named_policy(name, known).amounts;
  for (const auto& [key, value] : detail::pairs_of(settings))
    if (std::find(amounts.begin(), amounts.end(), key) != amounts.end()) return;
  if (!amounts.empty())
    throw std::invalid_argument("policy " + name + ": nothing says how much goes; expected one of the settings " +
                                joined(amounts, ", "));
}

}  // namespace merganser::runs
