// ToMe and its variants.
#pragma once

#include <algorithm>

#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/tome.hpp>

#include "golden_merge/golden_merge.hpp"

namespace merganser::testing {

/// `order` lists a token of every row that the case has.
template <Real Scalar>
void compare_merged(MergeCase<Scalar>& c, const MetricTokens<Scalar>& tokens, const merge::MergePlan<Scalar>& plan,
                    const Vector<Index>& order) {
  c.require("rows", plan.output_count() == order.size(), "other rows than the case has");
  if (plan.output_count() != order.size()) return;
  c.compare("out.merged", listed(plan, tokens.x(), order));
  c.compare("out.size", listed_sizes(plan, tokens.sizes(), order));
}

template <Real Scalar>
void tome_bsm(MergeCase<Scalar>& c) {
  const Index removals = c.integer("param.r");
  const merge::ToMe policy{.protected_rows = c.integer("param.class_token") + c.integer("param.distill_token")};
  const MetricTokens<Scalar> tokens(c, removals);
  const merge::MergePlan<Scalar> plan = policy.plan(tokens.sized());
  // Rows are listed as the even tokens that stay, then all odd ones.
  const Vector<Index> sources = c.indices("out.src_idx"), targets = c.indices("out.dst_idx"),
                      unmerged = c.indices("out.unm_idx"), groups = plan.groups();
  Vector<Index> order;
  for (const Index even : unmerged) order.push_back(2 * even);
  for (Index odd = 1; odd < tokens.x().rows(); odd += 2) order.push_back(odd);
  if (c.integer("param.distill_token") != 0)  // it stands behind the class token
    std::rotate(order.begin() + 1, order.begin() + unmerged.size(), order.begin() + unmerged.size() + 1);
  compare_merged(c, tokens, plan, order);
  for (Index i = 0; i < sources.size(); ++i)
    c.require("out.dst_idx", groups[2 * sources[i]] == groups[2 * targets[i] + 1], "a token joins another");
  const merge::MergePlan<Scalar> mean = policy.plan(tokens.unsized());
  merge::MergePlan<Scalar> largest = mean;
  largest.set_combine(merge::Combine::largest);
  c.compare("out.merged_mean", listed(mean, tokens.x(), order));
  c.compare("out.merged_amax", listed(largest, tokens.x(), order));
  Matrix<Scalar> source = Matrix<Scalar>::Zero(order.size(), tokens.x().rows());
  for (Index row = 0; row < order.size(); ++row)
    for (const merge::Member<Scalar>& member : plan.members(groups[order[row]])) source(row, member.token) = 1;
  c.compare("out.source", source);
  if (c.has("out.unmerged")) c.compare("out.unmerged", expanded(plan, tokens.x()));
}

template <Real Scalar>
void tome_kth(MergeCase<Scalar>& c) {
  const Index k = c.integer("param.k");
  const MetricTokens<Scalar> tokens(c, 0);
  const Index whole = tokens.x().rows() / k * k;  // the reference drops what is behind them
  const merge::MergePlan<Scalar> plan = merge::ToMeEveryKth{.k = k}.plan(tokens.sized());
  const Vector<Index> groups = plan.groups(), targets = c.indices("out.dst_idx");
  Vector<Index> order;
  for (Index kept = k - 1; kept < whole; kept += k) order.push_back(kept);
  c.require("rows", plan.output_count() == order.size() + tokens.x().rows() - whole, "the last rows stay");
  c.compare("out.merged", listed(plan, tokens.x(), order));
  c.compare("out.size", listed_sizes(plan, tokens.sizes(), order));
  for (Index i = 0, gone = 0; i < whole; ++i)
    if (i % k != k - 1)
      c.require("out.dst_idx", groups[i] == groups[targets[gone++] * k + k - 1], "a token joins another");
  c.compare("out.unmerged", Matrix<Scalar>(expanded(plan, tokens.x()).topRows(whole)));
}

template <Real Scalar>
void tome_random(MergeCase<Scalar>& c) {
  const MetricTokens<Scalar> tokens(c, c.integer("param.r"));
  const merge::MergePlan<Scalar> plan = merge::ToMeRandom{}.plan_in_order(tokens.sized(), c.indices("in.perm"));
  const Vector<Index> sources = c.indices("out.a_idx"), targets = c.indices("out.dst_idx"),
                      kept = c.indices("out.b_idx"), groups = plan.groups();
  compare_merged(c, tokens, plan, kept);
  for (Index i = 0; i < sources.size(); ++i)
    c.require("out.dst_idx", groups[sources[i]] == groups[kept[targets[i]]], "a token joins another");
  c.compare("out.unmerged", expanded(plan, tokens.x()));
}

template <Real Scalar>
void tome_parse_r(MergeCase<Scalar>& c) {
  c.compare_exactly("out.r_list", merge::linear_schedule(c.integer("param.num_layers"), c.integer("param.r"),
                                                         c.number("param.inflect")));
}

}  // namespace merganser::testing
