// A gate whose decisions are drawn while training, and rewarded by the loss of the sequence.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/keep_predictor.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/selection.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// A head gives each token the probability p to stay. In training every token is drawn by its own, hard deletion
/// removes those that go and soft deletion weakens their keys by `scale`; otherwise tokens with p above 1/2 stay, or
/// those of largest p, so many as the call asks for. Key biases of tokens that stay do not change.
///
/// No gradient passes through a draw. Its report asks for the losses of the sequences, and the gradient of a logit is
/// weight (loss - baseline) (a - p), a = 1 for what was drawn to stay (REINFORCE): on average that of the expected
/// loss. The baseline is the mean loss of the other sequences of the batch, 0 where there is none. What training
/// decides otherwise, by a rate or threshold of the call, is not rewarded. Where all tokens are drawn to go, the one of
/// largest p stays all the same. The mean p, the expected share of the tokens that stays, is the auxiliary "kept",
/// steered. Scores are log p. TR-BERT, Ye et al. 2021, arXiv 2105.11618; IA-RED2, Pan et al. 2021, arXiv 2106.12620;
/// the head is that of DynamicViT. Cost: 2 n D^2.
template <Real Scalar>
class SampledGate {
 public:
  using ScalarType = Scalar;
  using Gradients = SampledGate;

  static constexpr PolicyTraits traits{.is_gate = true, .is_training_free = false, .has_budget = true};

  struct Config {
    Index width = 0;       ///< D, even
    double scale = -30.0;  ///< key bias of what goes softly, negative
  };

  struct Cache {
    typename KeepPredictor<Scalar>::Cache predictor;
    DeletionStep<Scalar> step;
    SequenceOffsets offsets;
    Vector<Scalar> logits;       ///< [T]
    Vector<std::uint8_t> gone;   ///< [T] or empty: what was not there to decide about
    Vector<std::uint8_t> drawn;  ///< [T] 1 for what was drawn to stay, or empty: nothing was drawn
    Index counted = 0;           ///< tokens that were there
    bool given = false;          ///< the call had values in place of the gate's
  };

  SampledGate() = default;

  /// @throws std::invalid_argument if the width is odd or below 4 or the scale is not negative
  explicit SampledGate(const Config& config) : predictor(config.width), config_(config) {
    check_argument(config.scale < 0 && std::isfinite(config.scale), "SampledGate", "scale", config.scale,
                   "a negative number");
  }

  void initialize(double factor, Rng& rng) { predictor.initialize(factor, rng); }

  /// x [T x D] under soft or hard deletion.
  /// @throws std::invalid_argument as DeletionStep
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(std::move(x), context, nullptr, cache);
  }

  /// For training: draws from `rng`, one number a token that is there.
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    return apply(std::move(x), context, &rng, cache);
  }

  /// @throws std::invalid_argument if the losses of sequences are neither none nor one each
  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    TokenGradient<Scalar> result;
    Vector<Scalar> of_values;  // they are constants
    result.key_bias = cache.step.backward_bias(grad.key_bias, of_values);
    result.x = cache.step.backward(std::move(grad.x));
    if (cache.given) return result;
    Vector<Scalar> of_logits(cache.logits.size(), Scalar{0});
    add_rewards(grad.report.sequence_losses, cache, of_logits);
    const auto kept = static_cast<Scalar>(grad.report.auxiliaries.empty() || cache.counted == 0
                                              ? 0
                                              : grad.report.auxiliaries[0] / static_cast<double>(cache.counted));
    for (Index t = 0; t < of_logits.size(); ++t) {
      const Scalar stays = kernels::sigmoid(cache.logits[t]), goes = kernels::sigmoid(-cache.logits[t]);
      if (!Marks(cache.gone)[t]) of_logits[t] += kept * stays * goes;
      if (!grad.report.scores.empty()) of_logits[t] += grad.report.scores[t] * goes;
    }
    result.x += predictor.backward(of_logits, cache.predictor, gradients.predictor);
    return result;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    predictor.visit(visitor, prefix + "score_predictor.");
  }

  const Config& config() const { return config_; }

  KeepPredictor<Scalar> predictor;

 private:
  /// The score function: adds to the gradients of the logits [T].
  static void add_rewards(std::span<const SequenceLoss> losses, const Cache& cache, Vector<Scalar>& of_logits) {
    if (losses.empty() || cache.drawn.empty()) return;
    check_equal("SampledGate::backward", "sequence_losses.size()", std::ssize(losses), cache.offsets.count());
    double sum = 0, sequences = 0;
    for (const SequenceLoss& loss : losses)
      if (loss.weight != 0) sum += loss.mean, ++sequences;
    for (Index i = 0; const SequenceLoss& loss : losses) {
      const RowRange range = cache.offsets.range(i++);
      if (loss.weight == 0) continue;
      const double baseline = sequences > 1 ? (sum - loss.mean) / (sequences - 1) : 0.0;
      const auto reward = static_cast<Scalar>(loss.weight * (loss.mean - baseline));
      for (Index t = range.begin; t < range.end(); ++t)
        if (!Marks(cache.gone)[t])
          of_logits[t] +=
              reward * (cache.drawn[t] != 0 ? kernels::sigmoid(-cache.logits[t]) : -kernels::sigmoid(cache.logits[t]));
    }
  }

  Reduction<Scalar> apply(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng* rng, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    const DeletionOptions& options = context.options;
    check_equal("SampledGate::forward", "x.rows()", x.rows(), state.total());
    cache.gone = state.gone();
    cache.offsets = state.offsets;
    cache.logits = predictor.forward(x, state.offsets, cache.gone, cache.predictor);
    cache.given = !options.gate_values.empty();
    cache.drawn.clear();
    const bool asked = options.threshold || options.target_rate || !context.removals.empty();
    if (rng != nullptr && !cache.given && !asked) draw(*rng, cache);
    PolicyReport<Scalar> report;
    report.is_gate = true;
    report.offsets = state.offsets;
    report.forced = state.forced;
    report.logits = cache.logits;
    report.scores = cache.given ? given(context) : log_probabilities(cache.logits);
    report.wants_sequence_losses = !cache.drawn.empty();
    const double own_threshold = cache.given ? config_.scale / 2 : even;
    report.threshold = options.threshold.value_or(own_threshold);
    decide(report.scores, own_threshold, context, cache);
    report.kept = cache.step.kept_rows();
    report.group = cache.step.groups();
    report.auxiliaries.push_back({"kept", expected_share(cache), true, MeanOver::tokens});
    return {cache.step.forward(std::move(x)), cache.step.after(), std::move(report)};
  }

  static void draw(Rng& rng, Cache& cache) {
    for (Index t = 0; t < cache.logits.size(); ++t) {
      const bool stays = !Marks(cache.gone)[t] && rng.bernoulli(static_cast<double>(kernels::sigmoid(cache.logits[t])));
      cache.drawn.push_back(stays ? 1 : 0);
    }
  }

  static Vector<Scalar> log_probabilities(const Vector<Scalar>& logits) {
    Vector<Scalar> scores;
    for (const Scalar logit : logits) scores.push_back(kernels::log_sigmoid(logit));
    return scores;
  }

  /// The gate values of the call, of the tokens that are left.
  static Vector<Scalar> given(const PolicyContext<Scalar>& context) {
    const std::span<const double> all = context.options.gate_values;
    Vector<Scalar> values;
    for (const Index row : context.state.origin) {
      check_argument(row < std::ssize(all), "SampledGate", "gate_values.size()", std::ssize(all), "one a token");
      values.push_back(static_cast<Scalar>(all[static_cast<std::size_t>(row)]));
    }
    return values;
  }

  /// Who stays, and what that does.
  void decide(std::span<const Scalar> scores, double threshold, const PolicyContext<Scalar>& context,
              Cache& cache) const {
    DeletionOptions plain = DeletionOptions::with_mode(context.options.mode);
    plain.survivor_bias = SurvivorBias::dropped;  // that of what stays is 0
    Vector<Scalar> ranked(scores.begin(), scores.end());
    for (Index t = 0; t < cache.drawn.size(); ++t) ranked[t] = cache.drawn[t] != 0 ? Scalar{0} : ranked[t] - 1;
    const Compaction<Scalar> decision(
        deletion_plans<Scalar>(ranked, cache.offsets, cache.drawn.empty() ? threshold : -0.5, context.options,
                               cache.gone, context.removals),
        cache.offsets);
    Vector<Scalar> values(cache.logits.size(), static_cast<Scalar>(config_.scale));
    for (const Index row : decision.representatives()) values[row] = 0;
    cache.step = DeletionStep<Scalar>(context.state, values, config_.scale / 2, plain);
  }

  /// The auxiliary.
  static double expected_share(Cache& cache) {
    double sum = 0;
    cache.counted = 0;
    for (Index t = 0; t < cache.logits.size(); ++t) {
      if (Marks(cache.gone)[t]) continue;
      ++cache.counted;
      sum += static_cast<double>(kernels::sigmoid(cache.logits[t]));
    }
    return cache.counted > 0 ? sum / static_cast<double>(cache.counted) : 0.0;
  }

  static constexpr double even = -0.6931471805599453;  ///< log(1/2)

  Config config_;
};

}  // namespace merganser::merge
