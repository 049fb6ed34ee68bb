#include "support/gradient_check.hpp"

#include <merganser/core/random.hpp>

namespace gradient_check_test {

using namespace merganser;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

// f(x, w) = sum(R * tanh(x w^T)) on shapes of pairwise different extents, with its gradients by hand.
struct Probe {
  Matrix<double> x{5, 3}, w{4, 3}, r{5, 4};
  Matrix<double> grad_x, grad_w;

  Probe() {
    Rng rng(11);
    for (Matrix<double>* matrix : {&x, &w, &r})
      for (Index i = 0; i < matrix->size(); ++i) matrix->data()[i] = rng.normal();
    const Matrix<double> y = (x * w.transpose()).array().tanh();
    const Matrix<double> grad_s = (r.array() * (1 - y.array().square())).matrix();
    grad_x = grad_s * w;
    grad_w = grad_s.transpose() * x;
  }

  double operator()() const { return (r.array() * (x * w.transpose()).array().tanh()).sum(); }
  Vector<ParameterView<double>> parameters() { return {tensor_view("x", x), tensor_view("w", w)}; }
  Vector<ParameterView<double>> gradients() { return {tensor_view("x", grad_x), tensor_view("w", grad_w)}; }
};

TEST_CASE("a right gradient passes, well below the tolerance", "[gradient_check]") {
  Probe probe;
  const Matrix<double> x = probe.x, w = probe.w;
  const GradientCheck worst = check_gradients(probe, probe.parameters(), probe.gradients());
  REQUIRE(worst.coordinates == 5 * 3 + 4 * 3);
  REQUIRE(worst.worst_relative_error < 1e-9);
  require_gradients(probe, probe.parameters(), probe.gradients());
  REQUIRE(probe.x == x);  // every coordinate was put back, bit for bit
  REQUIRE(probe.w == w);
}

TEST_CASE("one wrong entry is found and named, however small the fault", "[gradient_check]") {
  Probe probe;
  SECTION("relative fault of a millionth") { probe.grad_w(2, 1) *= 1 + 1e-6; }
  SECTION("a wrong sign") { probe.grad_w(2, 1) *= -1; }
  SECTION("nothing added") { probe.grad_w(2, 1) = 0; }
  SECTION("not a number") { probe.grad_w(2, 1) = std::numeric_limits<double>::quiet_NaN(); }
  const GradientCheck worst = check_gradients(probe, probe.parameters(), probe.gradients());
  REQUIRE_FALSE(worst.worst_relative_error < gradient_tolerance);
  REQUIRE(worst.name == "w");
  REQUIRE(worst.index == 2 * 3 + 1);
  REQUIRE_THAT(worst.numeric, WithinRel(Probe().grad_w(2, 1), 1e-9));
}

TEST_CASE("a wrong entry far below the largest is found", "[gradient_check]") {
  RowVector<double> x = RowVector<double>::Ones(2), gradient(2);
  const auto f = [&x] { return 1e3 * x(0) + 1e-3 * x(1) * x(1); };
  gradient << 1e3, 2e-3;
  require_gradients(f, {tensor_view("x", x)}, {tensor_view("x", gradient)});
  gradient(1) = 1e-3;
  const GradientCheck worst = check_gradients(f, {tensor_view("x", x)}, {tensor_view("x", gradient)});
  REQUIRE(worst.worst_relative_error > gradient_tolerance);
  REQUIRE(worst.index == 1);
}

TEST_CASE("gradients that are 0 pass, and a wrong 0 does not", "[gradient_check]") {
  RowVector<double> x = RowVector<double>::Ones(3);
  RowVector<double> gradient = RowVector<double>::Zero(3);
  require_gradients([] { return 0.7; }, {tensor_view("x", x)}, {tensor_view("x", gradient)});
  const GradientCheck worst =
      check_gradients([&x] { return 1e-5 * x(2); }, {tensor_view("x", x)}, {tensor_view("x", gradient)});
  REQUIRE(worst.worst_relative_error > gradient_tolerance);
  REQUIRE(worst.index == 2);
}

TEST_CASE("names and sizes must agree", "[gradient_check]") {
  RowVector<double> x = RowVector<double>::Ones(3), shorter = RowVector<double>::Ones(2);
  const auto f = [&x] { return x.sum(); };
  REQUIRE_THROWS_AS(check_gradients(f, {tensor_view("x", x)}, {}), std::invalid_argument);
  REQUIRE_THROWS_AS(check_gradients(f, {tensor_view("x", x)}, {tensor_view("y", x)}), std::invalid_argument);
  REQUIRE_THROWS_AS(check_gradients(f, {tensor_view("x", x)}, {tensor_view("x", shorter)}), std::invalid_argument);
}

TEST_CASE("the difference quotient is good to nine digits on curved and on large functions", "[gradient_check]") {
  double x = 0.3;
  REQUIRE_THAT(numeric_derivative([&x] { return std::exp(5 * x); }, x), WithinRel(5 * std::exp(1.5), 1e-10));
  REQUIRE_THAT(numeric_derivative([&x] { return x * x * x; }, x), WithinAbs(0.27, 1e-12));
  REQUIRE_THAT(numeric_derivative([&x] { return 1000 + std::sin(x); }, x), WithinAbs(std::cos(0.3), 1e-8));
  REQUIRE(x == 0.3);
  x = 1e6;
  REQUIRE_THAT(numeric_derivative([&x] { return std::log(x); }, x), WithinRel(1e-6, 1e-9));
}

}  // namespace gradient_check_test
