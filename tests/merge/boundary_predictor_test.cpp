#include <merganser/merge/boundary_predictor.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace boundary_predictor_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

using Flags = Vector<std::uint8_t>;

template <Real Scalar>
struct Setup {
  SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{5, 0, 1, 7});
  Flags pads;
  Vector<double> noise;
  BoundaryPredictor<Scalar> predictor{{4, 6, 0.7}};
  Matrix<Scalar> x;

  explicit Setup(std::uint64_t seed = 1) {
    Rng rng(seed);
    randomise(predictor, rng);
    x = random_matrix<Scalar>(offsets.total(), 4, rng);
    noise = draw_boundary_noise(offsets.total(), rng);
  }

  Boundaries<Scalar> forward() const { return predictor.forward(x, offsets, pads, noise); }
};

double plain_gelu(double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }

TEST_CASE("logits and soft boundaries are what the formula says", "[BoundaryPredictor]") {
  const Setup<double> s;
  const Boundaries<double> with_noise = s.forward(), without = s.predictor.forward(s.x, s.offsets);
  REQUIRE(with_noise.logits == without.logits);
  for (Index t = 0; t < s.x.rows(); ++t) {
    double logit = s.predictor.outer_bias[0];
    for (Index f = 0; f < 6; ++f)
      logit += s.predictor.outer.weight.matrix()(0, f) *
               plain_gelu(s.x.row(t).dot(s.predictor.inner.weight.matrix().row(f)) + s.predictor.inner_bias[f]);
    REQUIRE_THAT(without.logits[t], WithinAbs(logit, 1e-12));
    const auto soft = [](double z) { return 1 / (1 + std::exp(-z / 0.7)); };
    REQUIRE_THAT(without.soft[t], WithinAbs(soft(logit), 1e-12));
    REQUIRE_THAT(with_noise.soft[t], WithinAbs(soft(logit + std::log(s.noise[t] / (1 - s.noise[t]))), 1e-12));
    if (without.settled[t] == 0) REQUIRE(without.hard[t] == (logit > 0 ? 1 : 0));
  }
}

TEST_CASE("the last token that is no pad ends a segment, and a pad never does", "[BoundaryPredictor]") {
  Setup<float> s;
  for (const float bias : {-1e4F, 1e4F}) {
    s.predictor.outer_bias[0] = bias;
    const std::uint8_t own = bias > 0 ? 1 : 0;
    s.pads.clear();
    REQUIRE(s.forward().hard == Flags{own, own, own, own, 1, /**/ 1, /**/ own, own, own, own, own, own, 1});
    REQUIRE(s.forward().settled == Flags{0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1});
    s.pads = {0, 255, 0, 1, 1, /**/ 1, /**/ 1, 1, 0, 0, 0, 0, 0};
    REQUIRE(s.forward().hard == Flags{own, 0, 1, 0, 0, 0, 0, 0, own, own, own, own, 1});
    REQUIRE(s.forward().settled == Flags{0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1});
  }
}

TEST_CASE("a last token that is free ends a segment where the predictor says so", "[BoundaryPredictor]") {
  Setup<float> s;
  s.predictor = BoundaryPredictor<float>({4, 6, 0.7, LastToken::free});
  s.pads = {0, 255, 0, 1, 1, /**/ 1, /**/ 1, 1, 0, 0, 0, 0, 0};
  for (const float bias : {-1e4F, 1e4F}) {
    s.predictor.outer_bias[0] = bias;
    const std::uint8_t own = bias > 0 ? 1 : 0;
    REQUIRE(s.forward().hard == Flags{own, 0, own, 0, 0, 0, 0, 0, own, own, own, own, own});
    REQUIRE(s.forward().settled == Flags{0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0});
  }
}

TEST_CASE("the gradient of the hard boundaries is that of the soft ones", "[BoundaryPredictor]") {
  Setup<double> s;
  s.pads = {0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0};
  Rng rng(3);
  const auto weights = random_values<double>(s.x.rows(), rng);
  BoundaryPredictor<double>::Cache cache;
  s.predictor.forward(s.x, s.offsets, s.pads, s.noise, cache);
  BoundaryPredictor<double> gradients = zeros_like(s.predictor);
  Matrix<double> grad_x = s.predictor.backward(weights, cache, gradients);
  auto parameters = parameter_views(s.predictor), analytic = parameter_views(gradients);
  REQUIRE(parameters[0].name == "boundary_predictor.0.weight");
  REQUIRE(parameters[3].name == "boundary_predictor.2.bias");
  parameters.push_back(tensor_view("x", s.x));
  analytic.push_back(tensor_view("x", grad_x));
  require_gradients(
      [&] {
        const Boundaries<double> moved = s.forward();
        double sum = 0;
        for (Index t = 0; t < weights.size(); ++t)
          if (moved.settled[t] == 0) sum += weights[t] * moved.soft[t];
        return sum;
      },
      parameters, analytic);
}

TEMPLATE_TEST_CASE("a boundary predictor keeps the laws of a layer", "[BoundaryPredictor]", float, double) {
  const Setup<TestType> s;
  typename BoundaryPredictor<TestType>::Cache cache;
  const auto trained = s.predictor.forward(s.x, s.offsets, s.pads, s.noise, cache);
  REQUIRE(trained.logits == s.forward().logits);
  REQUIRE(trained.hard == s.forward().hard);
  const Vector<TestType> grad(trained.hard.size(), TestType{1});
  require_backward_adds(s.predictor,
                        [&](BoundaryPredictor<TestType>& gradients) { s.predictor.backward(grad, cache, gradients); });
  const Matrix<TestType> alone = s.x.middleRows(6, 7);
  const auto own = s.predictor.forward(alone, SequenceOffsets::single(7));
  const auto together = s.predictor.forward(s.x, s.offsets);
  for (Index t = 0; t < 7; ++t) REQUIRE(own.logits[t] == together.logits[t + 6]);
}

TEST_CASE("without a word on noise a share of sigmoid(logit) of noisy boundaries is set", "[BoundaryPredictor]") {
  BoundaryPredictor<double> predictor({1, 1, 0.5});
  predictor.outer_bias[0] = -1;
  const Index tokens = 20001;
  Rng rng(5);
  const auto result = predictor.forward(Matrix<double>::Zero(tokens, 1), SequenceOffsets::single(tokens), {},
                                        draw_boundary_noise(tokens, rng));
  double set = 0;
  for (const std::uint8_t hard : result.hard) set += hard;
  REQUIRE_THAT(set / static_cast<double>(tokens), WithinAbs(1 / (1 + std::exp(1.0)), 0.01));
}

TEST_CASE("no tokens have no boundaries, and what does not fit is named", "[BoundaryPredictor]") {
  const Setup<float> s;
  REQUIRE(s.predictor.forward(Matrix<float>(0, 4), SequenceOffsets::from_lengths(Vector<Index>{0, 0})).hard.empty());
  REQUIRE_THAT(argument_error([&] { s.predictor.forward(s.x, SequenceOffsets::single(2)); }),
               ContainsSubstring("x.rows(): got 13, expected 2"));
  const Vector<double> short_noise(2, 0.5), low(13, 0.0), high(13, 1.0);
  REQUIRE_THAT(argument_error([&] { s.predictor.forward(s.x, s.offsets, {}, short_noise); }),
               ContainsSubstring("uniform.size(): got 2, expected 13"));
  for (const auto& noise : {low, high})
    REQUIRE_THAT(argument_error([&] { s.predictor.forward(s.x, s.offsets, {}, noise); }),
                 ContainsSubstring("expected draws in (0, 1)"));
  const Flags pads(3, 0);
  REQUIRE_THAT(argument_error([&] { s.predictor.forward(s.x, s.offsets, pads); }),
               ContainsSubstring("pads.size(): got 3, expected 13"));
  REQUIRE_THROWS_AS(BoundaryPredictor<float>({4, 6, 0.0}), std::invalid_argument);
  REQUIRE_THROWS_AS(BoundaryPredictor<float>({0, 6, 0.5}), std::invalid_argument);
}

}  // namespace boundary_predictor_test
