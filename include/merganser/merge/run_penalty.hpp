// The term that keeps deleted tokens apart, so that each has a survivor beside it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/gate_regulariser.hpp>

namespace merganser::merge {

/// The mean over the T tokens of d_t d_{t+1}, where t and t+1 stand side by side in one sequence and
/// d = value / (2 threshold), held in [0, 1], is how far a token is deleted: 0 where nobody is deleted beside somebody
/// deleted, the deletion rate less the share of runs where all values are decided.
///
/// What a deleted token held must be handed to a survivor before the gate, by attention to a neighbour; a gate that
/// learns to delete kinds of tokens deletes whole runs of them, and the survivor of a run has more to hold. The
/// regulariser says how many go, this term how evenly. Not in the paper. Pairs with a token whose `forced` [T] is not 0
/// do not count (`forced` may be empty). The value is in [0, 1]; it reads no logits.
/// @throws std::invalid_argument if a length is not T or the threshold not negative
template <Real Scalar>
RegulariserResult<Scalar> run_penalty(std::span<const Scalar> values, const SequenceOffsets& offsets,
                                      std::span<const std::uint8_t> forced, double threshold) {
  check_equal("run_penalty", "offsets.total()", offsets.total(), static_cast<Index>(values.size()));
  if (!forced.empty()) check_equal("run_penalty", "forced.size()", forced.size(), values.size());
  check_argument(threshold < 0, "run_penalty", "threshold", threshold, "a negative number");
  RegulariserResult<Scalar> result;
  result.grad_values.assign(values.size(), Scalar{0});
  if (values.empty()) return result;
  const double whole = 2 * threshold, share = 1 / static_cast<double>(values.size());
  const auto depth = [&](std::size_t t) { return std::clamp(static_cast<double>(values[t]) / whole, 0.0, 1.0); };
  const auto counts = [&](std::size_t t) { return forced.empty() || forced[t] == 0; };
  const auto pull = [&](std::size_t t, double neighbour) {
    const double d = static_cast<double>(values[t]) / whole;
    if (d >= 0 && d <= 1) result.grad_values[t] += static_cast<Scalar>(share * neighbour / whole);
  };
  for (Index sequence = 0; sequence < offsets.count(); ++sequence)
    for (Index row = offsets.begin(sequence); row + 1 < offsets.end(sequence); ++row) {
      const auto t = static_cast<std::size_t>(row);
      if (!counts(t) || !counts(t + 1)) continue;
      result.value += share * depth(t) * depth(t + 1);
      pull(t, depth(t + 1));
      pull(t + 1, depth(t));
    }
  return result;
}

}  // namespace merganser::merge
