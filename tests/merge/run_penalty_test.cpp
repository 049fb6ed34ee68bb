// The run penalty: values by hand, gradients by finite differences.
#include <merganser/merge/run_penalty.hpp>

#include <cstdint>
#include <stdexcept>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

namespace {

using Values = Vector<double>;
using Marks = Vector<std::uint8_t>;

RegulariserResult<double> run(const Values& values, const Vector<Index>& lengths, const Marks& forced = {}) {
  return run_penalty<double>(values, SequenceOffsets::from_lengths(lengths), forced, -15);
}

}  // namespace

TEST_CASE("the run penalty is the deletion rate less the share of runs", "[run_penalty]") {
  const double d = -30;
  REQUIRE_THAT(run({d, d, 0, d, 0, d, d, d}, {8}).value, WithinAbs(6.0 / 8 - 3.0 / 8, 1e-14));
  REQUIRE(run({d, 0, d, 0, d, 0}, {6}).value == 0);
  REQUIRE_THAT(run({d, d, d, d}, {2, 2}).value, WithinAbs(2.0 / 4, 1e-14));  // no pair across sequences
  REQUIRE(run({d, d, d, d}, {1, 1, 1, 0, 1}).value == 0);
  REQUIRE(run({}, {0}).value == 0);
}

TEST_CASE("tokens that are deleted in part count in part, and never more than whole", "[run_penalty]") {
  REQUIRE_THAT(run({-15, -15}, {2}).value, WithinAbs(0.25 / 2, 1e-14));
  REQUIRE_THAT(run({-90, -15}, {2}).value, WithinAbs(0.5 / 2, 1e-14));
  REQUIRE(run({-90, -15}, {2}).grad_values[0] == 0);
  REQUIRE(run({-90, -15}, {2}).grad_values[1] < 0);  // a lower value is penalised: descent raises it
}

TEST_CASE("pairs with a forced token do not count", "[run_penalty]") {
  const auto result = run({-30, -30, -30, -30}, {4}, {0, 0, 1, 0});
  REQUIRE_THAT(result.value, WithinAbs(1.0 / 4, 1e-14));
  REQUIRE(result.grad_values[2] == 0);
  REQUIRE(result.grad_values[3] == 0);
}

TEST_CASE("the gradient of the run penalty agrees with finite differences", "[run_penalty]") {
  for (const Marks& forced : {Marks{}, Marks{0, 1, 0, 0, 0, 0, 0, 1}}) {
    Values values = {-29, -20, -7, -3, -1, -0.5, -11, -44};
    const Vector<Index> lengths{5, 3};
    Values grad = run(values, lengths, forced).grad_values;
    require_gradients([&] { return run(values, lengths, forced).value; }, {{"values", values.data(), 1, 8, true}},
                      {{"values", grad.data(), 1, 8, true}});
  }
}

TEST_CASE("a run penalty of lengths that differ or without a threshold is refused", "[run_penalty]") {
  REQUIRE_THROWS_AS(run({-30, -30}, {3}), std::invalid_argument);
  REQUIRE_THROWS_AS(run({-30, -30}, {2}, {0}), std::invalid_argument);
  const Values values{-30};
  REQUIRE_THROWS_AS(run_penalty<double>(values, SequenceOffsets::from_lengths(Vector<Index>{1}), {}, 0.0),
                    std::invalid_argument);
}
