// Which runs a curve has.
#include "run_plan.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <utility>

#include <merganser/io/file_digest.hpp>

#include <train_settings.hpp>

#include "policies.hpp"

namespace compression_curve {

namespace {

/// Raised when the same settings begin to mean another run.
constexpr const char* format = "1";

/// Of a single run, of the machine, or of files whose contents count.
const std::set<std::string> left_out = {
    "--gate", "--no-gate", "--target", "--seed",      "--steps", "--minutes",          "--save", "--log",
    "--keep", "--text",    "--tsv",    "--log-every", "--valid", "--checkpoint-every", "--from"};

/// How gates are steered: of no importance where nothing learns what to delete.
const std::set<std::string> of_learned_gates = {
    "--gate-noise", "--hard-rates", "--hard-by-threshold", "--regulariser-from", "--target-ramp",
    "--kp",         "--ki",         "--controller"};

/// When gates are applied: of no importance where there are none.
const std::set<std::string> of_gates = {"--open-probability", "--hard-probability", "--survivor-bias",
                                        "--gate-open-until"};

/// Those that matter to a policy, so that others may change and its runs are found again.
Settings settings_for(const std::string& policy, Settings settings) {
  byte_demo::ModelOptions model;
  design(policy, model, 0.5);
  const bool gated = !model.pooling && model.gate != byte_demo::GateChoice::none,
             learned = gated && model.gate == byte_demo::GateChoice::learned;
  std::erase_if(settings, [&](const auto& setting) {
    return (!learned && of_learned_gates.contains(setting.first)) || (!gated && of_gates.contains(setting.first));
  });
  return settings;
}

/// The shortest text that is read as the same number.
std::string text_of(double value) {
  std::array<char, 64> digits{};
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

/// The weights of a saved model.
std::string content_of_model(const std::string& option, const std::string& directory) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(directory))
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      if (entry.path().extension() == ".safetensors" || entry.path().filename() == "config.json")
        files.push_back(entry.path());
  if (files.empty()) throw std::invalid_argument(option + " " + directory + ": no model there");
  std::sort(files.begin(), files.end());
  std::string content;
  for (const auto& file : files)
    content +=
        file.filename().string() + " " + merganser::io::hexadecimal(merganser::io::digest_file(file).crc64) + " ";
  return content;
}

Settings shared_settings(const CurveOptions& options, const Settings& contents) {
  Settings settings = contents;
  for (const auto& [name, value] : byte_demo::settings_of(options.train))
    if (!left_out.contains(name)) settings[name] = value;
  settings["kind"] = !options.labels.empty() ? "labels" : !options.pairs.empty() ? "pairs" : "texts";
  settings["reference language"] = options.reference_language;
  const std::string& start = options.train.model.start_from;
  if (!start.empty()) settings["start"] = "all of " + content_of_model("--from", start);
  settings["format"] = format;
  return settings;
}

const SavedModel* saved_model(const CurveOptions& options, const std::string& policy, double target) {
  const auto place = std::find_if(options.models.begin(), options.models.end(), [&](const SavedModel& model) {
    return model.policy == policy && model.target == target;
  });
  return place == options.models.end() ? nullptr : &*place;
}

void check(const CurveOptions& options) {
  for (const std::string& policy : options.policies)
    if (find_policy(policy) == nullptr)
      throw std::invalid_argument("--policies: there is no policy " + policy + "; there are " + policy_names());
  for (const double target : options.targets)
    if (!(target >= 0 && target <= 1))
      throw std::invalid_argument("--targets: got " + text_of(target) + ", expected rates from 0 to 1");
  const auto twice = [](auto values) {
    std::sort(values.begin(), values.end());
    return std::adjacent_find(values.begin(), values.end()) != values.end();
  };
  if (twice(options.policies) || twice(options.targets) || twice(options.seeds))
    throw std::invalid_argument("--policies, --targets, --seeds: each value once");
  byte_demo::check_hard_steps(options.train.recipe);
}

}  // namespace

std::string PlannedRun::name() const { return policy + " " + text_of(target) + " seed " + std::to_string(seed); }

std::string PlannedRun::folder() const {
  return policy + "-" + text_of(target) + "-seed" + std::to_string(seed) + "-" + settings;
}

std::string budget_hash(const CurveOptions& options, const Settings& contents) {
  Settings settings = shared_settings(options, contents);
  settings["minutes"] = text_of(options.budget.minutes.value_or(0));
  return hash_of(settings);
}

RunPlan plan_runs(const CurveOptions& options, const Settings& contents, Index steps) {
  check(options);
  Settings shared = shared_settings(options, contents);
  shared["steps"] = std::to_string(steps);
  Settings data = contents;
  data["task"] = options.train.data.task;
  RunPlan plan{{}, hash_of(data), {}, {}};
  for (const char* bound : {ungated, all_deleted}) plan.bases[bound] = hash_of(settings_for(bound, shared));
  for (const Policy& policy : policies()) plan.bases[policy.name] = hash_of(settings_for(policy.name, shared));
  const auto add = [&](const std::string& policy, double target, std::uint64_t seed) {
    PlannedRun run{policy, target, seed, std::nullopt, plan.bases.at(policy), ""};
    Settings settings = settings_for(policy, shared);
    settings["policy"] = policy;
    settings["target"] = text_of(target);
    settings["seed"] = std::to_string(seed);
    if (const SavedModel* model = saved_model(options, policy, target)) {
      run.model = model->directory;
      settings["model"] = content_of_model("--model", model->directory);
    }
    run.settings = hash_of(settings);
    plan.runs.push_back(std::move(run));
  };
  for (const double target : options.targets) {
    if (target == 0 || target == 1) {
      for (const std::uint64_t seed : options.seeds) add(target == 0 ? ungated : all_deleted, target, seed);
      continue;
    }
    for (const std::string& policy : options.policies)
      if (!find_policy(policy)->aim(target))
        plan.skipped.push_back(policy + " comes nowhere near a rate of " + text_of(target));
      else
        for (const std::uint64_t seed : options.seeds) add(policy, target, seed);
  }
  for (const SavedModel& model : options.models)
    if (std::none_of(plan.runs.begin(), plan.runs.end(),
                     [&](const PlannedRun& run) { return run.policy == model.policy && run.target == model.target; }))
      throw std::invalid_argument("--model " + model.policy + "@" + text_of(model.target) +
                                  " is none of the runs of --policies and --targets");
  // The twin before anything that is compared with it.
  std::stable_sort(plan.runs.begin(), plan.runs.end(), [](const PlannedRun& a, const PlannedRun& b) {
    return (a.policy == ungated) > (b.policy == ungated);
  });
  return plan;
}

}  // namespace compression_curve
