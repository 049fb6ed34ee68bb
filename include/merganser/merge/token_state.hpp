// What is known of tokens between two blocks, besides their vectors.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <type_traits>
#include <utility>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

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

  /// The state behind plans that were carried out: every row has what its representative had.
  TokenState merged(const Compaction<Scalar>& compaction) const {
    const auto pick = [&](const auto& values) {
      using Value = typename std::decay_t<decltype(values)>::value_type;
      return values.empty() ? values : compaction.pick(std::span<const Value>(values));
    };
    return {compaction.output_offsets(),
            pick(positions),
            pick(origin),
            pick(key_bias),
            pick(hidden),
            pick(forced),
            pick(deleted)};
  }
};

}  // namespace merganser::merge
