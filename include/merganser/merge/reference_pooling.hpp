// How the published implementation pools a padded batch: fillers and pads that count.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/segment_mean.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Lengthens the plans of segments to the longest of them with fillers at the position of the first token: the first
/// filler is the mean of the sequence's pads, the others have no member and are meant to be 0. `pads` [T] or empty.
///
/// Sequences without rows stay empty. Returns one mark a row that the plans make: not 0 at a filler.
/// @throws std::invalid_argument if a length differs
template <Real Scalar>
Vector<std::uint8_t> fill_up_segments(Vector<MergePlan<Scalar>>& plans, const SequenceOffsets& offsets, Marks pads) {
  check_equal("fill_up_segments", "plans.size()", plans.size(), offsets.count());
  pads.check("fill_up_segments", "pads", offsets.total());
  Index longest = 0;
  for (const MergePlan<Scalar>& plan : plans) longest = std::max(longest, plan.output_count());
  Vector<std::uint8_t> fillers;
  for (Index i = 0; i < offsets.count(); ++i) {
    MergePlan<Scalar>& plan = plans[i];
    const Index segments = plan.output_count();
    fillers.resize(fillers.size() + segments, 0);
    if (segments == longest || plan.input_count() == 0) continue;
    const Marks marks = pads.of(offsets.range(i));
    const auto weight = segment_weight<Scalar>(marks.count());
    for (Index filler = segments; filler < longest; ++filler) {
      plan.open(0);
      for (Index row = 0; filler == segments && row < plan.input_count(); ++row)
        if (marks[row]) plan.add(row, weight);
    }
    fillers.resize(fillers.size() + longest - segments, 1);
  }
  return fillers;
}

/// Plans of strided groups that take pads for tokens and drop a last group of fewer than `rate` rows.
/// @throws std::invalid_argument if the rate is below 1
template <Real Scalar>
Vector<MergePlan<Scalar>> whole_group_plans(const SequenceOffsets& offsets, Index rate) {
  check_argument(rate >= 1, "whole_group_plans", "rate", rate, "at least 1");
  Vector<MergePlan<Scalar>> plans;
  for (Index i = 0; i < offsets.count(); ++i) {
    MergePlan<Scalar>& plan = plans.emplace_back(offsets.length(i));
    for (Index row = 0; row < offsets.length(i) / rate * rate; ++row) {
      if (row % rate == 0) plan.open(row);
      plan.add(row);
    }
  }
  return plans;
}

}  // namespace merganser::merge
