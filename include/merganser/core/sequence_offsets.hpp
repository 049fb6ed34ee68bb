// Where each sequence of a ragged batch begins and ends.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A run of rows: [begin, begin + length).
struct RowRange {
  Index begin = 0;
  Index length = 0;

  bool operator==(const RowRange&) const = default;
};

/// N + 1 rising row numbers: sequence i owns the rows [offset(i), offset(i + 1)). Also known as cu_seqlens.
///
/// Invariant: the first number is 0, none is smaller than the one before. Sequences may be empty.
class SequenceOffsets {
 public:
  /// No sequences.
  SequenceOffsets() : offsets_{0} {}

  /// One sequence of the given length.
  static SequenceOffsets single(Index length) { return from_lengths(std::span<const Index>(&length, 1)); }

  /// @throws std::invalid_argument if a length is negative
  static SequenceOffsets from_lengths(std::span<const Index> lengths) {
    SequenceOffsets result;
    result.offsets_.reserve(lengths.size() + 1);
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
    result.offsets_ = std::move(offsets);
    return result;
  }

  /// Appends a sequence.
  /// @throws std::invalid_argument if the length is negative
  void push_back(Index length) {
    check_argument(length >= 0, "SequenceOffsets::push_back", "length", length, "at least 0");
    offsets_.push_back(offsets_.back() + length);
  }

  /// N, the number of sequences.
  Index count() const { return static_cast<Index>(offsets_.size()) - 1; }
  /// T, the number of rows in all.
  Index total() const { return offsets_.back(); }
  Index begin(Index sequence) const { return offsets_[static_cast<std::size_t>(sequence)]; }
  Index end(Index sequence) const { return offsets_[static_cast<std::size_t>(sequence) + 1]; }
  Index length(Index sequence) const { return end(sequence) - begin(sequence); }
  RowRange range(Index sequence) const { return {begin(sequence), length(sequence)}; }

  /// The longest length, 0 when there are no sequences.
  Index max_length() const {
    Index longest = 0;
    for (Index i = 0; i < count(); ++i) longest = std::max(longest, length(i));
    return longest;
  }

  /// One range a sequence.
  Vector<RowRange> ranges() const {
    Vector<RowRange> result;
    result.reserve(static_cast<std::size_t>(count()));
    for (Index i = 0; i < count(); ++i) result.push_back(range(i));
    return result;
  }

  bool operator==(const SequenceOffsets&) const = default;

 private:
  Vector<Index> offsets_;
};

}  // namespace merganser
