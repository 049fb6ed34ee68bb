// Segments: dynamic pooling, bytes and entropies that begin patches, pooling by learned weights, and the way back.
#pragma once

#include <span>

#include <merganser/kernels/elementwise.hpp>
#include <merganser/merge/boundary_predictor.hpp>
#include <merganser/merge/boundary_prior.hpp>
#include <merganser/merge/plan_policy.hpp>
#include <merganser/merge/policies/byte_boundaries.hpp>
#include <merganser/merge/policies/entropy_patching.hpp>
#include <merganser/merge/policies/segment_pooling.hpp>
#include <merganser/merge/recover/segment_broadcast.hpp>
#include <merganser/merge/segments.hpp>

#include "golden_merge/golden_merge.hpp"

namespace merganser::testing {

/// Marks of segments that are known.
struct GivenStarts {
  Vector<std::uint8_t> starts;

  template <Real Scalar>
  Vector<std::uint8_t> marks(const merge::Tokens<Scalar>&) const {
    return starts;
  }
};

inline Vector<Index> starts_of(const Vector<std::uint8_t>& marks) {
  Vector<Index> starts;
  merge::for_each_segment(marks, [&](Index begin, Index) { starts.push_back(begin); });
  return starts;
}

inline Vector<Index> lengths_of(const Vector<std::uint8_t>& marks) {
  Vector<Index> lengths;
  merge::for_each_segment(marks, [&](Index begin, Index end) { lengths.push_back(end - begin); });
  return lengths;
}

/// One sequence on its way through a policy.
template <Real Scalar>
struct OneSequence {
  Matrix<Scalar> x;
  merge::TokenState<Scalar> state;
  merge::DeletionOptions options = {};

  explicit OneSequence(Matrix<Scalar> rows) : x(std::move(rows)) {
    const SequenceOffsets offsets = SequenceOffsets::single(x.rows());
    state = merge::TokenState<Scalar>::start(offsets, counting_positions(offsets));
  }

  merge::PolicyContext<Scalar> context() const { return {.state = state, .options = options}; }
};

template <Real Scalar>
void dynpool(MergeCase<Scalar>& c) {
  const OneSequence<Scalar> one(c.matrix("in.hidden"));
  Vector<std::uint8_t> ends;
  for (const Index mark : c.indices("in.boundaries")) ends.push_back(static_cast<std::uint8_t>(mark));
  const merge::SegmentSettings settings{merge::OpenGroup::dropped, true};
  const merge::Compaction<Scalar> segments(merge::segment_plans<Scalar>(ends, one.state.offsets, {}, settings),
                                           one.state.offsets);
  merge::Reduction<Scalar> reduction{segments.compact(one.x), one.state.merged(segments),
                                     merge::PolicyReport<Scalar>::of_merge(one.state, segments)};
  reduction.x.row(0) = c.matrix("in.null_group").reshaped().transpose();
  c.compare("out.shortened", reduction.x);
  const merge::SegmentBroadcast<Scalar> back({.row = merge::SegmentBroadcast<Scalar>::Row::ended});
  c.compare("out.upsampled", back.forward(reduction.x, {one.x, one.state, reduction}));
}

template <Real Scalar>
void dynpool_boundary(MergeCase<Scalar>& c) {
  const Matrix<Scalar> x = c.matrix("in.hidden");
  const SequenceOffsets offsets = SequenceOffsets::single(x.rows());
  merge::BoundaryPredictor<Scalar> predictor(
      {x.cols(), c.integer("param.d_inner"), c.number("param.temp"), merge::LastToken::free});
  predictor.inner.weight.matrix() = c.matrix("in.w1");
  predictor.inner_bias = c.matrix("in.b1").reshaped().transpose();
  predictor.outer.weight.matrix() = c.matrix("in.w2");
  predictor.outer_bias = c.matrix("in.b2").reshaped().transpose();
  Vector<double> noise;
  for (const Scalar draw : c.vector("in.u")) noise.push_back(static_cast<double>(draw));
  const merge::Boundaries<Scalar> said = predictor.forward(x, offsets, {}, noise);
  c.compare("out.logits", said.logits);
  c.compare("out.soft", said.soft);
  Vector<Scalar> probabilities;
  for (const Scalar logit : said.logits) probabilities.push_back(kernels::sigmoid(logit));
  c.compare("out.probs", probabilities);
  c.compare_exactly("out.hard", Vector<Index>(said.hard.begin(), said.hard.end()));
  const Vector<Index> trials = {x.rows()};
  const double loss = merge::boundary_prior_loss<Scalar>(said.hard, offsets, trials, c.number("param.prior")).value;
  c.compare("out.loss", Vector<Scalar>{static_cast<Scalar>(loss)});
}

template <Real Scalar>
void byte_space_patch(MergeCase<Scalar>& c) {
  using Rule = merge::SpaceLike;
  Vector<TokenId> ids;
  for (const Index byte : c.indices("in.bytes")) ids.push_back(static_cast<TokenId>(byte + 3));
  const auto marks = [&](const Rule& rule) {
    const Matrix<Scalar> x = Matrix<Scalar>::Zero(ids.size(), 1);
    merge::Tokens<Scalar> tokens{x, {}};
    tokens.ids = ids;
    return rule.marks(tokens);
  };
  Vector<std::uint8_t> global = marks({});
  global[0] = merge::space_like_bytes().contains(ids[0]) ? 1 : 0;  // without the token that begins a text
  c.compare_exactly("out.spacebyte_global", Vector<Index>(global.begin(), global.end()));
  ids.push_back(3 + 'a');  // the reference counts the next token, whatever it is
  const Vector<std::uint8_t> patches = marks({.begin = Rule::Begin::behind, .starts = merge::Starts::published});
  c.compare_exactly("out.blt_start_ids", starts_of(patches));
  c.compare_exactly("out.blt_lengths", lengths_of(patches));
}

template <Real Scalar>
void blt_entropy(MergeCase<Scalar>& c) {
  const Vector<double> entropies = merge::entropies_of_logits<Scalar>(c.matrix("in.logits"));
  c.compare("out.entropy", Vector<Scalar>(entropies.begin(), entropies.end()));
  const auto given = [&](std::span<const TokenId>) { return entropies; };
  using Rule = merge::EntropyPatching<decltype(given)>;
  using Mode = typename Rule::Mode;
  const Matrix<Scalar> x = c.matrix("in.h");
  const Vector<TokenId> ids(x.rows(), 0);
  merge::Tokens<Scalar> tokens{x, {}};
  tokens.ids = ids;
  const auto marks = [&](Mode mode, double threshold, double rise) {
    return Rule{given, mode, threshold, rise, c.integer("param.patch_size"), merge::Starts::published}.marks(tokens);
  };
  const double threshold = c.number("param.threshold");
  const Vector<std::uint8_t> patches = marks(Mode::threshold, threshold, 0);
  c.compare_exactly("out.thr.lengths", lengths_of(patches));
  c.compare_exactly("out.topk.lengths", lengths_of(marks(Mode::top_k, 0, 0)));
  c.compare_exactly("out.mono.lengths", lengths_of(marks(Mode::monotonic, 0, c.number("param.mono_threshold"))));
  c.compare_exactly("out.glob.lengths", lengths_of(marks(Mode::both, threshold, c.number("param.threshold_add"))));
  const auto pooled = [&](merge::SegmentPool pool) {
    const merge::MergePlan<Scalar> plan = merge::SegmentPooling<GivenStarts>{{patches}, pool}.plan(tokens);
    return merge::Compaction<Scalar>({plan}, SequenceOffsets::single(x.rows())).compact(x);
  };
  c.compare("out.pool_max", pooled(merge::SegmentPool::largest));
  c.compare("out.pool_avg", pooled(merge::SegmentPool::mean));
}

template <Real Scalar>
void segment_pool(MergeCase<Scalar>& c) {
  const OneSequence<Scalar> one(c.matrix("in.x"));
  const Vector<Index> groups = c.indices("in.group");
  GivenStarts rule;
  for (Index t = 0; t < groups.size(); ++t) rule.starts.push_back(t == 0 || groups[t] != groups[t - 1] ? 1 : 0);
  const merge::PlanPolicy<Scalar, merge::SegmentPooling<GivenStarts>> mean({rule});
  const merge::Reduction<Scalar> means = mean.forward(one.x, one.context());
  c.compare("out.mean", means.x);
  c.compare_exactly("out.count", Vector<Index>(means.state.sizes.begin(), means.state.sizes.end()));
  const merge::SegmentBroadcast<Scalar> back;
  c.compare("out.broadcast_mean", back.forward(means.x, {one.x, one.state, means}));
  const auto weighted = [&](auto segments) {
    merge::WeightedSegmentPooling<Scalar, decltype(segments)> pooling({.width = one.x.cols(), .rule = segments});
    pooling.weight = c.matrix("in.attn_w").reshaped().transpose();
    return pooling.forward(one.x, one.context()).x;
  };
  c.compare("out.attn_pool", weighted(rule));
  c.compare("out.seq_pool", weighted(merge::WholeSequence{}));
}

}  // namespace merganser::testing
