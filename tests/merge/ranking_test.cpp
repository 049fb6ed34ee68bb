#include <merganser/merge/ranking.hpp>

#include <limits>

#include "support/catch.hpp"

namespace ranking_test {

using namespace merganser;

TEMPLATE_TEST_CASE("tokens are ranked by their scores, of equal ones the first, and no number is last", "[ranking]",
                   float, double) {
  using Rows = Vector<Index>;
  const TestType none = std::numeric_limits<TestType>::quiet_NaN(), most = std::numeric_limits<TestType>::infinity();
  const auto ranked = [](const Vector<TestType>& scores) { return merge::ranked<TestType>(scores); };
  REQUIRE(ranked({}).empty());
  REQUIRE(ranked({2, 3, 2, 5}) == Rows{3, 1, 0, 2});
  REQUIRE(ranked({none, 1, most, none, -most, 1}) == Rows{2, 1, 5, 0, 3, 4});
  Vector<TestType> many(100, none);
  many[70] = 1;
  REQUIRE(ranked(many)[0] == 70);
}

}  // namespace ranking_test
