// Numbers and layers for tests.
#pragma once

#include <cmath>
#include <string>

#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>

#include "support/error_text.hpp"

namespace merganser::testing {

/// Fills a tensor with normal numbers that float holds exactly: a seed gives the same numbers in float and in double.
template <class Tensor>
void fill_random(Tensor& tensor, Rng& rng, double deviation = 1.0) {
  for (Index i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = static_cast<typename Tensor::Scalar>(static_cast<float>(deviation * rng.normal()));
}

/// A matrix of such numbers.
template <Real Scalar>
Matrix<Scalar> random_matrix(Index rows, Index cols, Rng& rng, double deviation = 1.0) {
  Matrix<Scalar> matrix(rows, cols);
  fill_random(matrix, rng, deviation);
  return matrix;
}

/// Such numbers in a list.
template <Real Scalar, class List = Vector<Scalar>>
List random_values(Index count, Rng& rng, double deviation = 1.0) {
  const Matrix<Scalar> values = random_matrix<Scalar>(1, count, rng, deviation);
  return {values.data(), values.data() + count};
}

/// Fills every parameter of a layer with such numbers.
template <class Layer>
void randomise(Layer& layer, Rng& rng, double deviation = 1.0) {
  layer.visit([&](const std::string&, auto& tensor) { fill_random(tensor, rng, deviation); }, "");
}

/// sum(R * y): the scalar whose gradient with respect to y is the probe R.
template <class First, class Second>
double probe_sum(const First& probe, const Second& y) {
  return (probe.array() * y.array()).sum();
}

/// Root mean square of all entries.
template <class Tensor>
double measured_deviation(const Tensor& tensor) {
  return std::sqrt(static_cast<double>(tensor.array().square().mean()));
}

}  // namespace merganser::testing
