#include <merganser/training/training_loop.hpp>

#include <cmath>
#include <string>

#include "support/catch.hpp"
#include "training/scripted_model.hpp"

namespace training_loop_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;

using ScriptedTrainer = Trainer<ScriptedModel>;

data::Batch batch() {
  data::Batch made;
  made.push_back({{3, 4}, {0, 1}});
  return made;
}

TEST_CASE("a run goes on to its end, whatever was tried before", "[training_loop]") {
  ScriptedModel model;
  ScriptedTrainer trainer(model, {});
  Index steps = 0;
  LoopCallbacks callbacks;
  callbacks.on_step = [&](const StepReport& report) { REQUIRE(report.step == steps++); };
  REQUIRE(train_to(5, trainer, batch, callbacks));
  REQUIRE(trainer.steps_tried() == 5);
  REQUIRE(train_to(8, trainer, batch, callbacks));
  REQUIRE(steps == 8);
  REQUIRE(train_to(8, trainer, batch, callbacks));
  REQUIRE(steps == 8);
}

TEST_CASE("a run stops between steps, also behind one that was left out", "[training_loop]") {
  ScriptedModel model;
  ScriptedTrainer trainer(model, {});
  LoopCallbacks callbacks;
  callbacks.stop = [&] { return trainer.steps_tried() == 3; };
  REQUIRE_FALSE(train_to(10, trainer, batch, callbacks));
  REQUIRE(trainer.steps_taken() == 3);
  model.script->gradient_factor = std::nan("");
  callbacks.stop = [&] { return trainer.steps_tried() == 5; };
  REQUIRE_FALSE(train_to(10, trainer, batch, callbacks));
  REQUIRE(trainer.steps_taken() == 3);
}

TEST_CASE("a run is given up after many steps in a row that are not finite", "[training_loop]") {
  ScriptedModel model;
  ScriptedTrainer trainer(model, {});
  train_to(2, trainer, batch);
  const RowVector<double> bias = model.bias;
  model.script->gradient_factor = std::nan("");
  Index events = 0;
  LoopCallbacks callbacks;
  callbacks.on_event = [&](TrainingEvent event, const StepReport&) {
    REQUIRE(event == TrainingEvent::not_finite);
    ++events;
  };
  try {
    train_to(100, trainer, batch, callbacks);
    FAIL("it should be given up");
  } catch (const Diverged& error) {
    REQUIRE(error.step == 2);
    REQUIRE(std::string(error.what()) == "step 2: loss or gradient is not finite, whatever the batch");
  }
  REQUIRE(events == most_steps_left_out);
  REQUIRE(model.bias == bias);
}

TEST_CASE("a step that is finite begins the count anew", "[training_loop]") {
  ScriptedModel model;
  ScriptedTrainer trainer(model, {});
  LoopCallbacks callbacks;
  Index tried = 0;
  const auto next = [&] {
    model.script->gradient_factor = ++tried % most_steps_left_out == 0 ? 1 : std::nan("");
    return batch();
  };
  REQUIRE(train_to(3 * most_steps_left_out, trainer, next, callbacks));
  REQUIRE(trainer.steps_taken() == 3);
}

}  // namespace training_loop_test
