// What the line of a training run says.
#include <merganser/runs/training_progress.hpp>

#include <sstream>
#include <string>

#include "support/catch.hpp"

namespace training_progress_test {

using namespace merganser;
using namespace merganser::runs;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

training::StepReport report(double loss, double rate) {
  training::StepReport result;
  result.total = loss;
  result.gated_batches = rate >= 0 ? 1 : 0;
  result.deletion_rate = std::max(rate, 0.0);
  result.token_accuracy = 0.5;
  result.source_tokens = 100;
  return result;
}

StatusLine::Columns no_terminal() {
  return [] { return std::nullopt; };
}

TEST_CASE("a run ends with its last state, and means are over what was seen", "[training_progress]") {
  std::ostringstream out;
  StatusLine line(out, no_terminal());
  TrainingProgress progress(line);
  progress.begin({"", 10, 4, 0.3});
  progress.update(report(1, -1));
  progress.update(report(2, 0.2));
  progress.note("a note");
  progress.end();
  CHECK_THAT(out.str(), StartsWith("a note\n6/10 loss 1.500 acc 50.0% del 20.0/30.0% alpha 0.0000 "));
  CHECK_THAT(out.str(), Contains(" left\n"));
}

TEST_CASE("one run after another has a name and a time for all", "[training_progress]") {
  std::ostringstream out;
  StatusLine line(out, no_terminal());
  TrainingProgress progress(line, 2);
  progress.begin({"twin", 2, 0, std::nullopt});
  progress.update(report(1, -1));
  progress.end();
  progress.begin({"learned 0.5", 2, 1, 0.5});
  progress.update(report(3, 0.4));
  progress.note("step 1: a note");
  progress.end();
  const std::string text = out.str();
  CHECK_THAT(text, StartsWith("run 1 of 2: twin\ntwin | 1/2 loss 1.000 acc 50.0% "));
  CHECK_THAT(text, Contains(" in all\nrun 2 of 2: learned 0.5, going on behind step 1\nlearned 0.5, step 1: a note\n"));
  CHECK_THAT(text, Contains("learned 0.5 | 2/2 loss 3.000 acc 50.0% del 40.0/50.0%"));
  CHECK(text.find("del ") > text.find("run 2"));  // the twin deletes nothing
}

TEST_CASE("a run without a step shows nothing", "[training_progress]") {
  std::ostringstream out;
  StatusLine line(out, no_terminal());
  TrainingProgress progress(line);
  progress.begin({"", 5, 5, std::nullopt});
  progress.end();
  CHECK(out.str().empty());
}

}  // namespace training_progress_test
