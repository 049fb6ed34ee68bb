// What a decoder remembers of a batch while it writes one token after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/nn/attention_context.hpp>
#include <merganser/nn/relative_position_bias.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// The keys and values of a batch of N sequences that grow by one token a step (the key/value cache).
///
/// Made by `Decoder::start`, read and written by `Decoder::step`. Sequences may share the rows of the encoder that they
/// read. R >= N capacity rows are held, and the capacity grows with the length; what lies in rows not yet written means
/// nothing.
template <Real Scalar>
struct DecoderState {
  Index sequences = 0;                        ///< N
  Index limit = 0;                            ///< most tokens a sequence may reach
  Index capacity = 0;                         ///< tokens of a sequence that there is room for
  Index length = 0;                           ///< tokens so far
  Vector<nn::KeyValues<Scalar>> self, cross;  ///< one a block; self [R x H K], cross [T' x H K]
  Vector<Position> key_positions;             ///< [R]
  Vector<RowRange> memory;                    ///< [N] rows of the encoder output
  Vector<Scalar> key_bias;                    ///< [T'] or empty
  Vector<std::uint8_t> hidden_keys;           ///< [T'] or empty
  nn::DistanceBias<Scalar> position_bias;

  /// Makes room for so many sequences.
  void reserve(Index count) {
    const Index rows = count * capacity;
    for (Index row = key_positions.size(); row < rows; ++row)
      key_positions.push_back(static_cast<Position>(row % capacity));
    for (nn::KeyValues<Scalar>& block : self)
      for (Matrix<Scalar>* matrix : {&block.keys, &block.values})
        if (matrix->rows() < rows) matrix->conservativeResize(rows, Eigen::NoChange);
  }

  /// Makes room for twice as many tokens of each sequence, at most `limit`.
  void lengthen() {
    const Index before = std::exchange(capacity, std::min(limit, 2 * capacity));
    for (nn::KeyValues<Scalar>& block : self)
      for (Matrix<Scalar>* matrix : {&block.keys, &block.values}) {
        Matrix<Scalar> longer(sequences * capacity, matrix->cols());
        for (Index n = 0; n < sequences; ++n)
          longer.middleRows(n * capacity, length) = matrix->middleRows(n * before, length);
        *matrix = std::move(longer);
      }
    key_positions.clear();
    reserve(sequences);
  }

  /// Goes on with the chosen sequences [N'], in their order. One that is left out ends and costs nothing more; one that
  /// is chosen several times branches. Copies the tokens of those that move.
  /// @throws std::invalid_argument if a chosen sequence is not one of the N; the state is then as before
  void select(std::span<const Index> chosen) {
    Vector<RowRange> ranges;
    Vector<std::pair<Index, Index>> moves;  // first row: from, to
    for (const Index from : chosen) {
      check_argument(from >= 0 && from < sequences, "DecoderState::select", "chosen", from, "a sequence of the state");
      const Index to = ranges.size();
      ranges.push_back(memory[from]);
      if (from != to) moves.emplace_back(from * capacity, to * capacity);
    }
    sequences = std::ssize(chosen);
    memory = std::move(ranges);
    reserve(sequences);
    for (nn::KeyValues<Scalar>& block : self)
      for (Matrix<Scalar>* matrix : {&block.keys, &block.values}) move_rows(*matrix, moves);
  }

 private:
  /// All are read before the first is written, so that sequences can change places.
  void move_rows(Matrix<Scalar>& matrix, const Vector<std::pair<Index, Index>>& moves) const {
    Matrix<Scalar> moving(moves.size() * length, matrix.cols());
    Index row = 0;
    for (const auto& [from, to] : moves) {
      moving.middleRows(row, length) = matrix.middleRows(from, length);
      row += length;
    }
    row = 0;
    for (const auto& [from, to] : moves) {
      matrix.middleRows(to, length) = moving.middleRows(row, length);
      row += length;
    }
  }
};

}  // namespace merganser::models
