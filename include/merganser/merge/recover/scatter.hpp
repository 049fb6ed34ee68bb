// Rows go back to the tokens whose places they took.
#pragma once

#include <cstdint>
#include <numeric>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/recovery.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A token whose place a row took gets that row, and all others what they had. Where tokens were selected, that is
/// Token Dropping (Hou et al. 2022, arXiv 2203.13240) and the restored length of the Length-Adaptive Transformer (Kim
/// and Cho 2021, arXiv 2010.07003); added it is SpaceByte (Slagle 2024, arXiv 2404.14408). Cost: n D.
///
/// Where several rows stand at one place, the last of them counts, and all that are added.
template <Real Scalar>
class Scatter {
 public:
  using ScalarType = Scalar;
  using Gradients = Scatter;

  enum class Others {
    stale,  ///< tokens without a row keep their value from before
    zero,   ///< they are 0
    added,  ///< all tokens keep their value from before, and rows are added to it
  };

  struct Config {
    Others others = Others::stale;
    bool copies = false;  ///< every row is the token whose place it takes, and nothing else: then it is causal
  };

  struct Cache {
    Vector<Index> places;  ///< [T'] of each row the token that takes it, or -1: another row stands there too
    Vector<std::uint8_t> pads;
    Index tokens = 0;  ///< T
  };

  Scatter() = default;
  explicit Scatter(const Config& config) : config_(config) {}

  bool is_causal() const { return config_.copies; }

  /// y [T' x D'] to [T x D']; but for `zero`, D' is D.
  /// @throws std::invalid_argument if y is not of the reduction, or rows are no copies and should be
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    Cache cache;
    return forward(y, reduced, cache);
  }

  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const {
    reduced.check("Scatter::forward", y);
    if (config_.others != Others::zero) check_equal("Scatter::forward", "y.cols()", y.cols(), reduced.x.cols());
    cache.tokens = reduced.state.total();
    cache.pads = reduced.state.pads();
    cache.places = places(reduced);
    Matrix<Scalar> result =
        config_.others == Others::zero ? Matrix<Scalar>(Matrix<Scalar>::Zero(cache.tokens, y.cols())) : reduced.x;
    for (Index row = 0; row < y.rows(); ++row) {
      const Index t = cache.places[row];
      if (t < 0) continue;
      if (config_.others == Others::added)
        result.row(t) += y.row(row);
      else
        result.row(t) = y.row(row);
    }
    clear_pads(cache, result);
    return result;
  }

  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, Gradients&) const {
    check_equal("Scatter::backward", "grad.rows()", grad.rows(), cache.tokens);
    RecoveryGradient<Scalar> result{Matrix<Scalar>::Zero(cache.places.size(), grad.cols())};
    if (config_.others != Others::zero) result.x = grad;
    for (Index row = 0; row < cache.places.size(); ++row) {
      const Index t = cache.places[row];
      if (t < 0 || (!cache.pads.empty() && cache.pads[t] != 0)) continue;
      result.y.row(row) = grad.row(t);
      if (config_.others == Others::stale) result.x.row(t).setZero();
    }
    if (config_.others != Others::zero) clear_pads(cache, result.x);
    return result;
  }

  const Config& config() const { return config_; }

 private:
  Vector<Index> places(const Reduced<Scalar>& reduced) const {
    const PolicyReport<Scalar>& report = reduced.reduction.report;
    Vector<Index> places = report.kept;
    if (report.group.empty()) {  // nothing moved
      places.resize(reduced.state.total());
      std::iota(places.begin(), places.end(), Index{0});
    }
    check_equal("Scatter::forward", "report.kept.size()", places.size(), reduced.reduction.state.total());
    for (const Index t : places)
      check_argument(t >= 0 && t < reduced.state.total(), "Scatter::forward", "report.kept", t, "tokens of the batch");
    for (Index t = 0; config_.copies && t < report.group.size(); ++t) {
      const Index row = report.group[t];
      check_argument(row < 0 || places[row] == t, "Scatter::forward", "report.group", row,
                     "rows of one token, as `copies` says");
    }
    for (Index row = 0; config_.others != Others::added && row + 1 < places.size(); ++row)
      if (places[row] == places[row + 1]) places[row] = -1;
    return places;
  }

  static void clear_pads(const Cache& cache, Matrix<Scalar>& rows) {
    for (Index t = 0; t < cache.pads.size(); ++t)
      if (cache.pads[t] != 0) rows.row(t).setZero();
  }

  Config config_;
};

}  // namespace merganser::merge
