// Which tokens survive, given their gate values.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/merge_plan.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The rows of one sequence that survive, rising.
///
/// `values` [n] are gate values: near 0 keeps, negative deletes; one that is no number is below all others. A row is
/// kept when its value is greater than the threshold; with a target rate, the round(rate * n) rows of lowest value go
/// instead (of equal ones the later). Rows that are not 0 in `gone` [n] (or empty) are as if they were not there: pads,
/// and what an earlier gate deleted. Of the others, if there are any, at least one is kept.
template <Real Scalar>
Vector<Index> surviving_rows(std::span<const Scalar> values, double trained_threshold, const DeletionOptions& options,
                             Marks gone = {}) {
  gone.check("surviving_rows", "gone", std::ssize(values));
  Vector<Index> rows;
  for (std::size_t row = 0; row < values.size(); ++row)
    if (!gone[row]) rows.push_back(static_cast<Index>(row));
  if (rows.empty()) return rows;
  const auto value = [&](Index row) {
    const Scalar own = values[static_cast<std::size_t>(row)];
    return std::isnan(own) ? -std::numeric_limits<Scalar>::infinity() : own;
  };
  const auto before = [&](Index a, Index b) { return value(a) != value(b) ? value(a) > value(b) : a < b; };
  if (options.target_rate) {
    const Index count = rows.size();
    const auto deleted = static_cast<Index>(std::lround(*options.target_rate * static_cast<double>(count)));
    std::sort(rows.begin(), rows.end(), before);
    rows.resize(std::max<Index>(count - deleted, 1));
    std::sort(rows.begin(), rows.end());
    return rows;
  }
  const auto threshold = static_cast<Scalar>(options.threshold.value_or(trained_threshold));
  Vector<Index> kept;
  for (const Index row : rows)
    if (values[static_cast<std::size_t>(row)] > threshold) kept.push_back(row);
  if (kept.empty())
    kept.push_back(options.fully_deleted == FullyDeletedSequence::keep_first
                       ? rows.front()
                       : *std::min_element(rows.begin(), rows.end(), before));
  return kept;
}

/// One plan a sequence that keeps the surviving rows; with a filler, every plan is as long as the longest, by rows
/// without members at the place of the first token. `gone` [T] or empty as in `surviving_rows`.
/// @throws std::invalid_argument if there is not one value a row or the options contradict themselves
template <Real Scalar>
Vector<MergePlan<Scalar>> deletion_plans(std::span<const Scalar> values, const SequenceOffsets& offsets,
                                         double trained_threshold, const DeletionOptions& options, Marks gone = {}) {
  check_equal("deletion_plans", "values.size()", std::ssize(values), offsets.total());
  gone.check("deletion_plans", "gone", offsets.total());
  options.check();
  Vector<MergePlan<Scalar>> plans;
  Index longest = 0;
  for (Index i = 0; i < offsets.count(); ++i) {
    const RowRange sequence = offsets.range(i);
    const Vector<Index> kept = surviving_rows(sequence.of(values), trained_threshold, options, gone.of(sequence));
    plans.push_back(MergePlan<Scalar>::keeping(kept, sequence.length));
    longest = std::max(longest, plans.back().output_count());
  }
  if (options.filler == Filler::pad_to_longest)
    for (MergePlan<Scalar>& plan : plans)
      while (plan.input_count() > 0 && plan.output_count() < longest) plan.open(0);
  return plans;
}

}  // namespace merganser::merge
