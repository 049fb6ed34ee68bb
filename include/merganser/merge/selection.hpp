// Which tokens survive, given their gate values.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/merge_plan.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The rows of one sequence that survive, rising.
///
/// `values` [n] are gate values: near 0 keeps, negative deletes; one that is no number is below all others. A row is
/// kept when its value is greater than the threshold; with `removals`, so many rows of lowest value go instead (of
/// equal ones the later). Rows that are not 0 in `gone` [n] (or empty) are as if they were not there: pads, and what an
/// earlier gate deleted. Of the others, if there are any, at least one is kept: the one of highest value.
template <Real Scalar>
Vector<Index> surviving_rows(std::span<const Scalar> values, double threshold, Marks gone = {},
                             std::optional<Index> removals = std::nullopt) {
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
  if (removals) {
    std::sort(rows.begin(), rows.end(), before);
    rows.resize(std::max<Index>(rows.size() - *removals, 1));
    std::sort(rows.begin(), rows.end());
    return rows;
  }
  Vector<Index> kept;
  for (const Index row : rows)
    if (values[static_cast<std::size_t>(row)] > static_cast<Scalar>(threshold)) kept.push_back(row);
  if (kept.empty()) kept.push_back(*std::min_element(rows.begin(), rows.end(), before));
  return kept;
}

/// One plan a sequence that keeps the surviving rows. `gone` [T] or empty as in `surviving_rows`; `removals` [N], or
/// empty: what the options say.
/// @throws std::invalid_argument if there is not one value a row or the options contradict themselves
template <Real Scalar>
Vector<MergePlan<Scalar>> deletion_plans(std::span<const Scalar> values, const SequenceOffsets& offsets,
                                         double trained_threshold, const DeletionOptions& options, Marks gone = {},
                                         std::span<const Index> removals = {}) {
  check_equal("deletion_plans", "values.size()", std::ssize(values), offsets.total());
  if (!removals.empty()) check_equal("deletion_plans", "removals.size()", std::ssize(removals), offsets.count());
  gone.check("deletion_plans", "gone", offsets.total());
  options.check();
  const double threshold = options.threshold.value_or(trained_threshold);
  Vector<MergePlan<Scalar>> plans;
  for (Index i = 0; i < offsets.count(); ++i) {
    const RowRange sequence = offsets.range(i);
    const Marks missing = gone.of(sequence);
    std::optional<Index> removed;
    if (!removals.empty())
      removed = removals[static_cast<std::size_t>(i)];
    else if (options.target_rate)
      removed = removals_of(sequence.length - (missing.any() ? missing.count() : 0), *options.target_rate);
    const Vector<Index> kept = surviving_rows(sequence.of(values), threshold, missing, removed);
    plans.push_back(MergePlan<Scalar>::keeping(kept, sequence.length));
  }
  return plans;
}

}  // namespace merganser::merge
