#include <merganser/training/gradient_clipping.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/random_values.hpp"
#include "training/scripted_model.hpp"

namespace gradient_clipping_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

ScriptedModel gradients_of(double first) {
  ScriptedModel gradients;
  gradients.bias << first, 0, -4;
  gradients.weight << 0, 12, 0, 0;
  return gradients;
}

TEST_CASE("the norm is over all tensors together", "[gradient_clipping]") {
  ScriptedModel gradients = gradients_of(3);
  REQUIRE(gradient_norm(gradients) == 13.0);
  ScriptedModel zeros;
  set_zero(zeros);
  REQUIRE(gradient_norm(zeros) == 0.0);
}

TEST_CASE("gradients above the limit are scaled to it, others stay", "[gradient_clipping]") {
  ScriptedModel gradients = gradients_of(3);
  REQUIRE(clip_gradients(gradients, 13.1) == 13.0);
  REQUIRE(gradients.bias == gradients_of(3).bias);
  REQUIRE(gradients.weight == gradients_of(3).weight);

  REQUIRE(clip_gradients(gradients, 2.0) == 13.0);
  REQUIRE_THAT(gradient_norm(gradients), WithinRel(2.0, 1e-6));
  REQUIRE_THAT(gradients.bias(2), WithinRel(-4 * 2.0 / 13, 1e-6));
  REQUIRE(gradients.bias(1) == 0.0);

  set_zero(gradients);
  REQUIRE(clip_gradients(gradients, 1.0) == 0.0);
  REQUIRE(all_finite(gradients));
}

TEST_CASE("a norm that is not finite is reported and leaves the gradients alone", "[gradient_clipping]") {
  ScriptedModel infinite = gradients_of(std::numeric_limits<double>::infinity());
  REQUIRE(std::isinf(clip_gradients(infinite, 1.0)));
  REQUIRE(infinite.bias(2) == -4.0);
  ScriptedModel nan = gradients_of(std::nan(""));
  REQUIRE(std::isnan(clip_gradients(nan, 1.0)));
  REQUIRE(nan.weight(0, 1) == 12.0);
}

TEST_CASE("a limit must be positive", "[gradient_clipping]") {
  ScriptedModel gradients = gradients_of(3);
  REQUIRE(argument_error([&] { clip_gradients(gradients, 0); }) ==
          "clip_gradients: max_norm: got 0, expected a positive number");
  REQUIRE(argument_error([&] { clip_gradients(gradients, std::nan("")); }) ==
          "clip_gradients: max_norm: got nan, expected a positive number");
}

}  // namespace gradient_clipping_test
