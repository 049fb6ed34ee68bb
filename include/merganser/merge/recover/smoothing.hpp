// Rows come back as running means, by how sure the policy was of each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/recovery.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// z_r = P_r y_r + (1 - P_r) z_(r-1), where P_r is the score, in [0, 1], of the token at whose place row r stands;
/// every token takes z of the last row at or in front of its place. In front of the first row it is 0.
///
/// With `confidence` a token's row is multiplied by c, its score if it has a row of its own, else 1 - score, in the
/// gradient alone: in value by 1 (straight-through). With `residual` a linear map of x, which begins as 0, is added.
/// The dechunking of H-Net: Hwang et al. 2025, arXiv 2507.07955. Cost: 3 n D.
template <Real Scalar>
class Smoothing {
 public:
  using ScalarType = Scalar;
  using Gradients = Smoothing;

  static constexpr bool is_causal = true;

  enum class Start {
    first_row,  ///< z_0 = y_0
    zero,       ///< the published form: z_0 = P_0 y_0
  };

  struct Config {
    Start start = Start::first_row;
    double least = 1e-4;     ///< P is kept within [least, 1 - least]; in [0, 1/2]
    bool confidence = true;  ///< the scores of all tokens learn, not only those of tokens with a row
    Index residual = 0;      ///< D = D' of the linear map; 0: none
  };

  struct Cache {
    SequenceOffsets tokens, rows;
    Vector<Index> kept;          ///< [T'] of the report
    Vector<Index> row;           ///< [T] the row that each token takes, or -1
    Vector<Scalar> weight;       ///< [T'] P
    Vector<std::uint8_t> moves;  ///< [T'] not 0 where P follows the score
    Matrix<Scalar> y, z;         ///< [T' x D']
    Matrix<Scalar> x;            ///< [T x D] without pads, if there is a residual
    Vector<std::uint8_t> pads;
  };

  Smoothing() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit Smoothing(const Config& config) : config_(config) {
    check_argument(config.least >= 0 && config.least <= 0.5, "Smoothing", "least", config.least, "in [0, 1/2]");
    check_argument(config.residual >= 0, "Smoothing", "residual", config.residual, "at least 0");
    if (config.residual > 0) residual = nn::Linear<Scalar>({config.residual, config.residual});
  }

  /// The residual begins as 0.
  void initialize(double, Rng&) {
    if (config_.residual > 0) residual.weight.matrix().setZero();
  }

  /// y [T' x D'] to [T x D'].
  /// @throws std::invalid_argument if the policy gave no scores or y is not of the reduction
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    Cache cache;
    return forward(y, reduced, cache);
  }

  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const {
    constexpr const char* here = "Smoothing::forward";
    reduced.check(here, y);
    const PolicyReport<Scalar>& report = reduced.reduction.report;
    check_equal(here, "scores of the policy", report.scores.size(), reduced.x.rows());
    check_equal(here, "kept of the policy", report.kept.size(), y.rows());
    cache.tokens = reduced.state.offsets;
    cache.rows = reduced.reduction.state.offsets;
    cache.kept = report.kept;
    cache.pads = reduced.state.pads();
    cache.y = y;
    smooth(report.scores, cache);
    Matrix<Scalar> result = Matrix<Scalar>::Zero(reduced.x.rows(), y.cols());
    if (config_.residual > 0) {
      check_equal(here, "y.cols()", y.cols(), config_.residual);
      cache.x = reduced.x;
      for (Index t = 0; t < cache.x.rows(); ++t)
        if (Marks(cache.pads)[t]) cache.x.row(t).setZero();
      result = residual.forward(cache.x);
    }
    place_tokens(cache);
    for (Index t = 0; t < result.rows(); ++t)
      if (cache.row[t] >= 0) result.row(t) += cache.z.row(cache.row[t]);
    return result;
  }

  /// grad [T x D'].
  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, Gradients& gradients) const {
    check_equal("Smoothing::backward", "grad.rows()", grad.rows(), cache.row.size());
    check_equal("Smoothing::backward", "grad.cols()", grad.cols(), cache.y.cols());
    const Index width = grad.cols();
    Matrix<Scalar> grad_z = Matrix<Scalar>::Zero(cache.z.rows(), width);
    RecoveryGradient<Scalar> result{Matrix<Scalar>::Zero(cache.y.rows(), width)};
    result.scores.assign(grad.rows(), Scalar{0});
    for (Index t = 0; t < grad.rows(); ++t) {
      const Index row = cache.row[t];
      if (row < 0) continue;
      kernels::add_scaled(width, Scalar{1}, grad.row(t).data(), grad_z.row(row).data());
      if (!config_.confidence) continue;
      const Scalar slope = kernels::dot(width, grad.row(t).data(), cache.z.row(row).data());
      result.scores[t] = cache.kept[row] == t ? slope : -slope;
    }
    for (const RowRange& range : cache.rows.ranges())
      for (Index row = range.end(); row-- > range.begin;) row_backward(row, row == range.begin, cache, grad_z, result);
    if (config_.residual > 0) {
      result.x = residual.backward(grad, cache.x, gradients.residual);
      for (Index t = 0; t < grad.rows(); ++t)
        if (Marks(cache.pads)[t]) result.x.row(t).setZero();
    }
    return result;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (config_.residual > 0) residual.visit(visitor, prefix + "residual_proj.");
  }

  const Config& config() const { return config_; }

  nn::Linear<Scalar> residual;

 private:
  /// P and z of every row.
  void smooth(const Vector<Scalar>& scores, Cache& cache) const {
    const auto least = static_cast<Scalar>(config_.least), most = 1 - least;
    cache.weight.assign(cache.y.rows(), Scalar{1});
    cache.moves.assign(cache.y.rows(), 0);
    cache.z = cache.y;
    for (const RowRange& range : cache.rows.ranges())
      for (Index row = range.begin; row < range.end(); ++row) {
        const bool first = row == range.begin;
        if (first && config_.start == Start::first_row) continue;
        const Scalar score = scores[cache.kept[row]];
        const Scalar weight = cache.weight[row] = std::clamp(score, least, most);
        cache.moves[row] = weight == score ? 1 : 0;
        cache.z.row(row) *= weight;
        if (!first)
          kernels::add_scaled(cache.y.cols(), 1 - weight, cache.z.row(row - 1).data(), cache.z.row(row).data());
      }
  }

  /// Which row every token takes.
  static void place_tokens(Cache& cache) {
    cache.row.assign(cache.tokens.total(), -1);
    for (Index i = 0; i < cache.tokens.count(); ++i) {
      Index next = cache.rows.begin(i);
      for (Index t = cache.tokens.begin(i); t < cache.tokens.end(i); ++t) {
        while (next < cache.rows.end(i) && cache.kept[next] <= t) ++next;
        if (next > cache.rows.begin(i) && !Marks(cache.pads)[t]) cache.row[t] = next - 1;
      }
    }
  }

  static void row_backward(Index row, bool first, const Cache& cache, Matrix<Scalar>& grad_z,
                           RecoveryGradient<Scalar>& result) {
    const Index width = cache.y.cols();
    const Scalar weight = cache.weight[row];
    Scalar* const grad = grad_z.row(row).data();
    const Scalar* const own = cache.y.row(row).data();
    kernels::add_scaled(width, weight, grad, result.y.row(row).data());
    if (cache.moves[row] != 0)
      result.scores[cache.kept[row]] += first ? kernels::dot(width, grad, own)
                                              : kernels::dot_difference(width, grad, own, cache.z.row(row - 1).data());
    if (!first) kernels::add_scaled(width, 1 - weight, grad, grad_z.row(row - 1).data());
  }

  Config config_;
};

}  // namespace merganser::merge
