// Tokens in the middle of a crowd, far from larger crowds.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/ranking.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Tokens by which others are grouped.
struct PeakClusters {
  Vector<Index> peaks;  ///< [clusters] the tokens of highest score first
  Vector<Index> of;     ///< [n] the number of the peak, in that order, that is nearest to each token; -1: there is none
};

namespace detail {

/// Squares of distances between the rows of x [m x D] and those of y [n x D], by blocks of rows: no matrix [m x n] is
/// made. Between equal rows 0.
template <Real Scalar>
class SquaredDistances {
 public:
  SquaredDistances(const MatrixRef<Scalar>& x, const MatrixRef<Scalar>& y)
      : x_(x), y_(y, kernels::Orientation::transposed), x_squares_(squares(x)), y_squares_(squares(y)) {}

  /// Calls visit(row, its distances [n]) for every row. Cost: 2 m n D.
  template <class Visit>
  void for_each_row(Visit&& visit) const {
    constexpr Index block = 64;
    for (Index begin = 0; begin < x_.rows(); begin += block) {
      Matrix<Scalar> distances(std::min(block, x_.rows() - begin), y_squares_.size());
      kernels::multiply<Scalar>(x_.middleRows(begin, distances.rows()), y_, distances);
      for (Index i = 0; i < distances.rows(); ++i) {
        for (Index j = 0; j < distances.cols(); ++j) {
          const Scalar square = x_squares_[begin + i] + y_squares_[j] - 2 * distances(i, j);
          distances(i, j) = square > 0 ? square : Scalar{0};  // no number: 0
        }
        visit(begin + i, std::span<const Scalar>(distances.row(i).data(), static_cast<std::size_t>(distances.cols())));
      }
    }
  }

 private:
  /// Summed as products are, so that of equal rows all three are the same.
  static Vector<Scalar> squares(const MatrixRef<Scalar>& rows) {
    Vector<Scalar> result(rows.rows(), Scalar{0});
    for (Index i = 0; i < rows.rows(); ++i)
      for (Index c = 0; c < rows.cols(); ++c) result[i] = kernels::multiply_add(rows(i, c), rows(i, c), result[i]);
    return result;
  }

  MatrixRef<Scalar> x_;
  kernels::PackedMatrix<Scalar> y_;
  Vector<Scalar> x_squares_, y_squares_;
};

/// [n] of tokens of width D; see `density_peaks`.
template <Real Scalar>
Vector<double> peak_scores(const SquaredDistances<Scalar>& distances, Index n, Index width, Index k,
                           std::span<const double> noise) {
  Vector<double> density, score;
  Vector<Scalar> nearest;
  Scalar farthest = 0;
  distances.for_each_row([&](Index row, std::span<const Scalar> squares) {
    nearest.assign(squares.begin(), squares.end());
    farthest = std::max(farthest, *std::max_element(nearest.begin(), nearest.end()));
    std::nth_element(nearest.begin(), nearest.begin() + (k - 1), nearest.end());
    std::sort(nearest.begin(), nearest.begin() + k);  // their sum is the same in whatever order they were
    double sum = 0;
    for (Index i = 0; i < k; ++i) sum += static_cast<double>(nearest[i]);
    density.push_back(std::exp(-sum / static_cast<double>(width * k)));
    if (!noise.empty()) density.back() += noise[static_cast<std::size_t>(row)];
  });
  distances.for_each_row([&](Index row, std::span<const Scalar> squares) {
    Scalar parent = farthest;
    for (Index other = 0; other < n; ++other)
      if (density[other] > density[row] || (density[other] == density[row] && other < row))
        parent = std::min(parent, squares[static_cast<std::size_t>(other)]);
    score.push_back(std::sqrt(static_cast<double>(parent) / static_cast<double>(width)) * density[row]);
  });
  return score;
}

}  // namespace detail

/// Density peaks by k nearest neighbours. The density of a token is e^-(mean square of the distances of the k tokens
/// that are nearest, itself among them); its score is that times the distance of the nearest token of higher density,
/// of the densest the largest distance of all. The tokens of highest score are peaks. Distances are those of vectors
/// divided by sqrt(D). Of equal densities the first is the higher one, of equal scores and distances the first wins.
///
/// DPC-KNN as in the Hourglass Tokenizer (Li et al. 2024, arXiv 2311.12028). Cost: 4 n^2 D, and 2 n D a
/// peak.
/// @param x [n x D]
/// @param k at least 1
/// @param clusters as many peaks, at most n
/// @param noise [n] or empty: added to densities; published with random numbers below 1e-6, against ties
/// @throws std::invalid_argument if a number is out of range or there is not one noise a token
template <Real Scalar>
PeakClusters density_peaks(const MatrixRef<Scalar>& x, Index k, Index clusters, std::span<const double> noise = {}) {
  const Index n = x.rows();
  check_argument(k >= 1, "density_peaks", "k", k, "at least 1");
  check_argument(clusters >= 0 && clusters <= n, "density_peaks", "clusters", clusters, "from 0 to the tokens");
  if (!noise.empty()) check_equal("density_peaks", "noise.size()", std::ssize(noise), n);
  if (n == 0) return {};
  const detail::SquaredDistances<Scalar> distances(x, x);
  const Vector<double> scores = detail::peak_scores<Scalar>(distances, n, x.cols(), std::min(k, n), noise);
  PeakClusters result{ranked<double>(scores), Vector<Index>(n, -1)};
  result.peaks.resize(clusters);
  Matrix<Scalar> peaks(clusters, x.cols());
  for (Index peak = 0; peak < clusters; ++peak) {
    peaks.row(peak) = x.row(result.peaks[peak]);
    result.of[result.peaks[peak]] = peak;
  }
  if (clusters == 0) return result;
  detail::SquaredDistances<Scalar>(x, peaks).for_each_row([&](Index row, std::span<const Scalar> squares) {
    if (result.of[row] < 0) result.of[row] = std::min_element(squares.begin(), squares.end()) - squares.begin();
  });
  return result;
}

/// Keeps the peaks of `density_peaks`: as many as the budget leaves. Hourglass Tokenizer (Li et al. 2024, arXiv
/// 2311.12028), its selection; published in front of a block, with a cross-attention that brings the length back.
struct DensityPeaks {
  enum class Rest {
    dropped,  ///< as published
    joined,   ///< each token joins its nearest peak, and the row is their mean by sizes
  };

  static constexpr PolicyTraits traits{.has_budget = true};

  Budget budget = {};
  Index k = 5;  ///< neighbours that make a density, the token itself among them; at least 1
  Rest rest = Rest::dropped;
  Index protected_rows = 0;  ///< tokens at the beginning that stay and are no peaks

  /// @throws std::invalid_argument if a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(k >= 1, "DensityPeaks", "k", k, "at least 1");
    check_argument(protected_rows >= 0, "DensityPeaks", "protected_rows", protected_rows, "at least 0");
    const Index n = tokens.count(), first = std::min(protected_rows, n);
    const Index going = std::min(budget.removals(n, tokens.removals), n - first);
    Vector<Index> joins = apart(n);
    if (going == 0) return plan_of_targets<Scalar>(joins);
    const PeakClusters found = density_peaks<Scalar>(tokens.x.bottomRows(n - first), k, n - first - going);
    for (Index token = first; token < n; ++token) {
      const Index cluster = found.of[token - first];
      const Index peak = cluster < 0 ? -1 : first + found.peaks[cluster];
      if (peak != token) joins[token] = rest == Rest::joined ? peak : -1;
    }
    return plan_of_targets<Scalar>(joins, tokens.sizes);
  }
};

}  // namespace merganser::merge
