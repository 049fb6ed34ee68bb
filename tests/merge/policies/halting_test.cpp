#include <merganser/merge/policies/halting.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace halting_test {

using namespace merganser;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using merge::Halting;

/// Rows whose first numbers say these halting probabilities with scale 1 and centre 0.
Matrix<double> saying(const Vector<double>& probabilities, double second) {
  Matrix<double> x(probabilities.size(), 2);
  for (Index t = 0; t < x.rows(); ++t) x.row(t) << std::log(probabilities[t] / (1 - probabilities[t])), second;
  return x;
}

TEST_CASE("a token halts when its probabilities add up to 1", "[Halting]") {
  Halting<double> halting(3, 2, {.scale = 1, .centre = 0, .epsilon = 0.1});
  halting.add(saying({0.25, 0.95, 0.5}, 1), false);
  REQUIRE(halting.alive() == Vector<std::uint8_t>{1, 0, 1});
  REQUIRE(halting.cost() == Vector<double>{1, 2, 1});  // of one layer all of 1
  halting.add(saying({0.25, 0.3, 0.45}, 10), false);
  REQUIRE(halting.alive() == Vector<std::uint8_t>{1, 0, 0});
  halting.add(saying({0.125, 0.5, 0.5}, 100), true);
  REQUIRE(halting.alive() == Vector<std::uint8_t>{0, 0, 0});
  // 0.25 and 0.25 of the first layers, the rest of the last; all of the first; half and half.
  REQUIRE_THAT(halting.output()(0, 1), WithinAbs(0.25 * 1 + 0.25 * 10 + 0.5 * 100, 1e-12));
  REQUIRE_THAT(halting.output()(1, 1), WithinAbs(1, 1e-12));
  REQUIRE_THAT(halting.output()(2, 1), WithinAbs(0.5 * 1 + 0.5 * 10, 1e-12));
  REQUIRE_THAT(halting.cost()[0], WithinAbs(3.5, 1e-12));
  REQUIRE_THAT(halting.cost()[1], WithinAbs(2, 1e-12));
  REQUIRE_THAT(halting.cost()[2], WithinAbs(2.5, 1e-12));
  REQUIRE_THAT(halting.ponder_loss(), WithinAbs(8.0 / 3, 1e-12));
}

TEST_CASE("what halting adds up is a mean of layers", "[Halting]") {
  Rng rng(1);
  Halting<double> halting(20, 3, {.scale = 2, .centre = 1});
  for (Index layer = 0; layer < 6; ++layer) {
    Matrix<double> x = random_matrix<double>(20, 3, rng);
    x.col(2).setOnes();
    halting.add(x, layer == 5);
  }
  for (Index t = 0; t < 20; ++t) {
    REQUIRE_THAT(halting.output()(t, 2), WithinAbs(1, 1e-12));
    REQUIRE((halting.cost()[t] > 1 && halting.cost()[t] <= 7));
  }
}

TEMPLATE_TEST_CASE("probabilities that are no numbers halt", "[Halting]", float, double) {
  Halting<TestType> halting(2, 1, {});
  Matrix<TestType> x = Matrix<TestType>::Zero(2, 1);
  x(0, 0) = std::numeric_limits<TestType>::quiet_NaN();
  halting.add(x, false);
  REQUIRE(halting.alive() == Vector<std::uint8_t>{0, 1});
}

TEST_CASE("halting of no tokens", "[Halting]") {
  Halting<float> halting(0, 4, {});
  halting.add(Matrix<float>(0, 4), true);
  REQUIRE(halting.ponder_loss() == 0);
  REQUIRE(halting.output().rows() == 0);
}

TEST_CASE("settings and shapes of halting that do not fit are named", "[Halting]") {
  REQUIRE(argument_error([] { Halting<float>(2, 0, {}); }) == "Halting: width: got 0, expected at least 1");
  REQUIRE(argument_error([] { Halting<float>(2, 1, {.epsilon = 1}); }) ==
          "Halting: epsilon: got 1, expected in (0, 1)");
  REQUIRE_THROWS_AS(Halting<float>(2, 1, {.centre = std::numeric_limits<double>::infinity()}), std::invalid_argument);
  Halting<float> halting(2, 3, {});
  REQUIRE(argument_error([&] { halting.add(Matrix<float>::Zero(1, 3), false); }) ==
          "Halting::add: x.rows(): got 1, expected 2");
  REQUIRE(argument_error([&] { halting.add(Matrix<float>::Zero(2, 2), false); }) ==
          "Halting::add: x.cols(): got 2, expected 3");
}

}  // namespace halting_test
