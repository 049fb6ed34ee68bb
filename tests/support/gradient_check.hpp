// Compares analytic gradients with finite differences, coordinate by coordinate, in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>

#include "support/catch.hpp"

namespace merganser::testing {

/// Relative error that every gradient of the library stays below. On sums of five thousand terms the difference
/// quotient itself uses up a fifth of it.
inline constexpr double gradient_tolerance = 1e-7;

/// The coordinate whose two gradients differ most.
struct GradientCheck {
  double worst_relative_error = 0;  ///< |analytic - numeric| / max(|analytic|, |numeric|, floor)
  std::string name;                 ///< of the tensor
  Index index = 0;                  ///< row-major inside the tensor
  double analytic = 0;
  double numeric = 0;
  Index coordinates = 0;  ///< how many were compared
};

/// A matrix or vector under a name of its own, such as an input beside the parameters of a layer.
template <class Tensor>
ParameterView<double> tensor_view(std::string name, Tensor& tensor) {
  return {std::move(name), tensor.data(), tensor.rows(), tensor.cols(), Tensor::RowsAtCompileTime == 1};
}

/// How far a coordinate is moved, at most twice this: keep inputs ten steps away from every kink.
///
/// eps^(1/4): the five-point quotient has truncation error h^4 and rounding error eps/h. On sums of a thousand terms
/// this is ten times better than two points at cbrt(eps), which miss a relative error of 1e-7 there.
inline double gradient_step(double x) {
  return std::pow(std::numeric_limits<double>::epsilon(), 0.25) * std::max(1.0, std::abs(x));
}

/// df/dx by five points; x is restored.
template <class Function>
double numeric_derivative(Function&& f, double& x) {
  const double start = x;
  const volatile double moved = start + gradient_step(start);
  const double step = moved - start;  // the step that was really made
  const auto at = [&](double steps) {
    x = start + steps * step;
    return static_cast<double>(f());
  };
  const double near = at(1) - at(-1);
  const double far = at(2) - at(-2);
  x = start;
  return (8 * near - far) / (12 * step);
}

/// Compares the gradients of the scalar f() with finite differences in every coordinate of every parameter.
///
/// f reads the parameters through the views, which are moved one at a time and restored. The floor of the relative
/// error is 1e-3 of the largest gradient entry and 1e-4 of |f|: the rounding noise of a difference quotient is
/// absolute, about 1e-12 of the summed magnitudes inside f, and below the floor a relative error would measure that
/// noise.
/// @throws std::invalid_argument if parameters and gradients do not have the same names and sizes
template <class Function>
GradientCheck check_gradients(Function&& f, const Vector<ParameterView<double>>& parameters,
                              const Vector<ParameterView<double>>& gradients) {
  check_equal("check_gradients", "gradients", gradients.size(), parameters.size());
  Vector<Vector<double>> numeric;
  double largest = 0;
  for (Index p = 0; p < parameters.size(); ++p) {
    check_equal("check_gradients", "name", gradients[p].name, parameters[p].name);
    check_equal("check_gradients", "size of " + parameters[p].name, gradients[p].size(), parameters[p].size());
    Vector<double>& values = numeric.emplace_back();
    for (Index i = 0; i < parameters[p].size(); ++i) {
      values.push_back(numeric_derivative(f, parameters[p].data[i]));
      largest = std::max(largest, std::abs(values.back()));
    }
  }

  const double floor = std::max(1e-3 * largest, 1e-4 * std::max(1.0, std::abs(static_cast<double>(f()))));
  GradientCheck worst;
  for (Index p = 0; p < parameters.size(); ++p)
    for (Index i = 0; i < parameters[p].size(); ++i) {
      const double a = gradients[p].data[i];
      const double n = numeric[p][i];
      double error = std::abs(a - n) / std::max({std::abs(a), std::abs(n), floor});
      if (!std::isfinite(error)) error = std::numeric_limits<double>::infinity();
      if (worst.coordinates++ == 0 || error > worst.worst_relative_error) {
        const Index compared = worst.coordinates;
        worst = {error, parameters[p].name, i, a, n, compared};
      }
    }
  return worst;
}

/// Fails the running test case unless every gradient agrees, and at least one was compared.
template <class Function>
void require_gradients(Function&& f, const Vector<ParameterView<double>>& parameters,
                       const Vector<ParameterView<double>>& gradients, double tolerance = gradient_tolerance) {
  const GradientCheck worst = check_gradients(f, parameters, gradients);
  CAPTURE(worst.name, worst.index, worst.analytic, worst.numeric, worst.coordinates);
  REQUIRE(worst.coordinates > 0);
  REQUIRE(worst.worst_relative_error < tolerance);
}

}  // namespace merganser::testing
