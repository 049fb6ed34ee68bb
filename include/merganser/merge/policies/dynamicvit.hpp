// A head that learns which tokens stay, trained with draws of its decisions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/merge/boundary_predictor.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/keep_predictor.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/selection.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Softmax of each row of scores [n x n] over the keys that stay and the query itself, in which each of the n keys has
/// a share epsilon / n more: as DynamicViT trains. For queries that stay it is softmax with the other keys hidden, but
/// for the epsilon.
/// @throws std::invalid_argument if there is not a mark a key
template <Real Scalar>
Matrix<Scalar> masked_softmax(Matrix<Scalar> scores, Marks stays, double epsilon = 1e-6) {
  check_equal("masked_softmax", "stays.size()", stays.size(), scores.cols());
  const auto more = static_cast<Scalar>(epsilon);
  for (Index i = 0; i < scores.rows(); ++i) {
    Scalar largest = std::numeric_limits<Scalar>::lowest(), sum = 0;
    for (Index j = 0; j < scores.cols(); ++j) largest = std::max(largest, scores(i, j));
    for (Index j = 0; j < scores.cols(); ++j) {
      scores(i, j) = j == i || stays[j] ? std::exp(scores(i, j) - largest) : Scalar{0};
      sum += scores(i, j);
    }
    for (Index j = 0; j < scores.cols(); ++j)
      scores(i, j) = (scores(i, j) + more / static_cast<Scalar>(scores.cols())) / (sum + more);
  }
  return scores;
}

/// A head decides which tokens stay. In training with soft deletion decisions are drawn (Gumbel, straight through) and
/// a token that goes has its key weakened by `scale`; otherwise the tokens of largest probability stay, so many as
/// `keep_rate` says or the call asks for.
///
/// DynamicViT, Rao et al. 2021, arXiv 2106.02034. The squared distance of the share that stays to `keep_rate`, a mean
/// over sequences, is an auxiliary, "keep_rate". Straight through: with k = 1 for what stays and 0 for what goes, the
/// key bias is log(k + (1 - k) e^scale), the logarithm of the published mask of keys, and the gradient of k is that of
/// the probability. Scores are log probabilities. For a token that goes it is large where a query sees only such
/// tokens: it is made for queries that see the whole sequence, of which one token always stays. Cost: 2 n D^2.
template <Real Scalar>
class DynamicViT {
 public:
  using ScalarType = Scalar;
  using Gradients = DynamicViT;

  static constexpr PolicyTraits traits{.is_gate = true, .is_training_free = false, .has_budget = true};

  struct Config {
    Index width = 0;           ///< D, even
    double keep_rate = 0.7;    ///< in (0, 1]: of the tokens that reach it
    double scale = -30.0;      ///< key bias of what goes, in [-80, 0)
    double temperature = 1.0;  ///< of the draws, positive
  };

  struct Cache {
    typename KeepPredictor<Scalar>::Cache predictor;
    DeletionStep<Scalar> step;
    Vector<Scalar> logits;          ///< [T] with noise, over the temperature
    Vector<std::uint8_t> stays;     ///< [T]
    Vector<std::uint8_t> gone;      ///< [T] or empty: what was not there to decide about
    Vector<Scalar> grad_keep_rate;  ///< [T] of the auxiliary with respect to what stays
  };

  DynamicViT() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit DynamicViT(const Config& config) : predictor(config.width), config_(config) {
    check_argument(config.keep_rate > 0 && config.keep_rate <= 1, "DynamicViT", "keep_rate", config.keep_rate,
                   "in (0, 1]");
    check_argument(config.scale < 0 && config.scale >= -80, "DynamicViT", "scale", config.scale, "in [-80, 0)");
    check_argument(config.temperature > 0 && std::isfinite(config.temperature), "DynamicViT", "temperature",
                   config.temperature, "a positive number");
  }

  void initialize(double factor, Rng& rng) { predictor.initialize(factor, rng); }

  double expected_rate() const { return 1 - config_.keep_rate; }

  /// x [T x D] under soft or hard deletion.
  /// @throws std::invalid_argument as DeletionStep
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(std::move(x), context, {}, cache);
  }

  /// For training: with noise from `rng`.
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    const Vector<double> noise = draw_boundary_noise(context.state.total(), rng);
    return apply(std::move(x), context, noise, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    TokenGradient<Scalar> result;
    Vector<Scalar> of_values;
    result.key_bias = cache.step.backward_bias(grad.key_bias, of_values);
    result.x = cache.step.backward(std::move(grad.x));
    Vector<Scalar> of_logits(cache.logits.size(), Scalar{0});
    const auto weight = static_cast<Scalar>(grad.report.auxiliaries.empty() ? 0 : grad.report.auxiliaries[0]);
    const auto closed = static_cast<Scalar>(std::exp(config_.scale));
    for (Index t = 0; t < of_logits.size(); ++t) {
      Scalar of_stays = 0;
      if (!Marks(cache.gone)[t]) {
        of_stays += weight * cache.grad_keep_rate[t];
        if (!of_values.empty()) of_stays += of_values[t] * (1 - closed) / (cache.stays[t] != 0 ? Scalar{1} : closed);
      }
      const Scalar goes = kernels::sigmoid(-cache.logits[t]);
      of_logits[t] = of_stays * kernels::sigmoid(cache.logits[t]) * goes;
      if (!grad.report.scores.empty()) of_logits[t] += grad.report.scores[t] * goes;
      of_logits[t] /= static_cast<Scalar>(config_.temperature);
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
  /// uniform [T] in (0, 1), or empty: no noise.
  Reduction<Scalar> apply(Matrix<Scalar> x, const PolicyContext<Scalar>& context, std::span<const double> uniform,
                          Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("DynamicViT::forward", "x.rows()", x.rows(), state.total());
    cache.gone = state.gone();
    PolicyReport<Scalar> report;
    report.is_gate = true;
    report.offsets = state.offsets;
    report.forced = state.forced;
    report.threshold = context.options.threshold.value_or(even);
    report.logits = predictor.forward(x, state.offsets, cache.gone, cache.predictor);
    cache.logits.clear();
    report.scores.clear();
    for (Index t = 0; const Scalar logit : report.logits) {
      Scalar noise = 0;
      if (!uniform.empty()) {
        const double draw = uniform[static_cast<std::size_t>(t++)];
        noise = static_cast<Scalar>(std::log(draw) - std::log1p(-draw));
      }
      cache.logits.push_back((logit + noise) / static_cast<Scalar>(config_.temperature));
      report.scores.push_back(kernels::log_sigmoid(cache.logits.back()));
    }
    decide(report.scores, context, !uniform.empty() && context.options.mode == DeletionMode::soft, cache);
    report.kept = cache.step.kept_rows();
    report.group = cache.step.groups();
    report.auxiliaries.push_back({"keep_rate", distance(cache, state.offsets), false, MeanOver::sequences});
    return {cache.step.forward(std::move(x)), cache.step.after(), std::move(report)};
  }

  /// Who stays, and what that does.
  void decide(std::span<const Scalar> scores, const PolicyContext<Scalar>& context, bool drawn, Cache& cache) const {
    const SequenceOffsets& offsets = context.state.offsets;
    DeletionOptions plain = DeletionOptions::with_mode(context.options.mode);
    plain.survivor_bias = SurvivorBias::dropped;  // that of what stays is 0
    const bool asked = context.options.threshold || context.options.target_rate || !context.removals.empty();
    Vector<Index> own;  // removals
    for (Index i = 0; i < offsets.count() && !asked && !drawn; ++i) {
      const Marks gone = Marks(cache.gone).of(offsets.range(i));
      own.push_back(removals_of(offsets.length(i) - (gone.any() ? gone.count() : 0), 1 - config_.keep_rate));
    }
    const std::span<const Index> removals = own.empty() && !drawn ? context.removals : std::span<const Index>(own);
    const Compaction<Scalar> decision(
        deletion_plans<Scalar>(scores, offsets, even, drawn ? plain : context.options, cache.gone, removals), offsets);
    cache.stays.assign(offsets.total(), 0);
    Vector<Scalar> values(offsets.total(), static_cast<Scalar>(config_.scale));
    for (const Index row : decision.representatives()) {
      cache.stays[row] = 1;
      values[row] = 0;
    }
    cache.step = DeletionStep<Scalar>(context.state, values, config_.scale / 2, plain);
  }

  /// The auxiliary and its gradient.
  double distance(Cache& cache, const SequenceOffsets& offsets) const {
    cache.grad_keep_rate.assign(offsets.total(), Scalar{0});
    double sum = 0, sequences = 0;
    for (const RowRange& range : offsets.ranges()) {
      double there = 0, staying = 0;
      for (Index t = range.begin; t < range.end(); ++t) {
        there += Marks(cache.gone)[t] ? 0 : 1;
        staying += cache.stays[t];
      }
      if (there == 0) continue;
      ++sequences;
      const double over = staying / there - config_.keep_rate;
      sum += over * over;
      for (Index t = range.begin; t < range.end(); ++t) cache.grad_keep_rate[t] = static_cast<Scalar>(2 * over / there);
    }
    for (Scalar& grad : cache.grad_keep_rate) grad /= static_cast<Scalar>(std::max(sequences, 1.0));
    return sum / std::max(sequences, 1.0);
  }

  static constexpr double even = -0.6931471805599453;  ///< log(1/2)

  Config config_;
};

}  // namespace merganser::merge
