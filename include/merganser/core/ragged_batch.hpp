// Batches of sequences of different lengths, stored one after the other without padding.
#pragma once

#include <initializer_list>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA {

/// The positions 0, 1, 2, ... of every sequence. Shape [T].
inline Vector<Position> counting_positions(const SequenceOffsets& offsets) {
  Vector<Position> positions;
  positions.reserve(offsets.total());
  for (Index i = 0; i < offsets.count(); ++i)
    for (Index t = 0; t < offsets.length(i); ++t) positions.push_back(static_cast<Position>(t));
  return positions;
}

/// Token ids of N sequences, T in all.
struct TokenBatch {
  Vector<TokenId> ids;      ///< [T]
  SequenceOffsets offsets;  ///< N sequences over the T ids

  /// Lays sequences one after the other.
  static TokenBatch from_sequences(std::initializer_list<Vector<TokenId>> sequences) {
    return from_sequences(std::span(sequences.begin(), sequences.size()));
  }
  template <class Sequences>
  static TokenBatch from_sequences(const Sequences& sequences) {
    TokenBatch batch;
    for (std::span<const TokenId> sequence : sequences) batch.push_back(sequence);
    return batch;
  }

  /// Appends a sequence.
  void push_back(std::span<const TokenId> sequence) {
    ids.append(sequence.begin(), sequence.end());
    offsets.push_back(std::ssize(sequence));
  }

  /// The ids of one sequence.
  /// @throws std::invalid_argument if there is no such sequence or the offsets are not those of the ids
  std::span<const TokenId> sequence(Index i) const& {
    offsets.check_number("TokenBatch::sequence", i);
    check_equal("TokenBatch::sequence", "ids.size()", ids.size(), total());
    return offsets.range(i).of(std::span(ids));
  }
  std::span<const TokenId> sequence(Index i) const&& = delete;  // the ids would be gone

  Index count() const { return offsets.count(); }
  Index total() const { return offsets.total(); }

  bool operator==(const TokenBatch&) const = default;
};

/// Vectors of N sequences, T tokens in all, with the original position of every token.
///
/// Invariant (checked by the constructor): values has T rows and positions T entries, where T = offsets.total().
template <Real Scalar>
struct RaggedBatch {
  Matrix<Scalar> values;       ///< [T x D]
  SequenceOffsets offsets;     ///< N sequences over the T rows
  Vector<Position> positions;  ///< [T], rising within a sequence

  RaggedBatch() = default;

  /// A batch whose tokens count from 0 in every sequence.
  /// @throws std::invalid_argument if values and offsets disagree on T
  RaggedBatch(Matrix<Scalar> rows, SequenceOffsets sequence_offsets)
      : RaggedBatch(std::move(rows), sequence_offsets, counting_positions(sequence_offsets)) {}

  /// @throws std::invalid_argument if values, offsets and positions disagree on T or a position is negative
  RaggedBatch(Matrix<Scalar> rows, SequenceOffsets sequence_offsets, Vector<Position> original_positions)
      : values(std::move(rows)), offsets(std::move(sequence_offsets)), positions(std::move(original_positions)) {
    check_equal("RaggedBatch", "values.rows()", values.rows(), offsets.total());
    check_equal("RaggedBatch", "positions.size()", positions.size(), offsets.total());
    for (const Position position : positions)
      check_argument(position >= 0, "RaggedBatch", "positions", position, "positions from 0 on");
  }

  /// The rows of one sequence.
  /// @throws std::invalid_argument if there is no such sequence or the offsets are not those of the rows
  MatrixRef<Scalar> sequence(Index i) const& {
    offsets.check_number("RaggedBatch::sequence", i);
    check_equal("RaggedBatch::sequence", "values.rows()", values.rows(), total());
    return values.middleRows(offsets.begin(i), offsets.length(i));
  }
  MatrixRef<Scalar> sequence(Index i) const&& = delete;  // the rows would be gone

  Index count() const { return offsets.count(); }
  Index total() const { return offsets.total(); }
};

}  // namespace merganser
