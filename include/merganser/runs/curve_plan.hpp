// Which runs a curve has, and the hashes that tell them apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/file_digest.hpp>
#include <merganser/runs/curve_option_table.hpp>
#include <merganser/runs/curve_options.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/data_files.hpp>
#include <merganser/runs/option.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

struct PlannedRun {
  std::string policy;
  double target = 0.0;
  std::uint64_t seed = 1;
  std::optional<std::string> model;  ///< a directory to load from in place of training
  std::string base;                  ///< hash of all settings but policy, target and seed that matter to the policy
  std::string settings;              ///< hash of those three too

  /// "learned 0.5 seed 1"
  std::string name() const { return policy + " " + exact_text(target) + " seed " + std::to_string(seed); }

  /// The same as the name of a folder, with the hash.
  std::string folder() const {
    std::string name = policy;
    std::replace(name.begin(), name.end(), '/', '.');
    return name + "-" + exact_text(target) + "-seed" + std::to_string(seed) + "-" + settings;
  }
};

struct RunPlan {
  std::map<std::string, std::string> bases;  ///< of every policy, twin and control, whether it has runs here or not
  std::string data;                          ///< hash of the data alone
  std::string evaluation;                    ///< hash of what is measured of a trained model, and how
  std::vector<PlannedRun> runs;              ///< the twin first, then target by target, seed by seed
  std::vector<std::string> skipped;          ///< what cannot be run, and why
};

/// 16 hexadecimal digits; the order of adding does not matter. Lengths are part of it, so that no two settings are the
/// same text.
inline std::string hash_of(const Settings& settings) {
  io::Crc64 crc;
  for (const auto& [name, value] : settings)
    for (const std::string* text : {&name, &value}) crc.update(std::to_string(text->size()) + ":" + *text);
  return io::hexadecimal(crc.value());
}

namespace detail {

/// Raised when the same settings begin to mean another run.
inline constexpr const char* curve_format = "2";

/// The weights of a saved model.
inline std::string content_of_model(const std::string& option, const std::string& directory) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(directory))
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      if (entry.path().extension() == ".safetensors" || entry.path().filename() == "config.json")
        files.push_back(entry.path());
  if (files.empty()) throw std::invalid_argument(option + " " + directory + ": no model there");
  std::sort(files.begin(), files.end());
  std::string content;
  for (const auto& file : files)
    content += file.filename().string() + " " + io::hexadecimal(io::digest_file(file).crc64) + " ";
  return content;
}

inline bool is_evaluated_only(const std::string& content) {
  return content.starts_with(std::string(content_prefix) + "--valid");
}

/// What decides the weights of the runs of any policy.
inline Settings training_settings(const CurveOptions& options, const Settings& contents) {
  TrainOptions train = with_defaults(options.train);
  Settings settings;
  for (const Option& option : shared_option_table(train)) {
    const bool elsewhere = option.role == OptionRole::evaluation || option.role == OptionRole::saving ||
                           option.role == OptionRole::process || option.name == "--from";
    if (elsewhere) continue;
    if (auto text = option.text()) settings[option.name] = *std::move(text);
  }
  for (const auto& [name, content] : contents)
    if (!is_evaluated_only(name)) settings[name] = content;
  if (!options.train.data.valid.empty()) settings["held back"] = "nothing";
  settings["kind"] = !train.data.labels.empty() ? "labels" : !train.data.pairs.empty() ? "pairs" : "texts";
  if (const std::string& start = train.model.start_from; !start.empty())
    settings["start"] = "all of " + content_of_model("--from", start);
  settings["format"] = curve_format;
  return settings;
}

/// Of every policy, of the twin and of the control those that matter to it.
inline std::map<std::string, Settings> settings_of_policies(const CurveOptions& options, const Settings& contents,
                                                            Index steps) {
  Settings shared = training_settings(options, contents);
  shared["steps"] = std::to_string(steps);
  TrainOptions train = options.train;
  const OptionTable table = shared_option_table(train);
  std::vector<std::string> names = policy_names();
  for (const char* bound : {ungated, all_deleted}) names.push_back(bound);
  names.insert(names.end(), options.named.begin(), options.named.end());
  std::map<std::string, Settings> result;
  for (const std::string& policy : names) {
    Settings& settings = result[policy] = shared;
    for (const Option& option : table)
      if (!matters_to(policy, option.role)) settings.erase(option.name);
  }
  return result;
}

inline Settings evaluation_settings(const CurveOptions& options, const Settings& contents) {
  CurveOptions own = options;
  Settings settings;
  for (const OptionTable& table : {curve_option_table(own), shared_option_table(own.train)})
    for (const Option& option : table)
      if (option.role == OptionRole::evaluation)
        if (auto text = option.text()) settings[option.name] = *std::move(text);
  for (const auto& [name, content] : contents)
    if (is_evaluated_only(name)) settings[name] = content;
  settings["format"] = curve_format;
  return settings;
}

inline const SavedModel* saved_model(const CurveOptions& options, const std::string& policy, double target) {
  const auto place = std::find_if(options.models.begin(), options.models.end(), [&](const SavedModel& model) {
    return model.policy == policy && model.target == target;
  });
  return place == options.models.end() ? nullptr : &*place;
}

inline void check_models_are_used(const CurveOptions& options, const std::vector<PlannedRun>& runs) {
  for (const SavedModel& model : options.models)
    if (std::none_of(runs.begin(), runs.end(),
                     [&](const PlannedRun& run) { return run.policy == model.policy && run.target == model.target; }))
      throw std::invalid_argument("--model " + model.policy + "@" + exact_text(model.target) +
                                  " is none of the runs of --policies and --targets");
}

/// What is put into the twin needs one, whether it is asked for or not.
inline std::vector<double> targets_with_twin(const CurveOptions& options) {
  std::vector<double> targets = options.targets;
  const bool needs_twin = std::any_of(options.named.begin(), options.named.end(),
                                      [](const auto& name) { return CurvePolicy(name).is_of_twin; });
  if (needs_twin && std::find(targets.begin(), targets.end(), 0.0) == targets.end()) targets.insert(targets.begin(), 0);
  return targets;
}

}  // namespace detail

/// The hash of the settings that decide how many steps fit into the minutes; see `Budget`.
inline std::string budget_hash(const CurveOptions& options, const Settings& contents) {
  Settings settings = detail::training_settings(options, contents);
  settings["minutes"] = exact_text(options.budget.minutes.value_or(0));
  return hash_of(settings);
}

/// @param contents of the data
/// @param steps of every run
/// @throws std::invalid_argument as `check_curve_options`, or if a saved model is none of the runs
inline RunPlan plan_runs(const CurveOptions& options, const Settings& contents, Index steps) {
  check_curve_options(options);
  Settings data = contents;
  data["task"] = options.train.data.task;
  RunPlan plan{{}, hash_of(data), hash_of(detail::evaluation_settings(options, contents)), {}, {}};
  const auto shared = detail::settings_of_policies(options, contents, steps);
  for (const auto& [policy, settings] : shared) plan.bases[policy] = hash_of(settings);
  const auto add = [&](const std::string& policy, double target) {
    Settings settings = shared.at(policy);
    settings["policy"] = policy;
    settings["target"] = exact_text(target);
    const SavedModel* const model = detail::saved_model(options, policy, target);
    if (model != nullptr) settings["model"] = detail::content_of_model("--model", model->directory);
    for (const std::uint64_t seed : options.seeds) {
      settings["seed"] = std::to_string(seed);
      const auto directory = model != nullptr ? std::optional(model->directory) : std::nullopt;
      plan.runs.push_back({policy, target, seed, directory, plan.bases.at(policy), hash_of(settings)});
    }
  };
  std::vector<std::string> policies = options.policies;
  policies.insert(policies.end(), options.named.begin(), options.named.end());
  for (const double target : detail::targets_with_twin(options)) {
    if (target == 0 || target == 1) {
      add(target == 0 ? ungated : all_deleted, target);
      continue;
    }
    for (const std::string& policy : policies)
      if (CurvePolicy(policy).aim(target))
        add(policy, target);
      else
        plan.skipped.push_back(policy + " comes nowhere near a rate of " + exact_text(target));
  }
  detail::check_models_are_used(options, plan.runs);
  // The twin before anything that is compared with it.
  std::stable_sort(plan.runs.begin(), plan.runs.end(), [](const PlannedRun& a, const PlannedRun& b) {
    return (a.policy == ungated) > (b.policy == ungated);
  });
  return plan;
}

/// The rows that belong into one picture with the runs of a plan, in their order.
inline std::vector<RunRow> rows_of(const RunPlan& plan, const std::vector<RunRow>& rows) {
  std::vector<RunRow> result;
  for (const RunRow& row : rows)
    if (const auto base = plan.bases.find(row.policy);
        base != plan.bases.end() && base->second == row.base && row.origin.evaluation == plan.evaluation)
      result.push_back(row);
  return result;
}

}  // namespace merganser::runs
