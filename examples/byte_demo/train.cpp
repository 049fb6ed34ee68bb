// byte_demo train: a model of one's own on one's own text.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include <merganser/training/steps_in_time.hpp>

#include <checkpoints.hpp>
#include <choices.hpp>
#include <comparison.hpp>
#include <corpus.hpp>
#include <design.hpp>
#include <model.hpp>
#include <model_task.hpp>
#include <options.hpp>
#include <run_log.hpp>
#include <signals.hpp>
#include <table.hpp>
#include <terminal.hpp>
#include <text_view.hpp>
#include <threads.hpp>
#include <training_run.hpp>

namespace byte_demo {

namespace {

namespace fs = std::filesystem;

constexpr Index default_steps = 2500;

std::string gate_name(const Model& model) {
  const auto kind = training::gate_kind(model);
  return kind ? word_of(*kind, gate_kind_choices) : "none";
}

/// That of the checkpoint to go on from, which has the weights, or the one that the options describe.
Model open_model(const TrainOptions& options) {
  ModelOptions resumed;
  resumed.start_from = options.checkpoint;
  Design design = options.checkpoint.empty() ? design_model(options.model, options.recipe.target)
                                             : design_model(resumed, std::nullopt);
  for (const std::string& difference : design.differences) std::cerr << difference << "\n";
  return make_model(std::move(design), options.seed);
}

nlohmann::ordered_json settings_json(const TrainOptions& options, const Model& model, Index steps, Index parameters) {
  nlohmann::ordered_json json;
  json["parameters"] = parameters;
  json["steps"] = steps;
  json["batch"] = options.recipe.batch_size;
  json["seed"] = options.seed;
  json["gate"] = gate_name(model);
  auto& blocks = json["gate_blocks"] = nlohmann::ordered_json::array();
  for (const auto& gate : model.config().gates) blocks.push_back(gate.block);
  json["target"] = training::target_rate(options.recipe, model);
  return json;
}

/// Bytes of memory that the machine has; 0 where it does not say.
double machine_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<double>(pages) * static_cast<double>(page) : 0.0;
}

/// A step keeps the hidden states of every block for its backward pass. The system ends a program that has no memory
/// for them without a word.
void check_memory(const Model& model, const TrainingData& data, Index batch) {
  const models::StackConfig& stack = model.config().encoder;
  const Index states = (stack.blocks + model.config().decoder_blocks) * stack.width * Index{sizeof(float)};
  const double needed = static_cast<double>(data.batch_tokens) * static_cast<double>(states), there = machine_memory();
  if (there > 0 && needed > there)
    throw std::invalid_argument("--batch " + std::to_string(batch) + ": a step would keep " + fixed(needed / 1e9, 0) +
                                " GB or more for " + std::to_string(data.batch_tokens) +
                                " tokens, and the machine has " + fixed(there / 1e9, 0) +
                                " GB; give a smaller --batch or --window");
}

/// A log goes into a file of its own: a new one, or that of an earlier log.
void check_log(const TrainOptions& options) {
  if (options.log.empty()) return;
  std::error_code ignored;
  for (const std::string& input : {options.data.text, options.data.valid, options.data.tsv})
    if (!input.empty() && fs::equivalent(input, options.log, ignored))
      throw std::invalid_argument("--log " + options.log + " is one of the files to read");
  for (const std::string& place : {options.save, options.checkpoints, options.resume})
    if (!place.empty() && fs::weakly_canonical(place, ignored) == fs::weakly_canonical(options.log, ignored))
      throw std::invalid_argument("--log " + options.log + " is where the model goes");
  if (!fs::is_regular_file(options.log, ignored)) return;
  constexpr std::string_view start = "{\"event\":";
  std::string found(start.size(), ' ');
  std::ifstream file(options.log, std::ios::binary);
  file.read(found.data(), static_cast<std::streamsize>(found.size()));
  found.resize(static_cast<std::size_t>(file.gcount()));  // less of a log whose first line broke off
  if (!start.starts_with(found))
    throw std::invalid_argument("--log " + options.log + " is there and holds no log: give another name");
}

/// What the figures of a finished run say against it.
void print_shortcomings(const evaluation::Comparison& measured, const Model& model, const TrainOptions& options) {
  constexpr double far = 0.05, hardly_better = 0.9;
  const auto print = [](const std::string& text) { std::cout << "\n" << wrapped(text, prose_columns(STDOUT_FILENO)); };
  const double with = measured.none.bits_per_byte, without = measured.everything.bits_per_byte;
  if (with > hardly_better * without)
    print("The model hardly reads its source yet: " + fixed(with, 4) + " bits per byte with it, " + fixed(without, 4) +
          " without. Until it does, no gate can learn what matters: give it more --steps.");
  const double target = training::target_rate(options.recipe, model), reached = measured.hard.deletion_rate;
  if (training::gate_kind(model) == merge::GateKind::learned && std::abs(reached - target) > far)
    print("Far from the target: " + percent(reached) + " are deleted, " + percent(target) +
          " were asked for. More --steps bring it nearer; evaluate --target deletes what it is told to.");
}

}  // namespace

void train(const TrainOptions& options) {
  const Threads threads(options.threads);
  TrainingData data = open_training_data(options.data, options.recipe.batch_size, options.windows, options.seed);
  Model model = open_model(options);
  check_length(model, data.longest, "example");
  check_memory(model, data, options.recipe.batch_size);
  for (const data::Example& example : data.validation)
    for (const auto& ids : {example.source, example.target})
      check_length(model, static_cast<Index>(ids.size()), "example");
  if (!options.save.empty()) check_can_save(model, options.save, options.overwrite);
  check_log(options);
  check_hard_steps(options.recipe);
  std::optional<Checkpoints> checkpoints;
  if (!options.checkpoints.empty() || !options.resume.empty()) {
    Settings settings = settings_of(options);
    settings.insert(data.contents.begin(), data.contents.end());
    checkpoints.emplace(open_checkpoints(options, std::move(settings)));
  }
  const io::NewestCheckpoint* const resumed = checkpoints && checkpoints->resumed ? &*checkpoints->resumed : nullptr;
  RunLog log(options.log, options.log_every, resumed != nullptr ? RunLog::Start::append : RunLog::Start::empty);

  const Index parameters = merganser::parameter_count(model);
  std::cerr << wrapped(data.description + "; " + fixed(static_cast<double>(parameters) / 1e6, 2) +
                           " M parameters, gate: " + gate_name(model),
                       prose_columns(STDERR_FILENO));
  const Index steps = options.minutes ? training::steps_in_time(model, options.recipe, data.batches,
                                                                60 * *options.minutes, options.seed)
                                      : options.steps.value_or(default_steps);
  if (options.minutes) std::cerr << "planned: " << steps << " steps (repeat with --steps " << steps << ")\n";
  if (checkpoints) checkpoints->saved.settings["--steps"] = std::to_string(steps);
  if (resumed != nullptr) {
    for (const std::string& what : resumed->skipped) std::cerr << "passed over: " << what << "\n";
    const Index step = resumed->record.step;
    if (step >= steps)
      std::cerr << "the run is finished: only evaluating; to train its model further: byte_demo train --from "
                << options.checkpoint << "\n";
    else
      std::cerr << "going on behind step " << step << " of " << steps << "\n";
    log.event("resume", {{"step", step}});
  } else {
    log.event("start", settings_json(options, model, steps, parameters));
  }
  const TrainingSummary summary = run_training(model, options, steps, data, log, checkpoints ? &*checkpoints : nullptr);
  if (!options.save.empty()) save_model(model, task_of(options.data), options.save, options.model.start_from);
  if (summary.signal != 0) {
    log.event("interrupted", {{"step", summary.steps}});
    std::cerr << how_to_go_on(options, summary.steps, steps) << "\n";
    throw Interrupted{summary.signal};
  }

  const ModelComparison comparison = compare_modes(model, data.validation, {}, options.seed);
  nlohmann::ordered_json final_line = to_json(comparison);
  final_line["steps"] = summary.steps;
  final_line["seconds"] = summary.seconds;
  log.event("evaluation", final_line);
  std::cout << summary.steps << " steps in " << clock_time(summary.seconds) << " minutes.\n\n";
  print_table(std::cout, comparison);
  print_shortcomings(comparison.measured, model, options);
  if (!options.save.empty()) std::cout << "\nSaved to " << options.save << ".\n";
}

}  // namespace byte_demo
