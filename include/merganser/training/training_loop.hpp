// A training run to its end: what stops it, what is given up.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include <merganser/core/types.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// Loss or gradient are not finite any more, step after step.
struct Diverged : std::runtime_error {
  explicit Diverged(Index at)
      : std::runtime_error("step " + std::to_string(at) + ": loss or gradient is not finite, whatever the batch"),
        step(at) {}
  Index step;
};

/// What the caller of `train_to` wants to do. Any may be empty.
struct LoopCallbacks {
  std::function<void(const StepReport&)> on_step;                  ///< behind every step that was taken
  std::function<void(TrainingEvent, const StepReport&)> on_event;  ///< a step that was left out, or a collapse
  std::function<bool()> stop;  ///< asked behind both, so that a signal or a time can end the run between steps
};

inline constexpr Index most_steps_left_out = 20;  ///< in a row

/// Steps until `steps` were tried in all, with those that the trainer has behind it, or `stop` says so. Returns
/// whether the run came to its end.
/// @param next_batch as of `Trainer::run`
/// @throws Diverged if `most_steps_left_out` in a row were not finite; the trainer is as after the last one taken
template <class Model, class NextBatch>
bool train_to(Index steps, Trainer<Model>& trainer, NextBatch&& next_batch, const LoopCallbacks& callbacks = {}) {
  Index left_out = 0;
  const auto answer = [&] { return callbacks.stop && callbacks.stop() ? Continue::no : Continue::yes; };
  TrainerCallbacks of_trainer;
  of_trainer.on_step = [&](const StepReport& report) {
    left_out = 0;
    if (callbacks.on_step) callbacks.on_step(report);
    return answer();
  };
  of_trainer.on_event = [&](TrainingEvent event, const StepReport& report) {
    if (callbacks.on_event) callbacks.on_event(event, report);
    if (event == TrainingEvent::not_finite && ++left_out == most_steps_left_out) throw Diverged(report.step);
    return answer();
  };
  trainer.run(steps - trainer.steps_tried(), next_batch, of_trainer);
  return trainer.steps_tried() >= steps;
}

}  // namespace merganser::training
