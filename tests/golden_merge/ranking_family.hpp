// Tokens in an order of importance: DiffRate, Zero-TPrune, and the density peaks of the Hourglass Tokenizer.
#pragma once

#include <algorithm>
#include <limits>

#include <merganser/merge/policies/density_peaks.hpp>
#include <merganser/merge/policies/diffrate.hpp>
#include <merganser/merge/policies/zero_tprune.hpp>
#include <merganser/merge/rate_proxy.hpp>

#include "golden_merge/golden_merge.hpp"
#include "golden_merge/vit_block.hpp"

namespace merganser::testing {

template <Real Scalar>
Vector<Matrix<Scalar>> given_heads(const MergeCase<Scalar>& c) {
  Vector<Matrix<Scalar>> heads;
  for (Index head = 0; head < c.shape("in.attn").at(0); ++head) heads.push_back(c.head("in.attn", head));
  return heads;
}

/// DiffRate by the class token, of tokens that become as many as the case says.
template <Real Scalar>
merge::MergePlan<Scalar> diffrate_plan(const MergeCase<Scalar>& c, merge::Tokens<Scalar>& tokens) {
  const Index n = tokens.count(), going = n - c.integer("param.merge_keep"), pruned = n - c.integer("param.prune_keep");
  tokens.removals = going;
  return merge::DiffRate{.pruned_share = static_cast<double>(pruned) / static_cast<double>(going),
                         .importance = merge::Importance::class_token}
      .plan(tokens);
}

/// The sizes that the plan itself says, or those of the tokens, in the order in which the case lists rows.
template <Real Scalar>
Vector<Scalar> own_sizes(const merge::MergePlan<Scalar>& plan, const Vector<Scalar>& sizes,
                         const Vector<Index>& order) {
  Vector<Scalar> result;
  const Vector<Index> groups = plan.groups();
  for (const Index token : order) result.push_back(plan.sizes().empty() ? sizes[token] : plan.sizes()[groups[token]]);
  return result;
}

template <Real Scalar>
void diffrate(MergeCase<Scalar>& c) {
  const Matrix<Scalar> x = c.matrix("in.x");
  const Vector<Scalar> sizes = c.vector("in.size");
  const GivenAttention<Scalar> attention(given_heads(c));
  merge::Tokens<Scalar> tokens{x, {}, sizes};
  tokens.attention = &attention;
  const merge::MergePlan<Scalar> plan = diffrate_plan(c, tokens);
  const Index kept = c.integer("param.merge_keep"), unpruned = c.integer("param.prune_keep");
  const Vector<Index> order = merge::order_of_importance<Scalar>(tokens, merge::Importance::class_token, 1);
  c.compare_exactly("out.order", order);
  Matrix<Scalar> sorted_x(x.rows(), x.cols());
  for (Index i = 0; i < order.size(); ++i) sorted_x.row(i) = x.row(order[i]);
  c.compare("out.sorted", sorted_x);
  const Vector<Index> stay(order.begin(), order.begin() + kept);
  c.require("rows", plan.output_count() == kept, "other rows than the case has");
  if (plan.output_count() != kept) return;
  c.compare("out.merged", listed(plan, x, stay));
  c.compare("out.size", own_sizes(plan, sizes, stay));
  const Vector<Index> groups = plan.groups();
  for (Index rank = unpruned; rank < order.size(); ++rank)
    c.require("in.attn", groups[order[rank]] < 0, "a token that is to be pruned is in a row");
  if (unpruned == kept) return;
  const Vector<Index> targets = c.indices("out.dst_idx");
  Vector<Scalar> similarity;
  for (Index i = 0; i < unpruned - kept; ++i) {
    c.require("out.dst_idx", groups[order[kept + i]] == groups[order[targets[i]]], "a token joins another");
    similarity.push_back(merge::cosine<Scalar>(x, order[kept + i], order[targets[i]]));
  }
  c.compare("out.sim_max", similarity);
}

template <Real Scalar>
void diffrate_block(MergeCase<Scalar>& c) {
  const VitBlock<Scalar> block(c, "in.", c.integer("param.heads"));
  Matrix<Scalar> x = c.matrix("in.x");
  const Vector<Scalar> sizes = c.vector("in.size");
  const auto attended = block.attend(x, sizes);
  x += attended.output;
  merge::Tokens<Scalar> tokens{x, {}, sizes};
  tokens.attention = &attended.taps;
  const merge::MergePlan<Scalar> plan = diffrate_plan(c, tokens);
  Vector<Index> stay = merge::order_of_importance<Scalar>(tokens, merge::Importance::class_token, 1);
  stay.resize(c.integer("param.merge_keep"));
  c.require("rows", plan.output_count() == stay.size(), "other rows than the case has");
  if (plan.output_count() != stay.size()) return;
  Matrix<Scalar> y = listed(plan, x, stay);
  y += block.feed(y);
  c.compare("out.x", y);
  c.compare("out.size", own_sizes(plan, sizes, stay));
  Matrix<Scalar> source = Matrix<Scalar>::Zero(stay.size(), x.rows());
  const Vector<Index> groups = plan.groups();
  for (Index row = 0; row < stay.size(); ++row)
    for (const merge::Member<Scalar>& member : plan.members(groups[stay[row]])) source(row, member.token) = 1;
  c.compare("out.source", source);
}

template <Real Scalar>
void diffrate_proxy(MergeCase<Scalar>& c) {
  const merge::RateProxy proxy(c.vector("in.logits"));
  const Index n = c.integer("param.patches");
  const auto rounded = [](const Vector<double>& values) { return Vector<Scalar>(values.begin(), values.end()); };
  c.compare("out.softmax", rounded(proxy.weights()));
  Vector<Scalar> candidates;
  for (Index i = 0; i < proxy.weights().size(); ++i) candidates.push_back(static_cast<Scalar>(proxy.candidate(i, n)));
  c.compare("out.candidates", candidates);
  c.compare("out.expected_kept", rounded({proxy.expected(n)}));
  Vector<double> probability = {1.0};  // of the class token, which the case counts too
  for (const double own : proxy.token_probability(n)) probability.push_back(own);
  c.compare("out.token_probability", rounded(probability));
  c.compare_exactly("out.kept", {proxy.kept(n) + 1});
}

template <Real Scalar>
void zero_tprune(MergeCase<Scalar>& c) {
  using Policy = merge::ZeroTPrune;
  const Vector<Matrix<Scalar>> heads = given_heads(c);
  const GivenAttention<Scalar> attention(heads, c.matrix("in.key"));
  const Index n = heads.front().rows();
  const Matrix<Scalar> x = Matrix<Scalar>::Zero(n, 1);
  merge::Tokens<Scalar> tokens{x, {}};
  tokens.attention = &attention;
  Policy policy{.steps = c.integer("param.iters"),
                .least_variance = c.number("param.v_min"),
                .largest_variance = c.number("param.v_max")};
  c.compare("out.wpr_uniform", policy.rank(tokens).late);
  policy.start = Policy::Start::class_token;
  const merge::TokenRanks<Scalar> ranks = policy.rank(tokens);
  c.compare("out.wpr_cls", ranks.late);
  const Vector<double> variances = Policy::variances(ranks.late);
  c.compare("out.head_var", Vector<Scalar>(variances.begin(), variances.end()));
  Vector<Index> passes(heads.size(), 0);
  for (const Index head : policy.informative(ranks.late)) passes[head] = 1;
  c.compare_exactly("out.head_ok", passes);
  c.compare("out.eir_all_heads", Policy::root_mean_square(ranks.late));
  c.compare("out.eir_vhf", Policy::root_mean_square(ranks.late, policy.informative(ranks.late)));

  const merge::LikenessGroups<Scalar> groups = policy.likeness_groups(tokens, ranks.early, 1);
  // The case lists both by rising rank.
  const auto reversed = [](auto list) {
    std::reverse(list.begin(), list.end());
    return list;
  };
  c.compare_exactly("out.group_a", reversed(groups.less));
  c.compare_exactly("out.group_b", reversed(groups.more));
  Vector<Index> match;
  for (const Index target : groups.matches.target) match.push_back(groups.more[target]);
  c.compare_exactly("out.match", reversed(match));
  c.compare("out.sim_max", reversed(groups.matches.score));

  tokens.removals = c.integer("param.r_sim");
  policy.alike_share = 1;
  const Vector<Index> places = policy.plan(tokens).groups();
  Vector<Index> gone, stays;
  for (Index token = 0; token < n; ++token) {
    stays.push_back(places[token] >= 0 ? 1 : 0);
    if (places[token] < 0) gone.push_back(token);
  }
  c.compare_exactly("out.s_stage_drop", gone);
  c.compare_exactly("out.s_stage_keep", stays);

  // The case ranks over all heads there.
  policy.alike_share = 0;
  policy.largest_variance = std::numeric_limits<double>::infinity();
  policy.least_variance = 0;
  tokens.removals = n - 1 - c.integer("param.k_imp");
  c.compare_exactly("out.i_stage_keep_idx", policy.plan(tokens).representatives());
}

template <Real Scalar>
void hot_tpc(MergeCase<Scalar>& c) {
  const Matrix<Scalar> x = c.matrix("in.x");
  const Index k = c.integer("param.k"), clusters = c.integer("param.clusters");
  const Vector<Scalar> given = c.vector("in.density_noise");
  const Vector<double> noise(given.begin(), given.end());
  const merge::PeakClusters found = merge::density_peaks<Scalar>(x, k, clusters, noise);
  c.compare_exactly("out.centers", found.peaks);
  c.compare_exactly("out.cluster_of", found.of);
  Vector<Index> sorted_peaks = found.peaks;
  std::sort(sorted_peaks.begin(), sorted_peaks.end());
  c.compare_exactly("out.centers_sorted", sorted_peaks);
}

}  // namespace merganser::testing
