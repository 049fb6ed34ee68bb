// One run: the same bits in one go and resumed, ended by a signal or a time, with its log.
#include <merganser/runs/training_run.hpp>

#include <csignal>
#include <fstream>
#include <sstream>
#include <string>

#include <merganser/core/text_format.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/runs/model_design.hpp>
#include <merganser/runs/training_data.hpp>

#include "io/temporary_directory.hpp"
#include "runs/small_text_model.hpp"
#include "support/catch.hpp"

namespace training_run_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

struct Run {
  TrainOptions options = small_run();
  TextModel model = make_model(design_model(options.model, std::nullopt), 1);
  data::BatchSource batches = open_training_data(options.data, {3, 4, 1, 1}).batches;
  std::ostringstream out;
  StatusLine line{out, [] { return std::nullopt; }};
  TrainingProgress progress{line};
  RunLog log;

  RunSummary train(RunSurroundings<TextModel> around) {
    return run_training(model, training::trainer_config(options.recipe, model, *options.steps, 1), *options.steps,
                        batches, around);
  }
};

TEST_CASE("a run that a signal ended goes on to the same bits", "[training_run]") {
  Run straight;
  const RunSummary whole = straight.train({straight.progress, straight.log, ""});
  CHECK(whole.steps == 6);
  CHECK(whole.signal == 0);

  const TemporaryDirectory directory;
  {
    Run stopped;
    io::RunCheckpoints<TextModel> checkpoints(directory.path(), {.every = 100, .keep = 9});
    const CatchSignals signals;
    std::raise(SIGTERM);
    RunSurroundings<TextModel> around{stopped.progress, stopped.log, ""};
    around.checkpoints = &checkpoints;
    const RunSummary summary = stopped.train(around);
    CHECK(summary.signal == SIGTERM);
    CHECK(summary.steps == 1);  // the step that is on is ended
  }
  const CatchSignals none;
  Run resumed;
  io::RunCheckpoints<TextModel> checkpoints(directory.path(), {.every = 100, .keep = 9});
  const auto stored = io::newest_checkpoint(directory.path());
  REQUIRE(stored);
  CHECK(stored->record.step == 1);
  RunSurroundings<TextModel> around{resumed.progress, resumed.log, ""};
  around.checkpoints = &checkpoints;
  around.resumed = &*stored;
  CHECK(resumed.train(around).steps == 6);
  CHECK(resumed.model.shared.weight == straight.model.shared.weight);
  CHECK(io::newest_checkpoint(directory.path())->record.step == 6);
}

TEST_CASE("a run whose time is over says so, and its log has its steps", "[training_run]") {
  const CatchSignals none;
  const TemporaryDirectory directory;
  Run run;
  run.log = RunLog(directory / "log.jsonl", 1);
  RunSurroundings<TextModel> around{run.progress, run.log, ""};
  around.most_seconds = 0;
  const RunSummary summary = run.train(around);
  CHECK(summary.steps == 1);
  CHECK(summary.signal == 0);
  CHECK(run.out.str().find("the time was over before the planned steps") != std::string::npos);
  CHECK(split(io::read_text_file(directory / "log.jsonl"), '\n').size() == 1);
}

TEST_CASE("a run that diverges is given up", "[training_run]") {
  Run run;
  run.model.shared.weight.setConstant(std::numeric_limits<float>::quiet_NaN());
  run.options.steps = 100;
  CHECK_THROWS_AS(run.train({run.progress, run.log, ""}), training::Diverged);
  CHECK(run.out.str().find("step 0: loss or gradient is not finite, step left out") != std::string::npos);
}

}  // namespace training_run_test
