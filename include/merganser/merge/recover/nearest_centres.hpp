// A token comes back as a mean of the rows whose centres are nearest to it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/recovery.hpp>
#include <merganser/merge/squared_distance.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What the weights of a token's nearest centres are divided by.
enum class CentreWeights {
  sum,  ///< their sum: a mean
  l2,   ///< the published form, the root of the sum of their squares: longer rows come back, up to sqrt(k) times
};

/// Token x comes back as the sum of w_c y_c over the k rows c, of its sequence, that went on nearest to x, with
/// w = exp(-sharpness |x - c|^2) divided as `weights` says. Of rows that are equally near the first.
///
/// All gradients are exact but for the choice of the k. Expedit: Liang et al. 2022, arXiv 2210.01035. Cost: 2 n n' D
/// for n' rows.
template <Real Scalar>
class NearestCentres {
 public:
  using ScalarType = Scalar;
  using Gradients = NearestCentres;

  static constexpr bool is_causal = false;

  struct Config {
    Index k = 4;              ///< at least 1
    double sharpness = 0.05;  ///< positive; high copies the nearest row
    CentreWeights weights = CentreWeights::sum;
  };

  struct Cache {
    Matrix<Scalar> x, centres, y;  ///< [T x D], [T' x D], [T' x D']
    Vector<Index> rows;            ///< [T k] the nearest rows of each token, -1 behind the last
    Vector<Scalar> shares;         ///< [T k] their weights
  };

  NearestCentres() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit NearestCentres(const Config& config) : config_(config) {
    check_argument(config.k >= 1, "NearestCentres", "k", config.k, "at least 1");
    check_argument(config.sharpness > 0 && std::isfinite(config.sharpness), "NearestCentres", "sharpness",
                   config.sharpness, "a positive number");
  }

  /// y [T' x D'] to [T x D'].
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    Cache cache;
    return forward(y, reduced, cache);
  }

  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const {
    constexpr const char* here = "NearestCentres::forward";
    reduced.check(here, y);
    const Matrix<Scalar>& centres = reduced.reduction.x;
    check_equal(here, "reduction.x.rows()", centres.rows(), y.rows());
    check_equal(here, "reduction.x.cols()", centres.cols(), reduced.x.cols());
    cache.x = reduced.x;
    cache.centres = centres;
    cache.y = y;
    cache.rows.assign(cache.x.rows() * config_.k, -1);
    cache.shares.assign(cache.x.rows() * config_.k, Scalar{0});
    const Vector<std::uint8_t> pads = reduced.state.pads();
    const SequenceOffsets &tokens = reduced.state.offsets, &rows = reduced.reduction.state.offsets;
    for (Index i = 0; i < tokens.count(); ++i) {
      const RowRange among = rows.range(i);
      parallel_for(tokens.length(i), 3 * tokens.length(i) * among.length * centres.cols(), [&](Index t) {
        if (!Marks(pads)[tokens.begin(i) + t]) choose(tokens.begin(i) + t, among, cache);
      });
    }
    Matrix<Scalar> result = Matrix<Scalar>::Zero(cache.x.rows(), y.cols());
    for_each_share(cache, [&](Index t, Index row, Scalar share) {
      kernels::add_scaled(y.cols(), share, y.row(row).data(), result.row(t).data());
    });
    return result;
  }

  /// grad [T x D'].
  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, Gradients&) const {
    check_equal("NearestCentres::backward", "grad.rows()", grad.rows(), cache.x.rows());
    check_equal("NearestCentres::backward", "grad.cols()", grad.cols(), cache.y.cols());
    const Index width = cache.x.cols();
    RecoveryGradient<Scalar> result{Matrix<Scalar>::Zero(cache.y.rows(), grad.cols()),
                                    Matrix<Scalar>::Zero(cache.x.rows(), width),
                                    Matrix<Scalar>::Zero(cache.centres.rows(), width)};
    Vector<Scalar> along(grad.rows(), Scalar{0});  // of each token the sum of shares times their gradients
    const auto slope = [&](Index t, Index row) {
      return kernels::dot(grad.cols(), grad.row(t).data(), cache.y.row(row).data());
    };
    for_each_share(cache, [&](Index t, Index row, Scalar share) {
      kernels::add_scaled(grad.cols(), share, grad.row(t).data(), result.y.row(row).data());
      along[t] += share * slope(t, row);
    });
    const bool mean = config_.weights == CentreWeights::sum;
    const auto beta = static_cast<Scalar>(config_.sharpness);
    for_each_share(cache, [&](Index t, Index row, Scalar share) {
      const Scalar of_log = share * slope(t, row) - (mean ? share : share * share) * along[t];
      const Scalar factor = 2 * beta * of_log;  // of (x - c) in the gradient of c
      for (Index c = 0; c < width; ++c) {
        const Scalar step = factor * (cache.x(t, c) - cache.centres(row, c));
        result.reduced(row, c) += step;
        result.x(t, c) -= step;
      }
    });
    return result;
  }

  const Config& config() const { return config_; }

 private:
  /// Calls visit(token, row, weight).
  template <class Visit>
  void for_each_share(const Cache& cache, Visit&& visit) const {
    for (Index t = 0; t < cache.x.rows(); ++t)
      for (Index i = t * config_.k; i < (t + 1) * config_.k && cache.rows[i] >= 0; ++i)
        visit(t, cache.rows[i], cache.shares[i]);
  }

  /// The nearest rows of one token and their weights.
  void choose(Index token, const RowRange& among, Cache& cache) const {
    Vector<Scalar> distances(among.length);
    for (Index row = 0; row < among.length; ++row)
      distances[row] =
          squared_distance(cache.x.cols(), cache.x.row(token).data(), cache.centres.row(among.begin + row).data());
    Vector<Index> order(among.length);
    std::iota(order.begin(), order.end(), Index{0});
    const auto rank = [&](Index row) {  // what is no number is behind all
      return std::isnan(distances[row]) ? std::numeric_limits<Scalar>::infinity() : distances[row];
    };
    const Index count = std::min(config_.k, among.length);
    std::partial_sort(order.begin(), order.begin() + count, order.end(),
                      [&](Index a, Index b) { return rank(a) != rank(b) ? rank(a) < rank(b) : a < b; });
    const auto beta = static_cast<Scalar>(config_.sharpness);
    Scalar total = 0;
    for (Index i = 0; i < count; ++i) {
      const Scalar weight = std::exp(beta * (distances[order[0]] - distances[order[i]]));
      cache.rows[token * config_.k + i] = among.begin + order[i];
      cache.shares[token * config_.k + i] = weight;
      total += config_.weights == CentreWeights::sum ? weight : weight * weight;
    }
    if (config_.weights == CentreWeights::l2) total = std::sqrt(total);
    for (Index i = 0; i < count; ++i) cache.shares[token * config_.k + i] /= total;
  }

  Config config_;
};

}  // namespace merganser::merge
