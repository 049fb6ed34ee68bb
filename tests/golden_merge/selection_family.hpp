// Tokens chosen by attention or energy, and fixed groups: ATS, EViT, PoWER-BERT, Length-Adaptive Transformer, PiToMe,
// Funnel.
#pragma once

#include <algorithm>

#include <merganser/merge/policies/adaptive_sampling.hpp>
#include <merganser/merge/policies/attention_top_k.hpp>
#include <merganser/merge/policies/funnel_pooling.hpp>
#include <merganser/merge/policies/pitome.hpp>

#include "golden_merge/golden_merge.hpp"
#include "golden_merge/tome_family.hpp"

namespace merganser::testing {

inline Vector<Index> sorted(Vector<Index> values) {
  std::sort(values.begin(), values.end());
  return values;
}

template <Real Scalar>
void attn_topk(MergeCase<Scalar>& c) {
  using Policy = merge::AttentionTopK;
  const Matrix<Scalar> x = c.matrix("in.x");
  Vector<Matrix<Scalar>> heads;
  for (Index head = 0; head < c.shape("in.attn").at(0); ++head) heads.push_back(c.head("in.attn", head));
  const GivenAttention<Scalar> attention(heads);
  merge::Tokens<Scalar> tokens{x, {}};
  tokens.attention = &attention;
  const Index n = x.rows();

  // EViT: rows are listed as the class token, those that stay by their score, and the fused one. Its indices begin
  // behind the class token.
  const Vector<Index> kept = c.indices("out.keep_idx"), gone = c.indices("out.complement");
  tokens.removals = n - (kept.size() + 2);
  const merge::MergePlan<Scalar> evit =
      Policy{.score = Policy::Score::class_token, .rest = Policy::Rest::fused_sum}.plan(tokens);
  Vector<Index> order = {0};
  for (const Index token : kept) order.push_back(token + 1);
  order.push_back(gone.front() + 1);
  c.compare("out.evit_x", listed(evit, x, order));
  c.compare("out.fused", Matrix<Scalar>(listed(evit, x, order).bottomRows(1)));
  for (const Index token : gone)
    c.require("out.complement", evit.groups()[token + 1] == evit.groups()[gone.front() + 1], "another token is fused");

  const Index stay = c.integer("param.power_keep");
  tokens.removals = n - stay;
  const Policy power{.score = Policy::Score::received_from_others};
  c.compare("out.power_significance", power.received(tokens));
  c.compare_exactly("out.power_keep_idx", power.plan(tokens).representatives());
  const merge::MergePlan<Scalar> lat = Policy{.score = Policy::Score::received}.plan(tokens);
  c.require("out.lat_keep_idx", lat.representatives() == sorted(c.indices("out.lat_keep_idx")), "other tokens stay");
}

template <Real Scalar>
void ats(MergeCase<Scalar>& c) {
  using Policy = merge::AdaptiveSampling;
  const Matrix<Scalar> x = c.matrix("in.x");
  const Index heads = c.shape("in.attn").at(0), n = x.rows(), width = c.shape("in.v").at(2);
  Vector<Matrix<Scalar>> weights;
  Matrix<Scalar> values(n, heads * width);
  for (Index head = 0; head < heads; ++head) {
    weights.push_back(c.head("in.attn", head));
    values.middleCols(head * width, width) = c.head("in.v", head);
  }
  const GivenAttention<Scalar> attention(weights, {}, values);
  merge::Tokens<Scalar> tokens{x, {}};
  tokens.attention = &attention;
  const Policy policy{.score = Policy::Score::class_token};
  const Vector<Scalar> scores = policy.scores(tokens);
  const Vector<Index> order = c.indices("out.sorted_idx");
  Vector<Scalar> rising;
  for (const Index token : order) rising.push_back(scores[token]);
  c.compare("out.sorted_scores", rising);
  const merge::MergePlan<Scalar> plan = policy.plan(tokens);
  c.require("out.num_kept", plan.output_count() == c.integer("out.num_kept"), "another number of tokens stays");
  if (plan.output_count() != c.integer("out.num_kept")) return;
  // Rows are listed as the class token and the others by rising score.
  Vector<Index> listing = {0};
  for (const Index token : order)
    if (plan.groups()[token + 1] >= 0) listing.push_back(token + 1);
  c.compare("out.kept_x", listed(plan, x, listing));
  Matrix<Scalar> kept(heads * listing.size(), n);
  for (Index head = 0; head < heads; ++head)
    for (Index i = 0; i < listing.size(); ++i) kept.row(head * listing.size() + i) = weights[head].row(listing[i]);
  c.compare("out.kept_attn", kept);
}

template <Real Scalar>
void compare_pitome(MergeCase<Scalar>& c, merge::PiToMe policy) {
  const Index first = c.integer("param.class_token");
  policy.margin = c.number("param.margin");
  policy.protected_rows = first;
  const MetricTokens<Scalar> tokens(c, c.integer("param.r"));
  const Matrix<Scalar> metric = c.matrix("in.metric").bottomRows(tokens.x().rows() - first);
  c.compare("out.energy", policy.energies(merge::unit_rows<Scalar>(metric)));
  const merge::MergePlan<Scalar> plan = policy.plan(tokens.sized());
  // Rows are listed as the class token, those that stay alone, and those that are joined.
  const Vector<Index> a = c.indices("out.a_idx"), b = c.indices("out.b_idx"), targets = c.indices("out.dst_idx");
  const bool bipartite = policy.pairing == merge::PiToMe::Pairing::bipartite;
  Vector<Index> sources, order;
  if (first == 1) order.push_back(0);
  if (bipartite) {
    for (const Index i : c.indices("out.src_idx")) sources.push_back(a[i]);
    for (const Index i : c.indices("out.unm_idx")) order.push_back(first + a[i]);
  } else {
    sources = a;
    for (const Index i : c.indices("out.protected_idx")) order.push_back(first + i);
  }
  for (const Index i : b) order.push_back(first + i);
  compare_merged(c, tokens, plan, order);
  const Vector<Index> groups = plan.groups();
  for (Index i = 0; i < sources.size(); ++i)
    c.require("out.dst_idx", groups[first + sources[i]] == groups[first + b[targets[i]]], "a token joins another");
  if (!c.has("out.pruned")) return;
  policy.sources = merge::PiToMe::Sources::dropped;
  c.compare("out.pruned", listed(policy.plan(tokens.sized()), tokens.x(), order));
}

template <Real Scalar>
void pitome_vision(MergeCase<Scalar>& c) {
  using Policy = merge::PiToMe;
  compare_pitome(c,
                 {.alpha = c.number("param.alpha"),
                  .energy = Policy::Energy::elu,
                  .pairing = c.integer("param.bsm") != 0 ? Policy::Pairing::bipartite : Policy::Pairing::alternating});
}

template <Real Scalar>
void pitome_text(MergeCase<Scalar>& c) {
  compare_pitome(c, {});
}

template <Real Scalar>
void funnel_pool(MergeCase<Scalar>& c) {
  const Matrix<Scalar> x = c.matrix("in.x");
  const bool apart = c.integer("param.separate_cls") != 0, cut = c.integer("param.truncate_seq") != 0;
  merge::FunnelPooling policy{.protected_rows = apart ? 1 : 0};
  // With a class token apart the reference cuts the last token.
  const Matrix<Scalar> read = apart && cut ? Matrix<Scalar>(x.topRows(x.rows() - 1)) : x;
  for (const merge::Combine combine : {merge::Combine::weighted_sum, merge::Combine::largest}) {
    policy.combine = combine;
    const merge::MergePlan<Scalar> plan = policy.plan(merge::Tokens<Scalar>{read, {}});
    c.compare_exactly("out.pos", plan.representatives());
    const char* name = combine == merge::Combine::largest ? "out.max" : "out.mean";
    c.compare(name, merge::Compaction<Scalar>({plan}, SequenceOffsets::single(read.rows())).compact(read));
  }
}

}  // namespace merganser::testing
