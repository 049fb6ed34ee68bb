#include <merganser/merge/interval_budget.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"

namespace interval_budget_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

using Flags = Vector<std::uint8_t>;
using Counts = Vector<Index>;
using Intervals = Vector<RateInterval>;

BoundaryPriorResult<double> loss(const Flags& marks, const Counts& lengths, const Counts& trials,
                                 const Intervals& intervals, const Counts& labels = {}) {
  return interval_loss<double>(marks, SequenceOffsets::from_lengths(lengths), trials, intervals, labels);
}

double hinge(double rate, const RateInterval& interval) {
  return std::max(rate - interval.highest, 0.0) + std::max(interval.highest - interval.slack - rate, 0.0);
}

TEST_CASE("the interval loss is the mean distance of the rates to their intervals", "[interval_budget]") {
  // 2 of 4, 1 of 4 with a pad as a fifth row, none of none, 0 of 1
  const Flags marks = {1, 0, 1, 0, /**/ 0, 0, 255, 0, 0, /**/ 0};
  const Counts lengths = {4, 5, 0, 1}, trials = {4, 4, 0, 1};
  const Intervals intervals = {{0.4, 0.2}, {0.5, 0.1}};
  REQUIRE_THAT(loss(marks, lengths, trials, intervals).value, WithinAbs((0.1 + 0 + 0.2) / 3, 1e-15));
  const auto labelled = loss(marks, lengths, trials, intervals, {1, 1, 0, 0});
  REQUIRE_THAT(labelled.value, WithinAbs((0 + 0.15 + 0.2) / 3, 1e-15));
  const Vector<double> slopes = {0, 0, 0, 0, -1.0 / 12, -1.0 / 12, -1.0 / 12, -1.0 / 12, -1.0 / 12, -1.0 / 3};
  for (Index t = 0; t < 10; ++t) REQUIRE_THAT(labelled.grad_boundaries[t], WithinAbs(slopes[t], 1e-15));
}

TEST_CASE("the gradient of the interval loss is the slope between whole counts", "[interval_budget]") {
  const RateInterval interval{0.55, 0.22};
  for (Index n = 1; n <= 12; ++n)
    for (Index k = 0; k <= n; ++k) {
      Flags marks(n, 0);
      std::fill_n(marks.begin(), k, std::uint8_t{1});
      const auto result = loss(marks, {n}, {n}, {interval});
      double count = static_cast<double>(k);
      const auto value = [&] { return hinge(count / static_cast<double>(n), interval); };
      REQUIRE_THAT(result.value, WithinAbs(value(), 1e-15));
      const double slope = numeric_derivative(value, count);
      CAPTURE(n, k);
      for (const double gradient : result.grad_boundaries) REQUIRE_THAT(gradient, WithinAbs(slope, 1e-10));
    }
}

TEST_CASE("inside an interval and at its ends there is no gradient", "[interval_budget]") {
  for (const Flags& marks : {Flags{1, 0, 0, 0}, Flags{1, 1, 0, 0}, Flags{1, 1, 1, 0}}) {
    const auto result = loss(marks, {4}, {4}, {{0.75, 0.5}});
    REQUIRE(result.value == 0.0);
    REQUIRE(result.grad_boundaries == Vector<double>(4, 0.0));
  }
  REQUIRE(loss({1, 1, 1, 1}, {4}, {4}, {{0.75, 0.5}}).grad_boundaries[0] > 0);
  REQUIRE(loss({0, 0, 0, 0}, {4}, {4}, {{0.75, 0.5}}).grad_boundaries[0] < 0);
}

TEST_CASE("without tokens the interval loss is 0, and what does not fit is named", "[interval_budget]") {
  const Intervals one = {{0.5, 0.1}};
  REQUIRE(loss({}, {}, {}, {}).value == 0.0);
  REQUIRE(loss({0, 0}, {2, 0}, {0, 0}, one).value == 0.0);
  REQUIRE_THAT(argument_error([&] { loss({1, 1}, {2}, {1}, one); }), ContainsSubstring("trials: got 1"));
  REQUIRE_THAT(argument_error([&] { loss({1}, {2}, {2}, one); }), ContainsSubstring("marks.size(): got 1"));
  REQUIRE_THAT(argument_error([&] { loss({1, 1}, {2}, {2, 2}, one); }), ContainsSubstring("trials.size(): got 2"));
  REQUIRE_THAT(argument_error([&] { loss({1}, {1}, {1}, one, {0, 0}); }), ContainsSubstring("labels.size(): got 2"));
  REQUIRE_THAT(argument_error([&] { loss({1}, {1}, {1}, one, {1}); }), ContainsSubstring("labels: got 1"));
  REQUIRE_THAT(argument_error([&] { loss({1}, {1}, {1}, {}); }), ContainsSubstring("labels: got 0"));
  for (const double highest : {-0.1, 1.1, std::nan("")})
    REQUIRE_THAT(argument_error([&] { loss({1}, {1}, {1}, {{highest, 0}}); }), ContainsSubstring("highest: got"));
  for (const double slack : {-0.1, 0.6, std::nan("")})
    REQUIRE_THAT(argument_error([&] { loss({1}, {1}, {1}, {{0.5, slack}}); }), ContainsSubstring("slack: got"));
}

}  // namespace interval_budget_test
