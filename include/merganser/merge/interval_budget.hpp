// The loss that holds a rate of every sequence inside an interval, one for each language.
#pragma once

#include <algorithm>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/boundary_prior.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The rates that cost nothing: from highest - slack to highest.
struct RateInterval {
  double highest = 1.0;  ///< in [0, 1]
  double slack = 0.0;    ///< in [0, highest]

  /// @throws std::invalid_argument if a setting is out of range
  void check(const char* where) const {
    check_argument(highest >= 0 && highest <= 1, where, "highest", highest, "in [0, 1]");
    check_argument(slack >= 0 && slack <= highest, where, "slack", slack, "from 0 to the highest rate");
  }
};

/// The mean over sequences of relu(r - p) + relu(p - s - r), r being the share of a sequence's tokens that are marked
/// (boundaries, or what stays), p the highest rate and s the slack of its interval.
///
/// marks [T]; trials [N]: tokens of every sequence, which is left out of the mean when it has none; `labels` [N]: the
/// interval of every sequence, or empty: the first. The gradient of every mark is 1 / n above the interval, -1 / n
/// below it and 0 inside, ends included, over the number of sequences: for a straight-through estimate of a hard
/// decision. FlexiTokens, arXiv 2507.12720, where p and s hang on the language.
/// @throws std::invalid_argument if a length differs, there is no interval for a label, an interval is out of range or
/// a sequence has more marks than trials
template <Real Scalar>
BoundaryPriorResult<Scalar> interval_loss(Marks marks, const SequenceOffsets& offsets, std::span<const Index> trials,
                                          std::span<const RateInterval> intervals, std::span<const Index> labels = {}) {
  check_equal("interval_loss", "marks.size()", marks.size(), offsets.total());
  check_equal("interval_loss", "trials.size()", std::ssize(trials), offsets.count());
  if (!labels.empty()) check_equal("interval_loss", "labels.size()", std::ssize(labels), offsets.count());
  const auto sequences =
      static_cast<double>(std::count_if(trials.begin(), trials.end(), [](Index n) { return n > 0; }));
  BoundaryPriorResult<Scalar> result;
  result.grad_boundaries.assign(offsets.total(), Scalar{0});
  for (Index i = 0; i < offsets.count(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Index label = labels.empty() ? 0 : labels[at];
    check_argument(label >= 0 && label < std::ssize(intervals), "interval_loss", "labels", label,
                   "the number of an interval");
    const RateInterval& interval = intervals[static_cast<std::size_t>(label)];
    interval.check("interval_loss");
    const Index marked = marks.of(offsets.range(i)).count();
    check_argument(marked <= trials[at], "interval_loss", "trials", trials[at], "at least as many as there are marks");
    if (trials[at] == 0) continue;
    const double n = static_cast<double>(trials[at]), rate = static_cast<double>(marked) / n;
    const double above = rate - interval.highest, below = interval.highest - interval.slack - rate;
    result.value += std::max({above, below, 0.0}) / sequences;
    const double slope = above > 0 ? 1.0 : below > 0 ? -1.0 : 0.0;
    std::fill_n(result.grad_boundaries.begin() + offsets.begin(i), offsets.length(i),
                static_cast<Scalar>(slope / (n * sequences)));
  }
  return result;
}

}  // namespace merganser::merge
