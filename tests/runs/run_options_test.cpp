// What nobody asked for is the measured recipe.
#include <merganser/runs/run_options.hpp>

#include "support/catch.hpp"

namespace run_options_test {

using namespace merganser::runs;

TEST_CASE("a run without options is the measured recipe at the sizes of the demo", "[run_options]") {
  const TrainOptions options;
  CHECK(options.recipe.hard_probability == merganser::training::Recipe().hard_probability);
  CHECK(options.recipe.batch_size == 32);
  CHECK_FALSE(options.model.gate.has_value());
  CHECK(options.data.texts.empty());
  CHECK(default_sizes.width == default_sizes.heads * default_sizes.head_width);
  CHECK(default_shortest_window <= default_text_window);
}

}  // namespace run_options_test
