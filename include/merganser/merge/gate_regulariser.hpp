// The terms that push gate values down, so that tokens are deleted at all.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A loss over the gate of a batch; lower means more deletion (but for the variance, where lower means more decided).
enum class GateRegulariser {
  mean_gate,       ///< mean of the gate values
  clamped_logits,  ///< mean of max(logit, 2 threshold)
  logits,          ///< mean of the logits
  variance,        ///< minus the unbiased variance of the gate values
};

/// Value and gradients of a regulariser.
template <Real Scalar>
struct RegulariserResult {
  double value = 0.0;
  Vector<Scalar> grad_values;  ///< [T], or empty when it reads the logits only
  Vector<Scalar> grad_logits;  ///< [T], or empty when it reads the values only
};

/// The same times a factor: each product is rounded before it is added to anything.
template <Real Scalar>
Vector<Scalar> scaled(Vector<Scalar> gradient, Scalar factor) {
  for (Scalar& value : gradient) value *= factor;
  return gradient;
}

/// The regulariser over T gate values and logits; tokens whose `forced` is not 0 do not count. 0 when none counts.
/// Kallini et al. 2025, arXiv 2410.20771, section 3, and the published code.
/// @throws std::invalid_argument if the lengths differ (`forced` may be empty)
template <Real Scalar>
RegulariserResult<Scalar> regularise(GateRegulariser kind, std::span<const Scalar> values,
                                     std::span<const Scalar> logits, Marks forced, double threshold) {
  check_equal("regularise", "logits.size()", logits.size(), values.size());
  forced.check("regularise", "forced", std::ssize(values));
  double counted = 0, sum = 0;
  const bool reads_logits = kind == GateRegulariser::clamped_logits || kind == GateRegulariser::logits;
  const double floor = 2 * threshold;
  const auto reading = [&](std::size_t t) {
    const auto raw = static_cast<double>(reads_logits ? logits[t] : values[t]);
    return kind == GateRegulariser::clamped_logits ? std::max(raw, floor) : raw;
  };
  for (std::size_t t = 0; t < values.size(); ++t) {
    if (forced[t]) continue;
    counted += 1;
    sum += reading(t);
  }
  RegulariserResult<Scalar> result;
  Vector<Scalar>& grad = reads_logits ? result.grad_logits : result.grad_values;
  grad.assign(std::ssize(values), Scalar{0});
  if (counted == 0 || (kind == GateRegulariser::variance && counted < 2)) return result;
  const double mean = sum / counted;
  result.value = mean;
  if (kind == GateRegulariser::variance) {
    double squares = 0;
    for (std::size_t t = 0; t < values.size(); ++t)
      if (!forced[t]) squares += (reading(t) - mean) * (reading(t) - mean);
    result.value = -squares / (counted - 1);
  }
  for (std::size_t t = 0; t < values.size(); ++t) {
    if (forced[t]) continue;
    double slope = 1 / counted;
    if (kind == GateRegulariser::variance) slope = -2 * (reading(t) - mean) / (counted - 1);
    if (kind == GateRegulariser::clamped_logits && static_cast<double>(logits[t]) < floor) slope = 0;
    grad[static_cast<Index>(t)] = static_cast<Scalar>(slope);
  }
  return result;
}

}  // namespace merganser::merge
