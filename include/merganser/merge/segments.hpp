// Segments of tokens pooled to their mean, and the gradient of where they end.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/merge_plan.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Weight of each of `count` tokens in their mean: sum / (count + 1e-9), as published.
template <Real Scalar>
Scalar segment_weight(Index count) {
  return static_cast<Scalar>(1 / (static_cast<double>(count) + 1e-9));
}

/// What becomes of tokens behind the last boundary.
enum class OpenGroup {
  kept,     ///< they are a segment too
  dropped,  ///< they are in none, unless they are all that there is
};

/// What stands beside the segments that boundaries end.
struct SegmentSettings {
  OpenGroup open_group = OpenGroup::kept;
  bool null_group = false;  ///< every sequence with a token has one row more, in front, without members
};

namespace detail {

/// Behind the last token of a sequence that is in a segment.
inline Index segments_end(Marks boundaries, const RowRange& rows, Marks pads, const SegmentSettings& settings) {
  if (settings.open_group == OpenGroup::kept) return rows.length;
  Index end = rows.length;
  while (end > 0 && !(boundaries[rows.begin + end - 1] && !pads[rows.begin + end - 1])) --end;
  return end == 0 && !settings.null_group ? rows.length : end;
}

}  // namespace detail

/// One plan a sequence that makes every segment its mean; pads are dropped.
///
/// A boundary (not 0 in `boundaries` [T]) ENDS its segment: it is the last token there. Tokens behind the last boundary
/// are a segment too, unless the settings drop them. `pads` [T] or empty: not 0 at a pad. A segment stands at the
/// position of its first token, and the null group at that of the first of all.
/// @throws std::invalid_argument if a length differs
template <Real Scalar>
Vector<MergePlan<Scalar>> segment_plans(Marks boundaries, const SequenceOffsets& offsets, Marks pads = {},
                                        const SegmentSettings& settings = {}) {
  check_equal("segment_plans", "boundaries.size()", boundaries.size(), offsets.total());
  pads.check("segment_plans", "pads", offsets.total());
  Vector<MergePlan<Scalar>> plans;
  for (Index i = 0; i < offsets.count(); ++i) {
    MergePlan<Scalar>& plan = plans.emplace_back(offsets.length(i));
    const Index end = detail::segments_end(boundaries, offsets.range(i), pads, settings);
    bool open = false, first = true;
    for (Index row = 0; row < offsets.length(i); ++row) {
      const Index t = offsets.begin(i) + row;
      if (pads[t]) continue;
      if (first && settings.null_group) plan.open(row);
      first = false;
      if (row >= end) break;
      if (!open) plan.open(row);
      plan.add(row);
      open = !boundaries[t];
    }
    for (Index segment = 0; segment < plan.output_count(); ++segment)
      plan.set_weights(segment, segment_weight<Scalar>(std::ssize(plan.members(segment))));
  }
  return plans;
}

/// The straight-through gradient of the boundaries [T] of segment means: x [T x D] in, grad_means [T' x D] of the
/// means.
///
/// The surrogate: token l weighs 1 + sum over j < l of (b_j - its value), in its segment as it is; a boundary that
/// grows makes all tokens behind it heavier. In a later segment they all grow alike, which leaves the mean: so only
/// tokens of the same segment count. Nawrot et al. 2023, arXiv 2211.09761.
template <Real Scalar>
Vector<Scalar> segment_boundary_gradient(const MatrixRef<Scalar>& x, const Compaction<Scalar>& segments,
                                         const MatrixRef<Scalar>& grad_means) {
  const SequenceOffsets& input = segments.input_offsets();
  const SequenceOffsets& output = segments.output_offsets();
  check_equal("segment_boundary_gradient", "x.rows()", x.rows(), input.total());
  check_equal("segment_boundary_gradient", "grad_means.rows()", grad_means.rows(), output.total());
  const Matrix<Scalar> means = segments.compact(x);
  Vector<Scalar> gradient(input.total(), Scalar{0});
  for (Index i = 0; i < input.count(); ++i) {
    const MergePlan<Scalar>& plan = segments.plan(i);
    for (Index segment = 0; segment < plan.output_count(); ++segment) {
      const std::span<const Member<Scalar>> members = plan.members(segment);
      const Index mean = output.begin(i) + segment;
      Scalar behind{0};  // gradient of a common addition to the weights of the segment's tokens behind this one
      for (auto member = members.rbegin(); member != members.rend(); ++member) {
        const Index t = input.begin(i) + member->token;
        gradient[t] = behind;
        const Scalar slope =
            kernels::dot_difference(x.cols(), grad_means.row(mean).data(), x.row(t).data(), means.row(mean).data());
        behind = kernels::multiply_add(member->weight, slope, behind);
      }
    }
  }
  return gradient;
}

}  // namespace merganser::merge
