// Segments that a rule finds become one row each.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/plan_policy.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/segment_rule.hpp>
#include <merganser/merge/tokens.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What a segment becomes.
enum class SegmentPool {
  mean,         ///< by sizes
  largest,      ///< of every column the largest number
  first,        ///< its first token, which stands for all of them
  first_alone,  ///< its first token; the others are dropped
};

/// Whose place its row takes.
enum class SegmentPlace {
  first_token,
  last_token,  ///< a reader who goes by position then sees no row with a member behind it. Not causal: that a segment
               ///< ends there, the token behind it says
};

namespace detail {

/// Marks of a rule, one a token.
template <class Rule, Real Scalar>
Vector<std::uint8_t> checked_marks(const Rule& rule, const Tokens<Scalar>& tokens) {
  Vector<std::uint8_t> marks = rule.marks(tokens);
  check_equal("SegmentPooling", "marks.size()", marks.size(), tokens.count());
  return marks;
}

/// Pooling by a rule is what the rule is, but for a model that was trained with it.
template <class Rule>
PolicyTraits traits_of_pooling(const Rule& rule, SegmentPlace place) {
  PolicyTraits traits = traits_of(rule);
  traits.is_causal = traits.is_causal && place == SegmentPlace::first_token;
  traits.is_structural = true;
  traits.is_training_free = false;
  return traits;
}

}  // namespace detail

/// Pools the segments of any rule without parameters: means of words (Learn Your Tokens: Thawani et al. 2023, arXiv
/// 2310.11628), patches of largest numbers (BLT, arXiv 2412.09871), tokens at which segments begin (SpaceByte, arXiv
/// 2404.14408). Structural: a model is trained with it. Cost: n D and what the rule costs.
template <class Rule>
struct SegmentPooling {
  Rule rule = {};
  SegmentPool pool = SegmentPool::mean;
  SegmentPlace place = SegmentPlace::first_token;

  /// Causal, with a budget, reading attention: as the rule.
  PolicyTraits traits() const { return detail::traits_of_pooling(rule, place); }

  /// @throws std::invalid_argument if the rule does or has not one mark a token, or the place is none
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_argument(pool != SegmentPool::first_alone || place == SegmentPlace::first_token, "SegmentPooling", "place",
                   "the last token", "the first, as it alone stays");
    MergePlan<Scalar> plan(tokens.count());
    if (pool == SegmentPool::largest) plan.set_combine(Combine::largest);
    const Vector<std::uint8_t> starts = detail::checked_marks(rule, tokens);
    for_each_segment(starts, [&](Index begin, Index end) {
      plan.open(place == SegmentPlace::first_token ? begin : end - 1);
      if (pool == SegmentPool::first_alone || end - begin == 1) {
        plan.add(begin);
        return;
      }
      Scalar sum = 0;
      for (Index t = begin; t < end; ++t) sum += tokens.size(t);
      for (Index t = begin; t < end; ++t)
        plan.add(t, pool == SegmentPool::first ? static_cast<Scalar>(t == begin) : tokens.size(t) / sum);
    });
    return plan;
  }
};

/// Pools the segments of any rule by learned weights: of segment s the row sum over its tokens of p_t x_t, where p is
/// the softmax, over the tokens of s, of w . x_t.
///
/// Parameter: w [D]. With `WholeSequence` as rule it is SeqPool, which reads a sequence out as one row (Hassani et al.
/// 2021, arXiv 2104.05704). Structural. Cost: 2 n D and what the rule costs.
template <Real Scalar, class Rule>
requires SegmentRule<Rule, Scalar>
class WeightedSegmentPooling {
 public:
  using ScalarType = Scalar;
  using Gradients = WeightedSegmentPooling;

  struct Config {
    Index width = 0;  ///< D
    Rule rule = {};
    SegmentPlace place = SegmentPlace::first_token;
  };

 private:
  /// The pooling with its weights as they are.
  struct Weighted {
    const WeightedSegmentPooling* layer = nullptr;

    MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const { return layer->plan(tokens); }
  };

 public:
  struct Cache {
    typename PlanPolicy<Scalar, Weighted>::Cache plans;  ///< members weigh what softmax said
    Matrix<Scalar> x;                                    ///< [T x D]
  };

  WeightedSegmentPooling() = default;

  /// @throws std::invalid_argument if the width is not positive
  explicit WeightedSegmentPooling(const Config& config)
      : weight(RowVector<Scalar>::Zero(std::max<Index>(config.width, 0))), config_(config) {
    check_argument(config.width > 0, "WeightedSegmentPooling", "width", config.width, "at least 1");
  }

  PolicyTraits traits() const { return detail::traits_of_pooling(config_.rule, config_.place); }

  /// Normal with deviation factor * D^-0.5.
  void initialize(double factor, Rng& rng) {
    nn::fill_normal(weight, factor / std::sqrt(static_cast<double>(weight.size())), rng);
  }

  /// @throws std::invalid_argument if x is not as wide as the weights, or the rule does
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    return PlanPolicy<Scalar, Weighted>(Weighted{this}).forward(std::move(x), context);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    cache.x = x;
    return PlanPolicy<Scalar, Weighted>(Weighted{this}).forward(std::move(x), context, rng, cache.plans);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    check_equal("WeightedSegmentPooling::backward", "grad.x.cols()", grad.x.cols(), weight.size());
    const Compaction<Scalar>& segments = cache.plans.compaction;
    Matrix<Scalar> grad_x = segments.compact_backward(grad.x);
    segments.for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      const auto slope = [&](const Member<Scalar>& member) {  // of the weight of a token
        return kernels::dot(weight.size(), grad.x.row(out).data(), cache.x.row(first + member.token).data());
      };
      Scalar mean = 0;
      for (const Member<Scalar>& member : members) mean += member.weight * slope(member);
      for (const Member<Scalar>& member : members) {
        const Scalar grad_score = member.weight * (slope(member) - mean);
        const Index t = first + member.token;
        kernels::add_scaled(weight.size(), grad_score, weight.data(), grad_x.row(t).data());
        kernels::add_scaled(weight.size(), grad_score, cache.x.row(t).data(), gradients.weight.data());
      }
    });
    return {std::move(grad_x), cache.plans.before.merged_bias_backward(segments, grad.key_bias, cache.plans.size_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "segment_pool.weight", weight);
  }

  const Config& config() const { return config_; }

  RowVector<Scalar> weight;  ///< w

 private:
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    check_equal("WeightedSegmentPooling::forward", "x.cols()", tokens.x.cols(), weight.size());
    MergePlan<Scalar> plan(tokens.count());
    const Vector<std::uint8_t> starts = detail::checked_marks(config_.rule, tokens);
    Vector<Scalar> shares;
    for_each_segment(starts, [&](Index begin, Index end) {
      shares.clear();
      for (Index t = begin; t < end; ++t)
        shares.push_back(kernels::dot(weight.size(), weight.data(), tokens.x.row(t).data()));
      const Scalar largest = *std::max_element(shares.begin(), shares.end());
      Scalar sum = 0;
      for (Scalar& share : shares) sum += share = std::exp(share - largest);
      plan.open(config_.place == SegmentPlace::first_token ? begin : end - 1);
      for (Index t = begin; t < end; ++t) plan.add(t, shares[t - begin] / sum);
    });
    return plan;
  }

  Config config_;
};

}  // namespace merganser::merge
