#include <merganser/nn/score_bound.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace score_bound_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

constexpr Index heads = 3;

template <Real Scalar>
struct Normalised {
  Matrix<Scalar> y, factors;
};

template <Real Scalar>
Normalised<Scalar> normalised(Matrix<Scalar> x, double length) {
  Matrix<Scalar> factors = normalise_heads(x, heads, length);
  return {x, factors};
}

template <Real Scalar>
Matrix<Scalar> some_rows(Index tokens = 7) {
  Rng rng(1);
  return random_matrix<Scalar>(tokens, heads * 5, rng);
}

TEST_CASE("bounds are values", "[ScoreBound]") {
  REQUIRE(ScoreBound() == ScoreBound::none());
  REQUIRE(ScoreBound::soft_cap(8).kind == ScoreBoundKind::soft_cap);
  REQUIRE(ScoreBound::soft_cap(8).value == 8.0);
  REQUIRE(ScoreBound::normalised(10).kind == ScoreBoundKind::normalised);
  REQUIRE_FALSE(ScoreBound::normalised(8) == ScoreBound::soft_cap(8));
  REQUIRE_FALSE(ScoreBound::soft_cap(7) == ScoreBound::soft_cap(8));
}

TEST_CASE("a bound that needs a value must have one", "[ScoreBound]") {
  REQUIRE_NOTHROW(ScoreBound::none().check("f"));
  REQUIRE_NOTHROW(ScoreBound::soft_cap(0.5).check("f"));
  REQUIRE(argument_error([] { ScoreBound::soft_cap(0).check("Layer"); }) ==
          "Layer: score_bound.value: got 0, expected a positive number");
  REQUIRE(argument_error([] { ScoreBound::normalised(-2).check("Layer"); }) ==
          "Layer: score_bound.value: got -2, expected a positive number");
  REQUIRE(argument_error([] { ScoreBound::soft_cap(std::nan("")).check("Layer"); }) ==
          "Layer: score_bound.value: got nan, expected a positive number");
  for (const double value : {1e39, 1e-39, std::numeric_limits<double>::infinity()})
    REQUIRE(
        argument_error([&] { ScoreBound::soft_cap(value).check("Layer"); }).ends_with("expected from 1e-30 to 1e30"));
}

TEMPLATE_TEST_CASE("each head's slice gets the length, and keeps its direction", "[normalise_heads]", float, double) {
  const Matrix<TestType> x = some_rows<TestType>();
  const Normalised<TestType> result = normalised(x, 10.0);
  REQUIRE(result.factors.rows() == 7);
  REQUIRE(result.factors.cols() == heads);
  for (Index t = 0; t < 7; ++t)
    for (Index h = 0; h < heads; ++h) {
      const auto slice = x.row(t).segment(5 * h, 5), scaled = result.y.row(t).segment(5 * h, 5);
      REQUIRE_THAT(static_cast<double>(scaled.norm()), WithinRel(10.0, 1e-6));
      REQUIRE_THAT(static_cast<double>(result.factors(t, h)),
                   WithinRel(10.0 / static_cast<double>(slice.norm()), 1e-6));
      REQUIRE(relative_difference(Matrix<TestType>(scaled), Matrix<TestType>(slice * result.factors(t, h))) <=
              agreement<TestType>);
    }
}

TEMPLATE_TEST_CASE("a slice of zeros stays zeros and has a finite gradient", "[normalise_heads]", float, double) {
  Matrix<TestType> x = some_rows<TestType>();
  x.row(2).segment(5, 5).setZero();
  const Normalised<TestType> result = normalised(x, 10.0);
  REQUIRE((result.y.row(2).segment(5, 5).array() == TestType{0}).all());
  Matrix<TestType> grad = Matrix<TestType>::Ones(7, heads * 5);
  normalise_heads_backward(result.y, result.factors, 10.0, grad);
  REQUIRE(grad.allFinite());
  REQUIRE(normalised(Matrix<TestType>(0, heads * 5), 1.0).factors.rows() == 0);
}

TEST_CASE("the gradient of the normalisation agrees with finite differences", "[normalise_heads]") {
  for (const double length : {1.0, 10.0}) {
    Rng rng(2);
    Matrix<double> x = some_rows<double>();
    const auto probe = random_matrix<double>(7, heads * 5, rng);
    const Normalised<double> result = normalised(x, length);
    Matrix<double> grad = probe;
    normalise_heads_backward(result.y, result.factors, length, grad);
    require_gradients([&] { return probe_sum(probe, normalised(x, length).y); }, {tensor_view("x", x)},
                      {tensor_view("x", grad)});
  }
}

TEMPLATE_TEST_CASE("a row is normalised to the same bits in any batch", "[normalise_heads]", float, double) {
  const Matrix<TestType> x = some_rows<TestType>();
  const Matrix<TestType> all = normalised(x, 10.0).y;
  for (Index t = 0; t < 7; ++t)
    REQUIRE(identical(normalised(Matrix<TestType>(x.row(t)), 10.0).y, Matrix<TestType>(all.row(t))));
}

TEST_CASE("the normalisation in float follows the one in double", "[normalise_heads]") {
  require_float_follows_double([] { return normalised(some_rows<float>(), 10.0).y; },
                               [] { return normalised(some_rows<double>(), 10.0).y; });
}

TEST_CASE("normalised heads share the columns", "[ScoreBound]") {
  Matrix<double> x = Matrix<double>::Ones(2, 6), grad = Matrix<double>::Ones(2, 5);
  REQUIRE_THROWS_AS(normalise_heads(x, 4, 1.0), std::invalid_argument);
  REQUIRE_THROWS_AS(normalise_heads(x, 0, 1.0), std::invalid_argument);
  const Matrix<double> factors = normalise_heads(x, 3, 1.0);
  REQUIRE_THROWS_AS(normalise_heads_backward(x, factors, 1.0, grad), std::invalid_argument);
}

}  // namespace score_bound_test
