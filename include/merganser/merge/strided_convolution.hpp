// Groups of consecutive tokens pooled by a convolution.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// One plan a sequence that puts the first `rate` tokens into one group, the next `rate` into another, and so on.
///
/// The last group may have fewer. Pads (not 0 in `pads` [T] or empty) are as if they were not there. A token's tap is
/// its place in its group.
/// @throws std::invalid_argument if a length differs or the rate is below 1
template <Real Scalar>
Vector<MergePlan<Scalar>> strided_plans(const SequenceOffsets& offsets, Index rate, Marks pads = {}) {
  check_argument(rate >= 1, "strided_plans", "rate", rate, "at least 1");
  pads.check("strided_plans", "pads", offsets.total());
  Vector<MergePlan<Scalar>> plans;
  for (Index i = 0; i < offsets.count(); ++i) {
    MergePlan<Scalar>& plan = plans.emplace_back(offsets.length(i));
    for (Index row = 0, tokens = 0; row < offsets.length(i); ++row) {
      if (pads[offsets.begin(i) + row]) continue;
      if (tokens++ % rate == 0) plan.open(row);
      plan.add(row);
    }
  }
  return plans;
}

/// y_s = gelu(sum over taps k of W_k x_(s,k) + b), where x_(s,k) is the row of group s at tap k, or 0 if there is none.
///
/// Parameters: weight [D x D taps] (see ConvolutionWeight), bias [D]; gelu in the exact form. Clark et al. 2022, arXiv
/// 2103.06874 (the downsampling of CANINE). With a kernel longer than the rate the last taps read the groups behind, so
/// that windows overlap as in the soft split of T2T (Yuan et al. 2021, arXiv 2101.11986).
template <Real Scalar>
class StridedConvolution {
 public:
  using ScalarType = Scalar;
  using Gradients = StridedConvolution;

  struct Config {
    Index width = 0;   ///< D
    Index rate = 4;    ///< rows of a group
    Index kernel = 0;  ///< taps: rows that a group reads, from its first on; 0: its own, as many as the rate
  };

  struct Cache {
    Matrix<Scalar> unfolded;  ///< [T' x D taps]
    Matrix<Scalar> inner;     ///< [T' x D], before the activation
  };

  StridedConvolution() = default;

  static constexpr Index largest_rate = Index{1} << 16;

  /// @throws std::invalid_argument if width or rate is not positive, the kernel shorter than the rate or one of them
  /// above `largest_rate`
  explicit StridedConvolution(const Config& config) {
    check_argument(config.width > 0, "StridedConvolution", "width", config.width, "at least 1");
    check_argument(config.rate > 0, "StridedConvolution", "rate", config.rate, "at least 1");
    check_argument(config.rate <= largest_rate, "StridedConvolution", "rate", config.rate,
                   "at most " + std::to_string(largest_rate) + " rows of a group");
    check_argument(config.kernel == 0 || (config.kernel >= config.rate && config.kernel <= largest_rate),
                   "StridedConvolution", "kernel", config.kernel, "0, or from the rate up to that many rows");
    rate_ = config.rate;
    weight.taps = config.kernel > 0 ? config.kernel : config.rate;
    weight.setZero(config.width, config.width * weight.taps);
    bias.setZero(config.width);
  }

  /// Weight normal with deviation factor * (D taps)^-0.5, bias 0.
  void initialize(double factor, Rng& rng) {
    nn::fill_normal(weight, factor / std::sqrt(static_cast<double>(weight.cols())), rng);
  }

  /// x [T x D] to one row a group [T' x D].
  /// @throws std::invalid_argument if x does not fit the groups or a group is longer than the rate
  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, const Compaction<Scalar>& groups) const {
    Cache cache;
    return forward(x, groups, cache);
  }

  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, const Compaction<Scalar>& groups, Cache& cache) const {
    check_equal("StridedConvolution::forward", "x.rows()", x.rows(), groups.input_offsets().total());
    check_equal("StridedConvolution::forward", "x.cols()", x.cols(), weight.rows());
    cache.unfolded = Matrix<Scalar>::Zero(groups.output_offsets().total(), weight.cols());
    for_each_tap(groups, [&](Index in, Index out, Index tap) {
      for (Index c = 0; c < x.cols(); ++c) cache.unfolded(out, c * weight.taps + tap) = x(in, c);
    });
    cache.inner.resize(cache.unfolded.rows(), weight.rows());
    kernels::multiply<Scalar>(cache.unfolded, kernels::PackedMatrix<Scalar>(weight, kernels::Orientation::transposed),
                              cache.inner);
    cache.inner.rowwise() += bias;
    return cache.inner.unaryExpr([](Scalar value) { return kernels::exact_gelu(value); });
  }

  /// grad_y [T' x D] to the gradient of x [T x D].
  Matrix<Scalar> backward(const MatrixRef<Scalar>& grad_y, const Compaction<Scalar>& groups, const Cache& cache,
                          Gradients& gradients) const {
    check_equal("StridedConvolution::backward", "grad_y.rows()", grad_y.rows(), cache.inner.rows());
    check_equal("StridedConvolution::backward", "grad_y.cols()", grad_y.cols(), cache.inner.cols());
    using kernels::Orientation;
    using kernels::PackedMatrix;
    const Matrix<Scalar> grad_inner =
        grad_y.cwiseProduct(cache.inner.unaryExpr([](Scalar value) { return kernels::exact_gelu_derivative(value); }));
    gradients.bias += grad_inner.colwise().sum();
    kernels::multiply_transposed<Scalar>(grad_inner, PackedMatrix<Scalar>(cache.unfolded, Orientation::as_is),
                                         gradients.weight, kernels::Store::add);
    Matrix<Scalar> grad_unfolded(cache.unfolded.rows(), cache.unfolded.cols());
    kernels::multiply<Scalar>(grad_inner, PackedMatrix<Scalar>(weight, Orientation::as_is), grad_unfolded);
    Matrix<Scalar> grad_x = Matrix<Scalar>::Zero(groups.input_offsets().total(), weight.rows());
    for_each_tap(groups, [&](Index in, Index out, Index tap) {
      for (Index c = 0; c < grad_x.cols(); ++c) {
        const Scalar grad = grad_unfolded(out, c * weight.taps + tap);
        grad_x(in, c) = overlaps() ? grad_x(in, c) + grad : grad;
      }
    });
    return grad_x;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "weight", weight);
    visitor(prefix + "bias", bias);
  }

  ConvolutionWeight<Scalar> weight;
  RowVector<Scalar> bias;

 private:
  bool overlaps() const { return weight.taps > rate_; }

  /// Calls visit(input row, output row, tap) for every row that a group reads.
  template <class Visit>
  void for_each_tap(const Compaction<Scalar>& groups, Visit&& visit) const {
    for (Index i = 0; i < groups.input_offsets().count(); ++i) {
      const MergePlan<Scalar>& plan = groups.plan(i);
      for (Index group = 0; group < plan.output_count(); ++group) {
        const Index length = std::ssize(plan.members(group));
        check_argument(length <= rate_, "StridedConvolution", "rows of a group", length, "as many as the rate at most");
        Index tap = 0;
        for (Index read = group; read < (overlaps() ? plan.output_count() : group + 1) && tap < weight.taps; ++read)
          for (const Member<Scalar>& member : plan.members(read))
            if (tap < weight.taps)
              visit(groups.input_offsets().begin(i) + member.token, groups.output_offsets().begin(i) + group, tap++);
      }
    }
  }

  Index rate_ = 1;
};

}  // namespace merganser::merge
