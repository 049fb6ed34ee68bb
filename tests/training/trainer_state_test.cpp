#include <merganser/training/trainer_state.hpp>

#include <cmath>
#include <utility>
#include <vector>

#include <merganser/training/trainer.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "training/scripted_model.hpp"

namespace trainer_state_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;

using ScriptedTrainer = Trainer<ScriptedModel>;
using State = TrainerState<ScriptedModel>;

data::Batch scripted_batch() {
  data::Batch batch;
  batch.push_back({{5, 6}, {0, 1, 1, 2}});
  return batch;
}

ScriptedTrainer::Config settings() {
  ScriptedTrainer::Config config;
  config.deletion.open_probability = 0.3;
  config.deletion.hard_probability = 0.5;
  config.deletion.collapse_rate = 0.5;
  config.deletion.collapse_steps = 6;
  config.deletion.controller = {0.3, 2.0, 0.1, merge::ControllerRange::two_sided};
  config.schedule = {1e-2, 2, 40, Decay::linear};
  return config;
}

ScriptedModel mostly_deleting() {
  ScriptedModel model;
  model.script->kept = 2;
  model.script->random_draws = 3;
  return model;
}

State good_state() { return {zeros_like(ScriptedModel()), zeros_like(ScriptedModel())}; }

TEST_CASE("a trainer with the state of another takes the same steps", "[TrainerState]") {
  for (const Index steps : {0, 1, 5, 9}) {
    ScriptedModel model = mostly_deleting();
    ScriptedTrainer straight(model, settings());
    straight.run(steps, scripted_batch);

    ScriptedModel copy = mostly_deleting();
    copy.bias = model.bias;
    copy.weight = model.weight;
    ScriptedTrainer resumed(copy, settings());
    resumed.set_state(straight.state());
    CHECK(resumed.steps_taken() == steps);
    CHECK(resumed.steps_tried() == steps);

    Vector<Index> collapses;
    TrainerCallbacks callbacks;
    callbacks.on_event = [&](TrainingEvent, const StepReport& report) {
      collapses.push_back(report.step);
      return Continue::yes;
    };
    for (int i = 0; i < 20; ++i) {
      const StepReport expected = straight.step(scripted_batch(), callbacks);
      const StepReport got = resumed.step(scripted_batch(), callbacks);
      REQUIRE(got.step == expected.step);
      REQUIRE(got.alpha == expected.alpha);
      REQUIRE(got.next_alpha == expected.next_alpha);
      REQUIRE(got.learning_rate == expected.learning_rate);
      REQUIRE(got.gated_batches == expected.gated_batches);
    }
    CHECK(copy.bias == model.bias);
    CHECK(copy.weight == model.weight);
    const State a = straight.state(), b = resumed.state();
    CHECK(b.first_moment.bias == a.first_moment.bias);
    CHECK(b.second_moment.bias == a.second_moment.bias);
    CHECK(b.updates == a.updates);
    CHECK(b.rng.state() == a.rng.state());
    CHECK(b.controller.proportional == a.controller.proportional);
    CHECK(b.controller.integral == a.controller.integral);
    CHECK(b.collapsed_steps == a.collapsed_steps);
    REQUIRE(collapses.size() == 2);
    CHECK(collapses[0] == collapses[1]);
  }
}

TEST_CASE("a step that was left out counts as tried", "[TrainerState]") {
  ScriptedModel model = mostly_deleting();
  ScriptedTrainer trainer(model, settings());
  trainer.run(3, scripted_batch);
  model.script->gradient_factor = std::nan("");
  trainer.run(2, scripted_batch);
  const State state = trainer.state();
  CHECK(state.step == 3);
  CHECK(state.attempts == 5);
  CHECK(trainer.steps_tried() == 5);
  CHECK(state.updates == 3);
}

TEST_CASE("a callback sees the state behind its step", "[TrainerState]") {
  ScriptedModel model = mostly_deleting();
  ScriptedTrainer trainer(model, settings());
  TrainerCallbacks callbacks;
  Vector<State> seen;
  callbacks.on_step = [&](const StepReport&) {
    seen.push_back(trainer.state());
    return Continue::yes;
  };
  for (Index i = 0; i < 4; ++i) {
    trainer.step(scripted_batch(), callbacks);
    const State now = trainer.state();
    CHECK(seen.back().step == i + 1);
    CHECK(seen.back().attempts == i + 1);
    CHECK(seen.back().rng.state() == now.rng.state());
    CHECK(seen.back().controller.integral == now.controller.integral);
    CHECK(seen.back().first_moment.bias == now.first_moment.bias);
  }
}

TEST_CASE("a state of another model or with impossible counts is refused, and nothing changes", "[TrainerState]") {
  ScriptedModel model = mostly_deleting();
  ScriptedTrainer trainer(model, settings());
  trainer.run(2, scripted_batch);
  const auto error = [&](auto change) {
    State state = good_state();
    change(state);
    return argument_error([&] { trainer.set_state(std::move(state)); });
  };
  CHECK(error([](State& state) { state.updates = -1; }) == "TrainerState: updates: got -1, expected at least 0");
  CHECK(error([](State& state) { state.step = -1; }) == "TrainerState: step: got -1, expected at least 0");
  CHECK(error([](State& state) { state.step = 1; }) ==
        "TrainerState: attempts: got 0, expected at least the steps taken");
  CHECK(error([](State& state) { state.collapsed_steps = -2; }) ==
        "TrainerState: collapsed_steps: got -2, expected at least 0");
  CHECK(error([](State& state) { state.first_moment.bias = RowVector<double>::Zero(4); }) ==
        "TrainerState: first_moment.bias: got another shape, expected that of the model's");
  CHECK(error([](State& state) { state.second_moment.weight = Matrix<double>::Zero(4, 1); }) ==
        "TrainerState: second_moment.weight: got another shape, expected that of the model's");
  CHECK(trainer.steps_taken() == 2);
  CHECK(trainer.state().updates == 2);
  CHECK(error([](State&) {}) == "nothing thrown");
  CHECK(trainer.steps_taken() == 0);
}

}  // namespace trainer_state_test
