// H-Net's routing: probabilities, who stays, the ratio loss, gradients by way of scores, looking ahead, and the laws.
#include <merganser/merge/policies/hnet_routing.hpp>

#include <cmath>
#include <limits>

#include <merganser/merge/recover/smoothing.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace hnet_routing_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Router = HNetRouting<double>;

const DeletionOptions hard;

template <Real Scalar>
HNetRouting<Scalar> random_router(bool lookahead = false, std::uint64_t seed = 2) {
  HNetRouting<Scalar> router({.width = 6, .ratio = 3, .lookahead = lookahead});
  Rng rng(seed);
  randomise(router, rng);
  return router;
}

/// With W_q = W_k = 1.
Router plain_router(Index width, bool lookahead = false) {
  Router router({.width = width, .lookahead = lookahead});
  Rng rng(1);
  router.initialize(1.0, rng);
  return router;
}

/// The formula, of one sequence without pads.
Vector<double> slow_scores(const Router& router, const Matrix<double>& x) {
  const bool ahead = router.config().lookahead;
  const Matrix<double> q = x * router.q.weight.matrix().transpose(), k = x * router.k.weight.matrix().transpose();
  Vector<double> p(x.rows(), 1.0);
  for (Index t = 1; t < x.rows() - (ahead ? 1 : 0); ++t) {
    const auto query = q.row(ahead ? t : t - 1), key = k.row(ahead ? t + 1 : t);
    p[t] = (1 - query.dot(key) / query.norm() / key.norm()) / 2;
  }
  return p;
}

TEST_CASE("H-Net routing: a token that turns away from the one before begins a chunk", "[HNetRouting]") {
  const Router router = plain_router(2);
  PolicyBatch<double> batch({6}, 2);
  batch.x << 1, 0, 2, 0, 0, 3, -1, 3, -2, -1, 0, 0;
  const auto after = router.forward(batch.x, batch.context(hard));
  const Vector<double>& p = after.report.scores;
  REQUIRE(p[0] == 1);
  REQUIRE(p[1] == 0);
  REQUIRE(p[2] == 0.5);  // no more: it does not stay
  REQUIRE_THAT(p[3], WithinAbs((1 - 3 / std::sqrt(10.0)) / 2, 1e-15));
  REQUIRE_THAT(p[4], WithinAbs((1 + 1 / std::sqrt(50.0)) / 2, 1e-15));
  REQUIRE(p[5] == 0.5);  // of zeros the cosine is 0
  REQUIRE(after.report.kept == Vector<Index>{0, 4});
  REQUIRE(identical(after.x, Matrix<double>{{1, 0}, {-2, -1}}));
  REQUIRE(after.report.group == Vector<Index>{0, -1, -1, -1, 1, -1});
}

TEST_CASE("H-Net routing: with lookahead a token stays that turns away from the one behind", "[HNetRouting]") {
  const Router router = plain_router(2, true);
  PolicyBatch<double> batch({5}, 2);
  batch.x << 1, 0, 2, 0, -1, 0, -1, -1, -2, -2;
  const auto after = router.forward(batch.x, batch.context(hard));
  REQUIRE(after.report.scores[0] == 1);
  REQUIRE(after.report.scores[1] == 1);
  REQUIRE(after.report.scores[4] == 1);  // it ends the last chunk
  REQUIRE(after.report.kept == Vector<Index>{0, 1, 4});
}

TEST_CASE("H-Net routing follows its formula", "[HNetRouting]") {
  for (const bool lookahead : {false, true})
    for (const Index n : {1, 2, 3, 7, 40}) {
      CAPTURE(lookahead, n);
      const Router router = random_router<double>(lookahead);
      const PolicyBatch<double> batch({n}, 6);
      const auto after = router.forward(batch.x, batch.context(hard));
      const Vector<double> expected = slow_scores(router, batch.x);
      Vector<Index> kept;
      double mean = 0;
      for (Index t = 0; t < n; ++t) {
        REQUIRE_THAT(after.report.scores[t], WithinAbs(expected[t], 1e-13));
        if (expected[t] > 0.5) kept.push_back(t);
        mean += expected[t] / static_cast<double>(n);
      }
      REQUIRE(after.report.kept == kept);
      const double share = static_cast<double>(kept.size()) / static_cast<double>(n);
      const Auxiliary& ratio = after.report.auxiliaries.at(0);
      REQUIRE(ratio.name == "ratio");
      REQUIRE_FALSE(ratio.steered);
      REQUIRE(ratio.over == MeanOver::sequences);
      REQUIRE_THAT(ratio.value, WithinAbs(1.5 * (2 * share * mean + (1 - share) * (1 - mean)), 1e-13));
    }
}

TEST_CASE("H-Net routing: gradients of x, weights, scores and the ratio", "[HNetRouting]") {
  for (const bool lookahead : {false, true})
    for (const bool padded : {false, true}) {
      CAPTURE(lookahead, padded);
      Router router = random_router<double>(lookahead);
      PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, 6).age();
      Vector<Index> rows;
      if (padded) batch = batch.padded(rows);
      Router::Cache cache;
      Rng rng(5);
      const auto output = router.forward(batch.x, batch.context(hard), rng, cache);
      const auto probe = random_matrix<double>(output.x.rows(), 6, rng);
      const auto bias_probe = random_values<double>(output.x.rows(), rng);
      const auto score_probe = random_values<double>(batch.x.rows(), rng);
      Router gradients = zeros_like(router);
      auto grad = router.backward({probe, bias_probe, {score_probe, {2.5}}}, cache, gradients);
      auto parameters = parameter_views(router), analytic = parameter_views(gradients);
      parameters.push_back(tensor_view("x", batch.x));
      analytic.push_back(tensor_view("x", grad.x));
      parameters.push_back({"key_bias", batch.state.key_bias.data(), 1, batch.state.key_bias.size(), true});
      analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
      require_gradients(
          [&] {
            const auto moved = router.forward(batch.x, batch.context(hard));
            double sum = probe_sum(probe, moved.x) + 2.5 * moved.report.auxiliaries[0].value;
            for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
            for (Index t = 0; t < score_probe.size(); ++t) sum += score_probe[t] * moved.report.scores[t];
            return sum;
          },
          parameters, analytic);
    }
}

TEST_CASE("H-Net routing learns through the way back", "[HNetRouting]") {
  Router router = random_router<double>();
  PolicyBatch<double> batch({9, 5}, 6);
  const Smoothing<double> smoothing({.confidence = false});
  Router::Cache cache;
  Smoothing<double>::Cache back_cache;
  Rng rng(5);
  const auto output = router.forward(batch.x, batch.context(hard), rng, cache);
  const Matrix<double> back =
      smoothing.forward(output.x * 2, Reduced<double>{batch.x, batch.state, output}, back_cache);
  const auto probe = random_matrix<double>(14, 6, rng);
  REQUIRE(back.rows() == 14);
  Smoothing<double> nothing;
  const auto back_grad = smoothing.backward(probe, back_cache, nothing);
  Router gradients = zeros_like(router);
  auto grad = router.backward({back_grad.y * 2, {}, {back_grad.scores, {}}}, cache, gradients);
  auto parameters = parameter_views(router), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("x", batch.x));
  analytic.push_back(tensor_view("x", grad.x));
  require_gradients(
      [&] {
        const auto moved = router.forward(batch.x, batch.context(hard));
        return probe_sum(probe, smoothing.forward(moved.x * 2, Reduced<double>{batch.x, batch.state, moved}));
      },
      parameters, analytic);
}

TEST_CASE("H-Net routing keeps the laws of policies", "[HNetRouting]") {
  PolicyLaws laws;
  laws.copies = true;
  for (const bool lookahead : {false, true}) {
    require_policy_laws([&]<Real Scalar>() { return Policy<Scalar>(random_router<Scalar>(lookahead)); }, laws);
    laws.options.mode = DeletionMode::none;
  }
}

TEST_CASE("H-Net routing is causal without lookahead", "[HNetRouting]") {
  REQUIRE(random_router<double>().traits().is_causal);
  REQUIRE_FALSE(random_router<double>(true).traits().is_causal);
  REQUIRE(random_router<double>().traits().is_structural);
  REQUIRE_FALSE(random_router<double>().traits().is_training_free);
  const Router router = random_router<double>();
  const PolicyBatch<double> batch({20}, 6);
  const auto whole = router.forward(batch.x, batch.context(hard));
  PolicyBatch<double> other = batch;
  other.x.bottomRows(10) *= -2;
  const auto changed = router.forward(other.x, other.context(hard));
  for (Index t = 0; t < 10; ++t) {
    REQUIRE(changed.report.scores[t] == whole.report.scores[t]);
    REQUIRE(changed.report.group[t] == whole.report.group[t]);
  }
}

TEST_CASE("H-Net routing adds to its gradients, begins with ones and has published names", "[HNetRouting]") {
  Router router = random_router<double>();
  const PolicyBatch<double> batch({9}, 6);
  Router::Cache cache;
  Rng rng(1);
  const Matrix<double> probe = router.forward(batch.x, batch.context(hard), rng, cache).x;
  require_backward_adds(router, [&](Router& sums) { router.backward({probe, {}, {{}, {1.0}}}, cache, sums); });
  router.initialize(0.5, rng);
  for (const nn::Linear<double>* linear : {&router.q, &router.k})
    REQUIRE(identical(linear->weight.matrix(), Matrix<double>(Matrix<double>::Plain::Identity(6, 6))));
  REQUIRE(parameter_views(router, "p.")[0].name == "p.q_proj_layer.weight");
  REQUIRE(parameter_views(router, "p.")[1].name == "p.k_proj_layer.weight");
}

TEST_CASE("settings and shapes of H-Net routing that do not fit are named", "[HNetRouting]") {
  REQUIRE_THROWS_AS(Router(Router::Config{}), std::invalid_argument);
  for (const double ratio : {1.0, std::numeric_limits<double>::infinity()})
    REQUIRE_THROWS_AS(Router({.width = 6, .ratio = ratio}), std::invalid_argument);
  REQUIRE(argument_error([] { Router({.width = 6, .ratio = 0.5}); }) ==
          "HNetRouting: ratio: got 0.5, expected above 1");
  const Router router = random_router<double>();
  const PolicyBatch<double> batch({3}, 6);
  REQUIRE(argument_error([&] { router.forward(Matrix<double>::Zero(2, 6), batch.context(hard)); }) ==
          "HNetRouting::forward: x.rows(): got 2, expected 3");
  Matrix<double> nan = batch.x;
  nan(1, 2) = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(router.forward(nan, batch.context(hard)).report.kept.front() == 0);
}

}  // namespace hnet_routing_test
