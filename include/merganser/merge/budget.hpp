// How many tokens go: by a policy's own settings, or by what a call asks of a whole stack.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
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

  /// @throws std::invalid_argument if a setting is out of range or both are there
  void check() const {
    check_argument(!rate || (*rate >= 0 && *rate <= 1), "Budget", "rate", rate.value_or(0), "in [0, 1]");
    check_argument(!tokens || *tokens >= 0, "Budget", "tokens", tokens.value_or(0), "at least 0");
    check_argument(!(rate && tokens), "Budget", "rate and tokens", "both", "one of them");
  }

  /// Of n tokens: what the call asks for, if it does, else by the settings; one token stays.
  /// @throws std::invalid_argument as `check`
  Index removals(Index n, std::optional<Index> asked) const {
    check();
    if (asked || tokens) return std::clamp<Index>(asked ? *asked : *tokens, 0, std::max<Index>(n - 1, 0));
    return removals_of(n, rate.value_or(0));
  }
};

/// Shares out the rate that a call asks of a stack among the policies with a budget, in the order in which they act.
///
/// Where all of them have a budget of their own, the call scales these and keeps their shape: numbers of tokens stay in
/// proportion; shares r stay so in what they leave, (1 - r)^c each, so that the shares themselves come out where the
/// call asks for what they make together. Else, or where all of them are 0, each of m takes an equal share of what is
/// left, 1 - (1 - rate)^(1/m). What one of them cannot remove goes to those behind it, and what went in front of them
/// counts first, so that the last one makes the rate exact.
class StackBudget {
 public:
  /// No rate: everybody's own settings count.
  StackBudget() = default;

  /// Equal shares for so many policies. `gone` marks pads, which do not count.
  StackBudget(double rate, Index policies, const SequenceOffsets& offsets, Marks gone)
      : StackBudget(rate, Vector<std::optional<Budget>>(policies), offsets, gone) {}

  /// `own`: of each policy, in the order in which they act, what it would remove by itself, or nothing.
  /// @throws std::invalid_argument if one of them is out of range
  StackBudget(double rate, const Vector<std::optional<Budget>>& own, const SequenceOffsets& offsets, Marks gone)
      : weights_(own.size(), 1.0) {
    weigh(own);
    for (Index i = 0; i < offsets.count(); ++i) {
      const Index tokens = counted(offsets, gone, i);
      goals_.push_back(tokens - removals_of(tokens, rate));
    }
  }

  /// [N] for the next policy with a budget, or empty; `gone` marks what is not there: pads, and what soft deletion
  /// would have removed.
  Vector<Index> next(const SequenceOffsets& offsets, Marks gone) {
    Vector<Index> removals;
    const double part = next_part();
    for (Index i = 0; i < goals_.size(); ++i) {
      const Index tokens = counted(offsets, gone, i), goal = std::min(goals_[i], tokens);
      Index kept = goal;
      if (part < 1 && in_tokens_) {
        kept = tokens - std::lround(part * static_cast<double>(tokens - goal));
      } else if (part < 1 && tokens > 0) {
        const double share = static_cast<double>(goal) / static_cast<double>(tokens);
        kept = tokens - removals_of(tokens, 1 - std::pow(share, part));
      }
      removals.push_back(tokens - std::max(kept, goal));
    }
    return removals;
  }

 private:
  static Index counted(const SequenceOffsets& offsets, Marks gone, Index sequence) {
    const RowRange range = offsets.range(sequence);
    return range.length - (gone.list().empty() ? 0 : gone.of(range).count());
  }

  /// Of what is still to go, in [0, 1].
  double next_part() {
    if (acted_ + 1 >= weights_.size()) return 1;
    const double left = std::accumulate(weights_.begin() + acted_, weights_.end(), 0.0);
    const double part = left > 0 ? weights_[acted_] / left : 1 / static_cast<double>(weights_.size() - acted_);
    ++acted_;
    return part;
  }

  void weigh(const Vector<std::optional<Budget>>& own) {
    for (const std::optional<Budget>& budget : own)
      if (budget) budget->check();
    const auto all = [&](auto member) {
      return std::all_of(own.begin(), own.end(), [&](const auto& budget) { return budget && (*budget).*member; });
    };
    in_tokens_ = all(&Budget::tokens);
    if (!in_tokens_ && !all(&Budget::rate)) return;
    double largest = 0;
    for (Index p = 0; p < own.size(); ++p) {
      weights_[p] = in_tokens_ ? static_cast<double>(*own[p]->tokens) : -std::log1p(-*own[p]->rate);
      largest = std::max(largest, weights_[p]);
    }
    in_tokens_ = in_tokens_ && largest > 0;
    for (double& weight : weights_)  // equal ones become 1: the same bits as without any
      if (std::isinf(largest))
        weight = std::isinf(weight) ? 1 : 0;  // shares of 1 leave nothing to the others
      else
        weight = largest > 0 ? weight / largest : 1;
  }

  Vector<double> weights_;  ///< one a policy
  bool in_tokens_ = false;  ///< they are numbers of tokens; else exponents of what stays
  Index acted_ = 0;
  Vector<Index> goals_;  ///< [N] tokens that are to stay
};

}  // namespace merganser::merge
