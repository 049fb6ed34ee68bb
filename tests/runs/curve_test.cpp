#include <merganser/runs/curve.hpp>

#include <sstream>
#include <string>

#include "support/catch.hpp"

#include "curve_rows.hpp"

namespace curve_test {

using namespace merganser;
using namespace merganser::runs;

TEST_CASE("A curve makes the rows that are missing, and no others", "[runs][curve]") {
  const CurveFolder folder("whole_curve");
  CurveOptions options;
  ModelOptions& model = options.train.model;
  model.width = model.feed_forward = 8;
  model.heads = 2;
  model.head_width = 4;
  model.encoder_blocks = 2;
  model.gate_blocks = {1};
  options.train.recipe.batch_size = 2;
  options.train.windows = 4;
  options.train.data.window = 6;
  options.train.data.task = "copy";
  options.timing_repetitions = 1;
  options.policies = {"random"};
  options.targets = {0.5};
  options.budget.steps = 8;
  options.out = folder.path.string();
  const auto made = [&] {
    std::ostringstream messages;
    const Curve curve = make_curve(options, messages);
    CHECK(curve.exit_code == 0);
    CHECK(curve.kind == AnswerKind::answers);
    for (const RunRow& row : curve.rows) CHECK(row.steps == 8);
    return std::to_string(curve.rows.size()) + " of " + std::to_string(curve.results.rows().size()) + ": " +
           messages.str();
  };
  CHECK_THAT(made(), Catch::Matchers::StartsWith("1 of 1: ") &&
                         Catch::Matchers::ContainsSubstring("1 runs of 8 steps, 0 of them done"));
  CHECK_THAT(made(), Catch::Matchers::ContainsSubstring("1 runs of 8 steps, 1 of them done"));
  options.targets = {0.5, 0.0};
  CHECK_THAT(made(), Catch::Matchers::StartsWith("2 of 2: ") &&
                         Catch::Matchers::ContainsSubstring("2 runs of 8 steps, 1 of them done"));
  options.targets = {2.0};
  std::ostringstream messages;
  CHECK_THROWS_AS(make_curve(options, messages), std::invalid_argument);
}

}  // namespace curve_test
