// What was opened without a wish is what runs are trained and measured on by default.
#include <merganser/runs/opened_data.hpp>

#include <merganser/runs/run_options.hpp>

#include "support/catch.hpp"

namespace opened_data_test {

using namespace merganser::runs;

TEST_CASE("a request without wishes is that of a run without options", "[opened_data]") {
  const TrainOptions options;
  const DataRequest request;
  CHECK(request.batch_size == options.recipe.batch_size);
  CHECK(request.windows == options.windows);
  CHECK(request.seed == options.seed);
  CHECK(TrainingData().kind == AnswerKind::texts);
}

}  // namespace opened_data_test
