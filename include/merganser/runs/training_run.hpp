// One training run with its progress, log and checkpoints, that a signal ends in order.
#pragma once

#include <optional>
#include <string>

#include <merganser/data/batch_source.hpp>
#include <merganser/io/checkpoints/checkpoint_directory.hpp>
#include <merganser/io/checkpoints/run_checkpoints.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/runs/run_log.hpp>
#include <merganser/runs/signals.hpp>
#include <merganser/runs/training_progress.hpp>
#include <merganser/training/recipe.hpp>
#include <merganser/training/trainer.hpp>
#include <merganser/training/training_loop.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// What goes on around the steps.
template <class Model>
struct RunSurroundings {
  TrainingProgress& progress;
  RunLog& log;
  std::string name;                                   ///< of the run, if it is one of several
  io::RunCheckpoints<Model>* checkpoints = nullptr;   ///< where it is saved; null: nowhere
  const io::NewestCheckpoint* resumed = nullptr;      ///< what it goes on from; null: it begins
  std::optional<double> most_seconds = std::nullopt;  ///< after which it ends early
};

struct RunSummary {
  Index steps = 0;  ///< with those before the run was resumed, as the seconds
  double seconds = 0.0;
  int signal = 0;  ///< that ended it before its time; 0: none
};

/// Trains to the end of a run, or until its time is over. If the caller has a `CatchSignals`, Ctrl-C or SIGTERM ends it
/// behind the step that is on. Either way it ends with a checkpoint, if it has a place for them.
/// @throws training::Diverged if loss or gradient stay infinite
template <class Model>
RunSummary run_training(Model& model, const typename training::Trainer<Model>::Config& config, Index steps,
                        data::BatchSource& batches, const RunSurroundings<Model>& around) {
  training::Trainer<Model> trainer(model, config);
  io::RunCheckpoints<Model>* const saved = around.checkpoints;
  if (around.resumed != nullptr) saved->resume(*around.resumed, model, trainer, batches);
  TrainingProgress& progress = around.progress;
  const std::optional<double> target =
      training::gates_of(model).count > 0 ? std::optional(config.deletion.controller.target) : std::nullopt;
  progress.begin({around.name, steps, trainer.steps_tried(), target});
  if (saved != nullptr) saved->save(model, trainer, batches, 0);
  const double before = saved != nullptr ? saved->seconds_before() : 0;
  const auto late = [&] { return around.most_seconds && progress.seconds() > *around.most_seconds; };
  Index left_out = 0;
  training::LoopCallbacks callbacks;
  callbacks.on_step = [&](const training::StepReport& report) {
    left_out = 0;
    progress.update(report);
    around.log.step(report, before + progress.seconds());
    if (saved != nullptr) saved->on_step(model, trainer, batches, progress.seconds());
  };
  callbacks.on_event = [&](training::TrainingEvent event, const training::StepReport& report) {
    const bool collapse = event == training::TrainingEvent::deletion_collapse;
    around.log.event(collapse ? "deletion_collapse" : "not_finite", io::JsonObject()
                                                                        .set("step", report.step)
                                                                        .set("deletion_rate", report.deletion_rate)
                                                                        .set("seconds", before + progress.seconds()));
    const std::string step = "step " + std::to_string(report.step) + ": ";
    if (collapse)
      progress.note(step + "nearly everything has been deleted for " + std::to_string(config.deletion.collapse_steps) +
                    " steps");
    else if (++left_out == 1)
      progress.note(step + "loss or gradient is not finite, step left out");
  };
  callbacks.stop = [&] { return late() || CatchSignals::caught() != 0; };
  const bool finished = training::train_to(steps, trainer, batches, callbacks);
  if (saved != nullptr) saved->save(model, trainer, batches, progress.seconds());
  const double seconds = progress.seconds();
  progress.end();
  if (!finished && CatchSignals::caught() == 0)
    progress.note("the time was over before the planned steps: the learning rate did not reach its end");
  return {trainer.steps_taken(), before + seconds, finished ? 0 : CatchSignals::caught()};
}

}  // namespace merganser::runs
