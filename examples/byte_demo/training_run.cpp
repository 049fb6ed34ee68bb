// One training run with progress and log.
#include <training_run.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <merganser/training/recipe.hpp>
#include <merganser/training/trainer.hpp>
#include <merganser/training/training_loop.hpp>

#include <comparison.hpp>
#include <progress.hpp>
#include <signals.hpp>
#include <terminal.hpp>

namespace byte_demo {

namespace {

using Trainer = training::Trainer<Model>;

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

/// The weights that a run begins with are worth nothing yet.
void save_start(io::RunCheckpoints<Model>& saved, const Model& model, const Trainer& trainer,
                const data::BatchSource& batches) {
  const auto metric = std::exchange(saved.metric, {});
  saved.save(model, trainer, batches, 0);
  saved.metric = metric;
}

}  // namespace

TrainingSummary run_training(Model& model, const TrainOptions& options, Index steps, TrainingData& data, RunLog& log,
                             Checkpoints* checkpoints) {
  Trainer trainer(model, training::trainer_config(options.recipe, model, steps, options.seed));
  io::RunCheckpoints<Model>* const saved = checkpoints != nullptr ? &checkpoints->saved : nullptr;
  if (saved != nullptr) {
    saved->metric = [&](const Model& weights) { return rate_weights(weights, options, trainer, data.validation); };
    if (checkpoints->resumed)
      saved->resume(*checkpoints->resumed, model, trainer, data.batches);
    else
      save_start(*saved, model, trainer, data.batches);
  }
  const bool gated = training::gate_kind(model).has_value();
  Progress progress(steps, trainer.steps_tried(), gated ? Progress::Aim::rate : Progress::Aim::none,
                    training::target_rate(options.recipe, model));
  Index left_out = 0;
  const auto late = [&] { return options.minutes && progress.seconds() > overtime * 60 * *options.minutes; };
  training::LoopCallbacks callbacks;
  callbacks.on_step = [&](const training::StepReport& report) {
    left_out = 0;
    progress.update(report);
    log.step(report, progress.seconds());
    if (saved != nullptr) saved->on_step(model, trainer, data.batches, progress.seconds());
  };
  callbacks.on_event = [&](training::TrainingEvent event, const training::StepReport& report) {
    const bool collapse = event == training::TrainingEvent::deletion_collapse;
    log.event(collapse ? "deletion_collapse" : "not_finite",
              {{"step", report.step}, {"deletion_rate", report.deletion_rate}, {"seconds", progress.seconds()}});
    const std::string step = "step " + std::to_string(report.step) + ": ";
    if (collapse)
      progress.note(step + "nearly everything has been deleted for " +
                    std::to_string(trainer.config().deletion.collapse_steps) + " steps");
    else if (++left_out == 1)
      progress.note(step + "loss or gradient is not finite, step left out");
  };
  callbacks.stop = [&] { return late() || CatchSignals::caught() != 0; };
  const CatchSignals signals;
  bool finished = false;
  try {
    finished = training::train_to(steps, trainer, data.batches, callbacks);
  } catch (const training::Diverged& error) {
    throw std::runtime_error("training stopped at step " + std::to_string(error.step) +
                             ": loss or gradient is not finite; a lower --learning-rate may help");
  }
  if (saved != nullptr) {
    saved->save(model, trainer, data.batches, progress.seconds());
    saved->metric = {};  // it knows the trainer
  }
  progress.finish();
  if (late() && trainer.steps_taken() < steps)
    progress.note("the time was over before the planned steps: the learning rate did not reach its end");
  const double before = saved != nullptr ? saved->seconds_before() : 0.0;
  return {trainer.steps_taken(), before + progress.seconds(), finished ? 0 : CatchSignals::caught()};
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
