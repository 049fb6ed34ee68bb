// Where each sequence of a ragged batch begins and ends.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <limits>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A run of rows: [begin, begin + length).
struct RowRange {
  Index begin = 0;
  Index length = 0;

  Index end() const { return begin + length; }

  /// What belongs to the rows, of one value a row.
  template <class Value>
  std::span<Value> of(std::span<Value> values) const {
    return values.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(length));
  }

  bool operator==(const RowRange&) const = default;
};

/// Whether no row is in two of the ranges; they may come in any order.
inline bool are_disjoint(std::span<const RowRange> ranges) {
  const auto rise = [](const auto& list) {
    Index end = std::numeric_limits<Index>::min();
    return std::all_of(list.begin(), list.end(), [&end](const RowRange& range) {
      return range.length == 0 || range.begin >= std::exchange(end, range.end());
    });
  };
  if (rise(ranges)) return true;
  Vector<RowRange> sorted(ranges.begin(), ranges.end());
  std::sort(sorted.begin(), sorted.end(), [](const RowRange& a, const RowRange& b) { return a.begin < b.begin; });
  return rise(sorted);
}

/// N + 1 rising row numbers: sequence i owns the rows [offset(i), offset(i + 1)). Also known as cu_seqlens.
///
/// Invariant: the first number is 0, none is smaller than the one before. Sequences may be empty. Moved from, it has no
/// sequences.
class SequenceOffsets {
 public:
  /// No sequences.
  SequenceOffsets() = default;

  /// One sequence of the given length.
  static SequenceOffsets single(Index length) { return from_lengths(std::span<const Index>(&length, 1)); }

  /// @throws std::invalid_argument if a length is negative
  static SequenceOffsets from_lengths(std::span<const Index> lengths) {
    SequenceOffsets result;
    result.offsets_.reserve(std::ssize(lengths) + 1);
    for (const Index length : lengths) result.push_back(length);
    return result;
  }

  /// Takes N + 1 row numbers as they are.
  /// @throws std::invalid_argument if they do not start at 0 or fall
  static SequenceOffsets from_offsets(Vector<Index> offsets) {
    check_argument(!offsets.empty() && offsets.front() == 0, "SequenceOffsets::from_offsets", "offsets",
                   offsets.empty() ? Index{-1} : offsets.front(), "a first offset of 0");
    const auto fall = std::adjacent_find(offsets.begin(), offsets.end(), std::greater<>());
    if (fall != offsets.end())
      throw_invalid_argument("SequenceOffsets::from_offsets", "offsets", *(fall + 1), "no offset below the one before");
    SequenceOffsets result;
    if (offsets.size() > 1) result.offsets_ = std::move(offsets);
    return result;
  }

  /// Appends a sequence.
  /// @throws std::invalid_argument if the length is negative or the total does not fit an Index
  void push_back(Index length) {
    check_argument(length >= 0 && length <= std::numeric_limits<Index>::max() - total(), "SequenceOffsets::push_back",
                   "length", length, "at least 0, and a total that an Index can hold");
    if (offsets_.empty()) offsets_.push_back(0);
    offsets_.push_back(offsets_.back() + length);
  }

  /// N, the number of sequences.
  Index count() const { return offsets_.empty() ? 0 : offsets_.size() - 1; }
  /// T, the number of rows in all.
  Index total() const { return offsets_.empty() ? 0 : offsets_.back(); }
  Index begin(Index sequence) const { return offsets_[sequence]; }
  Index end(Index sequence) const { return offsets_[sequence + 1]; }
  Index length(Index sequence) const { return end(sequence) - begin(sequence); }
  RowRange range(Index sequence) const { return {begin(sequence), length(sequence)}; }

  /// @throws std::invalid_argument if there is no sequence of this number, naming `where`
  void check_number(const char* where, Index sequence) const {
    check_argument(sequence >= 0 && sequence < count(), where, "sequence", sequence, "a number of a sequence");
  }

  /// The longest length, 0 when there are no sequences.
  Index max_length() const {
    Index longest = 0;
    for (Index i = 0; i < count(); ++i) longest = std::max(longest, length(i));
    return longest;
  }

  /// One range a sequence.
  Vector<RowRange> ranges() const {
    Vector<RowRange> result;
    result.reserve(count());
    for (Index i = 0; i < count(); ++i) result.push_back(range(i));
    return result;
  }

  bool operator==(const SequenceOffsets&) const = default;

 private:
  Vector<Index> offsets_;  ///< nothing while there are no sequences
};

}  // namespace merganser
