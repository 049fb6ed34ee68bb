// A gate that says what it is told: a place for decisions from outside.
#pragma once

#include <merganser/core/marks.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Takes `DeletionOptions::gate_values`, as every gate does, and keeps all tokens in a call without them. Decisions of
/// another model, of a parser or by hand go into a model without a gate at its place. Cost: n.
struct GivenGate {
  static constexpr PolicyTraits traits{.is_gate = true, .is_causal = true, .has_budget = true};

  double scale = -30.0;  ///< the value of a pad; tokens at or below its half go

  double default_threshold() const { return scale / 2; }

  template <Real Scalar>
  GateValues<Scalar> forward(const GateInput<Scalar>& input) const {
    GateValues<Scalar> result;
    result.values.resize(input.x.rows(), Scalar{0});
    for (Index t = 0; t < result.values.size(); ++t)
      if (input.forced[t]) result.values[t] = static_cast<Scalar>(scale);
    return result;
  }
};

/// Gate values that keep the marked tokens and delete the others. Shape [T].
inline Vector<double> keep_mask_values(Marks keep, double scale = -30.0) {
  Vector<double> values(keep.size(), scale);
  for (Index t = 0; t < values.size(); ++t)
    if (keep[t]) values[t] = 0;
  return values;
}

}  // namespace merganser::merge
