// All that a trainer remembers from one step to the next, as a value.
#pragma once

#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/pi_controller.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// The memory of a `Trainer`. With the weights of the model, the Config and the batches to come it decides every bit of
/// the steps to come; nothing else is remembered.
template <class Model>
struct TrainerState {
  Model first_moment, second_moment;  ///< of AdamW
  Index updates = 0;                  ///< of AdamW so far
  merge::PiController::State controller = {};
  Rng rng = Rng();            ///< of dropout, gate noise and the choice of open and hard batches
  Index step = 0;             ///< steps taken
  Index attempts = 0;         ///< steps tried: those taken and those left out as not finite
  Index collapsed_steps = 0;  ///< gated steps in a row with nearly everything deleted
};

/// Requires a state to be one of a trainer of this model.
/// @throws std::invalid_argument if a moment's tensors are not those of the model or a count is out of range
template <class Model>
void check_trainer_state(const TrainerState<Model>& state, const Model& model) {
  const char* where = "TrainerState";
  // Parameter views are mutable by type; these are only read.
  const auto expected = parameter_views(const_cast<Model&>(model));
  const auto check_moment = [&](const Model& moment, const std::string& name) {
    const auto views = parameter_views(const_cast<Model&>(moment));
    check_equal(where, name + ": tensors", views.size(), expected.size());
    for (Index i = 0; i < views.size(); ++i) {
      check_equal(where, name + ": tensor", views[i].name, expected[i].name);
      check_argument(views[i].shape() == expected[i].shape(), where, name + "." + views[i].name, "another shape",
                     "that of the model's");
    }
  };
  check_moment(state.first_moment, "first_moment");
  check_moment(state.second_moment, "second_moment");
  check_argument(state.updates >= 0, where, "updates", state.updates, "at least 0");
  check_argument(state.step >= 0, where, "step", state.step, "at least 0");
  check_argument(state.attempts >= state.step, where, "attempts", state.attempts, "at least the steps taken");
  check_argument(state.collapsed_steps >= 0, where, "collapsed_steps", state.collapsed_steps, "at least 0");
}

}  // namespace merganser::training
