// The vocabulary types: scalars, matrices, token ids and positions.
#pragma once

#include <concepts>
#include <cstdint>

#include <Eigen/Core>

namespace merganser {

/// The scalar types that every layer is written for. Gradients are checked in double, models run in float.
template <class Scalar>
concept Real = std::same_as<Scalar, float> || std::same_as<Scalar, double>;

/// Extents and row numbers.
using Index = Eigen::Index;

/// One token of the input vocabulary. Nothing in nn, merge or models assumes that tokens are bytes.
using TokenId = std::int32_t;

/// The place of a token in the sequence as it came in, counted from 0. It survives deletion.
using Position = std::int32_t;

/// A row-major matrix of run-time size; one token a row.
template <Real Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// One row.
template <Real Scalar>
using RowVector = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

/// Read-only matrix argument: binds to a matrix or to a block of one without a copy.
template <Real Scalar>
using MatrixRef = Eigen::Ref<const Matrix<Scalar>, 0, Eigen::OuterStride<>>;

/// Matrix argument that is written to: binds to a matrix or to a block of one.
template <Real Scalar>
using MutableMatrixRef = Eigen::Ref<Matrix<Scalar>, 0, Eigen::OuterStride<>>;

}  // namespace merganser
