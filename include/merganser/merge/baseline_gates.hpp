// Gates that learn nothing: the baselines a learned gate must beat.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Deletes every token with the same probability: value `scale` with it, 0 otherwise.
struct RandomGate {
  double probability = 0.5;  ///< in [0, 1], the expected deletion rate
  double scale = -30.0;

  /// One value a token; draws one number each.
  template <Real Scalar>
  Vector<Scalar> values(Index tokens, Rng& rng) const {
    check_argument(probability >= 0 && probability <= 1, "RandomGate", "probability", probability, "in [0, 1]");
    Vector<Scalar> result(tokens);
    for (Scalar& value : result) value = rng.bernoulli(probability) ? static_cast<Scalar>(scale) : Scalar{0};
    return result;
  }
};

/// Keeps the beginning of every word: a separator starts a segment and belongs to it; of a segment of n tokens the
/// first ceil((1 - amount) n) get value 0, the others `scale`.
///
/// Kallini et al. 2025, arXiv 2410.20771, section 4 (fixed deletion baseline); the ceiling is taken in single precision
/// as there. Which ids separate is the caller's choice.
struct FixedRuleGate {
  double amount = 0.5;  ///< in [0, 1], the share of each segment that is deleted
  double scale = -30.0;
  Vector<TokenId> separators;

  /// One value for each of the T ids.
  template <Real Scalar>
  Vector<Scalar> values(std::span<const TokenId> ids, const SequenceOffsets& offsets, FixedRuleScope scope) const {
    check_argument(amount >= 0 && amount <= 1, "FixedRuleGate", "amount", amount, "in [0, 1]");
    check_equal("FixedRuleGate::values", "ids.size()", std::ssize(ids), offsets.total());
    Vector<Scalar> result(offsets.total(), static_cast<Scalar>(scale));
    if (scope == FixedRuleScope::sequence) {
      for (Index i = 0; i < offsets.count(); ++i)
        keep_heads(segment_lengths(ids, {offsets.range(i)}), result.begin() + offsets.begin(i), offsets.length(i));
      return result;
    }
    const Vector<Index> lengths = segment_lengths(ids, offsets.ranges());
    for (Index i = 0; i < offsets.count(); ++i)
      keep_heads(lengths, result.begin() + offsets.begin(i), offsets.length(i));
    return result;
  }

 private:
  /// lengths[s]: tokens in the s-th segment of any of the ranges together.
  Vector<Index> segment_lengths(std::span<const TokenId> ids, const Vector<RowRange>& ranges) const {
    Vector<Index> lengths;
    for (const RowRange& range : ranges) {
      Index segment = 0;
      for (const TokenId id : range.of(ids)) {
        if (std::find(separators.begin(), separators.end(), id) != separators.end()) ++segment;
        if (lengths.size() <= segment) lengths.resize(segment + 1, 0);
        ++lengths[segment];
      }
    }
    return lengths;
  }

  /// Marks the head of each segment, one segment after the other, as far as the sequence reaches.
  template <class Iterator>
  void keep_heads(const Vector<Index>& lengths, Iterator first, Index count) const {
    Index begin = 0;
    for (const Index length : lengths) {
      const float kept_exactly = static_cast<float>(1 - amount) * static_cast<float>(length);
      const auto kept = static_cast<Index>(std::ceil(kept_exactly));
      for (Index t = begin; t < std::min(begin + kept, count); ++t) first[t] = 0;
      begin += length;
    }
  }
};

}  // namespace merganser::merge
