// A gate as a policy: it weakens keys softly or deletes tokens.
#pragma once

#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/gate_regulariser.hpp>
#include <merganser/merge/policy_layer.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

namespace detail {

struct NoCache {};

template <class G>
struct GateCache {
  using Type = NoCache;
};

template <class G>
requires requires { typename G::Cache; }
struct GateCache<G> {
  using Type = typename G::Cache;
};

}  // namespace detail

/// How the values of a gate are used.
struct GateSettings {
  std::optional<double> threshold = std::nullopt;  ///< tokens above it are kept; the gate's default unless given
  GateRegulariser regulariser = GateRegulariser::mean_gate;
  Removal removal = Removal::now;  ///< delayed: a `RemoveDeleted` stands behind it; see `delayed`
};

namespace detail {

/// What becomes of a batch for its gate values. The same for gates of every type, so that it is compiled once.
template <Real Scalar>
struct GateDecision {
  PolicyReport<Scalar> report;
  DeletionStep<Scalar> step;
  RegulariserResult<Scalar> regulariser;

  GateDecision(GateValues<Scalar> said, double own_threshold, const GateSettings& settings,
               const PolicyContext<Scalar>& context) {
    report.is_gate = true;
    report.offsets = context.state.offsets;
    report.forced = context.state.forced;
    report.threshold = context.options.threshold.value_or(own_threshold);
    report.logits = said.logits.empty() ? said.values : std::move(said.logits);
    report.scores = std::move(said.values);
    step = DeletionStep<Scalar>(context.state, report.scores, own_threshold, context.options, context.removals,
                                settings.removal);
    report.kept = step.kept_rows();
    report.group = step.groups();
    if (settings.removal == Removal::delayed && context.options.mode == DeletionMode::hard) {
      report.kept.resize(step.input_tokens());  // all go on from here
      std::iota(report.kept.begin(), report.kept.end(), Index{0});
    }
    regulariser =
        regularise<Scalar>(settings.regulariser, report.scores, report.logits, report.forced, report.threshold);
    report.auxiliaries.push_back({"gate", regulariser.value, true, MeanOver::tokens});
  }
};

}  // namespace detail

/// Soft deletion adds a token's gate value to its key bias, hard deletion removes tokens by threshold or rate, here or
/// later; see DeletionStep. The regulariser is an auxiliary, "gate", by which a controller steers the gate.
template <Real Scalar, Gate<Scalar> G>
class GatedDeletion {
 public:
  using ScalarType = Scalar;
  using Gradients = GatedDeletion;
  using Inner = G;

  /// The gate's own, if it says any.
  static constexpr PolicyTraits traits = [] {
    PolicyTraits own;
    if constexpr (requires { G::traits; }) own = G::traits;
    own.is_gate = own.has_budget = true;
    return own;
  }();

  struct Cache {
    typename detail::GateCache<G>::Type gate;  ///< empty unless the gate learns
    DeletionStep<Scalar> step;
    RegulariserResult<Scalar> regulariser;
    bool given = false;  ///< the call had values in place of the gate's
  };

  GatedDeletion() = default;

  /// @throws std::invalid_argument if the threshold is no number
  explicit GatedDeletion(G inner, const GateSettings& settings = {}) : gate(std::move(inner)), settings_(settings) {
    if (settings.threshold)
      check_argument(!std::isnan(*settings.threshold), "GatedDeletion", "threshold", *settings.threshold,
                     "a gate value, no NaN");
  }

  void initialize(double factor, Rng& rng) {
    if constexpr (requires { gate.initialize(factor, rng); }) gate.initialize(factor, rng);
  }

  /// The threshold in force where a call names none.
  double threshold() const { return settings_.threshold.value_or(gate.default_threshold()); }

  const GateSettings& settings() const { return settings_; }

  const G& inner() const { return gate; }
  G& inner() { return gate; }

  /// x [T x D] under soft or hard deletion.
  /// @throws std::invalid_argument as the gate and DeletionStep
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Decision made = decide(is_given(context) ? given(context) : gate.forward(input(x, context, context.rng)), context);
    return {made.step.forward(std::move(x)), made.step.after(), std::move(made.report)};
  }

  /// For training: with noise, if the gate has any.
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    cache.given = is_given(context);
    Decision made = [&] {
      if (cache.given) return decide(given(context), context);
      if constexpr (LearnedGate<G, Scalar>)
        return decide(gate.forward(input(x, context, &rng), rng, cache.gate), context);
      else
        return decide(gate.forward(input(x, context, &rng)), context);
    }();
    cache.step = std::move(made.step);
    cache.regulariser = std::move(made.regulariser);
    return {cache.step.forward(std::move(x)), cache.step.after(), std::move(made.report)};
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    Vector<Scalar> grad_values, grad_logits;
    TokenGradient<Scalar> result;
    result.key_bias = cache.step.backward_bias(grad.key_bias, grad_values);
    result.x = cache.step.backward(std::move(grad.x));
    if (cache.given) return result;
    if constexpr (LearnedGate<G, Scalar>) {
      if (const auto& scores = grad.report.scores; !scores.empty())
        check_equal("GatedDeletion::backward", "grad.report.scores.size()", scores.size(), result.x.rows());
      if (!grad.report.auxiliaries.empty()) {
        const auto weight = static_cast<Scalar>(grad.report.auxiliaries[0]);
        add_gradient<Scalar>(scaled(cache.regulariser.grad_values, weight), grad_values);
        add_gradient<Scalar>(scaled(cache.regulariser.grad_logits, weight), grad_logits);
      }
      add_gradient<Scalar>(grad.report.scores, grad_values);
      result.x += gate.backward(grad_values, grad_logits, cache.gate, gradients.gate);
    }
    return result;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if constexpr (LearnedGate<G, Scalar>) gate.visit(visitor, prefix + "delete_gate.");
  }

  G gate;

 private:
  using Decision = detail::GateDecision<Scalar>;

  static bool is_given(const PolicyContext<Scalar>& context) { return !context.options.gate_values.empty(); }

  /// What the call says in place of the gate, of the tokens that are left.
  static GateValues<Scalar> given(const PolicyContext<Scalar>& context) {
    const std::span<const double> all = context.options.gate_values;
    GateValues<Scalar> said;
    for (const Index row : context.state.origin) {
      check_argument(row < std::ssize(all), "GatedDeletion", "gate_values.size()", std::ssize(all), "one a token");
      said.values.push_back(static_cast<Scalar>(all[static_cast<std::size_t>(row)]));
    }
    return said;
  }

  static GateInput<Scalar> input(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, Rng* rng) {
    return {x, context.state.forced, context.ids, context.state.offsets, rng};
  }

  Decision decide(GateValues<Scalar> said, const PolicyContext<Scalar>& context) const {
    return {std::move(said), threshold(), settings_, context};
  }

  GateSettings settings_;
};

}  // namespace merganser::merge
