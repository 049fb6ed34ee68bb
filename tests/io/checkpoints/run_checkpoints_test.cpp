// A run that is stopped and gone on with has the bits of one that was not.
#include <merganser/io/checkpoints/run_checkpoints.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/training/training_loop.hpp>

#include "io/temporary_directory.hpp"
#include "io/tiny_run.hpp"
#include "support/catch.hpp"

namespace run_checkpoints_test {

using namespace merganser;
using namespace merganser::testing;

using Model = TinyRun<float>::Model;
using Run = TinyRun<float>;

data::BatchSource batches() {
  std::vector<data::Example> examples;
  for (TokenId id = 2; id < 9; ++id) examples.push_back({{id, 3, 1}, {id, 1}});
  return data::epochs_of(std::move(examples), 2, 5);
}

TEST_CASE("a resumed run has the bits of a straight one", "[run_checkpoints]") {
  Run straight;
  data::BatchSource whole = batches();
  training::train_to(9, straight.trainer, whole);

  const TemporaryDirectory directory;
  {
    Run first;
    data::BatchSource source = batches();
    io::RunCheckpoints<Model> checkpoints(directory.path(), {.every = 2, .keep = 2});
    checkpoints.settings["--steps"] = "9";
    training::LoopCallbacks callbacks;
    callbacks.on_step = [&](const auto&) { checkpoints.on_step(first.model, first.trainer, source, 1.5); };
    callbacks.stop = [&] { return first.trainer.steps_tried() == 5; };
    REQUIRE_FALSE(training::train_to(9, first.trainer, source, callbacks));
    checkpoints.save(first.model, first.trainer, source, 2.5);
  }
  Run second;
  data::BatchSource source = batches();
  io::RunCheckpoints<Model> checkpoints(directory.path(), {.every = 2, .keep = 2});
  const auto stored = io::newest_checkpoint(checkpoints.path());
  REQUIRE(stored);
  REQUIRE(stored->record.step == 5);
  REQUIRE(stored->record.settings.at("--steps") == "9");
  checkpoints.resume(*stored, second.model, second.trainer, source);
  REQUIRE(checkpoints.seconds_before() == 2.5);
  training::train_to(9, second.trainer, source);
  REQUIRE(bits_of(second.model) == bits_of(straight.model));
  REQUIRE(source.cursor == whole.cursor);

  checkpoints.save(second.model, second.trainer, source, 4);
  const auto last = io::newest_checkpoint(checkpoints.path());
  REQUIRE(last->record.step == 9);
  REQUIRE(last->record.settings.at("seconds") == std::to_string(6.5));
}

TEST_CASE("a step is saved once, and the metric says which is the best", "[run_checkpoints]") {
  const TemporaryDirectory directory;
  Run run;
  data::BatchSource source = batches();
  io::RunCheckpoints<Model> checkpoints(directory.path(), {.every = 1, .keep = 1});
  Index measured = 0;
  checkpoints.metric = [&](const Model&, const auto&) -> std::optional<double> {
    return 10.0 + static_cast<double>(measured++);
  };
  training::LoopCallbacks callbacks;
  callbacks.on_step = [&](const auto&) { checkpoints.on_step(run.model, run.trainer, source, 0); };
  training::train_to(3, run.trainer, source, callbacks);
  checkpoints.save(run.model, run.trainer, source, 0);
  REQUIRE(measured == 3);
  const auto newest = io::newest_checkpoint(checkpoints.path());
  REQUIRE(newest->record.step == 3);
  REQUIRE(newest->record.best->step == 1);
}

TEST_CASE("numbers of checkpoints that cannot be are refused", "[run_checkpoints]") {
  const TemporaryDirectory directory;
  REQUIRE_THROWS_AS(io::RunCheckpoints<Model>(directory.path(), {.every = 0, .keep = 1}), std::invalid_argument);
  REQUIRE_THROWS_AS(io::RunCheckpoints<Model>(directory.path(), {.every = 1, .keep = 0}), std::invalid_argument);
}

}  // namespace run_checkpoints_test
