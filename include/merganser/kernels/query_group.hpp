// A few queries that attention works on together, and what they see of a block of keys.
#pragma once

#include <algorithm>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_panels.hpp>
#include <merganser/kernels/attention_rules.hpp>
#include <merganser/kernels/register_block.hpp>

namespace merganser::inline MERGANSER_ISA::kernels::detail {

/// Queries whose scores with a block of keys are computed together.
struct QueryGroup {
  Index first;    ///< the first query
  Index rows;     ///< how many
  Index columns;  ///< keys of the block that matter to them, in whole panels; 0: none
  Index keys;     ///< how many of the columns are keys
  bool hides;     ///< whether one of those is hidden from one of them

  /// The group [first, first + rows) and the block of `count` keys that was entered.
  template <Real Scalar>
  static QueryGroup of(const AttentionRules<Scalar>& rules, Index count, Index first, Index rows) {
    const Index visible = rules.visible_keys(first, rows);
    if (visible == 0) return {first, rows, 0, 0, false};
    const Index columns = whole_panels<Scalar>(visible), keys = std::min(columns, count);
    return {first, rows, columns, keys, rules.hides(first, rows, keys)};
  }

  /// Their rows of a matrix, as a left-hand factor.
  template <Real Scalar>
  Strided<Scalar> rows_of(const MatrixRef<Scalar>& m) const {
    return {m.data() + first * m.outerStride(), m.outerStride(), 1};
  }
};

}  // namespace merganser::kernels::detail
