// How much was deleted, sequence by sequence.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Tokens and survivors of each sequence; forced tokens (pads) count as neither.
struct DeletionStatistics {
  Vector<Index> tokens;  ///< [N]
  Vector<Index> kept;    ///< [N]

  /// Share of the tokens of one sequence that were deleted, in [0, 1]; 0 for an empty sequence.
  double deletion_rate(Index sequence) const { return rate(tokens[sequence], kept[sequence]); }

  /// Share of all tokens that were deleted, in [0, 1].
  double deletion_rate() const {
    Index all = 0, survivors = 0;
    for (Index i = 0; i < tokens.size(); ++i) {
      all += tokens[i];
      survivors += kept[i];
    }
    return rate(all, survivors);
  }

  /// Tokens that can be deleted: all but the one that every sequence keeps.
  Index deletable() const {
    Index all = 0;
    for (const Index count : tokens) all += std::max<Index>(count - 1, 0);
    return all;
  }

  /// Tokens that were deleted.
  Index deleted() const {
    Index all = 0;
    for (Index i = 0; i < tokens.size(); ++i) all += tokens[i] - kept[i];
    return all;
  }

  double keep_rate() const { return 1.0 - deletion_rate(); }

  /// Counts the rows marked in `alive` [T] (not 0), leaving out those marked in `forced` [T] (or empty).
  /// @throws std::invalid_argument if one of them has another length
  static DeletionStatistics count(const SequenceOffsets& offsets, Marks alive, Marks forced) {
    check_equal("DeletionStatistics::count", "alive.size()", alive.size(), offsets.total());
    forced.check("DeletionStatistics::count", "forced", offsets.total());
    DeletionStatistics statistics;
    for (Index i = 0; i < offsets.count(); ++i) {
      Index tokens = 0, kept = 0;
      for (Index t = offsets.begin(i); t < offsets.end(i); ++t) {
        if (forced[t]) continue;
        ++tokens;
        if (alive[t]) ++kept;
      }
      statistics.tokens.push_back(tokens);
      statistics.kept.push_back(kept);
    }
    return statistics;
  }

 private:
  static double rate(Index all, Index survivors) {
    return all == 0 ? 0.0 : 1.0 - static_cast<double>(survivors) / static_cast<double>(all);
  }
};

}  // namespace merganser::merge
