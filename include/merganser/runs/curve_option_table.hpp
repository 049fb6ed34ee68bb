// The options of a curve: its own, and those that it shares with a training run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>
#include <merganser/runs/curve_options.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/list_option.hpp>
#include <merganser/runs/option.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/runs/train_option_table.hpp>
#include <merganser/training/recipe.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

/// "en=FILE" or "FILE"; a name holds letters, digits, - and _.
inline TextFile text_file_of(const std::string& text) {
  const std::size_t place = text.find('=');
  const std::string name = text.substr(0, place);
  const bool named =
      place != std::string::npos && !name.empty() &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == std::string::npos;
  return named ? TextFile{name, text.substr(place + 1)} : TextFile{"", text};
}

inline Option files_option(std::string name, std::string help, std::vector<TextFile>& place) {
  return several_option(std::move(name), "[LANG=]FILE...", std::move(help), OptionRole::input, place, text_file_of,
                        [](const TextFile& file) {
                          return (file.language.empty() ? "" : file.language + "=") + absolute_path(file.path);
                        });
}

/// "learned@0.5=DIR"
inline SavedModel saved_model_of(const std::string& text) {
  const std::size_t at = text.find('@'), equals = text.find('=', at == std::string::npos ? 0 : at);
  if (at == std::string::npos || equals == std::string::npos) refuse_value(text, "POLICY@TARGET=DIR");
  return {text.substr(0, at), read_real(text.substr(at + 1, equals - at - 1), 0, 1), text.substr(equals + 1)};
}

/// "quick", "20" or "20m", "2h".
inline Option budget_option(std::string help, Budget& budget) {
  Option option = blank_option("--budget", "quick|MINUTES|HOURSh", std::move(help), OptionRole::length);
  option.read = [&budget](const std::string& text) {
    if (text == "quick") return static_cast<void>(budget.sizes = Budget::Sizes::quick);
    const bool hours = text.ends_with('h'), has_unit = hours || text.ends_with('m');
    try {
      const double value = read_real(has_unit ? text.substr(0, text.size() - 1) : text, 1e-6, 1e6);
      budget.minutes = hours ? 60 * value : value;
    } catch (const std::invalid_argument&) {
      refuse_value(text, "quick, or a time such as 20, 20m or 2h");
    }
  };
  option.text = [&budget]() -> std::optional<std::string> {
    if (budget.sizes == Budget::Sizes::quick) return "quick";
    return budget.minutes ? std::optional(exact_text(*budget.minutes)) : std::nullopt;
  };
  return option;
}

inline void add_curve_data_options(TableBuilder& table, CurveOptions& options) {
  DataOptions& data = options.train.data;
  table.group("Data");
  table.add(
      files_option("--text", "A text of any bytes; several languages as en=FILE de=FILE, for one model", data.texts));
  table.add(files_option("--tsv", "Lines of a source and a target with a tab between them", data.pairs));
  table.add(
      files_option("--labels", "Lines of a class and a text with a tab between them: classification", data.labels));
  table.add(files_option(
      "--valid",
      "Evaluate on these instead of a tenth of each file: the end of a text; of lines those with the smallest hashes",
      data.valid));
  Option reference =
      blank_option("--reference", "LANG", "The language that token premiums are over; the first unless given",
                   OptionRole::evaluation);
  reference.read = [&options](const std::string& text) { options.reference = text; };
  reference.text = [&options] { return options.reference.empty() ? std::nullopt : std::optional(options.reference); };
  table.add(std::move(reference));
}

}  // namespace detail

/// The options that only a curve has. The table writes into `options`, which outlives it.
inline OptionTable curve_option_table(CurveOptions& options) {
  using enum OptionRole;
  detail::TableBuilder table;
  const auto same = [](const std::string& text) { return text; };
  const auto rate_of = [](const std::string& text) { return detail::read_real(text, 0, 1); };
  const auto seed_of = [](const std::string& text) {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    return detail::read_number<std::uint64_t>(text, 0, most, "whole numbers");
  };
  table.group("The curve");
  table.add(detail::list_option("--policies", "NAME,...", "Some of " + joined(policy_names()) + "; all unless given",
                                policy, options.policies, same, same));
  table.add(texts_option("--policy", "NAME[:KEY=VALUE,...]",
                         "A policy by name besides, such as local_merging:block=2, which is put into the trained twin; "
                         "behind learned+ or another of --policies it is trained with. May be given again; a wrong "
                         "name prints the list",
                         policy, options.named));
  table.add(detail::list_option(
      "--targets", "X,...",
      "Deletion rates, 0,0.25,0.5,0.7; 0 is the twin without deletion, 1 the control trained without its source",
      policy, options.targets, rate_of, exact_text));
  table.add(detail::list_option("--seeds", "N,...", "1 unless given; error bars need several", length, options.seeds,
                                seed_of, [](std::uint64_t seed) { return std::to_string(seed); }));
  table.add(count_option("--steps", "Steps of every run; 2500", length, options.budget.steps, 1, most_steps));
  table.add(
      detail::budget_option("quick: a small model and 1,200 steps, to see what comes out. Or how long a run is: 20 "
                            "or 20m, 2h; every run gets the steps that fit into that",
                            options.budget),
      {"--steps"});
  table.add(detail::several_option(
      "--model", "POLICY@TARGET=DIR...",
      "Measure a saved model in place of training; the twin is ungated@0, the control all_deleted@1", start,
      options.models, detail::saved_model_of, [](const SavedModel& model) {
        return model.policy + "@" + exact_text(model.target) + "=" + absolute_path(model.directory);
      }));
  table.add(count_option("--repetitions", "Of the timed passes", evaluation, options.timing_repetitions, 1, 1000));
  table.add(path_option("--out", "DIR", "The folder of rows, charts, models and traces; the same again goes on", output,
                        options.out));
  detail::add_curve_data_options(table, options);
  return table.take();
}

/// The options of a training run that a curve has too; the others are its own, or a run of it chooses them.
inline OptionTable shared_option_table(TrainOptions& options) {
  using enum OptionRole;
  const std::set<OptionRole> shared = {data, start, model, gate, learned_gate, training, evaluation};
  OptionTable table = train_option_table(options);
  std::erase_if(table, [&](const Option& option) {
    return !shared.contains(option.role) && option.name != "--checkpoint-every" && option.name != "--threads";
  });
  for (Option& option : table)
    if (option.role == data) option.group = "Data";
  return table;
}

/// Every option in force, files by their absolute paths.
inline Settings settings_of(const CurveOptions& options) {
  CurveOptions own = options;
  TrainOptions train = with_defaults(options.train);
  Settings settings = settings_of(curve_option_table(own));
  settings.merge(settings_of(shared_option_table(train)));
  return settings;
}

namespace detail {

/// An option that somebody has given for gates, where no policy has one.
inline void check_gate_effects(const CurveOptions& options) {
  const auto used = [&](OptionRole role) {
    const auto matters = [&](const std::string& policy) { return matters_to(policy, role); };
    return std::any_of(options.policies.begin(), options.policies.end(), matters) ||
           std::any_of(options.named.begin(), options.named.end(), matters);
  };
  TrainOptions copy = options.train;
  for (const Option& option : shared_option_table(copy))
    if (options.train.given.contains(option.name) && !used(option.role))
      throw std::invalid_argument(option.name + " has no effect: no policy of this curve has a gate" +
                                  (option.role == OptionRole::learned_gate ? " that learns" : ""));
}

/// A policy by name that there is, with settings that it has.
inline void check_named_policy(const CurveOptions& options, const std::string& name) {
  constexpr Index most_blocks = 1000;
  models::StackConfig any_sizes;
  any_sizes.blocks = options.train.model.start_from.empty()
                         ? options.train.model.encoder_blocks.value_or(default_sizes.encoder_blocks)
                         : most_blocks;  // known when the model is loaded
  const std::string named = CurvePolicy(name).named;
  try {
    check_argument(options.named_policies && !named.empty() && !name.starts_with(all_deleted), "policy", "name", name,
                   "one that --policies does not have, or that one + another");
    options.named_policies(named, any_sizes);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("--policy: ").append(error.what()));
  }
}

inline void check_reference(const CurveOptions& options) {
  const DataOptions& data = options.train.data;
  if (options.reference.empty()) return;
  for (const auto* files : {&data.texts, &data.pairs, &data.labels})
    for (const TextFile& file : *files)
      if (file.language == options.reference) return;
  throw std::invalid_argument("--reference " + options.reference + " is none of the languages");
}

}  // namespace detail

/// @throws std::invalid_argument if a policy is unknown, a target is out of range, something is asked for twice or not
/// at all, or an option that somebody has given matters to no policy
inline void check_curve_options(const CurveOptions& options) {
  for (const std::string& policy : options.policies)
    if (find_policy(policy) == nullptr)
      throw std::invalid_argument("--policies: there is no policy " + policy + "; there are " + joined(policy_names()));
  for (const std::string& name : options.named) detail::check_named_policy(options, name);
  for (const double target : options.targets)
    if (!(target >= 0 && target <= 1))
      throw std::invalid_argument("--targets: got " + exact_text(target) + ", expected rates from 0 to 1");
  const auto wrong = [](auto values) {
    std::sort(values.begin(), values.end());
    return values.empty() || std::adjacent_find(values.begin(), values.end()) != values.end();
  };
  if ((options.named.empty() && options.policies.empty()) || (!options.policies.empty() && wrong(options.policies)) ||
      (!options.named.empty() && wrong(options.named)) || wrong(options.targets) || wrong(options.seeds))
    throw std::invalid_argument("--policies, --targets, --seeds: at least one each, and each value once");
  try {
    training::check_hard_rates(options.train.recipe);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("--hard-rates: ") + error.what());
  }
  detail::check_reference(options);
  detail::check_gate_effects(options);
}

}  // namespace merganser::runs
