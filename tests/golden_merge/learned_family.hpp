// Policies that are trained: LTP and what it is compared with, DynamicViT, Charformer's GBST, A-ViT's halting.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <merganser/kernels/elementwise.hpp>
#include <merganser/merge/policies/dynamicvit.hpp>
#include <merganser/merge/policies/gbst.hpp>
#include <merganser/merge/policies/halting.hpp>
#include <merganser/merge/policies/ltp.hpp>

#include "golden_merge/golden_merge.hpp"

namespace merganser::testing {

/// 1 for the tokens that a plan keeps.
template <Real Scalar>
Vector<Index> kept_marks(const merge::MergePlan<Scalar>& plan) {
  Vector<Index> marks;
  for (const Index row : plan.groups()) marks.push_back(row >= 0 ? 1 : 0);
  return marks;
}

template <Real Scalar>
void ltp(MergeCase<Scalar>& c) {
  using Policy = merge::AttentionThreshold;
  Vector<Matrix<Scalar>> heads;
  for (Index head = 0; head < c.shape("in.attn").at(0); ++head) heads.push_back(c.head("in.attn", head));
  const GivenAttention<Scalar> attention(heads);
  const Index n = heads.front().rows(), block = c.integer("param.layer"), blocks = c.integer("param.layers");
  const Matrix<Scalar> x = Matrix<Scalar>::Zero(n, 1);
  merge::Tokens<Scalar> tokens{x, {}};
  tokens.attention = &attention;
  Vector<Scalar> queries;  // of pads 0: they count in the mean
  for (const Index valid : c.indices("in.valid")) queries.push_back(static_cast<Scalar>(valid));
  const Vector<Scalar> scores = merge::received_means<Scalar>(tokens, queries);
  c.compare("out.scores", scores, 1e-6);
  const double threshold = merge::rising_threshold(block, blocks, c.number("param.final_threshold"));
  c.compare("out.threshold", Vector<Scalar>{static_cast<Scalar>(threshold)}, 1e-6);
  Vector<Scalar> mask;
  for (const Scalar score : scores)
    mask.push_back(merge::soft_mask(score, static_cast<Scalar>(threshold), c.number("param.temperature")));
  c.compare("out.soft_mask", mask);
  const auto kept = [&](const Policy& policy) { return kept_marks(policy.template plan_of<Scalar>(scores)); };
  c.compare_exactly("out.keep_absolute", kept({.threshold = threshold, .kind = Policy::Kind::absolute}));
  c.compare_exactly("out.keep_relative", kept({.threshold = c.number("param.rel_threshold")}));
  const double rate = merge::cascade_keep_rate(block, blocks, c.number("param.keep_rate"));
  c.compare("out.topk_rate", Vector<Scalar>{static_cast<Scalar>(rate)}, 1e-6);
  // The rate is one of the tokens that are no pads; these have scores, too, and could be kept.
  const auto real = std::count(queries.begin(), queries.end(), Scalar{1});
  const Vector<Index> order = merge::largest<Scalar>(scores, std::lround(static_cast<double>(real) * rate));
  c.compare_exactly("out.keep_topk", kept_marks(merge::MergePlan<Scalar>::keeping(order, n)));
  if (real == n) {
    const merge::CascadeTopK policy{.budget = {.rate = 1 - rate}};
    c.compare_exactly("out.keep_topk", kept_marks(policy.plan(tokens)));
  }
}

template <Real Scalar>
void dynamicvit(MergeCase<Scalar>& c) {
  const Matrix<Scalar> x = c.matrix("in.x");
  const Index n = x.rows();
  Vector<std::uint8_t> stays, gone;
  for (const Index marked : c.indices("in.policy")) {
    stays.push_back(marked != 0 ? 1 : 0);
    gone.push_back(marked != 0 ? 0 : 1);
  }
  merge::KeepPredictor<Scalar> predictor(x.cols());
  predictor.scale = c.matrix("in.w0").reshaped(1, x.cols());
  predictor.shift = c.matrix("in.b0").reshaped(1, x.cols());
  for (std::size_t i = 0; i < predictor.maps.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    predictor.maps[i].weight.matrix() = c.matrix("in.w" + number);
    const Vector<Scalar> bias = c.vector("in.b" + number);
    std::copy(bias.begin(), bias.end(), predictor.biases[i].data());
  }
  typename merge::KeepPredictor<Scalar>::Cache cache;
  const Vector<Scalar> logits = predictor.forward(x, SequenceOffsets::single(n), gone, cache);
  Matrix<Scalar> log_probabilities(n, 2);
  for (Index t = 0; t < n; ++t) {
    log_probabilities(t, 0) = kernels::log_sigmoid(logits[t]);
    log_probabilities(t, 1) = kernels::log_sigmoid(-logits[t]);
  }
  c.compare("out.log_probs", log_probabilities);
  Vector<Index> kept = c.indices("out.keep_order");  // listed by score
  for (Index i = 1; i < kept.size(); ++i)
    c.require("out.keep_order", logits[kept[i - 1]] >= logits[kept[i]], "another order");
  std::sort(kept.begin(), kept.end());
  c.require("out.keep_order", merge::surviving_rows<Scalar>(logits, 0, {}, n - c.integer("param.keep")) == kept,
            "other tokens stay");
  // The published softmax, and for tokens that stay plain softmax without the keys of the others.
  Matrix<Scalar> attention(c.shape("in.scores").at(0) * n, n);
  for (Index head = 0; head < c.shape("in.scores").at(0); ++head) {
    const Matrix<Scalar> scores = c.head("in.scores", head);
    const Matrix<Scalar> masked = merge::masked_softmax<Scalar>(scores, stays);
    const Matrix<Scalar> hidden = merge::masked_softmax<Scalar>(scores, stays, 0);
    attention.middleRows(head * n, n) = masked;
    for (Index t = 0; t < n; ++t)
      if (stays[t] != 0)
        c.require("out.masked_attn", (masked.row(t) - hidden.row(t)).cwiseAbs().maxCoeff() <= Scalar(4e-6),
                  "not that of hidden keys");
  }
  c.compare("out.masked_attn", attention, 2e-3);
}

template <Real Scalar>
void gbst(MergeCase<Scalar>& c) {
  const Index width = c.integer("param.dim");
  typename merge::Gbst<Scalar>::Config config{.width = width,
                                              .rate = c.integer("param.ds"),
                                              .blocks = {},
                                              .consensus = c.integer("param.consensus") != 0,
                                              .edges = merge::Edges::zero_rows};
  const Vector<Index> sizes = c.indices("param.block_size"), offsets = c.indices("param.block_offset");
  for (Index k = 0; k < sizes.size(); ++k) config.blocks.push_back({sizes[k], offsets[k]});
  merge::Gbst<Scalar> policy(config);
  const auto copy = [&](const char* name, auto& tensor) {
    const Vector<Scalar> values = c.vector(name);
    c.require(name, values.size() == tensor.size(), "another size");
    if (values.size() == tensor.size()) std::copy(values.begin(), values.end(), tensor.data());
  };
  copy("in.dw_w", policy.convolution);
  copy("in.dw_b", policy.convolution_bias);
  copy("in.pw_w", policy.projection.weight.matrix());
  copy("in.pw_b", policy.projection_bias);
  copy("in.score_w", policy.score);  // its bias is the same for all sizes
  const Matrix<Scalar> embedding = c.matrix("in.emb");
  const Vector<Index> ids = c.indices("in.ids");
  Matrix<Scalar> x(ids.size(), width);
  for (Index t = 0; t < ids.size(); ++t) x.row(t) = embedding.row(ids[t]);
  const SequenceOffsets single = SequenceOffsets::single(x.rows());
  const auto state = merge::TokenState<Scalar>::start(single, counting_positions(single));
  const merge::DeletionOptions options;
  c.compare("out.y", policy.forward(x, {state, options}).x);
}

template <Real Scalar>
void avit_halt(MergeCase<Scalar>& c) {
  const Index layers = c.shape("in.block_out").at(0), n = c.shape("in.block_out").at(1);
  merge::Halting<Scalar> halting(n, c.shape("in.block_out").at(2),
                                 {.scale = c.number("param.gate_scale"),
                                  .centre = c.number("param.gate_center"),
                                  .epsilon = c.number("param.eps")});
  Vector<Index> alive;
  for (Index layer = 0; layer < layers; ++layer) {
    halting.add(c.head("in.block_out", layer), layer + 1 == layers);
    alive.append(halting.alive().begin(), halting.alive().end());
  }
  c.compare_exactly("out.alive", alive);
  c.compare("out.out", halting.output());
  c.compare("out.rho", halting.cost());
  c.compare("out.ponder", Vector<Scalar>{static_cast<Scalar>(halting.ponder_loss())});
}

}  // namespace merganser::testing
