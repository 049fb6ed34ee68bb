// Which tokens survive, given their gate values.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/merge_plan.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The rows of one sequence that survive, rising.
///
/// `values` [n] are gate values: near 0 keeps, negative deletes. A row is kept when its value is greater than the
/// threshold; with a target rate, the round(rate * n) rows of lowest value go instead (of equal ones the later). A
/// non-empty sequence keeps at least one row.
template <Real Scalar>
Vector<Index> surviving_rows(std::span<const Scalar> values, double trained_threshold, const DeletionOptions& options) {
  const Index count = static_cast<Index>(values.size());
  Vector<Index> kept;
  if (count == 0) return kept;
  const auto value = [&](Index row) { return values[static_cast<std::size_t>(row)]; };
  if (options.target_rate) {
    kept.resize(values.size());
    std::iota(kept.begin(), kept.end(), Index{0});
    const auto rank = [&](Index row) {  // what is no number is deleted first
      return std::isnan(value(row)) ? -std::numeric_limits<Scalar>::infinity() : value(row);
    };
    std::sort(kept.begin(), kept.end(),
              [&](Index a, Index b) { return rank(a) != rank(b) ? rank(a) > rank(b) : a < b; });
    const auto deleted = static_cast<Index>(std::lround(*options.target_rate * static_cast<double>(count)));
    kept.resize(static_cast<std::size_t>(std::max<Index>(count - deleted, 1)));
    std::sort(kept.begin(), kept.end());
    return kept;
  }
  const auto threshold = static_cast<Scalar>(options.threshold.value_or(trained_threshold));
  for (Index row = 0; row < count; ++row)
    if (value(row) > threshold) kept.push_back(row);
  if (!kept.empty()) return kept;
  if (options.fully_deleted == FullyDeletedSequence::keep_first) return {0};
  return {static_cast<Index>(std::max_element(values.begin(), values.end()) - values.begin())};
}

/// One plan a sequence that keeps the surviving rows; with a filler, every plan is as long as the longest.
/// @throws std::invalid_argument if there is not one value a row or the options contradict themselves
template <Real Scalar>
Vector<MergePlan<Scalar>> deletion_plans(std::span<const Scalar> values, const SequenceOffsets& offsets,
                                         double trained_threshold, const DeletionOptions& options) {
  check_equal("deletion_plans", "values.size()", static_cast<Index>(values.size()), offsets.total());
  options.check();
  Vector<MergePlan<Scalar>> plans;
  Index longest = 0;
  for (Index i = 0; i < offsets.count(); ++i) {
    const auto sequence =
        values.subspan(static_cast<std::size_t>(offsets.begin(i)), static_cast<std::size_t>(offsets.length(i)));
    const Vector<Index> kept = surviving_rows(sequence, trained_threshold, options);
    plans.push_back(MergePlan<Scalar>::keep(kept, offsets.length(i)));
    longest = std::max(longest, plans.back().output_count());
  }
  if (options.filler == Filler::pad_to_longest)
    for (MergePlan<Scalar>& plan : plans)
      if (plan.input_count() > 0) plan.representative.resize(static_cast<std::size_t>(longest), 0);
  return plans;
}

}  // namespace merganser::merge
