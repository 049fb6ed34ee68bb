#include <merganser/runs/curve_options.hpp>

#include <support/catch.hpp>

namespace curve_options_test {

using namespace merganser;
using namespace merganser::runs;

TEST_CASE("A quick curve is small where nothing else is asked for", "[runs][curve]") {
  CurveOptions options;
  choose_sizes(options);
  CHECK_FALSE(options.train.model.width.has_value());
  CHECK_FALSE(options.budget.steps.has_value());

  options.budget.sizes = Budget::Sizes::quick;
  options.train.model.width = 64;
  options.train.given = {"--width"};
  choose_sizes(options);
  CHECK(options.train.model.width == 64);
  CHECK(options.train.model.encoder_blocks == 3);
  CHECK(options.train.data.window == 32);
  CHECK(options.targets == std::vector<double>{0, 0.5});
  CHECK(options.budget.steps == 1200);
}

TEST_CASE("Sizes are those of the model to start from, and lines have no window", "[runs][curve]") {
  CurveOptions options;
  options.budget.sizes = Budget::Sizes::quick;
  options.train.model.start_from = "somewhere";
  options.train.data.pairs = {{"", "pairs.tsv"}};
  choose_sizes(options);
  CHECK_FALSE(options.train.model.width.has_value());
  CHECK(options.train.model.gate_blocks.empty());
  CHECK_FALSE(options.train.data.window.has_value());
  CHECK(options.train.recipe.batch_size == 16);
}

}  // namespace curve_options_test
