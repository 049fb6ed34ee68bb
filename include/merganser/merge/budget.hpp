// How many tokens go: by a policy's own settings, or by what a call asks of a whole stack.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The tokens of n that a share in [0, 1] is: rounded half up, but one token stays.
inline Index removals_of(Index n, double rate) {
  return std::clamp<Index>(std::lround(rate * static_cast<double>(n)), 0, std::max<Index>(n - 1, 0));
}

/// What a policy removes by its own settings: a share, or so many tokens of every sequence.
struct Budget {
  std::optional<double> rate = std::nullopt;   ///< in [0, 1]
  std::optional<Index> tokens = std::nullopt;  ///< at least 0; not beside a rate

  /// Of n tokens: what the call asks for, if it does, else by the settings; one token stays.
  /// @throws std::invalid_argument if a setting is out of range or both are there
  Index removals(Index n, std::optional<Index> asked) const {
    check_argument(!rate || (*rate >= 0 && *rate <= 1), "Budget", "rate", rate.value_or(0), "in [0, 1]");
    check_argument(!tokens || *tokens >= 0, "Budget", "tokens", tokens.value_or(0), "at least 0");
    check_argument(!(rate && tokens), "Budget", "rate and tokens", "both", "one of them");
    if (asked || tokens) return std::clamp<Index>(asked ? *asked : *tokens, 0, std::max<Index>(n - 1, 0));
    return removals_of(n, rate.value_or(0));
  }
};

/// Shares out the rate that a call asks of a stack: of so many policies with a budget each takes an equal share of what
/// is left, 1 - (1 - rate)^(1/m) of m. What one of them cannot remove goes to those behind it, and what went in front
/// of them counts first, so that the last one makes the rate exact.
class StackBudget {
 public:
  /// No rate: everybody's own settings count.
  StackBudget() = default;

  /// `gone` marks pads, which do not count.
  StackBudget(double rate, Index policies, const SequenceOffsets& offsets, Marks gone) : policies_(policies) {
    for (Index i = 0; i < offsets.count(); ++i) {
      const Index tokens = counted(offsets, gone, i);
      goals_.push_back(tokens - removals_of(tokens, rate));
    }
  }

  /// [N] for the next policy with a budget, or empty; `gone` marks what is not there: pads, and what soft deletion
  /// would have removed.
  Vector<Index> next(const SequenceOffsets& offsets, Marks gone) {
    Vector<Index> removals;
    for (Index i = 0; i < goals_.size(); ++i) {
      const Index tokens = counted(offsets, gone, i), goal = std::min(goals_[i], tokens);
      Index kept = goal;
      if (policies_ > 1 && tokens > 0) {
        const double share = static_cast<double>(goal) / static_cast<double>(tokens);
        kept = tokens - removals_of(tokens, 1 - std::pow(share, 1 / static_cast<double>(policies_)));
      }
      removals.push_back(tokens - std::max(kept, goal));
    }
    --policies_;
    return removals;
  }

 private:
  static Index counted(const SequenceOffsets& offsets, Marks gone, Index sequence) {
    const RowRange range = offsets.range(sequence);
    return range.length - (gone.list().empty() ? 0 : gone.of(range).count());
  }

  Index policies_ = 0;
  Vector<Index> goals_;  ///< [N] tokens that are to stay
};

}  // namespace merganser::merge
