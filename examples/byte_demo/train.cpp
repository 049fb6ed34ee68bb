// byte_demo train: a model of one's own on one's own text.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include <merganser/core/text_format.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/runs/model_comparison.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/resumed_run.hpp>
#include <merganser/runs/run_log.hpp>
#include <merganser/runs/saved_model.hpp>
#include <merganser/runs/signals.hpp>
#include <merganser/runs/terminal_text.hpp>
#include <merganser/runs/training_data.hpp>
#include <merganser/training/steps_in_time.hpp>

#include <model.hpp>
#include <options.hpp>
#include <text_view.hpp>
#include <train.hpp>

namespace byte_demo {

namespace {

namespace fs = std::filesystem;
using merganser::fixed_text;
using merganser::percent_text;

/// That of the checkpoint to go on from, which has the weights, or the one that the options describe.
Model open_model(const runs::TrainOptions& options) {
  runs::ModelOptions resumed;
  resumed.start_from = options.checkpoint;
  const bool fresh = options.checkpoint.empty();
  io::LoadModelOptions loading;
  loading.on_warning = print_warning;
  loading.named_policies = named_policies();
  runs::ModelDesign design =
      runs::design_model(fresh ? options.model : resumed, fresh ? options.recipe.target : std::nullopt, loading);
  if (fresh) runs::check_option_effects(options, design.policies);
  for (const std::string& difference : design.differences) std::cerr << difference << "\n";
  return runs::make_model(std::move(design), options.seed);
}

io::JsonObject settings_json(const runs::TrainOptions& options, const Model& model, Index steps, Index parameters) {
  const io::EncoderPolicies policies = io::describe_policies(model.encoder.policies);
  std::vector<Index> blocks;
  for (const io::GateConfig& gate : policies.gates) blocks.push_back(gate.block);
  return io::JsonObject()
      .set("parameters", parameters)
      .set("steps", steps)
      .set("batch", options.recipe.batch_size)
      .set("seed", options.seed)
      .set("gate", runs::gate_word(policies))
      .set("gate_blocks", blocks)
      .set("target", training::target_rate(options.recipe, model));
}

/// Bytes of memory that the machine has; 0 where it does not say.
double machine_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<double>(pages) * static_cast<double>(page) : 0.0;
}

/// A step keeps the hidden states of every block for its backward pass. The system ends a program that has no memory
/// for them without a word.
void check_memory(const Model& model, const runs::TrainingData& data, Index batch) {
  const models::StackConfig& stack = model.config().encoder;
  const Index states = (stack.blocks + model.config().decoder_blocks) * stack.width * Index{sizeof(float)};
  const double needed = static_cast<double>(data.batch_tokens) * static_cast<double>(states), there = machine_memory();
  if (there > 0 && needed > there)
    throw std::invalid_argument("--batch " + std::to_string(batch) + ": a step would keep " +
                                fixed_text(needed / 1e9, 0) + " GB or more for " + std::to_string(data.batch_tokens) +
                                " tokens, and the machine has " + fixed_text(there / 1e9, 0) +
                                " GB; give a smaller --batch or --window");
}

/// A log goes into a file of its own: a new one, or that of an earlier log.
void check_log(const runs::TrainOptions& options) {
  if (options.log.empty()) return;
  std::error_code ignored;
  for (const auto* files : {&options.data.texts, &options.data.valid, &options.data.pairs})
    for (const runs::TextFile& file : *files)
      if (fs::equivalent(file.path, options.log, ignored))
        throw std::invalid_argument("--log " + options.log + " is one of the files to read");
  for (const std::string& place : {options.save, options.checkpoints, options.resume})
    if (!place.empty() && fs::weakly_canonical(place, ignored) == fs::weakly_canonical(options.log, ignored))
      throw std::invalid_argument("--log " + options.log + " is where the model goes");
  if (fs::is_regular_file(options.log, ignored) && !runs::RunLog::is_log(options.log))
    throw std::invalid_argument("--log " + options.log + " is there and holds no log: give another name");
}

/// What checkpoints are compared by: bits per byte under hard deletion of the validation set. A learned gate must have
/// come in and be within five points of its target, because deleting less is easier.
auto checkpoint_metric(const runs::TrainOptions& options, const std::vector<data::Example>& validation) {
  return [&](const Model& model, const training::Trainer<Model>& trainer) -> std::optional<double> {
    constexpr double slack = 0.05;
    if (validation.empty()) return std::nullopt;
    const auto result = runs::evaluate_hard(model, validation, options.seed);
    const bool steered = training::gates_of(model).learns;
    if (steered && (trainer.steps_taken() <= trainer.config().deletion.gate_open_until ||
                    result.deletion_rate < training::target_rate(options.recipe, model) - slack))
      return std::nullopt;
    return result.bits_per_byte;
  };
}

/// What the figures of a finished run say against it.
void print_shortcomings(const evaluation::Comparison& measured, const Model& model, const runs::TrainOptions& options) {
  constexpr double far = 0.05, hardly_better = 0.9;
  const auto print = [](const std::string& text) {
    std::cout << "\n";
    print_prose(std::cout, text);
  };
  const double with = measured.none.bits_per_byte, without = measured.everything.bits_per_byte;
  if (with > hardly_better * without)
    print("The model hardly reads its source yet: " + fixed_text(with, 4) + " bits per byte with it, " +
          fixed_text(without, 4) + " without. Until it does, no gate can learn what matters: give it more --steps.");
  const double target = training::target_rate(options.recipe, model), reached = measured.hard.deletion_rate;
  if (training::gates_of(model).learns && std::abs(reached - target) > far)
    print("Far from the target: " + percent_text(reached) + " are deleted, " + percent_text(target) +
          " were asked for. More --steps bring it nearer; evaluate --target deletes what it is told to.");
}

/// Says where the run begins or goes on.
void introduce(const runs::TrainOptions& options, const runs::RunCheckpointing* checkpoints, Index steps) {
  if (options.minutes) std::cerr << "planned: " << steps << " steps (repeat with --steps " << steps << ")\n";
  if (checkpoints == nullptr && options.save.empty())
    print_prose(std::cerr, "nothing will be saved, as neither --checkpoints nor --save was given");
  if (checkpoints == nullptr || !checkpoints->resumed) return;
  for (const std::string& what : checkpoints->resumed->skipped) std::cerr << "passed over: " << what << "\n";
  const Index step = checkpoints->resumed->record.step;
  if (step >= steps)
    std::cerr << "the run is finished: only evaluating; to train its model further: byte_demo train --from "
              << options.checkpoint << "\n";
  else
    std::cerr << "going on behind step " << step << " of " << steps << "\n";
}

}  // namespace

runs::RunSummary train_model(Model& model, const runs::TrainOptions& options, Index steps, runs::TrainingData& data,
                             runs::RunLog& log, runs::RunCheckpointing* checkpoints) {
  constexpr double overtime = 1.1;
  runs::StatusLine line(std::cerr);
  runs::TrainingProgress progress(line);
  runs::RunSurroundings<Model> around{progress, log, ""};
  if (options.minutes) around.most_seconds = overtime * 60 * *options.minutes;
  if (checkpoints != nullptr) {
    around.checkpoints = &checkpoints->saved;
    around.resumed = checkpoints->resumed ? &*checkpoints->resumed : nullptr;
    checkpoints->saved.metric = checkpoint_metric(options, data.validation);
  }
  const runs::CatchSignals signals;
  const auto config = training::trainer_config(options.recipe, model, steps, options.seed);
  try {
    return runs::run_training(model, config, steps, data.batches, around);
  } catch (const training::Diverged& error) {
    throw std::runtime_error("training stopped at step " + std::to_string(error.step) +
                             ": loss or gradient is not finite; a lower --learning-rate may help");
  }
}

std::string how_to_go_on(const runs::TrainOptions& options, Index step, Index steps) {
  const std::string stopped = "stopped behind step " + std::to_string(step) + " of " + std::to_string(steps);
  const std::string run = options.resume.empty() ? options.checkpoints : options.resume;
  if (!run.empty())
    return stopped + "; to go on: byte_demo train --resume " + runs::shell_word(run) +
           (options.save.empty() ? "" : " --save " + runs::shell_word(options.save)) +
           (options.log.empty() ? "" : " --log " + runs::shell_word(options.log));
  if (!options.save.empty())
    return stopped + "; the model is in " + options.save + ", and train --from " + runs::shell_word(options.save) +
           " begins a new run with it";
  return stopped + "; nothing is saved, as neither --checkpoints nor --save was given";
}

void train(const runs::TrainOptions& asked) {
  std::vector<std::string> notes;
  const runs::TrainOptions options = asked.resume.empty() ? asked : runs::resumed_options(asked, notes);
  for (const std::string& note : notes) std::cerr << note << "\n";
  const runs::ProgramThreads threads(options.threads, std::cerr);
  runs::TrainingData data =
      runs::open_training_data(options.data, {options.recipe.batch_size, options.windows, options.seed, options.seed});
  Model model = open_model(options);
  runs::check_length(model, data.longest, "example");
  check_memory(model, data, options.recipe.batch_size);
  runs::check_lengths(model, data.validation);
  if (!options.save.empty()) runs::check_can_save(model, options.save, options.overwrite);
  check_log(options);
  training::check_hard_rates(options.recipe);
  std::optional<runs::RunCheckpointing> checkpoints;
  if (!options.checkpoints.empty() || !options.resume.empty()) {
    runs::Settings settings = runs::settings_of(options);
    settings.insert(data.contents.begin(), data.contents.end());
    checkpoints.emplace(runs::open_checkpoints(options, std::move(settings)));
  }
  const bool resumed = checkpoints && checkpoints->resumed;
  runs::RunLog log;
  if (!options.log.empty())
    log = runs::RunLog(options.log, options.log_every,
                       resumed ? runs::RunLog::Start::append : runs::RunLog::Start::empty);

  const Index parameters = merganser::parameter_count(model);
  print_prose(std::cerr, data.description + "; " + fixed_text(static_cast<double>(parameters) / 1e6, 2) +
                             " M parameters, gate: " + runs::gate_word(io::describe_policies(model.encoder.policies)));
  const Index steps = options.minutes ? training::steps_in_time(model, options.recipe, data.batches,
                                                                60 * *options.minutes, options.seed)
                                      : options.steps.value_or(runs::default_steps);
  if (checkpoints) checkpoints->saved.settings["--steps"] = std::to_string(steps);
  introduce(options, checkpoints ? &*checkpoints : nullptr, steps);
  if (resumed)
    log.event("resume", io::JsonObject().set("step", checkpoints->resumed->record.step));
  else
    log.event("start", settings_json(options, model, steps, parameters));
  const runs::RunSummary summary = train_model(model, options, steps, data, log, checkpoints ? &*checkpoints : nullptr);
  if (!options.save.empty())
    runs::save_trained_model(model, runs::task_of(options.data), options.save, options.model.start_from, print_warning);
  if (summary.signal != 0) {
    log.event("interrupted", io::JsonObject().set("step", summary.steps));
    std::cerr << how_to_go_on(options, summary.steps, steps) << "\n";
    throw runs::Interrupted{summary.signal};
  }

  const runs::ModelComparison comparison = runs::compare_modes(model, data.validation, {}, options.seed);
  log.event("evaluation", runs::to_json(comparison).set("steps", summary.steps).set("seconds", summary.seconds));
  std::cout << summary.steps << " steps in " << merganser::clock_text(summary.seconds) << " minutes.\n\n";
  print_table(std::cout, comparison);
  print_shortcomings(comparison.measured, model, options);
  if (!options.save.empty()) std::cout << "\nSaved to " << options.save << ".\n";
}

}  // namespace byte_demo
