// Policies by name, with their settings: "local_merging:block=2,rate=0.5".
#pragma once

#include <algorithm>
#include <functional>
#include <numeric>
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

inline void read_policy_settings(const std::string& name, const std::string& text, const OptionTable& table) {
  if (text.empty()) return;
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const auto place =
        std::find_if(table.begin(), table.end(), [&](const Option& option) { return option.name == key; });
    std::vector<std::string> keys;
    for (const Option& option : table) keys.push_back(option.name);
    if (place == table.end() || equals == std::string::npos)
      throw std::invalid_argument("policy " + name + ": got the setting " + (part.empty() ? "nothing" : part) +
                                  ", expected KEY=VALUE, of " + joined(keys, ", "));
    try {
      place->read(part.substr(equals + 1));
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(
          std::string("policy ").append(name).append(": ").append(key).append(": ").append(error.what()));
    }
  }
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
    OptionTable table = detail::place_settings(place);
    for (Option& option : bind(settings)) table.push_back(std::move(option));
    for (Option& option : table) option.read = {}, option.text = {};  // what they are bound to ends here
    return table;
  };
  entry.place = [name = std::move(name), usual, usual_place, bind, make](const std::string& text,
                                                                         const models::StackConfig& stack) {
    Settings settings = usual;
    PolicyPlace place = usual_place;
    OptionTable table = detail::place_settings(place);
    for (Option& option : bind(settings)) table.push_back(std::move(option));
    detail::read_policy_settings(name, text, table);
    const bool given = text.starts_with("block=") || text.find(",block=") != std::string::npos;
    Vector<merge::Placement<float>> placements;
    for (const Index block : detail::blocks_of(name, place, given, stack.blocks))
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

/// The placements of "NAME" or "NAME:KEY=VALUE,...", each with that text for a name.
/// @throws std::invalid_argument with the list of names if there is no such policy, or with that of its settings
inline Vector<merge::Placement<float>> named_placements(const std::string& text, const models::StackConfig& stack,
                                                        const std::vector<NamedPolicy>& known) {
  const std::size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  std::vector<std::string> names;
  for (const NamedPolicy& policy : known) {
    names.push_back(policy.name);
    if (policy.name != name) continue;
    auto placements = policy.place(colon == std::string::npos ? "" : text.substr(colon + 1), stack);
    for (merge::Placement<float>& placement : placements) placement.name = text;
    return placements;
  }
  throw std::invalid_argument("got the policy " + (name.empty() ? "nothing" : name) + ", expected one of " +
                              joined(names, ", "));
}

}  // namespace merganser::runs
