// Gates that learn nothing: the baselines a learned gate must beat.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Deletes every token with the same probability: value `scale` with it, 0 otherwise.
struct RandomGate {
  static constexpr PolicyTraits traits{.is_gate = true, .is_causal = true, .has_budget = true};

  double probability = 0.5;  ///< in [0, 1], the expected deletion rate
  double scale = -30.0;

  double default_threshold() const { return scale / 2; }
  double expected_rate() const { return probability; }

  /// Draws one number a token.
  /// @throws std::invalid_argument if there is no generator, the probability is out of range, or a length differs
  template <Real Scalar>
  GateValues<Scalar> forward(const GateInput<Scalar>& input) const {
    check_argument(probability >= 0 && probability <= 1, "RandomGate", "probability", probability, "in [0, 1]");
    check_argument(input.rng != nullptr, "RandomGate", "rng", "none", "a generator");
    input.forced.check("RandomGate", "forced", input.x.rows());
    GateValues<Scalar> result;
    result.values.resize(input.x.rows());
    for (Scalar& value : result.values)
      value = input.rng->bernoulli(probability) ? static_cast<Scalar>(scale) : Scalar{0};
    for (Index t = 0; t < result.values.size(); ++t)
      if (input.forced[t]) result.values[t] = static_cast<Scalar>(scale);
    return result;
  }
};

/// Keeps the beginning of every word: a separator starts a segment and belongs to it; of a segment of n tokens the
/// first ceil((1 - amount) n) get value 0, the others `scale`. Forced tokens (pads) are in no segment.
///
/// Kallini et al. 2025, arXiv 2410.20771, section 4 (fixed deletion baseline); the ceiling is taken in single precision
/// as there. Which ids separate is the caller's choice.
struct FixedRuleGate {
  static constexpr PolicyTraits traits{.is_gate = true, .has_budget = true};

  double amount = 0.5;  ///< in [0, 1], the share of each segment that is deleted
  double scale = -30.0;
  Vector<TokenId> separators;

  double default_threshold() const { return scale / 2; }
  double expected_rate() const { return amount; }

  /// @throws std::invalid_argument if there is not one id a token, the amount is out of range, or a length differs
  template <Real Scalar>
  GateValues<Scalar> forward(const GateInput<Scalar>& input) const {
    check_argument(amount >= 0 && amount <= 1, "FixedRuleGate", "amount", amount, "in [0, 1]");
    check_equal("FixedRuleGate", "ids.size()", std::ssize(input.ids), input.offsets.total());
    input.forced.check("FixedRuleGate", "forced", input.offsets.total());
    GateValues<Scalar> result;
    result.values.assign(input.offsets.total(), static_cast<Scalar>(scale));
    for (Index i = 0; i < input.offsets.count(); ++i) {
      Vector<Index> segment;  // rows of it, without pads
      for (Index row = input.offsets.begin(i); row < input.offsets.end(i); ++row) {
        if (input.forced[row]) continue;
        if (separates(input.ids[static_cast<std::size_t>(row)])) keep_head(segment, result.values);
        segment.push_back(row);
      }
      keep_head(segment, result.values);
    }
    return result;
  }

  bool separates(TokenId id) const { return std::find(separators.begin(), separators.end(), id) != separators.end(); }

  /// Tokens that stay of a segment of so many.
  Index kept_of(Index length) const {
    return static_cast<Index>(std::ceil(static_cast<float>(1 - amount) * static_cast<float>(length)));
  }

 private:
  template <Real Scalar>
  void keep_head(Vector<Index>& segment, Vector<Scalar>& values) const {
    for (Index i = 0; i < kept_of(segment.size()); ++i) values[segment[i]] = 0;
    segment.clear();
  }
};

}  // namespace merganser::merge
