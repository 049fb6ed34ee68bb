#include <merganser/kernels/elementwise.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace elementwise_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

double plain_gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

template <Real Scalar>
Matrix<Scalar> gelu(const Matrix<Scalar>& x, const Matrix<Scalar>& gate) {
  Matrix<Scalar> y(x.rows(), x.cols());
  gated_gelu(x, gate, y);
  return y;
}

template <Real Scalar>
Matrix<Scalar> gelu(const Matrix<Scalar>& x) {
  return gelu<Scalar>(x, Matrix<Scalar>::Ones(x.rows(), x.cols()));
}

template <Real Scalar>
struct GeluGradients {
  Matrix<Scalar> x, gate;
};

template <Real Scalar>
GeluGradients<Scalar> gelu_gradients(const Matrix<Scalar>& x, const Matrix<Scalar>& gate,
                                     const Matrix<Scalar>& grad_y) {
  GeluGradients<Scalar> grad{Matrix<Scalar>(x.rows(), x.cols()), Matrix<Scalar>(x.rows(), x.cols())};
  gated_gelu_backward(x, gate, grad_y, grad.x, grad.gate);
  return grad;
}

// A row of numbers from -12 to 12.
template <Real Scalar>
Matrix<Scalar> range() {
  Matrix<Scalar> x(1, 2401);
  for (Index i = 0; i < x.size(); ++i) x(0, i) = static_cast<Scalar>(static_cast<double>(i - 1200) / 100);
  return x;
}

TEST_CASE("every row is visited once, whatever their number", "[elementwise]") {
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    const ExecutorScope scope(pool);
    for (const Index rows : {0, 1, 63, 64, 65, 128, 200}) {
      std::vector<int> visits(static_cast<std::size_t>(rows), 0);
      for_each_row(rows, 1 << 14, [&](Index r) { ++visits.at(static_cast<std::size_t>(r)); });
      CAPTURE(rows, threads);
      REQUIRE(std::all_of(visits.begin(), visits.end(), [](int count) { return count == 1; }));
    }
  }
}

TEMPLATE_TEST_CASE("gelu is its tanh form", "[elementwise]", float, double) {
  const Matrix<TestType> x = range<TestType>();
  const Matrix<TestType> y = gelu(x);
  const double epsilon = static_cast<double>(std::numeric_limits<TestType>::epsilon());
  double worst = 0;
  for (Index i = 0; i < x.size(); ++i) {
    const auto at = static_cast<double>(x(0, i));
    worst = std::max(worst, std::abs(static_cast<double>(y(0, i)) - plain_gelu(at)) / std::max(1.0, std::abs(at)));
  }
  REQUIRE(worst <= 4 * epsilon);
  REQUIRE_THAT(static_cast<double>(gelu<TestType>(Matrix<TestType>::Ones(1, 1))(0, 0)),
               WithinAbs(0.841191990608, 1e-6));
}

TEST_CASE("gelu at the extremes", "[elementwise]") {
  Matrix<float> x(1, 6);
  x << 0.0F, 1e-30F, 50.0F, -50.0F, 1e30F, -1e30F;
  Matrix<float> expected(1, 6);
  expected << 0.0F, 5e-31F, 50.0F, 0.0F, 1e30F, 0.0F;
  REQUIRE(identical(gelu(x), expected));
  x(0, 2) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(std::isnan(gelu(x)(0, 2)));
  REQUIRE(gelu(Matrix<float>(0, 3)).rows() == 0);
  REQUIRE(gelu(Matrix<float>(3, 0)).cols() == 0);
}

TEMPLATE_TEST_CASE("the gate multiplies gelu, element by element", "[elementwise]", float, double) {
  Rng rng(1);
  const auto x = random_matrix<TestType>(5, 19, rng, 2.0), gate = random_matrix<TestType>(5, 19, rng);
  const Matrix<TestType> expected = gelu(x).cwiseProduct(gate);
  REQUIRE(relative_difference(gelu(x, gate), expected) <= agreement<TestType>);
}

TEMPLATE_TEST_CASE("the derivative of gelu agrees with a difference quotient of the formula", "[elementwise]", float,
                   double) {
  const Matrix<TestType> x = range<TestType>(), ones = Matrix<TestType>::Ones(1, x.size());
  const Matrix<TestType> derivative = gelu_gradients(x, ones, ones).x;
  const double tolerance = std::max(1e-9, 40 * static_cast<double>(std::numeric_limits<TestType>::epsilon()));
  double worst = 0;
  for (Index i = 0; i < x.size(); ++i) {
    const double step = 1e-5, at = static_cast<double>(x(0, i));
    const double quotient = (plain_gelu(at + step) - plain_gelu(at - step)) / (2 * step);
    worst = std::max(worst, std::abs(static_cast<double>(derivative(0, i)) - quotient));
  }
  REQUIRE(worst <= tolerance);
}

TEST_CASE("the gradients of gated gelu agree with finite differences", "[elementwise]") {
  Rng rng(2);
  auto x = random_matrix<double>(3, 7, rng, 2.0), gate = random_matrix<double>(3, 7, rng);
  const auto probe = random_matrix<double>(3, 7, rng);
  GeluGradients<double> grad = gelu_gradients(x, gate, probe);
  require_gradients([&] { return probe_sum(probe, gelu(x, gate)); }, {tensor_view("x", x), tensor_view("gate", gate)},
                    {tensor_view("x", grad.x), tensor_view("gate", grad.gate)});
}

TEST_CASE("gated gelu has the same bits with one thread and with two, and for a row alone", "[elementwise]") {
  Rng rng(3);
  const auto x = random_matrix<float>(200, 37, rng), gate = random_matrix<float>(200, 37, rng);
  const auto grad_y = random_matrix<float>(200, 37, rng);
  require_same_bits_with_threads([&] { return gelu(x, gate); });
  require_same_bits_with_threads([&] { return gelu_gradients(x, gate, grad_y).x; });
  require_same_bits_with_threads([&] { return gelu_gradients(x, gate, grad_y).gate; });
  const Matrix<float> all = gelu(x, gate);
  for (const Index row : {0, 63, 64, 199})
    REQUIRE(identical(gelu<float>(x.row(row), gate.row(row)), Matrix<float>(all.row(row))));
}

TEMPLATE_TEST_CASE("sigmoid and its logarithm do not overflow", "[elementwise]", float, double) {
  const double epsilon = static_cast<double>(std::numeric_limits<TestType>::epsilon());
  REQUIRE(sigmoid(TestType{0}) == TestType{0.5});
  REQUIRE(sigmoid(TestType{1000}) == TestType{1});
  REQUIRE(sigmoid(TestType{-1000}) == TestType{0});
  REQUIRE(log_sigmoid(TestType{1000}) == TestType{0});
  REQUIRE(log_sigmoid(TestType{-1000}) == TestType{-1000});
  REQUIRE_THAT(static_cast<double>(log_sigmoid(TestType{0})), WithinRel(-std::log(2.0), 2 * epsilon));
  for (int i = -60; i <= 60; ++i) {
    const double x = static_cast<double>(i) / 2;
    const auto at = static_cast<TestType>(x);
    CAPTURE(x);
    REQUIRE_THAT(static_cast<double>(sigmoid(at)), WithinRel(1 / (1 + std::exp(-x)), 4 * epsilon));
    REQUIRE_THAT(static_cast<double>(sigmoid(at) + sigmoid(-at)), WithinAbs(1.0, 2 * epsilon));
    REQUIRE_THAT(static_cast<double>(log_sigmoid(at)), WithinRel(-std::log1p(std::exp(-x)), 4 * epsilon));
  }
  REQUIRE(std::isnan(sigmoid(std::numeric_limits<TestType>::quiet_NaN())));
}

TEMPLATE_TEST_CASE("exact gelu and its derivative are what the formulas say, far out as well", "[elementwise]", float,
                   double) {
  const double epsilon = static_cast<double>(std::numeric_limits<TestType>::epsilon());
  for (int i = -40; i <= 40; ++i) {
    const double x = static_cast<double>(i) / 8;
    const auto at = static_cast<TestType>(x);
    const double share = 0.5 * std::erfc(-x * std::sqrt(0.5));
    const double density = std::exp(-0.5 * x * x) / std::sqrt(8 * std::atan(1.0));
    CAPTURE(x);
    REQUIRE_THAT(static_cast<double>(exact_gelu(at)), WithinAbs(x * share, 16 * epsilon));
    REQUIRE_THAT(static_cast<double>(exact_gelu_derivative(at)), WithinAbs(share + x * density, 16 * epsilon));
  }
  REQUIRE(exact_gelu(TestType{1000}) == TestType{1000});
  REQUIRE(exact_gelu(TestType{-1000}) == TestType{0});
  REQUIRE(exact_gelu_derivative(TestType{1000}) == TestType{1});
  REQUIRE(exact_gelu_derivative(TestType{-1000}) == TestType{0});
  double x = 0.3;
  REQUIRE_THAT(numeric_derivative([&] { return exact_gelu(x); }, x), WithinAbs(exact_gelu_derivative(0.3), 1e-10));
}

TEST_CASE("a gated gelu of blocks of two shapes is refused", "[elementwise]") {
  const Matrix<float> x = Matrix<float>::Ones(3, 4);
  Matrix<float> smaller(3, 3), same(3, 4);
  REQUIRE_THROWS_WITH(kernels::gated_gelu(x, x, smaller), "kernels::gated_gelu: y: got 3 x 3, expected 3 x 4");
  REQUIRE_THROWS_AS(kernels::gated_gelu(x, smaller, same), std::invalid_argument);
  REQUIRE_THROWS_AS(kernels::gated_gelu_backward(x, x, smaller, same, same), std::invalid_argument);
  REQUIRE_THROWS_AS(kernels::gated_gelu_backward(x, x, x, smaller, same), std::invalid_argument);
  REQUIRE_THROWS_AS(kernels::gated_gelu_backward(x, x, x, same, smaller), std::invalid_argument);
}

}  // namespace elementwise_test
