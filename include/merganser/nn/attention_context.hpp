// Who attends to whom in a call of attention, and with which additions to the scores.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/attention.hpp>
#include <merganser/nn/packed_keys.hpp>
#include <merganser/nn/relative_position_bias.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

using kernels::Visibility;

/// Who attends to whom: sequence i of the queries sees sequence i of the keys.
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
  /// @throws std::invalid_argument if it does not, naming `where`
  void check(const char* where, Index query_rows, Index key_rows, Index heads) const {
    check_equal(where, "context.keys.size()", keys.size(), queries.size());
    const auto inside = [&](const Vector<RowRange>& ranges, const char* name, Index rows) {
      for (const RowRange& range : ranges)
        if (range.begin < 0 || range.length < 0 || range.begin + range.length > rows)
          throw_invalid_argument(where, name,
                                 std::to_string(range.length) + " rows from " + std::to_string(range.begin),
                                 "rows in [0, " + std::to_string(rows) + ")");
    };
    inside(queries, "context.queries", query_rows);
    inside(keys, "context.keys", key_rows);
    const auto fits = [&](const char* name, std::size_t size, Index rows) {
      if (size > 0) check_equal(where, name, static_cast<Index>(size), rows);
    };
    fits("context.key_bias.size()", key_bias.size(), key_rows);
    fits("context.hidden_keys.size()", hidden_keys.size(), key_rows);
    if (position_bias == nullptr && visibility == Visibility::all) return;
    check_equal(where, "context.query_positions.size()", static_cast<Index>(query_positions.size()), query_rows);
    check_equal(where, "context.key_positions.size()", static_cast<Index>(key_positions.size()), key_rows);
    if (position_bias != nullptr) check_equal(where, "heads of the position bias", position_bias->values.rows(), heads);
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
