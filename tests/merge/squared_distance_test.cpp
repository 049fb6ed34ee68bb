// Squared distances of rows.
#include <merganser/merge/squared_distance.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace squared_distance_test {

using namespace merganser;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("the squared distance of two rows is the sum of squared differences", "[squared_distance]", float,
                   double) {
  Rng rng(1);
  for (const Index width : {0, 1, 3, 4, 8, 17, 100}) {
    const auto a = random_matrix<TestType>(1, width, rng), b = random_matrix<TestType>(1, width, rng);
    double expected = 0;
    for (Index i = 0; i < width; ++i) {
      const double difference = static_cast<double>(a(0, i)) - static_cast<double>(b(0, i));
      expected += difference * difference;
    }
    const auto got = static_cast<double>(merge::squared_distance(width, a.data(), b.data()));
    REQUIRE(std::abs(got - expected) <= 1e-5 * expected);
    REQUIRE(merge::squared_distance(width, a.data(), a.data()) == 0);
  }
  const TestType far[2] = {TestType(1e4), TestType(1)}, near[2] = {TestType(1e4), TestType(1.25)};
  REQUIRE(merge::squared_distance<TestType>(2, far, near) == TestType(0.0625));  // not lost beside 1e8
}

}  // namespace squared_distance_test
