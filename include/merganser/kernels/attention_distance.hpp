// The position bias of attention scores and its gradient: by distance, a block of keys at a time.
#pragma once

#include <algorithm>
#include <span>

#include <merganser/core/types.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels::detail {

/// Most keys in one block; whole panels.
template <Real Scalar>
inline constexpr Index key_block = 1024 / static_cast<Index>(sizeof(Scalar));

/// How the positions of keys follow one another.
enum class KeyOrder {
  consecutive,  ///< each one after the one before: as tokens come in
  rising,       ///< with gaps or ties: as after deletion
  any
};

inline KeyOrder order_of(std::span<const Position> positions) {
  const auto breaks = [](Position a, Position b) { return b - a != 1; };
  if (std::adjacent_find(positions.begin(), positions.end(), breaks) == positions.end()) return KeyOrder::consecutive;
  return std::is_sorted(positions.begin(), positions.end()) ? KeyOrder::rising : KeyOrder::any;
}

/// The bias by distance, continued on both sides by a block of its outermost values: the biases of consecutive keys are
/// a slice of it, wherever the query stands. The gradient is gathered in the same shape.
template <Real Scalar>
class DistanceTable {
 public:
  static constexpr Index block = key_block<Scalar>;

  static Index size(const HeadScores<Scalar>& scores) {
    return scores.distance_bias == nullptr ? 0 : 2 * (scores.radius + block) + 1;
  }

  /// The bias of `scores` into `table` [size].
  static void fill(const HeadScores<Scalar>& scores, Scalar* table) {
    if (scores.distance_bias == nullptr) return;
    const Index inner = 2 * scores.radius + 1;
    std::fill_n(table, block, scores.distance_bias[0]);
    std::copy_n(scores.distance_bias, inner, table + block);
    std::fill_n(table + block + inner, block, scores.distance_bias[inner - 1]);
  }

  DistanceTable(Index radius, KeyOrder order) : radius_(radius), order_(order) {}

  /// The biases of a query and `keys`, either a slice of `table` or written to `looked_up` [block]; at least as many as
  /// there are keys can be read up to `block`.
  const Scalar* row(const Scalar* table, Position query, std::span<const Position> keys, Scalar* looked_up) const {
    const Scalar* center = table + block + radius_;
    if (order_ == KeyOrder::consecutive) return center + slice(query, keys);
    const auto [left, right] = within(query, keys);
    if (left == keys.size()) return table;
    if (right == 0) return center + radius_;
    std::fill_n(looked_up, left, center[-radius_]);
    if (order_ == KeyOrder::rising) {
      for (std::size_t k = left; k < right; ++k) looked_up[k] = center[keys[k] - query];
    } else {
      for (std::size_t k = left; k < right; ++k) looked_up[k] = center[clamped(query, keys[k])];
    }
    std::fill(looked_up + right, looked_up + keys.size(), center[radius_]);
    return looked_up;
  }

  /// Adds the gradient of the scores of a query and `keys` to a gradient table.
  void add(Scalar* table, Position query, std::span<const Position> keys, const Scalar* grad) const {
    Scalar* center = table + block + radius_;
    if (order_ == KeyOrder::consecutive) {
      Scalar* out = center + slice(query, keys);
      transform(
          static_cast<Index>(keys.size()), out, [](const auto& a, const auto& b) { return simd::padd(a, b); },
          static_cast<const Scalar*>(out), grad);
      return;
    }
    const auto [left, right] = within(query, keys);
    center[-radius_] += kernels::sum(static_cast<Index>(left), grad);
    for (std::size_t k = left; k < right; ++k) center[clamped(query, keys[k])] += grad[k];
    center[radius_] += kernels::sum(static_cast<Index>(keys.size() - right), grad + right);
  }

  /// Adds a gradient table to the gradient by distance [2 radius + 1].
  void fold(const Scalar* table, Scalar* sum) const {
    const Index inner = 2 * radius_ + 1;
    for (Index d = 0; d < inner; ++d) sum[d] += table[block + d];
    sum[0] += kernels::sum(block, table);
    sum[inner - 1] += kernels::sum(block, table + block + inner);
  }

 private:
  /// The place of the first key in a slice, from the center.
  Index slice(Position query, std::span<const Position> keys) const {
    return std::clamp<Index>(Index{keys.front()} - query, -radius_ - block, radius_);
  }

  Index clamped(Position query, Position key) const { return std::clamp<Index>(Index{key} - query, -radius_, radius_); }

  /// Keys before the first of the pair are no nearer than the radius on the left, keys from the second on are on the
  /// right.
  std::pair<std::size_t, std::size_t> within(Position query, std::span<const Position> keys) const {
    if (order_ == KeyOrder::any) return {0, keys.size()};
    const auto before = [&](Index bound) {
      return static_cast<std::size_t>(
          std::partition_point(keys.begin(), keys.end(), [&](Position key) { return key < bound; }) - keys.begin());
    };
    return {before(Index{query} - radius_), before(Index{query} + radius_ + 1)};
  }

  Index radius_;
  KeyOrder order_;
};

}  // namespace merganser::kernels::detail
