// Rates of pruning and merging that are learned.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_math.hpp>
#include <merganser/merge/plan_policy.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/prune_and_merge.hpp>
#include <merganser/merge/rate_proxy.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

namespace detail {

/// What was made of a sequence at learned rates; m tokens can go, the others are protected.
struct RankedSequence {
  static constexpr Index is_protected = -1, pad = -2;
  static constexpr double least = 1e-13;  ///< a probability below it counts as this, e^-30

  Vector<Index> rank;  ///< [t] of every row of the sequence, from 0 on
  Index open = 0;      ///< m
  Index protected_rows = 0;
  Index kept = 0;                 ///< of the m
  Vector<double> prunes, merges;  ///< [m] the probability of each rank to stay

  /// The logarithm of that of both.
  double score(Index r) const {
    return r < 0 ? 0.0 : std::log(std::max(prunes[r], least)) + std::log(std::max(merges[r], least));
  }

  /// With respect to one of the probabilities: of the scores [m], and of the mean of the product of both.
  static Vector<double> gradient(const Vector<double>& own, const Vector<double>& other,
                                 const Vector<double>& grad_scores, double grad_product) {
    Vector<double> result;
    for (Index r = 0; r < own.size(); ++r)
      result.push_back(kernels::multiply_add(grad_product, other[r], own[r] >= least ? grad_scores[r] / own[r] : 0.0));
    return result;
  }
};

/// Plans a sequence, and writes down what it made of it.
struct LearnedRatePlanner {
  RateProxy prunes, merges;
  Importance importance = Importance::received;
  Index protected_rows = 0;
  std::optional<double> threshold = std::nullopt;
  Going going = Going::gone;
  Vector<RankedSequence>* seen = nullptr;  ///< [N]

  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    const Index n = tokens.count();
    RankedSequence& sequence = (*seen)[tokens.sequence];
    sequence.protected_rows =
        std::min(std::max<Index>(protected_rows, importance == Importance::class_token ? 1 : 0), n);
    const Index m = sequence.open = n - sequence.protected_rows;
    sequence.prunes = prunes.token_probability(m);
    sequence.merges = merges.token_probability(m);
    const PruneCounts counts = count(sequence, tokens.removals);
    const Vector<Index> order = order_of_importance<Scalar>(tokens, importance, sequence.protected_rows);
    for (Index i = 0; i < n; ++i) {
      const Index row = tokens.rows.empty() ? order[i] : tokens.rows[static_cast<std::size_t>(order[i])];
      sequence.rank[row] = std::max(i - sequence.protected_rows, RankedSequence::is_protected);
    }
    return prune_and_merge<Scalar>(tokens, order, counts, going);
  }

 private:
  /// By the learned rates; where a call asks for so many removals or names a threshold, in their proportion.
  PruneCounts count(RankedSequence& sequence, std::optional<Index> removals) const {
    const Index m = sequence.open, least = sequence.protected_rows > 0 ? 0 : 1;
    Index unpruned = prunes.kept(m), kept = std::min(unpruned, merges.kept(m)), asked = kept;
    if (removals) asked = std::max(m - *removals, least);
    if (threshold)
      for (asked = m; asked > least && !(sequence.score(asked - 1) > *threshold);) --asked;
    if (asked != kept) {
      const double share = kept < m ? static_cast<double>(m - unpruned) / static_cast<double>(m - kept) : 0.0;
      unpruned = m - std::lround(share * static_cast<double>(m - asked));
      kept = asked;
    }
    sequence.kept = kept;
    return {sequence.protected_rows, sequence.protected_rows + unpruned, sequence.protected_rows + kept};
  }
};

}  // namespace detail

/// DiffRate with rates that it learns, whatever the length: a share of the ranked tokens is dropped and a share of the
/// rest merges, each by a `RateProxy` of its own.
///
/// - Hard: as `DiffRate`, at the rates that are learned, or in their proportion where the call says how much goes: a
///   target rate, or a threshold on the scores, the logarithm of the probability that a token stays.
/// - Soft: all tokens stay, and that logarithm is added to their key bias; those that are joined are means already. So
///   both rates have a gradient. (The published code hides what hard deletion removes, with the gradient of this form.)
///
/// The auxiliary "kept_share" is the mean share of tokens that stay, if both numbers are drawn; it is steered, as a
/// gate's. Stands behind attention. Parameters: 2 C logits, the first of which starts at `initial_logit`: nearly
/// everything stays. Cost: as `DiffRate`.
template <Real Scalar>
class LearnedDiffRate {
  using Plans = PlanPolicy<Scalar, detail::LearnedRatePlanner>;

 public:
  using ScalarType = Scalar;
  using Gradients = LearnedDiffRate;

  struct Config {
    Index candidates = 16;  ///< C, at least 1
    Importance importance = Importance::received;
    Index protected_rows = 0;    ///< tokens at the beginning that neither go nor are joined
    double initial_logit = 5.0;  ///< published: 0
  };

  struct Cache {
    typename Plans::Cache plans;
    RateProxy prunes, merges;
    Vector<detail::RankedSequence> sequences;  ///< [N]
    Vector<Index> row_ranks;                   ///< [T'] of the most important token of each row, or -1
    bool biased = false;                       ///< scores stand in the key bias
    double tokens = 0;                         ///< without pads
  };

  LearnedDiffRate() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit LearnedDiffRate(const Config& config) : config_(config) {
    check_argument(config.candidates >= 1, "LearnedDiffRate", "candidates", config.candidates, "at least 1");
    check_argument(config.protected_rows >= 0, "LearnedDiffRate", "protected_rows", config.protected_rows,
                   "at least 0");
    check_argument(std::isfinite(config.initial_logit), "LearnedDiffRate", "initial_logit", config.initial_logit,
                   "a finite number");
    prune_logits = merge_logits = RowVector<Scalar>::Zero(config.candidates);
    prune_logits[0] = merge_logits[0] = static_cast<Scalar>(config.initial_logit);
  }

  PolicyTraits traits() const {
    return {.is_gate = true,
            .is_training_free = false,
            .needs_class_token = config_.importance == Importance::class_token,
            .has_budget = true,
            .reads_attention = true};
  }

  /// x [T x D]. Neither draws anything.
  /// @throws std::invalid_argument if it does not stand behind attention, or the mode is neither soft nor hard
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(std::move(x), context, cache);
  }
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(std::move(x), context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    const SequenceOffsets& before = cache.plans.compaction.input_offsets();
    const SequenceOffsets& after = cache.plans.compaction.output_offsets();
    const auto& scores = grad.report.scores;
    if (!scores.empty()) check_equal("LearnedDiffRate::backward", "scores.size()", scores.size(), before.total());
    if (!grad.key_bias.empty())
      check_equal("LearnedDiffRate::backward", "key_bias.size()", grad.key_bias.size(), after.total());
    const double share = grad.report.auxiliaries.empty() ? 0.0 : grad.report.auxiliaries[0] / cache.tokens;
    for (Index i = 0; i < cache.sequences.size(); ++i) {
      const detail::RankedSequence& sequence = cache.sequences[i];
      Vector<double> grad_scores(sequence.open, 0.0);
      for (Index t = 0; !scores.empty() && t < sequence.rank.size(); ++t)
        if (sequence.rank[t] >= 0) grad_scores[sequence.rank[t]] += static_cast<double>(scores[before.begin(i) + t]);
      for (Index row = after.begin(i); cache.biased && !grad.key_bias.empty() && row < after.end(i); ++row)
        if (const Index rank = cache.row_ranks[row]; rank >= 0)
          grad_scores[rank] += static_cast<double>(grad.key_bias[row]);
      cache.prunes.backward(sequence.open, 0, sequence.gradient(sequence.prunes, sequence.merges, grad_scores, share),
                            gradients.prune_logits);
      cache.merges.backward(sequence.open, 0, sequence.gradient(sequence.merges, sequence.prunes, grad_scores, share),
                            gradients.merge_logits);
    }
    Plans none;
    return Plans().backward({std::move(grad.x), std::move(grad.key_bias), {}}, cache.plans, none);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "prune_rate.logits", prune_logits);
    visitor(prefix + "merge_rate.logits", merge_logits);
  }

  const Config& config() const { return config_; }

  RowVector<Scalar> prune_logits, merge_logits;  ///< [C]

 private:
  Reduction<Scalar> apply(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const bool soft = context.options.mode == DeletionMode::soft;
    check_argument(soft || context.options.mode == DeletionMode::hard, "LearnedDiffRate", "options.mode",
                   "none or everything", "soft or hard");
    cache.prunes = RateProxy(prune_logits);
    cache.merges = RateProxy(merge_logits);
    cache.biased = soft || context.options.survivor_bias == SurvivorBias::kept;
    cache.sequences.assign(context.state.offsets.count(), {});
    for (Index i = 0; i < cache.sequences.size(); ++i)
      cache.sequences[i].rank.assign(context.state.offsets.length(i), detail::RankedSequence::pad);
    const Plans plans({cache.prunes, cache.merges, config_.importance, config_.protected_rows,
                       context.options.threshold, soft ? Going::staying : Going::gone, &cache.sequences});
    Rng unused;
    Reduction<Scalar> result = plans.forward(std::move(x), context, unused, cache.plans);
    find_ranks(cache);
    report(context, cache, result.report);
    if (cache.biased) add_scores(cache, result.state.key_bias);
    if (soft) mark_deleted(cache, result);
    return result;
  }

  static void find_ranks(Cache& cache) {
    const Compaction<Scalar>& compaction = cache.plans.compaction;
    cache.row_ranks.assign(compaction.output_offsets().total(), -1);
    for (Index i = 0; i < cache.sequences.size(); ++i)
      for (Index row = 0; row < compaction.plan(i).output_count(); ++row) {
        Index& best = cache.row_ranks[compaction.output_offsets().begin(i) + row];
        for (const Member<Scalar>& member : compaction.plan(i).members(row)) {
          const Index rank = cache.sequences[i].rank[member.token];
          if (best < 0 || rank < best) best = rank;
        }
      }
  }

  /// Scores and the auxiliary.
  static void report(const PolicyContext<Scalar>& context, Cache& cache, PolicyReport<Scalar>& report) {
    report.is_gate = true;
    report.threshold = context.options.threshold.value_or(-std::numeric_limits<double>::infinity());
    report.scores.assign(context.state.total(), static_cast<Scalar>(2 * std::log(detail::RankedSequence::least)));
    double kept = 0;
    cache.tokens = 0;
    for (Index i = 0; i < cache.sequences.size(); ++i) {
      const detail::RankedSequence& sequence = cache.sequences[i];
      cache.tokens += static_cast<double>(sequence.protected_rows + sequence.open);
      kept += static_cast<double>(sequence.protected_rows);
      for (Index rank = 0; rank < sequence.open; ++rank)
        kept = kernels::multiply_add(sequence.prunes[rank], sequence.merges[rank], kept);
      const Index first = context.state.offsets.begin(i);
      for (Index t = 0; t < sequence.rank.size(); ++t)
        if (sequence.rank[t] != detail::RankedSequence::pad)
          report.scores[first + t] = static_cast<Scalar>(sequence.score(sequence.rank[t]));
    }
    report.auxiliaries.push_back({"kept_share", cache.tokens > 0 ? kept / cache.tokens : 0, true, MeanOver::tokens});
  }

  static void add_scores(const Cache& cache, Vector<Scalar>& key_bias) {
    key_bias.resize(cache.row_ranks.size(), Scalar{0});
    const SequenceOffsets& rows = cache.plans.compaction.output_offsets();
    for (Index i = 0; i < rows.count(); ++i)
      for (Index row = rows.begin(i); row < rows.end(i); ++row)
        key_bias[row] += static_cast<Scalar>(cache.sequences[i].score(cache.row_ranks[row]));
  }

  /// After soft deletion, where hard deletion would leave no row.
  static void mark_deleted(const Cache& cache, Reduction<Scalar>& result) {
    result.state.deleted.resize(cache.row_ranks.size(), 0);
    const Vector<Index> all = std::exchange(result.report.kept, {});
    const SequenceOffsets& rows = cache.plans.compaction.output_offsets();
    for (Index i = 0; i < rows.count(); ++i)
      for (Index row = rows.begin(i); row < rows.end(i); ++row) {
        if (cache.row_ranks[row] < cache.sequences[i].kept)
          result.report.kept.push_back(all[row]);
        else
          result.state.deleted[row] = 1;
      }
  }

  Config config_;
};

}  // namespace merganser::merge
