// Tokens that receive little attention go: by a learned threshold, a share of the largest, or by rank.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/budget.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/gate_regulariser.hpp>
#include <merganser/merge/matching.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

namespace detail {

/// [t] of what each token received from so many queries [H x t]: the mean over heads and queries.
template <Real Scalar>
Vector<Scalar> mean_received(const Matrix<Scalar>& received, Index queries) {
  Vector<Scalar> means(received.cols(), Scalar{0});
  for (Index head = 0; head < received.rows(); ++head)
    for (Index t = 0; t < means.size(); ++t) means[t] += received(head, t);
  for (Scalar& mean : means) mean /= static_cast<Scalar>(received.rows() * queries);
  return means;
}

}  // namespace detail

/// [n] the score of LTP: the attention that each token receives, a mean over heads and the n queries. query_weights [n]
/// or empty; a query of weight 0 counts in n.
template <Real Scalar>
Vector<Scalar> received_means(const Tokens<Scalar>& tokens, std::span<const Scalar> query_weights = {}) {
  if (tokens.count() == 0) return {};
  return detail::mean_received<Scalar>(tokens.received(query_weights), tokens.count());
}

/// The threshold of a block, counted from 0, that rises to `last` behind the last one. The start of LTP's training.
inline double rising_threshold(Index block, Index blocks, double last) {
  return last * static_cast<double>(block) / static_cast<double>(blocks);
}

/// The share of its tokens that block number `block` of a cascade keeps: all up to block 2, `last` in the last one, and
/// a straight line between.
/// @throws std::invalid_argument if there are fewer than 4 blocks or the share is outside [0, 1]
inline double cascade_keep_rate(Index block, Index blocks, double last) {
  check_argument(blocks >= 4, "cascade_keep_rate", "blocks", blocks, "at least 4");
  check_argument(last >= 0 && last <= 1, "cascade_keep_rate", "last", last, "in [0, 1]");
  const double way = static_cast<double>(block - 2) / static_cast<double>(blocks - 3);
  return 1 - (1 - last) * std::clamp(way, 0.0, 1.0);
}

/// Tokens stay whose score is at least a threshold. The baselines of Kim et al. 2022, arXiv 2107.00910, and what LTP
/// does once its threshold is known. Stands behind attention. Cost: half an attention.
struct AttentionThreshold {
  enum class Kind {
    absolute,  ///< a score, which is 1 / n on average
    relative,  ///< a share of the largest score
  };

  static constexpr PolicyTraits traits{.reads_attention = true};

  double threshold = 0.1;
  Kind kind = Kind::relative;

  /// @throws std::invalid_argument if it does not stand behind attention or the threshold is no number
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    return plan_of<Scalar>(received_means(tokens));
  }

  /// Of scores [n].
  template <Real Scalar>
  MergePlan<Scalar> plan_of(std::span<const Scalar> scores) const {
    check_argument(!std::isnan(threshold), "AttentionThreshold", "threshold", threshold, "a number");
    Vector<Index> kept;
    const auto best = std::max_element(scores.begin(), scores.end());
    const Scalar limit = static_cast<Scalar>(threshold) * (kind == Kind::relative && !scores.empty() ? *best : 1);
    for (std::size_t t = 0; t < scores.size(); ++t)
      if (scores[t] >= limit) kept.push_back(static_cast<Index>(t));
    if (kept.empty() && !scores.empty()) kept.push_back(best - scores.begin());
    return MergePlan<Scalar>::keeping(kept, std::ssize(scores));
  }
};

/// Tokens of largest score stay, fewer from block to block; what went stays away. Cascade token pruning of SpAtten
/// (Wang et al. 2021, arXiv 2012.09852), with the scores of the block alone, as Kim et al. 2022 compare with it; see
/// `cascade_keep_rate`. Stands behind attention. Cost: half an attention.
struct CascadeTopK {
  static constexpr PolicyTraits traits{.has_budget = true, .reads_attention = true};

  Budget budget = {};

  /// @throws std::invalid_argument if it does not stand behind attention or a setting is out of range
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    const Index n = tokens.count();
    const Vector<Scalar> scores = received_means(tokens);
    return MergePlan<Scalar>::keeping(largest<Scalar>(scores, n - budget.removals(n, tokens.removals)), n);
  }
};

/// sigmoid((score - threshold) / temperature): near 1 for tokens that stay.
template <Real Scalar>
Scalar soft_mask(Scalar score, Scalar threshold, double temperature) {
  return kernels::sigmoid((score - threshold) / static_cast<Scalar>(temperature));
}

/// Learned token pruning: tokens whose score is at most a learned threshold go. Soft deletion weighs tokens by
/// `soft_mask` instead, which is how the threshold learns; no gradient flows through scores.
///
/// Kim et al. 2022, arXiv 2107.00910. Stands behind attention. The mean of the mask is an auxiliary, "soft_mask", that
/// falls as more goes. Pads are no queries and have no mask. The threshold [1] is one for texts of any length, though
/// scores are 1 / n on average. Cost: half an attention.
template <Real Scalar>
class LearnedThreshold {
 public:
  using ScalarType = Scalar;
  using Gradients = LearnedThreshold;

  static constexpr PolicyTraits traits{
      .is_gate = true, .is_training_free = false, .has_budget = true, .reads_attention = true};

  /// What the soft mask weighs.
  enum class Mask {
    rows,  ///< the vectors, as published; a norm in front of the next layer scales them up again
    keys,  ///< the keys from here on, by log(mask) as key bias
  };

  struct Config {
    double threshold = 0.005;   ///< at the start
    double temperature = 2e-3;  ///< positive
    Mask mask = Mask::rows;
  };

  struct Cache {
    Matrix<Scalar> x;  ///< [T x D], where the gradient hangs on it
    DeletionStep<Scalar> step;
    Vector<Scalar> logits, mask;  ///< [T]
    Vector<std::uint8_t> pads;    ///< [T] or empty
    RegulariserResult<Scalar> mean;
    bool soft = false;
  };

  LearnedThreshold() = default;

  /// @throws std::invalid_argument if the threshold is no finite number or the temperature not positive
  explicit LearnedThreshold(const Config& config)
      : threshold(RowVector<Scalar>::Constant(1, static_cast<Scalar>(config.threshold))), config_(config) {
    check_argument(std::isfinite(config.threshold), "LearnedThreshold", "threshold", config.threshold,
                   "a finite number");
    check_argument(config.temperature > 0 && std::isfinite(config.temperature), "LearnedThreshold", "temperature",
                   config.temperature, "a positive number");
  }

  /// x [T x D] under soft or hard deletion.
  /// @throws std::invalid_argument if it does not stand behind attention, or as DeletionStep
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(std::move(x), context, cache);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(std::move(x), context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    const Index tokens = cache.logits.size();
    Vector<Scalar> of_bias, of_logits(tokens, Scalar{0});
    TokenGradient<Scalar> result;
    result.key_bias = cache.step.backward_bias(grad.key_bias, of_bias);
    result.x = cache.step.backward(std::move(grad.x));
    Vector<Scalar> of_mask(tokens, Scalar{0});
    if (!grad.report.auxiliaries.empty())
      add_gradient<Scalar>(scaled(cache.mean.grad_values, static_cast<Scalar>(grad.report.auxiliaries[0])), of_mask);
    for (Index t = 0; t < tokens; ++t) {
      if (Marks(cache.pads)[t]) continue;
      const Scalar mask = cache.mask[t], rest = kernels::sigmoid(-cache.logits[t]);
      if (cache.soft && config_.mask == Mask::keys && !of_bias.empty()) of_logits[t] = of_bias[t] * rest;
      if (cache.soft && config_.mask == Mask::rows) {
        of_mask[t] += kernels::dot(result.x.cols(), result.x.row(t).data(), cache.x.row(t).data());
        result.x.row(t) *= mask;
      }
      gradients.threshold[0] -= (of_logits[t] + of_mask[t] * mask * rest) / static_cast<Scalar>(config_.temperature);
    }
    return result;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "keep_threshold", threshold);
  }

  const Config& config() const { return config_; }

  RowVector<Scalar> threshold;

 private:
  Reduction<Scalar> apply(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("LearnedThreshold::forward", "x.rows()", x.rows(), state.total());
    cache.soft = context.options.mode == DeletionMode::soft;
    cache.pads = state.pads();
    PolicyReport<Scalar> report;
    report.is_gate = true;
    report.offsets = state.offsets;
    report.forced = state.forced;
    report.threshold = context.options.threshold.value_or(static_cast<double>(threshold[0]));
    report.scores = scores_of(context, cache.pads);
    measure(report.scores, cache);
    report.logits = cache.logits;
    DeletionOptions options = context.options;
    options.survivor_bias = SurvivorBias::dropped;  // scores are no key bias
    cache.step = DeletionStep<Scalar>(state, report.scores, report.threshold, options, context.removals);
    report.kept = cache.step.kept_rows();
    report.group = cache.step.groups();
    report.auxiliaries.push_back({"soft_mask", cache.mean.value, true, MeanOver::tokens});
    TokenState<Scalar> after = cache.step.after();
    if (cache.soft) weigh(x, state, after, cache);
    return {cache.step.forward(std::move(x)), std::move(after), std::move(report)};
  }

  /// [T], of pads 0.
  static Vector<Scalar> scores_of(const PolicyContext<Scalar>& context, Marks pads) {
    check_argument(context.attention != nullptr, "LearnedThreshold", "attention", "none",
                   "a policy behind the attention of a block");
    const SequenceOffsets& offsets = context.state.offsets;
    Vector<Scalar> scores;
    for (Index i = 0; i < offsets.count(); ++i) {
      const Marks own = pads.of(offsets.range(i));
      Vector<Scalar> queries;  // what each counts; empty: 1
      if (own.any()) {
        for (Index t = 0; t < offsets.length(i); ++t) queries.push_back(own[t] ? Scalar{0} : Scalar{1});
      }
      const Index count = offsets.length(i) - (own.any() ? own.count() : 0);
      Vector<Scalar> means(offsets.length(i), Scalar{0});
      if (count > 0)
        means = detail::mean_received<Scalar>(context.attention->received(i, queries, nn::OwnWeight::counted), count);
      for (Index t = 0; t < means.size(); ++t) scores.push_back(own[t] ? Scalar{0} : means[t]);
    }
    return scores;
  }

  /// Fills logits, mask and its mean.
  void measure(std::span<const Scalar> scores, Cache& cache) const {
    cache.logits.clear();
    cache.mask.clear();
    for (const Scalar score : scores) {
      cache.logits.push_back((score - threshold[0]) / static_cast<Scalar>(config_.temperature));
      cache.mask.push_back(soft_mask(score, threshold[0], config_.temperature));
    }
    cache.mean = regularise<Scalar>(GateRegulariser::mean_gate, cache.mask, cache.logits, cache.pads, 0);
  }

  /// Soft deletion.
  void weigh(Matrix<Scalar>& x, const TokenState<Scalar>& before, TokenState<Scalar>& after, Cache& cache) const {
    after.key_bias = before.key_bias;
    if (config_.mask == Mask::rows) cache.x = x;
    if (config_.mask == Mask::keys) after.key_bias.resize(x.rows(), Scalar{0});
    for (Index t = 0; t < x.rows(); ++t) {
      if (Marks(cache.pads)[t]) continue;
      if (config_.mask == Mask::rows)
        x.row(t) *= cache.mask[t];
      else
        after.key_bias[t] += kernels::log_sigmoid(cache.logits[t]);
    }
  }

  Config config_;
};

}  // namespace merganser::merge
