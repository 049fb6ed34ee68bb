// What is known of tokens between two blocks, besides their vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <utility>

#include <merganser/core/marks.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Whether a row made of several tokens weighs more in attention for it.
enum class SizeBias {
  none,      ///< as one token
  log_size,  ///< as its tokens together: log(size) more on its key (proportional attention, Bolya et al. 2023)
};

/// All that is known of the T tokens between two blocks, besides their vectors.
template <Real Scalar>
struct TokenState {
  SequenceOffsets offsets;
  Vector<Position> positions;   ///< [T] for the position bias
  Vector<Index> origin;         ///< [T] row in the batch that entered the stack
  Vector<Scalar> key_bias;      ///< [T] or empty: sum of the gate values so far, added to the scores of each key
  Vector<std::uint8_t> hidden;  ///< [T] or empty: not 0 where no query may look (pads)
  Vector<std::uint8_t> forced;  ///< [T] or empty: not 0 where gates must delete (pads)
  /// [T] or empty: not 0 where a token is softly deleted, so that hard deletion would have removed it.
  Vector<std::uint8_t> deleted = {};
  Vector<Scalar> sizes = {};  ///< [T] or empty (one each): tokens of the incoming batch that a row is made of

  // NOLINTNEXTLINE(performance-unnecessary-value-param): clang-tidy does not see the move in a template
  static TokenState start(const SequenceOffsets& offsets, Vector<Position> positions) {
    TokenState state;
    state.offsets = offsets;
    state.positions = std::move(positions);
    state.origin.resize(offsets.total());
    std::iota(state.origin.begin(), state.origin.end(), Index{0});
    return state;
  }

  Index total() const { return offsets.total(); }

  /// Hidden or forced: what a policy is not shown.
  Vector<std::uint8_t> pads() const {
    Vector<std::uint8_t> pads = hidden;
    add_marks(forced, pads);
    return pads;
  }

  /// Forced or deleted: what is not there for a gate or a budget.
  Vector<std::uint8_t> gone() const {
    Vector<std::uint8_t> gone = deleted;
    add_marks(forced, gone);
    return gone;
  }

  /// The state behind plans that were carried out: every row has what its representative had. Sizes add up. The key
  /// bias of a row of several tokens i is that of their mean weight, log(sum s_i e^(b_i) / sum s_i), or with
  /// `SizeBias::log_size` log(sum e^(b_i)): they weigh what softmax gave them together, earlier merges included. Where
  /// a plan gives a row another size than the sum, that sum is scaled with it.
  TokenState merged(const Compaction<Scalar>& compaction, SizeBias size_bias = SizeBias::none) const {
    const auto pick = [&](const auto& values) {
      using Value = typename std::decay_t<decltype(values)>::value_type;
      return values.empty() ? values : compaction.pick(std::span<const Value>(values));
    };
    const bool copied = compaction.only_copies();
    return {compaction.output_offsets(),
            pick(positions),
            pick(origin),
            copied ? pick(key_bias) : merged_bias(compaction, size_bias),
            pick(hidden),
            pick(forced),
            pick(deleted),
            copied ? pick(sizes) : merged_sizes(compaction)};
  }

  /// Behind a merge that has no pad in a row.
  TokenState without_pads() && {
    hidden.clear();
    forced.clear();
    return std::move(*this);
  }

  /// The gradient of the key bias behind `merged` becomes that in front of it; empty if there was none.
  Vector<Scalar> merged_bias_backward(const Compaction<Scalar>& compaction, std::span<const Scalar> grad,
                                      SizeBias size_bias = SizeBias::none) const {
    if (key_bias.empty() || grad.empty()) return {};
    const Vector<Index> representatives = compaction.representatives();
    Vector<Scalar> result(total(), Scalar{0});
    compaction.for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      const Scalar own = grad[static_cast<std::size_t>(out)];
      if (members.size() <= 1) {
        result[members.empty() ? representatives[out] : first + members[0].token] += own;
        return;
      }
      const Scalar all = log_weight(first, members, size_bias);
      if (!std::isfinite(all)) return;
      for (const Member<Scalar>& member : members) {
        const Index row = first + member.token;
        result[row] += own * share(row, size_bias) * std::exp(key_bias[row] - all);
      }
    });
    return result;
  }

 private:
  Scalar size(Index row) const { return sizes.empty() ? Scalar{1} : sizes[row]; }

  /// How often a token counts in the weight of its row; its key bias says the rest.
  Scalar share(Index row, SizeBias size_bias) const { return size_bias == SizeBias::log_size ? Scalar{1} : size(row); }

  /// log(sum s_i e^(b_i)), with all s_i = 1 for `SizeBias::log_size`.
  Scalar log_weight(Index first, std::span<const Member<Scalar>> members, SizeBias size_bias) const {
    Scalar largest = -std::numeric_limits<Scalar>::infinity(), sum = 0;
    const auto bias = [&](const Member<Scalar>& member) {
      return key_bias.empty() ? Scalar{0} : key_bias[first + member.token];
    };
    for (const Member<Scalar>& member : members) largest = std::max(largest, bias(member));
    if (!std::isfinite(largest)) return largest;
    for (const Member<Scalar>& member : members)
      sum += share(first + member.token, size_bias) * std::exp(bias(member) - largest);
    return largest + std::log(sum);
  }

  Scalar summed_size(Index first, std::span<const Member<Scalar>> members) const {
    Scalar sum = 0;
    for (const Member<Scalar>& member : members) sum += size(first + member.token);
    return sum;
  }

  Vector<Scalar> merged_sizes(const Compaction<Scalar>& compaction) const {
    Vector<Scalar> result(compaction.output_offsets().total());
    compaction.for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      result[out] = summed_size(first, members);
    });
    for_each_own_size(compaction, [&](Index out, Scalar own) { result[out] = own; });
    return result;
  }

  /// Adds log(own size / sum of the members') where a plan counts in its own way.
  void scale_by_own_sizes(const Compaction<Scalar>& compaction, Vector<Scalar>& bias) const {
    Vector<Scalar> sums(bias.size(), Scalar{0});
    compaction.for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      sums[out] = summed_size(first, members);
    });
    for_each_own_size(compaction, [&](Index out, Scalar own) { bias[out] += std::log(own / sums[out]); });
  }

  /// Calls visit(row, size) for the rows of plans that count them in their own way.
  template <class Visit>
  static void for_each_own_size(const Compaction<Scalar>& compaction, Visit&& visit) {
    const SequenceOffsets& offsets = compaction.output_offsets();
    for (Index i = 0; i < offsets.count(); ++i)
      for (Index out = offsets.begin(i); const Scalar own : compaction.plan(i).sizes()) visit(out++, own);
  }

  Vector<Scalar> merged_bias(const Compaction<Scalar>& compaction, SizeBias size_bias) const {
    if (key_bias.empty() && size_bias == SizeBias::none) return {};
    const Vector<Index> representatives = compaction.representatives();
    Vector<Scalar> result(compaction.output_offsets().total());
    compaction.for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      if (members.size() <= 1) {
        const Index row = members.empty() ? representatives[out] : first + members[0].token;
        result[out] = key_bias.empty() ? Scalar{0} : key_bias[row];
        return;
      }
      const Scalar among = size_bias == SizeBias::log_size ? Scalar{1} : summed_size(first, members);
      result[out] = log_weight(first, members, size_bias) - std::log(among);
    });
    if (size_bias == SizeBias::log_size) scale_by_own_sizes(compaction, result);
    return result;
  }
};

}  // namespace merganser::merge
