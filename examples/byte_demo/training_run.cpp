// One training run with progress and log.
#include <training_run.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

#include <merganser/training/recipe.hpp>
#include <merganser/training/trainer.hpp>

#include <comparison.hpp>
#include <progress.hpp>
#include <signals.hpp>
#include <terminal.hpp>

namespace byte_demo {

namespace {

using Trainer = training::Trainer<Model>;

constexpr Index most_unfinite_steps = 20;  // in a row
constexpr double overtime = 1.1;

/// What checkpoints are compared by: bits per byte under hard deletion of the validation set. A learned gate must have
/// come in and be within five points of its target, because deleting less is easier.
std::optional<double> rate_weights(const Model& model, const TrainOptions& options, const Trainer& trainer,
                                   const std::vector<data::Example>& validation) {
  constexpr double slack = 0.05;
  if (validation.empty()) return std::nullopt;
  const auto result = evaluate_hard(model, validation, options.seed);
  const bool steered = training::gate_kind(model) == merge::GateKind::learned;
  if (steered && (trainer.steps_taken() <= trainer.config().deletion.gate_open_until ||
                  result.deletion_rate < training::target_rate(options.recipe, model) - slack))
    return std::nullopt;
  return result.bits_per_byte;
}

}  // namespace

TrainingSummary run_training(Model& model, const TrainOptions& options, Index steps, TrainingData& data, RunLog& log,
                             Checkpoints* checkpoints) {
  const bool gated = training::gate_kind(model).has_value();
  Trainer trainer(model, training::trainer_config(options.recipe, model, steps, options.seed));
  if (checkpoints != nullptr) checkpoints->begin(model, trainer, data.batches);
  const double seconds_before = checkpoints != nullptr ? checkpoints->seconds_before() : 0.0;
  const Checkpoints::Metric metric = [&](const Model& weights) {
    return rate_weights(weights, options, trainer, data.validation);
  };
  Progress progress(steps, trainer.steps_tried(), gated ? Progress::Aim::rate : Progress::Aim::none,
                    training::target_rate(options.recipe, model));
  Index unfinite = 0;
  bool late = false;
  training::TrainerCallbacks callbacks;
  callbacks.on_step = [&](const training::StepReport& report) {
    unfinite = 0;
    progress.update(report);
    log.step(report, progress.seconds());
    if (checkpoints != nullptr)
      checkpoints->on_step(model, trainer, data.batches, seconds_before + progress.seconds(), metric);
    late = options.minutes && progress.seconds() > overtime * 60 * *options.minutes;
    return late || CatchSignals::caught() != 0 ? merganser::Continue::no : merganser::Continue::yes;
  };
  callbacks.on_event = [&](training::TrainingEvent event, const training::StepReport& report) {
    const bool collapse = event == training::TrainingEvent::deletion_collapse;
    log.event(collapse ? "deletion_collapse" : "not_finite",
              {{"step", report.step}, {"deletion_rate", report.deletion_rate}, {"seconds", progress.seconds()}});
    if (collapse) {
      progress.note("step " + std::to_string(report.step) + ": nearly everything has been deleted for " +
                    std::to_string(trainer.config().deletion.collapse_steps) + " steps");
    } else if (++unfinite == 1) {
      progress.note("step " + std::to_string(report.step) + ": loss or gradient is not finite, step left out");
    } else if (unfinite == most_unfinite_steps) {
      throw std::runtime_error("training stopped at step " + std::to_string(report.step) +
                               ": loss or gradient is not finite; a lower --learning-rate may help");
    }
    return CatchSignals::caught() != 0 ? merganser::Continue::no : merganser::Continue::yes;
  };
  const CatchSignals signals;
  trainer.run(steps - trainer.steps_tried(), data.batches, callbacks);
  if (checkpoints != nullptr)
    checkpoints->finish(model, trainer, data.batches, seconds_before + progress.seconds(), metric);
  progress.finish();
  if (late && trainer.steps_taken() < steps)
    progress.note("the time was over before the planned steps: the learning rate did not reach its end");
  const bool unfinished = trainer.steps_tried() < steps;
  return {trainer.steps_taken(), seconds_before + progress.seconds(), unfinished ? CatchSignals::caught() : 0};
}

std::string how_to_go_on(const TrainOptions& options, Index step, Index steps) {
  const std::string stopped = "stopped behind step " + std::to_string(step) + " of " + std::to_string(steps);
  const std::string run = options.resume.empty() ? options.checkpoints : options.resume;
  if (!run.empty())
    return stopped + "; to go on: byte_demo train --resume " + run +
           (options.save.empty() ? "" : " --save " + options.save + " --force") +
           (options.log.empty() ? "" : " --log " + options.log);
  if (!options.save.empty())
    return stopped + "; the model is in " + options.save + ", and train --from " + options.save +
           " begins a new run with it";
  return stopped + "; nothing is saved, as neither --checkpoints nor --save was given";
}

}  // namespace byte_demo
