#include <merganser/core/check_logits.hpp>

#include <limits>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace check_logits_test {

using namespace merganser;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("logits are numbers or minus infinity", "[check_logits]", float, double) {
  constexpr TestType infinity = std::numeric_limits<TestType>::infinity();
  Matrix<TestType> logits = Matrix<TestType>::Zero(3, 4);
  logits(2, 3) = -infinity;
  REQUIRE_NOTHROW(check_logits("f", logits));
  REQUIRE_NOTHROW(check_logits("f", Matrix<TestType>(0, 4)));
  logits(1, 0) = infinity;
  REQUIRE(argument_error([&] { check_logits("f", logits); }) ==
          "f: logits: got inf, expected numbers; are the model's weights finite, and none far too large?");
  logits(1, 0) = std::numeric_limits<TestType>::quiet_NaN();
  REQUIRE(argument_error([&] { check_logits("f", logits); }) ==
          "f: logits: got nan, expected numbers; are the model's weights finite, and none far too large?");
}

}  // namespace check_logits_test
