// byte_demo train: a model of one's own on one's own text.
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <merganser/core/thread_pool.hpp>

#include <checkpoints.hpp>
#include <choices.hpp>
#include <comparison.hpp>
#include <corpus.hpp>
#include <design.hpp>
#include <model.hpp>
#include <model_task.hpp>
#include <options.hpp>
#include <run_log.hpp>
#include <terminal.hpp>
#include <training_config.hpp>
#include <training_run.hpp>

namespace byte_demo {

namespace {

constexpr Index default_steps = 2500;

std::string gate_name(const Model& model) {
  const auto kind = gate_kind(model);
  return kind ? word_of(*kind, gate_kind_choices) : "none";
}

/// That of the checkpoint to go on from, which has the weights, or the one that the options describe.
Model open_model(const TrainOptions& options) {
  ModelOptions resumed;
  resumed.start_from = options.checkpoint;
  Design design =
      options.checkpoint.empty() ? design_model(options.model, options.target) : design_model(resumed, std::nullopt);
  for (const std::string& difference : design.differences) std::cerr << difference << "\n";
  return make_model(std::move(design), options.seed);
}

nlohmann::ordered_json settings_json(const TrainOptions& options, const Model& model, Index steps, Index parameters) {
  nlohmann::ordered_json json;
  json["parameters"] = parameters;
  json["steps"] = steps;
  json["batch"] = options.batch;
  json["seed"] = options.seed;
  json["gate"] = gate_name(model);
  auto& blocks = json["gate_blocks"] = nlohmann::ordered_json::array();
  for (const auto& gate : model.config().gates) blocks.push_back(gate.block);
  json["target"] = target_rate(options, model);
  return json;
}

/// The log empties its file, which must not be one that was read.
void check_log(const TrainOptions& options) {
  std::error_code ignored;
  for (const std::string& input : {options.data.text, options.data.valid, options.data.tsv})
    if (!input.empty() && std::filesystem::equivalent(input, options.log, ignored))
      throw std::invalid_argument("--log " + options.log + " is one of the files to read");
}

}  // namespace

void train(const TrainOptions& options) {
  merganser::ThreadPool pool(options.threads.value_or(merganser::hardware_threads()));
  const merganser::ExecutorScope scope(pool);
  TrainingData data = open_training_data(options.data, options.batch, options.windows, options.seed);
  Model model = open_model(options);
  if (!options.save.empty()) check_can_save(model, options.save);
  check_log(options);
  std::optional<Checkpoints> checkpoints;
  if (!options.checkpoints.empty() || !options.resume.empty()) {
    Settings settings = settings_of(options);
    settings.insert(data.contents.begin(), data.contents.end());
    checkpoints.emplace(options, std::move(settings));
  }
  const std::optional<Index> resumed = checkpoints ? checkpoints->resumed_step() : std::nullopt;
  RunLog log(options.log, options.log_every, resumed ? RunLog::Start::append : RunLog::Start::empty);

  const Index parameters = merganser::parameter_count(model);
  std::cerr << data.description << "; " << fixed(static_cast<double>(parameters) / 1e6, 2)
            << " M parameters, gate: " << gate_name(model) << "\n";
  const Index steps = options.minutes ? steps_in_minutes(model, options, data.batches, *options.minutes)
                                      : options.steps.value_or(default_steps);
  if (options.minutes) std::cerr << "planned: " << steps << " steps (repeat with --steps " << steps << ")\n";
  if (checkpoints) checkpoints->remember("--steps", std::to_string(steps));
  if (resumed) {
    for (const std::string& what : checkpoints->skipped()) std::cerr << "passed over: " << what << "\n";
    std::cerr << "going on behind step " << *resumed << " of " << steps << "\n";
    log.event("resume", {{"step", *resumed}});
  } else {
    log.event("start", settings_json(options, model, steps, parameters));
  }
  const TrainingSummary summary = run_training(model, options, steps, data, log, checkpoints ? &*checkpoints : nullptr);
  if (!options.save.empty()) save_model(model, task_of(options.data), options.save);

  const ModelComparison comparison = compare_modes(model, data.validation, {}, options.seed);
  nlohmann::ordered_json final_line = to_json(comparison);
  final_line["steps"] = summary.steps;
  final_line["seconds"] = summary.seconds;
  log.event("evaluation", final_line);
  std::cout << summary.steps << " steps in " << clock_time(summary.seconds) << " minutes.\n\n";
  print_table(std::cout, comparison);
  if (!options.save.empty()) std::cout << "\nSaved to " << options.save << ".\n";
}

}  // namespace byte_demo
