// ToFu, MCTF, and blocks of a vision transformer with ToMe in them.
#pragma once

#include <algorithm>
#include <string>

#include <merganser/merge/matching.hpp>
#include <merganser/merge/policies/mctf.hpp>
#include <merganser/merge/policies/tofu.hpp>
#include <merganser/merge/policies/tome.hpp>

#include "golden_merge/golden_merge.hpp"
#include "golden_merge/vit_block.hpp"

namespace merganser::testing {

template <Real Scalar>
void tofu(MergeCase<Scalar>& c) {
  using Policy = merge::ToFu;
  const MetricTokens<Scalar> tokens(c, c.integer("param.r"));
  Policy policy{.fusion = Policy::Fusion::mean, .protected_rows = c.integer("param.class_token")};
  const merge::MergePlan<Scalar> mean = policy.plan(tokens.unsized());
  const Vector<Index> sources = c.indices("out.src_idx"), targets = c.indices("out.dst_idx"), groups = mean.groups();
  Vector<Index> order;  // rows are listed as the even tokens that stay, then all odd ones
  for (const Index even : c.indices("out.unm_idx")) order.push_back(2 * even);
  for (Index odd = 1; odd < tokens.x().rows(); odd += 2) order.push_back(odd);
  c.require("rows", mean.output_count() == order.size(), "other rows than the case has");
  if (mean.output_count() != order.size()) return;
  for (Index i = 0; i < sources.size(); ++i)
    c.require("out.dst_idx", groups[2 * sources[i]] == groups[2 * targets[i] + 1], "a token joins another");
  c.compare("out.merged_mean", listed(mean, tokens.x(), order));
  policy.fusion = Policy::Fusion::scaled_mean;
  policy.norm_scale = Policy::NormScale::published;
  c.compare("out.merged_norm", listed(policy.plan(tokens.unsized()), tokens.x(), order));
  policy.fusion = Policy::Fusion::pruned;
  c.compare("out.pruned", listed(policy.plan(tokens.unsized()), tokens.x(), order));
}

template <Real Scalar>
void mctf(MergeCase<Scalar>& c) {
  using Policy = merge::MCTF;
  const Matrix<Scalar> x = c.matrix("in.x"), sizes = c.matrix("in.size");
  Vector<Matrix<Scalar>> heads;
  for (Index head = 0; head < c.shape("in.attn").at(0); ++head) heads.push_back(c.head("in.attn", head));
  const GivenAttention<Scalar> attention(heads);
  const Vector<Scalar> size = c.vector("in.size");
  merge::Tokens<Scalar> tokens{x, {}};
  tokens.sizes = size;
  tokens.removals = c.integer("param.r");
  tokens.attention = &attention;
  const bool both = c.integer("param.bidirection") != 0;
  const Policy policy{.similarity_temperature = static_cast<double>(c.integer("param.tau_sim")),
                      .information_temperature = static_cast<double>(c.integer("param.tau_info")),
                      .size_temperature = static_cast<double>(c.integer("param.tau_size")),
                      .directions = both ? Policy::Directions::both : Policy::Directions::even_to_odd,
                      .protected_rows = c.integer("param.class_token")};
  const merge::MergePlan<Scalar> plan = policy.plan(tokens);
  // Rows are listed as the even tokens that stay in the first round, then the odd ones that stay in the second.
  const Vector<Index> stayed = c.indices("out.unm_idx"), groups = plan.groups();
  Vector<Index> order;
  for (const Index even : stayed) order.push_back(2 * even);
  for (const Index odd : c.indices("out.unm_idx2")) order.push_back(2 * odd + 1);
  c.require("rows", plan.output_count() == order.size(), "other rows than the case has");
  if (plan.output_count() != order.size()) return;
  c.compare("out.merged", listed(plan, x, order));
  c.compare("out.size", listed_sizes(plan, sizes, order));
  const Vector<Index> first = c.indices("out.src_idx"), joined = c.indices("out.dst_idx"),
                      second = c.indices("out.src_idx2"), joined2 = c.indices("out.dst_idx2");
  for (Index i = 0; i < first.size(); ++i)
    c.require("out.dst_idx", groups[2 * first[i]] == groups[2 * joined[i] + 1], "a token joins another");
  for (Index i = 0; i < second.size(); ++i)
    c.require("out.dst_idx2", groups[2 * second[i] + 1] == groups[2 * stayed[joined2[i]]], "a token joins another");
}

/// A token of every row in the order of the published code: the even tokens that stay, with a class token as they stood
/// and else by falling score, then all odd ones.
template <Real Scalar>
Vector<Index> order_of_tome(const merge::MergePlan<Scalar>& plan, const Matrix<Scalar>& keys, Index class_tokens) {
  const merge::EvenAndOdd of = merge::even_and_odd(0, keys.rows());
  const merge::Matches<Scalar> matches = merge::match_tokens(merge::unit_rows<Scalar>(keys), of.even, of.odd);
  const Vector<Index> groups = plan.groups();
  const auto joined = [&](Index token) {
    return std::any_of(of.odd.begin(), of.odd.end(), [&](Index other) { return groups[other] == groups[token]; });
  };
  Vector<Index> order;
  for (const Index token : of.even)
    if (!joined(token)) order.push_back(token);
  if (class_tokens == 0)
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return matches.score[a / 2] > matches.score[b / 2]; });
  order.insert(order.end(), of.odd.begin(), of.odd.end());
  return order;
}

/// One block or several, one behind the other, with merging between attention and feed-forward layer. Between blocks
/// rows stand in the order of the published code, since the next one pairs even with odd rows.
template <Real Scalar>
void tome_block(MergeCase<Scalar>& c) {
  Matrix<Scalar> x = c.matrix("in.x");
  Matrix<Scalar> source = Matrix<Scalar>::Identity(x.rows(), x.rows());
  Vector<Scalar> sizes;
  if (c.integer("param.use_size") != 0) sizes = c.vector("in.size");
  const Index class_tokens = c.integer("param.class_token");
  for (Index layer = 0; layer < c.integer("param.layers"); ++layer) {
    const std::string name = "l" + std::to_string(layer) + ".";
    const VitBlock<Scalar> block(c, "in." + name, c.integer("param.heads"));
    const bool proportional = c.integer("param.prop_attn") != 0;
    const auto attended = block.attend(x, proportional ? sizes : Vector<Scalar>{});
    const Matrix<Scalar> keys = attended.taps.mean_keys(0);
    if (c.has("out." + name + "attn_out")) c.compare("out." + name + "attn_out", attended.output);
    if (c.has("out." + name + "metric")) c.compare("out." + name + "metric", keys);
    x += attended.output;
    merge::Tokens<Scalar> tokens{x, {}};
    tokens.sizes = sizes;
    tokens.removals = c.indices("param.r_list")[layer];
    tokens.attention = &attended.taps;
    const merge::MergePlan<Scalar> plan = merge::ToMe{.protected_rows = class_tokens}.plan(tokens);
    const Vector<Index> order = order_of_tome(plan, keys, class_tokens), groups = plan.groups();
    c.require("rows", plan.output_count() == order.size(), "other rows than the published order has");
    if (plan.output_count() != order.size()) return;
    Matrix<Scalar> merged_sizes = Matrix<Scalar>::Zero(order.size(), 1),
                   merged_source = Matrix<Scalar>::Zero(order.size(), source.cols());
    for (Index row = 0; row < order.size(); ++row)
      for (const merge::Member<Scalar>& member : plan.members(groups[order[row]])) {
        merged_sizes(row, 0) += tokens.size(member.token);
        merged_source.row(row) += source.row(member.token);
      }
    x = listed(plan, x, order);
    x += block.feed(x);
    sizes.assign(merged_sizes.data(), merged_sizes.data() + merged_sizes.size());
    source = merged_source;
    c.compare("out." + name + "x", x);
    c.compare("out." + name + "size", merged_sizes);
  }
  c.compare("out.source", source);
}

}  // namespace merganser::testing
