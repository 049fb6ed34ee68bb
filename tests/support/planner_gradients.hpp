// The gradients of planners, to be called from the test of each.
#pragma once

#include <merganser/merge/plan_policy.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/policy_batch.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

/// The gradients of a planner's merge, the plan as it is, against finite differences in double.
template <class P>
void require_planner_gradients(const P& planner, Index width = 6) {
  for (const merge::SizeBias size_bias : {merge::SizeBias::none, merge::SizeBias::log_size}) {
    PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, width).age();
    const merge::DeletionOptions options;
    merge::PolicyContext<double> context = batch.context(options);
    context.size_bias = size_bias;
    const PolicyBatch<double> unmoved = batch;  // what attention answers is a constant
    const RowAttention<double> taps(unmoved);
    if (merge::traits_of(planner).reads_attention) context.attention = &taps;
    merge::PlanPolicy<double, P> policy(planner), gradients;
    typename merge::PlanPolicy<double, P>::Cache cache;
    Rng rng(1);
    const auto output = policy.forward(batch.x, context, rng, cache);
    REQUIRE(output.x.rows() < batch.x.rows());
    const Matrix<double> probe = random_matrix<double>(output.x.rows(), width, rng);
    const Vector<double> bias_probe = random_values<double>(output.state.key_bias.size(), rng);
    auto grad = policy.backward({probe, bias_probe, {}}, cache, gradients);
    Vector<ParameterView<double>> parameters = {tensor_view("x", batch.x)}, analytic = {tensor_view("x", grad.x)};
    parameters.push_back({"key_bias", batch.state.key_bias.data(), 1, batch.state.key_bias.size(), true});
    analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
    require_gradients(
        [&] {
          const auto moved = policy.forward(batch.x, context);
          double sum = probe_sum(probe, moved.x);
          for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
          return sum;
        },
        parameters, analytic);
  }
}

/// Gives plans that were made before, one a sequence, whatever it is shown.
struct FrozenPlanner {
  Vector<merge::MergePlan<double>> plans;

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    return plans[tokens.sequence];
  }
};

/// The same for a planner whose weights hang on what it is shown: the gradient is that of the merge with the plan as it
/// is.
template <class P>
void require_frozen_plan_gradients(const P& planner, Index width = 6) {
  const PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, width).age();
  const RowAttention<double> taps(batch);
  FrozenPlanner frozen;
  for (Index i = 0; i < batch.state.offsets.count(); ++i) {
    const PolicyBatch<double> alone = batch.sequence(i);
    merge::Tokens<double> tokens{alone.x, alone.state.positions, alone.state.sizes, alone.ids};
    if (merge::traits_of(planner).reads_attention) tokens.attention = &taps;
    tokens.sequence = i;
    frozen.plans.push_back(alone.x.rows() > 0 ? planner.plan(tokens) : merge::MergePlan<double>(0));
  }
  require_planner_gradients(frozen, width);
}

}  // namespace merganser::testing
