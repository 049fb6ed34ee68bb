// Laws that every layer keeps, to be called from its own test with lambdas that run it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <merganser/core/executor.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/core/types.hpp>

#include "support/catch.hpp"

namespace merganser::testing {

/// How far two ways to compute one thing may lie apart, relative to its largest entry: some hundred roundings.
template <Real Scalar>
inline constexpr double agreement = 200.0 * static_cast<double>(std::numeric_limits<Scalar>::epsilon());

/// Largest difference between two matrices, relative to the largest entry of either, at least 1. Infinite when the
/// shapes differ or a number is not finite.
template <class First, class Second>
double relative_difference(const First& first, const Second& second) {
  if (first.rows() != second.rows() || first.cols() != second.cols()) return std::numeric_limits<double>::infinity();
  if (!first.allFinite() || !second.allFinite()) return std::numeric_limits<double>::infinity();
  double largest = 1, difference = 0;
  for (Index i = 0; i < first.rows(); ++i)
    for (Index j = 0; j < first.cols(); ++j) {
      const double a = static_cast<double>(first(i, j)), b = static_cast<double>(second(i, j));
      largest = std::max({largest, std::abs(a), std::abs(b)});
      difference = std::max(difference, std::abs(a - b));
    }
  return difference / largest;
}

/// Same shape and same numbers, bit for bit but for the sign of 0.
template <class First, class Second>
bool identical(const First& first, const Second& second) {
  return first.rows() == second.rows() && first.cols() == second.cols() && (first.array() == second.array()).all();
}

/// forward() and forward with a cache give the same: both lambdas return a matrix.
template <class Inference, class Training>
void require_forward_agrees(Inference&& inference, Training&& training) {
  const auto expected = inference();
  using Scalar = typename decltype(expected)::Scalar;
  REQUIRE(relative_difference(training(), expected) <= agreement<Scalar>);
}

/// Parameter gradients are added to, not overwritten: backward(gradients), run twice into the same gradients, gives
/// twice what one run gives, and something that is not 0.
template <class Layer, class Backward>
void require_backward_adds(const Layer& layer, Backward&& backward) {
  using Scalar = typename Layer::ScalarType;
  Layer once = zeros_like(layer), twice = zeros_like(layer);
  backward(once);
  backward(twice);
  backward(twice);
  const auto single = parameter_views(once), doubled = parameter_views(twice);
  REQUIRE(single.size() == doubled.size());
  Scalar largest = 0;
  for (Index p = 0; p < single.size(); ++p) {
    INFO(single[p].name);
    REQUIRE(relative_difference(Scalar{2} * single[p].array(), doubled[p].array()) <= agreement<Scalar>);
    if (single[p].size() > 0) largest = std::max(largest, single[p].array().abs().maxCoeff());
  }
  REQUIRE(largest > Scalar{0});
}

/// The same computation in float and in double: both lambdas return a matrix, from the same numbers.
template <class Single, class Double>
void require_float_follows_double(Single&& in_float, Double&& in_double, double tolerance = agreement<float>) {
  const auto expected = in_double();
  REQUIRE(expected.size() > 0);
  REQUIRE(relative_difference(in_float(), expected) <= tolerance);
}

/// The number of threads never changes a bit: run() returns a matrix.
template <class Run>
void require_same_bits_with_threads(Run&& run) {
  const auto on_threads = [&](int threads) {
    ThreadPool pool(threads);
    const ExecutorScope scope(pool);
    return run();
  };
  REQUIRE(identical(on_threads(2), on_threads(1)));
}

}  // namespace merganser::testing
