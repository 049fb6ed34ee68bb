// H-Net's way back: running means by score, the straight-through confidence, the residual, and the laws.
#include <merganser/merge/recover/smoothing.hpp>

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/recovery_laws.hpp"

namespace smoothing_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Layer = Smoothing<double>;

template <Real Scalar>
Smoothing<Scalar> random_smoothing(const typename Smoothing<Scalar>::Config& config) {
  Smoothing<Scalar> layer(config);
  Rng rng(4);
  randomise(layer, rng);
  return layer;
}

/// A batch of one sequence of six tokens, of which 0, 2 and 5 stay.
ReducedBatch<double> three_of_six() {
  ReducedBatch<double> all(PolicyBatch<double>({6}, 1), Policy<double>(FirstOfThree{}), 1);
  all.reduction.report.kept = {0, 2, 5};
  all.reduction.report.scores = {1, 0.25, 0.75, 0, 0.5, 0.625};
  all.reduction.state.offsets = SequenceOffsets::single(3);
  all.y = Matrix<double>{{8}, {16}, {-8}};
  return all;
}

TEST_CASE("smoothing: tokens take the running mean of the rows in front of them", "[Smoothing]") {
  const ReducedBatch<double> all = three_of_six();
  const Matrix<double> back = Layer().forward(all.y, all.reduced());
  REQUIRE(identical(back, Matrix<double>{{8}, {8}, {14}, {14}, {14}, {0.25}}));
}

TEST_CASE("smoothing: the published form begins at 0, and P keeps off 0 and 1", "[Smoothing]") {
  const ReducedBatch<double> all = three_of_six();
  const Matrix<double> published = Layer({.start = Layer::Start::zero}).forward(all.y, all.reduced());
  REQUIRE_THAT(published(0, 0), WithinAbs(8 * 0.9999, 1e-15));
  REQUIRE_THAT(published(2, 0), WithinAbs(12 + 2 * 0.9999, 1e-14));
  const Matrix<double> wide = Layer({.least = 0.375}).forward(all.y, all.reduced());
  REQUIRE(identical(wide, Matrix<double>{{8}, {8}, {13}, {13}, {13}, {-8 * 0.625 + 13 * 0.375}}));
}

TEST_CASE("smoothing: the gradient of scores of the running mean stops where P is kept off", "[Smoothing]") {
  const ReducedBatch<double> all = three_of_six();
  const Matrix<double> ones = Matrix<double>::Constant(6, 1, 1.0);
  const auto gradient = [&](const Layer::Config& config) {
    const Layer layer(config);
    Layer::Cache cache;
    layer.forward(all.y, all.reduced(), cache);
    Layer sums(config);
    return layer.backward(ones, cache, sums).scores;
  };
  REQUIRE(gradient({.confidence = false}) == Vector<double>{0, 0, 3 * 8 + 0.375 * 8, 0, 0, -22});
  REQUIRE(gradient({.least = 0.375, .confidence = false}) == Vector<double>{0, 0, 0, 0, 0, -21});
  // With confidence each token adds its row: with a row of its own as it is, else with the other sign.
  REQUIRE(gradient({}) == Vector<double>{8, -8, 27 + 14, -14, -14, -22 + 0.25});
}

TEST_CASE("smoothing keeps the laws of ways back", "[Smoothing]") {
  RecoveryLaws laws;
  for (const auto start : {0, 1})
    for (const Index residual : {0, 6}) {
      CAPTURE(start, residual);
      require_recovery_laws(
          [&]<Real Scalar>() {
            using Smooth = Smoothing<Scalar>;
            return Recovery<Scalar>(
                random_smoothing<Scalar>({.start = start == 0 ? Smooth::Start::first_row : Smooth::Start::zero,
                                          .confidence = false,
                                          .residual = residual}));
          },
          laws);
    }
  laws.back_width = 9;  // without a residual any width comes back
  laws.check_gradients = false;
  require_recovery_laws([]<Real Scalar>() { return Recovery<Scalar>(Smoothing<Scalar>()); }, laws);
  REQUIRE(Layer::is_causal);
}

TEST_CASE("smoothing: the gradient of the confidence is that of its surrogate", "[Smoothing]") {
  const Layer::Config config{.residual = 6};
  Layer layer = random_smoothing<double>(config);
  Layer plain = random_smoothing<double>({.confidence = false});
  ReducedBatch<double> all(PolicyBatch<double>({7, 0, 5}, 6), Policy<double>(FirstOfThree{}), 6);
  Layer::Cache cache;
  const Matrix<double> back = layer.forward(all.y, all.reduced(), cache);
  Rng rng(3);
  const auto probe = random_matrix<double>(12, 6, rng);
  Layer gradients = zeros_like(layer);
  auto grad = layer.backward(probe, cache, gradients);
  REQUIRE(grad.reduced.size() == 0);
  Vector<double>& scores = all.reduction.report.scores;
  const Vector<Index>& kept = all.reduction.report.kept;
  const auto confidence = [&](Index t) {
    return std::find(kept.begin(), kept.end(), t) != kept.end() ? scores[t] : 1 - scores[t];
  };
  Vector<double> fixed;
  for (Index t = 0; t < 12; ++t) fixed.push_back(confidence(t));
  auto parameters = parameter_views(layer), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("y", all.y));
  analytic.push_back(tensor_view("y", grad.y));
  parameters.push_back(tensor_view("x", all.batch.x));
  analytic.push_back(tensor_view("x", grad.x));
  parameters.push_back({"scores", scores.data(), 1, 12, true});
  analytic.push_back({"scores", grad.scores.data(), 1, 12, true});
  require_gradients(
      [&] {
        Matrix<double> sum = plain.forward(all.y, all.reduced());
        for (Index t = 0; t < 12; ++t) sum.row(t) *= 1 + confidence(t) - fixed[t];
        return probe_sum(probe, sum) + probe_sum(probe, layer.residual.forward(all.batch.x));
      },
      parameters, analytic);
  REQUIRE(identical(back, Matrix<double>(plain.forward(all.y, all.reduced()) + layer.residual.forward(all.batch.x))));
}

TEST_CASE("smoothing: the residual begins as 0", "[Smoothing]") {
  Layer layer = random_smoothing<double>({.residual = 6}), bare;
  Rng rng(1);
  layer.initialize(1.0, rng);
  bare.initialize(1.0, rng);
  REQUIRE(layer.residual.weight.matrix().isZero());
  REQUIRE(parameter_views(layer, "level.")[0].name == "level.residual_proj.weight");
  REQUIRE(parameter_views(bare).empty());
}

TEST_CASE("settings and shapes of smoothing that do not fit are named", "[Smoothing]") {
  REQUIRE(argument_error([] { Layer({.least = 0.75}); }) == "Smoothing: least: got 0.75, expected in [0, 1/2]");
  REQUIRE_THROWS_AS(Layer({.least = -0.1}), std::invalid_argument);
  REQUIRE_THROWS_AS(Layer({.residual = -1}), std::invalid_argument);
  ReducedBatch<double> all = three_of_six();
  REQUIRE(argument_error([&] { Layer({.residual = 6}).forward(all.y, all.reduced()); }) ==
          "Smoothing::forward: y.cols(): got 1, expected 6");
  REQUIRE(argument_error([&] { Layer().forward(all.y.topRows(2), all.reduced()); }) ==
          "Smoothing::forward: y.rows(): got 2, expected 3");
  Layer::Cache cache;
  Layer().forward(all.y, all.reduced(), cache);
  Layer sums;
  REQUIRE_THROWS_AS(Layer().backward(Matrix<double>::Zero(5, 1), cache, sums), std::invalid_argument);
  all.reduction.report.scores.clear();
  REQUIRE(argument_error([&] { Layer().forward(all.y, all.reduced()); }) ==
          "Smoothing::forward: scores of the policy: got 0, expected 6");
}

}  // namespace smoothing_test
