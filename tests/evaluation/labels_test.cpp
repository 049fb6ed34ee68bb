// Labels: which are scored, which are refused, and which logits belong to them.
#include <merganser/evaluation/labels.hpp>

#include <limits>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace labels_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;

TEMPLATE_TEST_CASE("Labels are ids below the number of columns, or ignored", "[evaluation][labels]", float, double) {
  const Matrix<TestType> logits = Matrix<TestType>::Zero(2, 3);
  const auto check = [&](std::vector<TokenId> labels) { evaluation::check_labels("score", logits, labels); };
  CHECK_NOTHROW(check({0, 2}));
  CHECK_NOTHROW(check({-100, 1}));
  CHECK_THROWS_WITH(check({0}), ContainsSubstring("score: labels.size(): got 1, expected 2"));
  CHECK_THROWS_WITH(check({0, 3}), ContainsSubstring("score: labels[1]: got 3, expected -100 or an id in [0, 3)"));
  CHECK_THROWS_AS(check({-1, 0}), std::invalid_argument);
  CHECK_THROWS_AS(check({std::numeric_limits<TokenId>::max(), 0}), std::invalid_argument);
  CHECK_NOTHROW(evaluation::check_labels("score", Matrix<TestType>(0, 3), std::vector<TokenId>{}));
}

TEMPLATE_TEST_CASE("A row of logits is that row", "[evaluation][labels]", float, double) {
  Matrix<TestType> logits(3, 2);
  logits << 1, 2, 3, 4, 5, 6;
  const auto row = evaluation::logits_row(logits, 1);
  CHECK(std::vector<TestType>(row.begin(), row.end()) == std::vector<TestType>{3, 4});
}

}  // namespace labels_test
