#include <merganser/nn/dropout.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace dropout_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

template <Real Scalar>
Matrix<Scalar> dropped(const Dropout<Scalar>& dropout, Matrix<Scalar> x, Rng rng) {
  typename Dropout<Scalar>::Cache cache;
  dropout.apply(x, rng, cache);
  return x;
}

TEMPLATE_TEST_CASE("dropout zeroes the given fraction and scales the rest", "[Dropout]", float, double) {
  for (const double rate : {0.1, 0.5, 0.9}) {
    const Matrix<TestType> y =
        dropped(Dropout<TestType>({rate}), Matrix<TestType>(Matrix<TestType>::Ones(200, 50)), Rng(1));
    const auto kept = static_cast<TestType>(1 / (1 - rate));
    const Index zeros = (y.array() == TestType{0}).count();
    REQUIRE(zeros + (y.array() == kept).count() == y.size());
    // 10,000 draws: four standard errors
    REQUIRE_THAT(static_cast<double>(zeros) / 10000, WithinAbs(rate, 0.04 * std::sqrt(rate * (1 - rate))));
  }
}

TEMPLATE_TEST_CASE("at rate 0 nothing changes and no number is drawn", "[Dropout]", float, double) {
  Rng rng(2), untouched(2);
  Matrix<TestType> x = Matrix<TestType>::Constant(3, 5, 7);
  typename Dropout<TestType>::Cache cache = Matrix<TestType>::Zero(3, 5);  // of an earlier step at another rate
  Dropout<TestType>().apply(x, rng, cache);
  REQUIRE((x.array() == TestType{7}).all());
  REQUIRE(rng.state() == untouched.state());
  REQUIRE(cache.size() == 0);
  Dropout<TestType>().backward(x, cache);
  REQUIRE((x.array() == TestType{7}).all());
}

TEMPLATE_TEST_CASE("a generator repeats its mask, the next draw differs", "[Dropout]", float, double) {
  const Dropout<TestType> dropout({0.5});
  const Matrix<TestType> x = Matrix<TestType>::Ones(11, 5);
  REQUIRE(identical(dropped(dropout, x, Rng(3)), dropped(dropout, x, Rng(3))));
  Rng rng(3);
  typename Dropout<TestType>::Cache first, second;
  Matrix<TestType> y = x;
  dropout.apply(y, rng, first);
  dropout.apply(y, rng, second);
  REQUIRE_FALSE(identical(first, second));
}

TEST_CASE("masks are drawn row by row: float and double drop the same numbers", "[Dropout]") {
  const Matrix<float> single = dropped(Dropout<float>({0.25}), Matrix<float>(Matrix<float>::Ones(11, 5)), Rng(4));
  const Matrix<double> twice = dropped(Dropout<double>({0.25}), Matrix<double>(Matrix<double>::Ones(11, 5)), Rng(4));
  require_float_follows_double([&] { return single; }, [&] { return twice; });
  const Matrix<float> fewer = dropped(Dropout<float>({0.25}), Matrix<float>(Matrix<float>::Ones(4, 5)), Rng(4));
  REQUIRE(identical(Matrix<float>(single.topRows(4)), fewer));
}

TEST_CASE("the gradient of dropout agrees with finite differences under a fixed mask", "[Dropout]") {
  const Dropout<double> dropout({0.4});
  Rng rng(5);
  auto x = random_matrix<double>(11, 5, rng);
  const auto probe = random_matrix<double>(11, 5, rng);
  Matrix<double> y = x, grad = probe;
  Dropout<double>::Cache cache;
  Rng draws(6);
  dropout.apply(y, draws, cache);
  dropout.backward(grad, cache);
  require_gradients([&] { return probe_sum(probe, dropped(dropout, x, Rng(6))); }, {tensor_view("x", x)},
                    {tensor_view("x", grad)});
}

TEST_CASE("an empty block", "[Dropout]") {
  Rng rng(7);
  Matrix<float> x(0, 5);
  Dropout<float>::Cache cache;
  const Dropout<float> dropout({0.5});
  dropout.apply(x, rng, cache);
  dropout.backward(x, cache);
  REQUIRE(x.rows() == 0);
}

TEST_CASE("dropout says what does not fit", "[Dropout]") {
  REQUIRE(argument_error([] { Dropout<float>({1.0}); }) == "Dropout: rate: got 1, expected a rate in [0, 1)");
  REQUIRE(argument_error([] { Dropout<float>({-0.5}); }) == "Dropout: rate: got -0.5, expected a rate in [0, 1)");
  REQUIRE(argument_error([] { Dropout<float>({std::nan("")}); }) ==
          "Dropout: rate: got nan, expected a rate in [0, 1)");
  Rng rng(8);
  Matrix<float> x = Matrix<float>::Ones(3, 5), short_grad(2, 5), narrow_grad(3, 4);
  Dropout<float>::Cache cache;
  const Dropout<float> dropout({0.5});
  dropout.apply(x, rng, cache);
  REQUIRE(argument_error([&] { dropout.backward(short_grad, cache); }) ==
          "Dropout::backward: grad: got 2 x 5, expected 3 x 5");
  REQUIRE(argument_error([&] { dropout.backward(narrow_grad, cache); }) ==
          "Dropout::backward: grad: got 3 x 4, expected 3 x 5");
}

}  // namespace dropout_test
