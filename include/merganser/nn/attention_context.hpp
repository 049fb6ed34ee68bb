// Who attends to whom in a call of attention, and with which additions to the scores.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/attention.hpp>
#include <merganser/nn/packed_keys.hpp>
#include <merganser/nn/relative_position_bias.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

using kernels::Visibility;

/// One head of one sequence: what is computed on its own.
struct HeadOfSequence {
  Index head;
  Index width;             ///< K
  RowRange queries, keys;  ///< of the sequence

  /// Its part of a matrix [T_q x H K].
  template <class M>
  auto query_block(M& m) const {
    return m.block(queries.begin, head * width, queries.length, width);
  }

  /// Its part of a matrix [T_k x H K].
  template <class M>
  auto key_block(M& m) const {
    return m.block(keys.begin, head * width, keys.length, width);
  }
};

/// Who attends to whom: sequence i of the queries sees sequence i of the keys. No two sequences share a query; they may
/// share keys (the beams of one source do), but not where there is a gradient.
template <Real Scalar>
struct AttentionContext {
  Vector<RowRange> queries;                   ///< N ranges of query rows
  Vector<RowRange> keys;                      ///< N ranges of key rows
  std::span<const Position> query_positions;  ///< [T_q]; may be empty without position bias and causality
  std::span<const Position> key_positions;    ///< [T_k], likewise
  const DistanceBias<Scalar>* position_bias = nullptr;
  std::span<const Scalar> key_bias;  ///< [T_k] or empty, added to every score of a key: 0 neutral, negative weakens
  std::span<const std::uint8_t> hidden_keys;  ///< [T_k] or empty: not 0 hides a key
  Visibility visibility = Visibility::all;
  /// When set, forward also sums max(score - limit, 0) over all heads and pairs (score without key bias).
  const double* excess_limit = nullptr;

  /// Requires the context to fit the rows and heads of a call.
  /// @throws std::invalid_argument if it does not, or a position is negative, naming `where`
  void check(const char* where, Index query_rows, Index key_rows, Index heads) const {
    check_equal(where, "context.keys.size()", keys.size(), queries.size());
    const auto inside = [&](const Vector<RowRange>& ranges, const char* name, Index rows) {
      for (const RowRange& range : ranges)
        if (range.begin < 0 || range.length < 0 || range.begin > rows || range.length > rows - range.begin)
          throw_invalid_argument(where, name,
                                 std::to_string(range.length) + " rows from " + std::to_string(range.begin),
                                 "rows in [0, " + std::to_string(rows) + ")");
    };
    inside(queries, "context.queries", query_rows);
    inside(keys, "context.keys", key_rows);
    check_argument(are_disjoint(queries), where, "context.queries", "rows of two sequences", "rows of one each");
    const auto fits = [&](const char* name, const auto& values, Index rows) {
      if (!values.empty()) check_equal(where, name, std::ssize(values), rows);
    };
    fits("context.key_bias.size()", key_bias, key_rows);
    fits("context.hidden_keys.size()", hidden_keys, key_rows);
    if (position_bias == nullptr && visibility == Visibility::all) return;
    const auto counts = [&](const char* name, std::span<const Position> positions, Index rows) {
      if (std::ssize(positions) != rows)  // a message is put together when it is thrown
        throw_invalid_argument(where, std::string(name) + ".size()", std::ssize(positions), rows);
      const auto negative = std::find_if(positions.begin(), positions.end(), [](Position p) { return p < 0; });
      if (negative != positions.end()) throw_invalid_argument(where, name, *negative, "positions from 0 on");
    };
    counts("context.query_positions", query_positions, query_rows);
    counts("context.key_positions", key_positions, key_rows);
    if (position_bias == nullptr) return;
    check_equal(where, "heads of the position bias", position_bias->values.rows(), heads);
    position_bias->check(where);
  }

  /// Scores of one head: pairs of a query and a key of its sequence.
  Index pairs() const {
    Index sum = 0;
    for (Index i = 0; i < queries.size(); ++i) sum += queries[i].length * keys[i].length;
    return sum;
  }

  /// Calls visit(part, i heads + h) for head h of sequence i, in parallel, but for sequences without queries or keys.
  template <class Visit>
  void for_each_head(Index heads, Index head_width, Visit&& visit) const {
    const Index products = 2 * pairs() * heads * head_width;  // of the scores, and as many of the weighted values
    parallel_for(queries.size() * heads, products, [&](Index task) {
      const Index sequence = task / heads;
      const HeadOfSequence part{task % heads, head_width, queries[sequence], keys[sequence]};
      if (part.queries.length > 0 && part.keys.length > 0) visit(part, task);
    });
  }

  /// What a head of a sequence adds to its products, but for the layer's softmax and soft cap.
  kernels::HeadScores<Scalar> head_scores(const HeadOfSequence& part) const {
    const auto of = [](auto values, const RowRange& range) { return values.empty() ? values : range.of(values); };
    kernels::HeadScores<Scalar> scores;
    scores.visibility = visibility;
    if (position_bias != nullptr) {
      scores.distance_bias = position_bias->values.row(part.head).data();
      scores.radius = position_bias->radius;
    }
    scores.query_positions = of(query_positions, part.queries);
    scores.key_positions = of(key_positions, part.keys);
    scores.key_bias = of(key_bias, part.keys);
    scores.hidden_keys = of(hidden_keys, part.keys);
    return scores;
  }
};

/// Keys and values of T_k tokens, projected once and attended to many times (the key/value cache of decoding).
template <Real Scalar>
struct KeyValues {
  Matrix<Scalar> keys;        ///< [T_k x H K]
  Matrix<Scalar> values;      ///< [T_k x H K]
  PackedKeys<Scalar> packed;  ///< of the same keys, or nothing: attention then packs them at every call
};

}  // namespace merganser::nn
