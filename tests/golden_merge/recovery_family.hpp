// Tokens in several rows, and the way back: CIF, H-Net, Expedit, HoT's recovery.
#pragma once

#include <algorithm>
#include <cmath>

#include <merganser/merge/policies/hnet_routing.hpp>
#include <merganser/merge/policies/integrate_and_fire.hpp>
#include <merganser/merge/policies/local_clusters.hpp>
#include <merganser/merge/recover/cross_attention.hpp>
#include <merganser/merge/recover/nearest_centres.hpp>
#include <merganser/merge/recover/smoothing.hpp>

#include "golden_merge/golden_merge.hpp"

namespace merganser::testing {

/// Of one sequence of tokens at counting positions.
template <Real Scalar>
merge::TokenState<Scalar> counted_state(Index tokens) {
  const SequenceOffsets offsets = SequenceOffsets::single(tokens);
  return merge::TokenState<Scalar>::start(offsets, counting_positions(offsets));
}

template <Real Scalar>
void cif(MergeCase<Scalar>& c) {
  const Vector<Scalar> weights = c.vector("in.alpha");
  const Matrix<Scalar> x = c.matrix("in.x");
  const merge::Firing<Scalar> firing = merge::fire<Scalar>(weights, c.number("param.tail"));
  Scalar sum = 0;
  for (const Scalar weight : weights) sum += weight;
  c.compare("out.alpha_sum", Vector<Scalar>{sum});
  c.compare_exactly("out.length", Vector<Index>{firing.plan.output_count()});
  c.compare("out.y", merge::Compaction<Scalar>({firing.plan}, SequenceOffsets::single(x.rows())).compact(x));
}

template <Real Scalar>
void hnet(MergeCase<Scalar>& c) {
  using Smoothing = merge::Smoothing<Scalar>;
  const Matrix<Scalar> x = c.matrix("in.x");
  merge::HNetRouting<Scalar> router({.width = x.cols(), .ratio = c.number("param.N")});
  router.q.weight.matrix() = c.matrix("in.wq");
  router.k.weight.matrix() = c.matrix("in.wk");
  const merge::TokenState<Scalar> state = counted_state<Scalar>(x.rows());
  const merge::DeletionOptions options;
  const merge::Reduction<Scalar> after = router.forward(x, {.state = state, .options = options});
  const Vector<Scalar>& p = after.report.scores;
  c.compare("out.boundary_prob", p);
  Vector<Index> boundary(x.rows(), 0);
  for (const Index row : after.report.kept) boundary[row] = 1;
  c.compare_exactly("out.boundary", boundary);
  Vector<Scalar> selected;
  for (Index t = 0; t < x.rows(); ++t) selected.push_back(boundary[t] != 0 ? p[t] : 1 - p[t]);
  c.compare("out.selected_prob", selected);
  c.compare("out.chunked", after.x);
  c.compare("out.ratio_loss", Vector<Scalar>{static_cast<Scalar>(after.report.auxiliaries.at(0).value)});
  const Matrix<Scalar> inner = c.matrix("out.inner");
  // What stands in for the inner network in the reference.
  c.compare("out.inner", Matrix<Scalar>((after.x * c.matrix("in.wmain")).array().tanh().matrix()));
  const merge::Reduced<Scalar> reduced{x, state, after};
  c.compare("out.dechunked", Smoothing({.start = Smoothing::Start::zero}).forward(inner, reduced));
  Smoothing with_residual({.start = Smoothing::Start::zero, .residual = x.cols()});
  with_residual.residual.weight.matrix() = c.matrix("in.wres");
  c.compare("out.with_residual", with_residual.forward(inner, reduced));
}

template <Real Scalar>
void expedit(MergeCase<Scalar>& c) {
  const Matrix<Scalar> x = c.matrix("in.x");
  const merge::LocalClusters policy{.columns = c.shape("in.x").at(1),
                                    .cluster_rows = c.integer("param.h"),
                                    .cluster_columns = c.integer("param.w"),
                                    .window = c.integer("param.window"),
                                    .rounds = c.integer("param.iters"),
                                    .sharpness = c.number("param.temp")};
  const merge::MergePlan<Scalar> plan = policy.plan(merge::Tokens<Scalar>{x, {}});
  const merge::Compaction<Scalar> compaction({plan}, SequenceOffsets::single(x.rows()));
  const merge::TokenState<Scalar> state = counted_state<Scalar>(x.rows());
  const merge::Reduction<Scalar> after{compaction.compact(x), state.merged(compaction),
                                       merge::PolicyReport<Scalar>::of_merge(state, compaction)};
  c.compare("out.centers", after.x);
  Matrix<Scalar> numbers(after.x.rows(), 1);  // each row its own
  for (Index row = 0; row < numbers.rows(); ++row) numbers(row, 0) = static_cast<Scalar>(row);
  const merge::Reduced<Scalar> reduced{x, state, after};
  const Matrix<Scalar> nearest = merge::NearestCentres<Scalar>({.k = 1}).forward(numbers, reduced);
  Vector<Index> labels;
  for (Index t = 0; t < x.rows(); ++t) labels.push_back(static_cast<Index>(nearest(t, 0)));
  c.compare_exactly("out.labels", labels);
  const merge::NearestCentres<Scalar> back(
      {.k = c.integer("param.k"), .sharpness = c.number("param.temp"), .weights = merge::CentreWeights::l2});
  c.compare("out.reconstructed", back.forward(c.matrix("in.processed"), reduced));
}

template <Real Scalar>
void hot_tra(MergeCase<Scalar>& c) {
  const Matrix<Scalar> tokens = c.matrix("in.x_token"), rows = c.matrix("in.x");
  merge::CrossAttention<Scalar> back({.width = tokens.cols(), .heads = c.integer("param.heads")});
  const auto load = [&](const std::string& name, nn::Linear<Scalar>& linear, RowVector<Scalar>& bias) {
    linear.weight.matrix() = c.matrix("in." + name + "_w");
    const Vector<Scalar> numbers = c.vector("in." + name + "_b");
    std::copy(numbers.begin(), numbers.end(), bias.data());
  };
  load("linear_q", back.q, back.q_bias);
  load("linear_k", back.k, back.k_bias);
  load("linear_v", back.v, back.v_bias);
  load("proj", back.proj, back.proj_bias);
  merge::Reduction<Scalar> after;
  after.state = counted_state<Scalar>(rows.rows());
  const merge::TokenState<Scalar> state = counted_state<Scalar>(tokens.rows());
  c.compare("out.recovered", back.forward(rows, {tokens, state, after}), 2e-3);
}

}  // namespace merganser::testing
