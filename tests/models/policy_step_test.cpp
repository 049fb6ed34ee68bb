// A policy in an encoder of one's own: its gradient, and the same tokens as the parts that it is made of.
#include <merganser/models/policy_step.hpp>

#include <merganser/core/parameter.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/random_values.hpp"

namespace policy_step_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::DeletionMode;
using merge::DeletionOptions;

constexpr Index tokens = 7, features = 5;

struct Setup {
  Rng rng{3};
  merge::Policy<double> gate{merge::DeleteGate<double>({.width = features})};
  SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{4, 3});
  Matrix<double> x = random_matrix<double>(tokens, features, rng);
  // Weights of a loss that is linear in all that comes out.
  Matrix<double> by_row = random_matrix<double>(tokens, features, rng);
  Vector<double> by_bias, by_value;
  double by_auxiliary = 0.3;

  Setup() {
    gate.initialize(20.0, rng);
    gate.target<merge::DeleteGate<double>>()->bias[0] = 0;
    for (Vector<double>* weights : {&by_bias, &by_value})
      for (Index t = 0; t < tokens; ++t) weights->push_back(rng.normal() / 30);
  }

  merge::TokenState<double> start() const {
    return merge::TokenState<double>::start(offsets, counting_positions(offsets));
  }

  double loss(const DeletionOptions& options) {
    PolicyStep<double> step;
    auto state = start();
    EncoderOutput<double> output;
    const Matrix<double> y = step.forward(gate, x, {}, options, rng, state, output);
    double sum = 0;
    for (Index row = 0; row < y.rows(); ++row) {
      sum += y.row(row).dot(by_row.row(state.origin[row]));
      if (!state.key_bias.empty()) sum += state.key_bias[row] * by_bias[state.origin[row]];
    }
    for (const auto& report : output.reports) {
      for (Index t = 0; t < tokens; ++t) sum += report.scores[t] * by_value[t];
      sum += report.auxiliaries[0].value * by_auxiliary;
    }
    return sum;
  }
};

TEST_CASE("the gradients of a policy step are right in every mode", "[PolicyStep]") {
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
    Setup s;
    const DeletionOptions options = DeletionOptions::with_mode(mode);
    PolicyStep<double> step;
    auto state = s.start();
    EncoderOutput<double> output;
    const Matrix<double> y = step.forward(s.gate, s.x, {}, options, s.rng, state, output);
    Matrix<double> grad_y(y.rows(), features);
    Vector<double> grad_bias(state.key_bias.size(), 0.0);
    for (Index row = 0; row < y.rows(); ++row) {
      grad_y.row(row) = s.by_row.row(state.origin[row]);
      if (!grad_bias.empty()) grad_bias[row] = s.by_bias[state.origin[row]];
    }
    Vector<merge::ReportGradient<double>> grad_reports;
    if (mode != DeletionMode::none) grad_reports.push_back({s.by_value, {s.by_auxiliary}});
    merge::Policy<double> gradients = zeros_like(s.gate);
    Matrix<double> grad_x = step.backward(s.gate, grad_y, grad_bias, grad_reports, gradients);
    Vector<ParameterView<double>> values = parameter_views(s.gate, ""), grads = parameter_views(gradients, "");
    values.push_back(tensor_view("x", s.x));
    grads.push_back(tensor_view("x", grad_x));
    const GradientCheck check = check_gradients([&] { return s.loss(options); }, values, grads);
    INFO(check.name << " " << check.index << ": " << check.analytic << " against " << check.numeric);
    CHECK(check.worst_relative_error < gradient_tolerance);
  }
}

TEST_CASE("what goes on is what the gate and the deletion say", "[PolicyStep]") {
  Setup s;
  PolicyStep<double> step;
  auto state = s.start();
  EncoderOutput<double> output;
  const Matrix<double> y =
      step.forward(s.gate, s.x, {}, DeletionOptions::with_mode(DeletionMode::hard), s.rng, state, output);
  REQUIRE(output.reports.size() == 1);
  const Vector<Index>& kept = output.reports.front().kept;
  REQUIRE(kept.size() == y.rows());
  CHECK((0 < y.rows() && y.rows() < tokens));
  for (Index row = 0; row < y.rows(); ++row) {
    CHECK(y.row(row) == s.x.row(kept[row]));
    CHECK(state.origin[row] == kept[row]);
  }
  CHECK(output.deletion.deletion_rate() == Approx(1.0 - static_cast<double>(y.rows()) / tokens));

  auto untouched = s.start();
  EncoderOutput<double> nothing;
  CHECK(step.forward(s.gate, s.x, {}, DeletionOptions::with_mode(DeletionMode::none), s.rng, untouched, nothing) ==
        s.x);
  CHECK(untouched.key_bias.empty());
  CHECK(nothing.reports.empty());
}

TEST_CASE("a structural policy acts in every mode, behind another one", "[PolicyStep]") {
  Setup s;
  const merge::Policy<double> pooling = merge::StridedPooling<double>({features, 2});
  PolicyStep<double> first, second;
  auto state = s.start();
  EncoderOutput<double> output;
  const DeletionOptions soft = DeletionOptions::with_mode(DeletionMode::soft);
  Matrix<double> y = first.forward(s.gate, s.x, {}, soft, s.rng, state, output);
  y = second.forward(pooling, y, {}, soft, s.rng, state, output);
  CHECK(output.reports.size() == 2);
  CHECK(y.rows() == 4);
  CHECK(state.key_bias.size() == 4);
  auto fresh = s.start();
  EncoderOutput<double> pooled;
  CHECK(second.forward(pooling, s.x, {}, DeletionOptions::with_mode(DeletionMode::none), s.rng, fresh, pooled).rows() ==
        4);
  CHECK(pooled.reports.size() == 1);
}

}  // namespace policy_step_test
