// A gate of any kind on entry to one block: learned, random or by rule.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/baseline_gates.hpp>
#include <merganser/merge/delete_gate.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

enum class GateKind {
  learned,  ///< DeleteGate
  random,   ///< RandomGate
  fixed,    ///< FixedRuleGate
};

/// Where a gate stands and what it is.
struct GateConfig {
  Index block = 0;  ///< it acts on the input of this block, counted from 0
  GateKind kind = GateKind::learned;
  GateActivation activation = GateActivation::scaled_sigmoid;
  double scale = -30.0;             ///< the value of a deleted token
  std::optional<double> threshold;  ///< tokens above it are kept; halfway unless given
  GateNorm norm = GateNorm::rms;
  GateNoise noise = GateNoise::none;
  double initial_bias = 3.0;
  double rate = 0.5;           ///< of the random and fixed kinds: share to delete, in [0, 1]
  Vector<TokenId> separators;  ///< of the fixed kind: ids that begin a segment

  /// The threshold in force without an override.
  double effective_threshold() const {
    return threshold.value_or(DeleteGate<float>::default_threshold({1, activation, scale, norm, noise, initial_bias}));
  }
};

/// What a gate may look at.
struct GateInput {
  const SequenceOffsets& offsets;     ///< N sequences over the T rows
  std::span<const TokenId> ids = {};  ///< [T]; the fixed rule needs them
  Marks forced = {};                  ///< [T] or none: deletes (pads); the batch-wide rule overlooks it
  FixedRuleScope fixed_rule_scope = FixedRuleScope::sequence;
};

/// The gate itself; only a learned one has parameters.
template <Real Scalar>
class Gate {
 public:
  using ScalarType = Scalar;
  using Gradients = Gate;
  using Cache = typename DeleteGate<Scalar>::Cache;

  Gate() = default;

  /// @throws std::invalid_argument if a setting is out of range
  Gate(const GateConfig& config, Index width) : config_(config) {
    check_argument(config.rate >= 0 && config.rate <= 1, "GateConfig", "rate", config.rate, "in [0, 1]");
    check_argument(std::isfinite(config.scale), "GateConfig", "scale", config.scale, "a finite number");
    if (config.threshold)
      check_argument(!std::isnan(*config.threshold), "GateConfig", "threshold", *config.threshold,
                     "a gate value, no NaN");
    if (config.kind == GateKind::learned)
      learned =
          DeleteGate<Scalar>({width, config.activation, config.scale, config.norm, config.noise, config.initial_bias});
  }

  void initialize(double factor, Rng& rng) {
    if (config_.kind == GateKind::learned) learned.initialize(factor, rng);
  }

  /// Values for x [T x D]. `rng` is needed by random gates.
  /// @throws std::invalid_argument if the gate needs a generator or ids and has none
  GateValues<Scalar> forward(const MatrixRef<Scalar>& x, const GateInput& input, Rng* rng) const {
    if (config_.kind == GateKind::learned) return learned.forward(x, input.forced);
    return rule_values(x.rows(), input, rng);
  }

  /// For training: with noise, if the gate has any.
  GateValues<Scalar> forward(const MatrixRef<Scalar>& x, const GateInput& input, Rng& rng, Cache& cache) const {
    if (config_.kind == GateKind::learned) return learned.forward(x, input.forced, rng, cache);
    return rule_values(x.rows(), input, &rng);
  }

  /// As DeleteGate::backward; zeros [T x D] for the other kinds.
  Matrix<Scalar> backward(std::span<const Scalar> grad_values, std::span<const Scalar> grad_logits, const Cache& cache,
                          Gradients& gradients, Index tokens, Index width) const {
    if (config_.kind != GateKind::learned) return Matrix<Scalar>::Zero(tokens, width);
    return learned.backward(grad_values, grad_logits, cache, gradients.learned);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (config_.kind == GateKind::learned) learned.visit(visitor, prefix + "delete_gate.");
  }

  const GateConfig& config() const { return config_; }

  DeleteGate<Scalar> learned;

 private:
  GateValues<Scalar> rule_values(Index tokens, const GateInput& input, Rng* rng) const {
    GateValues<Scalar> result;
    if (config_.kind == GateKind::random) {
      check_argument(rng != nullptr, "Gate::forward", "rng", "none", "a generator, because the gate is random");
      result.values = RandomGate{config_.rate, config_.scale}.values<Scalar>(tokens, *rng);
      input.forced.check("Gate::forward", "forced", tokens);
      for (Index t = 0; t < tokens; ++t)
        if (input.forced[t]) result.values[t] = static_cast<Scalar>(config_.scale);
    } else {
      check_equal("Gate::forward", "ids.size() for a fixed-rule gate", std::ssize(input.ids), tokens);
      result.values = fixed_values(input);
    }
    result.logits = result.values;
    return result;
  }

  /// The words of a sequence are counted without its pads.
  Vector<Scalar> fixed_values(const GateInput& input) const {
    const FixedRuleGate rule{config_.rate, config_.scale, config_.separators};
    const bool overlooked = input.fixed_rule_scope == FixedRuleScope::batch;
    if (!overlooked) input.forced.check("Gate::forward", "forced", std::ssize(input.ids));
    if (overlooked || !input.forced.any()) return rule.values<Scalar>(input.ids, input.offsets, input.fixed_rule_scope);
    Vector<TokenId> ids;
    SequenceOffsets offsets;
    for (Index i = 0; i < input.offsets.count(); ++i) {
      const Index before = ids.size();
      for (auto t = static_cast<std::size_t>(input.offsets.begin(i));
           t < static_cast<std::size_t>(input.offsets.end(i)); ++t)
        if (!input.forced[t]) ids.push_back(input.ids[t]);
      offsets.push_back(ids.size() - before);
    }
    const Vector<Scalar> values = rule.values<Scalar>(ids, offsets, FixedRuleScope::sequence);
    Vector<Scalar> result(std::ssize(input.ids), static_cast<Scalar>(config_.scale));
    Index next = 0;
    for (Index t = 0; t < result.size(); ++t)
      if (!input.forced[t]) result[t] = values[next++];
    return result;
  }

  GateConfig config_;
};

}  // namespace merganser::merge
