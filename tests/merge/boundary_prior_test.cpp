#include <merganser/merge/boundary_prior.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/random_values.hpp"

namespace boundary_prior_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

using Flags = Vector<std::uint8_t>;
using Counts = Vector<Index>;

/// -log Binomial(k; n, p) / n for any real k.
double surprise(double k, double n, double p) {
  const double ways = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
  return -(ways + k * std::log(p) + (n - k) * std::log(1 - p)) / n;
}

BoundaryPriorResult<double> loss(const Flags& boundaries, const Counts& lengths, const Counts& trials, double prior) {
  return boundary_prior_loss<double>(boundaries, SequenceOffsets::from_lengths(lengths), trials, prior);
}

TEST_CASE("the prior loss is the mean surprise of the counts", "[boundary_prior]") {
  // 2 of 3, 1 of 4 with one pad as a fifth row, none of none
  const auto result = loss({1, 0, 1, /**/ 0, 0, 255, 0, 0}, {3, 5, 0}, {3, 4, 0}, 0.3);
  REQUIRE_THAT(result.value, WithinRel((surprise(2, 3, 0.3) + surprise(1, 4, 0.3)) / 2, 1e-13));
  // 3 p^2 (1 - p) of 2 among 3
  REQUIRE_THAT(loss({1, 1, 0}, {3}, {3}, 0.3).value, WithinRel(-std::log(3 * 0.3 * 0.3 * 0.7) / 3, 1e-13));
}

TEST_CASE("the gradient of the prior loss is the slope between whole counts", "[boundary_prior]") {
  for (const double prior : {0.2, 0.5, 0.9})
    for (Index n = 1; n <= 12; ++n)
      for (Index k = 0; k <= n; ++k) {
        Flags boundaries(n, 0);
        std::fill_n(boundaries.begin(), k, std::uint8_t{1});
        const auto result = loss(boundaries, {n}, {n}, prior);
        double count = static_cast<double>(k);
        const double slope = numeric_derivative([&] { return surprise(count, static_cast<double>(n), prior); }, count);
        CAPTURE(n, k, prior);
        for (const double gradient : result.grad_boundaries) REQUIRE_THAT(gradient, WithinAbs(slope, 1e-9));
      }
}

TEST_CASE("sequences share the mean, and float follows double", "[boundary_prior]") {
  const auto one = loss({1, 0}, {2}, {2}, 0.2), two = loss({1, 0, 0, 1, 1}, {2, 3}, {2, 3}, 0.2);
  REQUIRE_THAT(two.grad_boundaries[0], WithinRel(one.grad_boundaries[0] / 2, 1e-14));
  const auto single =
      boundary_prior_loss<float>(Flags{1, 0, 0, 1, 1}, SequenceOffsets::from_lengths(Counts{2, 3}), Counts{2, 3}, 0.2);
  REQUIRE(single.value == two.value);
  for (Index t = 0; t < 5; ++t) REQUIRE_THAT(single.grad_boundaries[t], WithinAbs(two.grad_boundaries[t], 1e-7));
}

TEST_CASE("more boundaries than expected are pushed down, fewer are pushed up", "[boundary_prior]") {
  Flags all(40, 1), none(40, 0);
  REQUIRE(loss(all, {40}, {40}, 0.2).grad_boundaries[0] > 0);
  REQUIRE(loss(none, {40}, {40}, 0.2).grad_boundaries[0] < 0);
}

TEST_CASE("without tokens the prior loss is 0, and what does not fit is named", "[boundary_prior]") {
  REQUIRE(loss({}, {}, {}, 0.2).value == 0.0);
  REQUIRE(loss({0, 0}, {2, 0}, {0, 0}, 0.2).value == 0.0);
  REQUIRE(loss({0, 0}, {2, 0}, {0, 0}, 0.2).grad_boundaries == Vector<double>{0, 0});
  REQUIRE_THAT(argument_error([] { loss({1, 1}, {2}, {1}, 0.2); }), ContainsSubstring("trials: got 1"));
  REQUIRE_THAT(argument_error([] { loss({1}, {2}, {2}, 0.2); }), ContainsSubstring("boundaries.size(): got 1"));
  REQUIRE_THAT(argument_error([] { loss({1, 1}, {2}, {2, 2}, 0.2); }), ContainsSubstring("trials.size(): got 2"));
  for (const double prior : {0.0, 1.0, -1.0, std::nan("")})
    REQUIRE_THAT(argument_error([&] { loss({1}, {1}, {1}, prior); }), ContainsSubstring("expected in (0, 1)"));
}

}  // namespace boundary_prior_test
