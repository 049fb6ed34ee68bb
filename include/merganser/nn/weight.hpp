// The weight of a linear map: a matrix, packed for the kernel, or absent.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>
#include <variant>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/kernels/packed_matrix.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// What the weights are of a layer that is made.
enum class Weights {
  zeros,   ///< matrices
  absent,  ///< extents: the numbers come later, weight after weight, and go straight into their packed form
};

/// W [out_features x in_features] in one of three forms:
///
/// - a matrix, which can be trained, saved and packed;
/// - packed once and for all for the kernel, without the matrix: it can only be multiplied with;
/// - absent, known by its extents alone, until `bring` packs what it is brought.
///
/// Products have the same bits with a matrix and with what was packed of it in full precision.
template <Real Scalar>
class Weight {
 public:
  /// A matrix without rows and columns.
  Weight() = default;
  explicit Weight(Matrix<Scalar> matrix) : form_(std::move(matrix)) {}

  /// Zeros, or absent. Extents are positive.
  Weight(Index out_features, Index in_features, Weights weights) {
    if (weights == Weights::absent)
      form_ = Absent{out_features, in_features};
    else
      std::get<Matrix<Scalar>>(form_).setZero(out_features, in_features);
  }

  /// Packed, of a matrix that goes on living elsewhere: the table of a tied head.
  static Weight packed_from(const MatrixRef<Scalar>& matrix, kernels::Precision precision) {
    Weight weight;
    weight.form_ = Packed(matrix, kernels::Orientation::transposed, precision);
    return weight;
  }

  bool is_packed() const { return std::holds_alternative<Packed>(form_); }
  bool is_absent() const { return std::holds_alternative<Absent>(form_); }

  /// Extents, in every form.
  Index out_features() const {
    if (is_packed()) return std::get<Packed>(form_).cols();
    return is_absent() ? std::get<Absent>(form_).out_features : std::get<Matrix<Scalar>>(form_).rows();
  }
  Index in_features() const {
    if (is_packed()) return std::get<Packed>(form_).depth();
    return is_absent() ? std::get<Absent>(form_).in_features : std::get<Matrix<Scalar>>(form_).cols();
  }

  /// @throws std::invalid_argument if the weight is no matrix
  const Matrix<Scalar>& matrix() const& {
    require_matrix("Weight::matrix", "weight");
    return std::get<Matrix<Scalar>>(form_);
  }
  Matrix<Scalar>& matrix() & { return const_cast<Matrix<Scalar>&>(std::as_const(*this).matrix()); }
  const Matrix<Scalar>& matrix() const&& = delete;  // it would be gone

  /// A matrix becomes packed, and is given up. Other forms stay as they are.
  void pack(kernels::Precision precision) {
    if (const auto* matrix = std::get_if<Matrix<Scalar>>(&form_)) *this = packed_from(*matrix, precision);
  }

  /// Packs the numbers of an absent weight [out_features x in_features], which are not kept.
  /// @throws std::invalid_argument as `check_brought`
  void bring(const MatrixRef<Scalar>& numbers, kernels::Precision precision) {
    check_brought("Weight::bring", numbers);
    *this = packed_from(numbers, precision);
  }

  /// Requires that the weight is absent and has the extents of `numbers`.
  /// @throws std::invalid_argument if not, naming `where`
  void check_brought(const char* where, const MatrixRef<Scalar>& numbers) const {
    if (!is_absent()) throw_invalid_argument(where, "weight", "a weight that is there", "an absent one");
    check_equal(where, "numbers.rows()", numbers.rows(), out_features());
    check_equal(where, "numbers.cols()", numbers.cols(), in_features());
  }

  /// y [T x out_features] = x [T x in_features] W^T. A matrix is packed for this one product.
  /// @throws std::invalid_argument if the shapes do not fit or the weight is absent
  void multiply(const MatrixRef<Scalar>& x, MutableMatrixRef<Scalar> y) const {
    if (is_packed()) return kernels::multiply<Scalar>(x, std::get<Packed>(form_), y);
    kernels::multiply<Scalar>(x, Packed(matrix(), kernels::Orientation::transposed), y);
  }

  /// Bytes of memory held.
  std::size_t bytes() const {
    if (is_packed()) return std::get<Packed>(form_).bytes();
    return is_absent() ? 0 : static_cast<std::size_t>(matrix().size()) * sizeof(Scalar);
  }

  /// Calls visitor(name, matrix). A visitor that can bring absent weights has visitor.absent(weight, name), which is
  /// called in place of it.
  /// @throws std::invalid_argument if the weight is packed, or absent and the visitor does not bring it
  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& name) {
    if constexpr (requires { visitor.absent(*this, name); })
      if (is_absent()) return visitor.absent(*this, name);
    require_matrix("Weight::visit", name.text());
    visitor(name, std::get<Matrix<Scalar>>(form_));
  }

 private:
  using Packed = kernels::PackedMatrix<Scalar>;
  struct Absent {
    Index out_features, in_features;
  };

  void require_matrix(const char* where, std::string_view name) const {
    if (is_packed())
      throw_invalid_argument(where, name, "a model prepared for inference", "one that can be trained or saved");
    if (is_absent()) throw_invalid_argument(where, name, "an absent weight", "a weight");
  }

  std::variant<Matrix<Scalar>, Packed, Absent> form_;
};

}  // namespace merganser::nn
