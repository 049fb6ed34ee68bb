// What one head of attention adds to the products of queries and keys, and what its gradient is asked for.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/softmax.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// Which keys a query may see.
enum class Visibility {
  all,
  causal,  ///< keys whose position is not after the query's
};

/// The score of a key that may not be seen: finite, so that a row of such keys stays a row of numbers.
inline constexpr double hidden_score = -1e9;

/// What one head adds to the products q . k of one sequence of t_q queries and t_k keys.
///
/// score = bound(q . k) + position bias, or `hidden_score`; weights = softmax(score + key bias).
template <Real Scalar>
struct HeadScores {
  SoftmaxKind softmax = SoftmaxKind::softmax;
  Visibility visibility = Visibility::all;
  Scalar soft_cap = 0;                    ///< c in bound(s) = c tanh(s / c); 0: no bound
  const Scalar* distance_bias = nullptr;  ///< [2 radius + 1] by key position - query position, or none
  Index radius = 0;
  std::span<const Position> query_positions;  ///< [t_q]; may be empty without position bias and causality
  std::span<const Position> key_positions;    ///< [t_k], likewise
  std::span<const Scalar> key_bias;           ///< [t_k] or empty: 0 leaves a key alone, negative weakens it
  std::span<const std::uint8_t> hidden_keys;  ///< [t_k] or empty: not 0 hides a key from every query

  /// Requires the sizes of a call.
  /// @throws std::invalid_argument if one does not fit, naming `where`
  void check(const char* where, Index queries, Index keys) const {
    const bool positioned = distance_bias != nullptr || visibility == Visibility::causal;
    const auto fits = [&](const char* name, std::size_t size, Index expected, bool needed) {
      if (size > 0 || needed) check_equal(where, name, static_cast<Index>(size), expected);
    };
    fits("scores.query_positions.size()", query_positions.size(), queries, positioned);
    fits("scores.key_positions.size()", key_positions.size(), keys, positioned);
    fits("scores.key_bias.size()", key_bias.size(), keys, false);
    fits("scores.hidden_keys.size()", hidden_keys.size(), keys, false);
    check_argument(radius >= 0, where, "scores.radius", radius, "at least 0");
  }
};

/// What backward needs to repeat the weights of each query: weight = factor exp(score + key bias - largest).
///
/// Kept apart because one log denominator, far from 0, is too coarse: in a row of nothing but -1e9 it is -1e9 in float,
/// and log(t_k) is lost.
template <class Element>
requires Real<std::remove_const_t<Element>>
struct SoftmaxRows {
  Element* largest = nullptr;  ///< [t_q]
  Element* factor = nullptr;   ///< [t_q]
};

/// What backward needs to know and where it adds besides the blocks.
template <Real Scalar>
struct HeadGradients {
  Scalar* distance_bias = nullptr;  ///< [2 radius + 1], added to, or none
  Scalar* key_bias = nullptr;       ///< [t_k], added to, or none
  Scalar excess_weight = 0;         ///< gradient of the loss with respect to the sum of max(score - limit, 0)
  Scalar excess_limit = 0;
};

}  // namespace merganser::kernels
