// The vocabulary types: scalars, matrices, token ids and positions.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>

#include <Eigen/Core>

#include <merganser/core/instruction_set.hpp>
#include <merganser/core/matrix.hpp>
#include <merganser/core/vector.hpp>

namespace merganser::inline MERGANSER_ISA {

#ifdef EIGEN_VECTORIZE
static_assert(!instruction_set.starts_with("scalar"), "a setting of Eigen stands behind an include of merganser");
#else
static_assert(instruction_set.starts_with("scalar"), "a setting of Eigen stands behind an include of merganser");
#endif

/// The scalar types that every layer is written for. Gradients are checked in double, models run in float.
template <class Scalar>
concept Real = std::same_as<Scalar, float> || std::same_as<Scalar, double>;

/// Extents and row numbers.
using Index = Eigen::Index;

/// One token of the input vocabulary. Nothing in nn, merge or models assumes that tokens are bytes.
using TokenId = std::int32_t;

/// The place of a token in the sequence as it came in, counted from 0. It survives deletion.
using Position = std::int32_t;

/// The label of a token that is not scored.
inline constexpr TokenId ignored_label = -100;

/// What a callback answers: whether that which called it goes on.
enum class Continue { no, yes };

/// The Eigen types of a row-major matrix of run-time size and of one row.
template <Real Scalar>
using PlainMatrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <Real Scalar>
using PlainRowVector = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

/// A row-major matrix of run-time size; one token a row. Holds what an Eigen matrix holds, in memory from the reserve.
template <Real Scalar>
using Matrix = OwningMatrix<PlainMatrix<Scalar>>;

/// One row.
template <Real Scalar>
using RowVector = OwningMatrix<PlainRowVector<Scalar>>;

/// Read-only matrix argument: binds to a matrix, also one of Eigen, or to a block of one without a copy.
template <Real Scalar>
using MatrixRef = Eigen::Ref<const PlainMatrix<Scalar>, 0, Eigen::OuterStride<>>;

/// Matrix argument that is written to: binds to a matrix or to a block of one.
template <Real Scalar>
using MutableMatrixRef = Eigen::Ref<PlainMatrix<Scalar>, 0, Eigen::OuterStride<>>;

}  // namespace merganser
