// From products of queries and keys to attention scores, one block of keys at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_distance.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels::detail {

/// Whether all numbers of a block of rows are finite: looked at once, when it is first asked.
template <Real Scalar>
class FiniteBlock {
 public:
  bool of(const MatrixRef<Scalar>& rows) {
    if (!known_) {
      known_ = true;
      for (Index r = 0; r < rows.rows() && finite_; ++r) finite_ = all_finite(rows.cols(), rows.row(r).data());
    }
    return finite_;
  }

 private:
  bool known_ = false, finite_ = true;
};

/// The score of a place without a key: it weighs nothing even beside nothing but hidden keys.
template <Real Scalar>
inline constexpr Scalar no_score = -std::numeric_limits<Scalar>::infinity();

/// The rules of one head for one sequence, entered one block of keys at a time.
///
/// Rows of scores have room for `key_block` numbers, of which the first `width` are worked on: whole panels.
template <Real Scalar>
class AttentionRules {
 public:
  static constexpr Index block = key_block<Scalar>;

  /// `table` [DistanceTable::size] is filled.
  AttentionRules(const HeadScores<Scalar>& scores, Index keys, Scalar* table)
      : scores_(scores),
        table_(table),
        order_(order_of(scores.key_positions)),
        distances_(scores.radius, order_),
        causal_(scores.visibility == Visibility::causal) {
    DistanceTable<Scalar>::fill(scores, table);
    std::fill_n(looked_up_, block, Scalar{0});
    std::fill_n(zeros_, block, Scalar{0});
    for (Index k = 0; k < keys; ++k) {
      if (!scores.hidden_keys.empty() && scores.hidden_keys[static_cast<std::size_t>(k)] != 0) continue;
      any_seen_ = true;
      if (!causal_) break;
      earliest_ = std::min(earliest_, scores.key_positions[static_cast<std::size_t>(k)]);
    }
  }

  /// Goes to the block of `count` keys from `first` on.
  void enter(Index first, Index count) {
    count_ = count;
    if (!scores_.key_positions.empty())
      positions_ = scores_.key_positions.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    if (scores_.key_bias.empty())
      std::fill_n(key_bias_, count, Scalar{0});
    else
      std::copy_n(scores_.key_bias.data() + first, count, key_bias_);
    std::fill(key_bias_ + count, key_bias_ + block, no_score<Scalar>);
    first_ = first;
    spoiled_ = spoils(sum(count, key_bias_));
    if (spoiled_) std::replace_if(key_bias_, key_bias_ + count, spoils, Scalar{0});  // `score` adds it where it is seen
    hidden_count_ = 0;
    if (!scores_.hidden_keys.empty())
      for (Index k = 0; k < count; ++k)
        if (scores_.hidden_keys[static_cast<std::size_t>(first + k)] != 0)
          hidden_[hidden_count_++] = static_cast<std::uint16_t>(k);
  }

  /// How many keys of the block matter to `rows` queries from `query` on: those after the last that any of them sees do
  /// not, unless one of the queries sees no key of the sequence at all, which gives every key the same share.
  Index visible_keys(Index query, Index rows) const {
    if (!causal_ && hidden_count_ == 0) return count_;
    Position most = std::numeric_limits<Position>::max();
    bool all_see = any_seen_;
    if (causal_) {
      const auto [first, last] = std::minmax_element(position(query), position(query) + rows);
      all_see = all_see && *first >= earliest_;
      most = *last;
    }
    if (!all_see && scores_.softmax == SoftmaxKind::softmax) return count_;
    Index count = count_, hidden = hidden_count_;
    for (; count > 0; --count) {
      if (hidden > 0 && hidden_[hidden - 1] == count - 1)
        --hidden;
      else if (!causal_ || positions_[static_cast<std::size_t>(count - 1)] <= most)
        break;
    }
    return count;
  }

  /// Whether one of the first `keys` keys of the block is hidden from one of `rows` queries from `query` on, or its
  /// bias is NaN or infinite: scores are then made by `score` and `weigh`.
  bool hides(Index query, Index rows, Index keys) const {
    if (hidden_count_ > 0 || spoiled_) return true;
    if (!causal_) return false;
    const Position least = *std::min_element(position(query), position(query) + rows);
    if (order_ != KeyOrder::any) return keys > 0 && positions_[static_cast<std::size_t>(keys - 1)] > least;
    return std::any_of(positions_.begin(), positions_.begin() + keys, [&](Position key) { return key > least; });
  }

  /// Turns q . k [width] of one query into scores, without the key bias, in place.
  /// @param slope [width] receives d bound / d (q . k), unless null
  void score(Index query, Scalar* row, Index width, Scalar* slope) {
    if (slope != nullptr) {
      bound(row, width, slope);
      pass<false, false>(row, width, distance_row(query));
    } else if (scores_.soft_cap != 0) {
      pass<true, false>(row, width, distance_row(query));
    } else {
      pass<false, false>(row, width, distance_row(query));
    }
    if (spoiled_)
      for (Index k = 0; k < std::min(width, count_); ++k) {
        const Scalar bias = scores_.key_bias[static_cast<std::size_t>(first_ + k)];
        if (spoils(bias)) row[k] += bias;
      }
    hide(query, row, width, static_cast<Scalar>(hidden_score));
  }

  /// Adds the key bias to scores, and `no_score` past the last key; returns the largest sum.
  Scalar weigh(Scalar* row, Index width) const { return pass<false, true>(row, width, nullptr); }

  /// Both in one pass, for queries from which no key is hidden.
  Scalar score_and_weigh(Index query, Scalar* row, Index width) {
    const Scalar* bias = distance_row(query);
    return scores_.soft_cap != 0 ? pass<true, true>(row, width, bias) : pass<false, true>(row, width, bias);
  }

  /// Sets the places whose key is hidden from the query to `value`.
  void hide(Index query, Scalar* row, Index width, Scalar value) const {
    const Index end = std::min(width, count_);
    for (Index i = 0; i < hidden_count_; ++i)
      if (hidden_[i] < end) row[hidden_[i]] = value;
    if (!causal_) return;
    const Position own = *position(query);
    if (order_ != KeyOrder::any) {
      const auto later = std::upper_bound(positions_.begin(), positions_.begin() + end, own) - positions_.begin();
      std::fill(row + later, row + end, value);
    } else {
      for (Index k = 0; k < end; ++k)
        if (positions_[static_cast<std::size_t>(k)] > own) row[k] = value;
    }
  }

  /// Calls visit(key) for every one of the first `keys` keys of the block that a query sees.
  template <class Visit>
  void for_each_visible(Index query, Index keys, Visit&& visit) {
    for_each_part(query, zeros_, keys, visit);
  }

  /// The same for every one that has a part in the result of a query: all but those that are hidden and weigh nothing.
  /// For values that are not finite, of which 0 times is not 0.
  template <class Visit>
  void for_each_part(Index query, const Scalar* weights, Index keys, Visit&& visit) {
    std::fill_n(looked_up_, keys, Scalar{1});
    hide(query, looked_up_, keys, Scalar{0});
    for (Index key = 0; key < keys; ++key)
      if (looked_up_[key] != 0 || weights[key] != 0) visit(key);
  }

  /// Adds the gradient of a row of scores to a gradient table.
  void add_distance_gradient(Index query, const Scalar* grad, Index width, Scalar* table) const {
    distances_.add(table, *position(query), positions_.first(static_cast<std::size_t>(std::min(width, count_))), grad);
  }

  const DistanceTable<Scalar>& distances() const { return distances_; }

 private:
  using Packet = typename PacketOf<Scalar>::Type;

  /// Whether a key bias is NaN or infinite, so that not even a hidden score beside it is hidden.
  static bool spoils(Scalar bias) { return !(bias < std::numeric_limits<Scalar>::infinity()); }

  const Position* position(Index query) const { return scores_.query_positions.data() + query; }

  const Scalar* distance_row(Index query) {
    if (scores_.distance_bias == nullptr) return nullptr;
    return distances_.row(table_, *position(query), positions_, looked_up_);
  }

  /// c tanh(s / c) and its slope 1 - tanh^2.
  struct SoftCap {
    Packet cap, stretch;

    explicit SoftCap(Scalar c) : cap(broadcast(c)), stretch(broadcast(2 / c)) {}

    Packet tanh(const Packet& s) const { return packet_tanh_of_half<Scalar>(Packet(simd::pmul(s, stretch))); }
    Packet value(const Packet& tanh) const { return rounded(Packet(simd::pmul(cap, tanh))); }
    Packet slope(const Packet& tanh) const {
      const Packet one = broadcast(Scalar{1});
      return simd::pmul(simd::psub(one, tanh), simd::padd(one, tanh));
    }
  };

  void bound(Scalar* row, Index width, Scalar* slope) const {
    const SoftCap cap(scores_.soft_cap);
    for (Index k = 0; k < width; k += PacketOf<Scalar>::size) {
      const Packet tanh = cap.tanh(simd::ploadu<Packet>(row + k));
      simd::pstoreu(row + k, cap.value(tanh));
      simd::pstoreu(slope + k, cap.slope(tanh));
    }
  }

  /// Soft cap, distance bias and key bias, the first and last if told so; returns the largest result.
  template <bool capped, bool weighed>
  Scalar pass(Scalar* row, Index width, const Scalar* bias) const {
    constexpr Index size = PacketOf<Scalar>::size;
    const SoftCap cap(capped ? scores_.soft_cap : Scalar{1});
    if (bias == nullptr) bias = zeros_;
    const auto step = [&](Index k) {
      Packet x = simd::ploadu<Packet>(row + k);
      if constexpr (capped) x = cap.value(cap.tanh(x));
      x = simd::padd(x, simd::ploadu<Packet>(bias + k));
      if constexpr (weighed) x = simd::padd(x, simd::ploadu<Packet>(key_bias_ + k));
      simd::pstoreu(row + k, x);
      return x;
    };
    Packet even = broadcast(std::numeric_limits<Scalar>::lowest()), odd = even;  // two chains, for speed
    for (Index k = 0; k < width; k += 2 * size) {
      even = simd::pmax(even, step(k));
      odd = simd::pmax(odd, step(k + size));
    }
    return simd::predux_max(Packet(simd::pmax(even, odd)));
  }

  const HeadScores<Scalar>& scores_;
  const Scalar* table_;
  KeyOrder order_;
  DistanceTable<Scalar> distances_;
  bool causal_;
  bool any_seen_ = false;                                     // some key of the sequence is not hidden
  Position earliest_ = std::numeric_limits<Position>::max();  // of those
  Index first_ = 0, count_ = 0;                               // keys in the block
  bool spoiled_ = false;                                      // the bias of one of them is NaN or infinite
  std::span<const Position> positions_;                       // theirs
  Index hidden_count_ = 0;
  std::uint16_t hidden_[static_cast<std::size_t>(block)];
  alignas(64) Scalar key_bias_[static_cast<std::size_t>(block)];
  alignas(64) Scalar looked_up_[static_cast<std::size_t>(block)];
  alignas(64) Scalar zeros_[static_cast<std::size_t>(block)];  // the distance bias where there is none
};

}  // namespace merganser::kernels::detail
