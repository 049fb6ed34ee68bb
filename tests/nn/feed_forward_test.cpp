#include <merganser/nn/feed_forward.hpp>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace feed_forward_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

constexpr Activation activations[] = {Activation::gated_gelu, Activation::relu};

template <Real Scalar>
struct Setup {
  FeedForward<Scalar> layer;
  Matrix<Scalar> x, probe;

  Setup(Index tokens, Activation activation, double dropout = 0.0, Index width = 5, Index hidden = 7,
        std::uint64_t seed = 1)
      : layer({width, hidden, activation, dropout}) {
    Rng rng(seed);
    randomise(layer, rng, 1 / std::sqrt(static_cast<double>(width)));
    x = random_matrix<Scalar>(tokens, width, rng);
    probe = random_matrix<Scalar>(tokens, width, rng);
  }

  Matrix<Scalar> trained() const {
    typename FeedForward<Scalar>::Cache cache;
    Rng rng(9);  // every run drops the same numbers
    return layer.forward(x, rng, cache);
  }

  Matrix<Scalar> backward(FeedForward<Scalar>& gradients) const {
    typename FeedForward<Scalar>::Cache cache;
    Rng rng(9);
    layer.forward(x, rng, cache);
    return layer.backward(probe, cache, gradients);
  }
};

// A seed for which no hidden number lies within 0.01 of the kink of ReLU: more than ten times what a step of the check
// moves it.
std::uint64_t seed_away_from_kinks(Index tokens) {
  for (std::uint64_t seed = 1; seed < 100; ++seed) {
    const Setup<double> s(tokens, Activation::relu, 0.0, 5, 7, seed);
    if (s.layer.wi.forward(s.x).array().abs().minCoeff() > 0.01) return seed;
  }
  FAIL("no seed away from all kinks");
  return 0;
}

TEMPLATE_TEST_CASE("the feed-forward layer is two linear maps around its activation", "[FeedForward]", float, double) {
  for (const Activation activation : activations) {
    const Setup<TestType> s(11, activation);
    const Matrix<TestType> inner = s.layer.wi.forward(s.x);
    Matrix<TestType> hidden(11, 7);
    for (Index i = 0; i < hidden.size(); ++i) {
      const auto a = static_cast<double>(inner.data()[i]);
      const double gelu = 0.5 * a * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (a + 0.044715 * a * a * a)));
      hidden.data()[i] = static_cast<TestType>(activation == Activation::relu ? std::max(a, 0.0) : gelu);
    }
    if (activation == Activation::gated_gelu) hidden.array() *= s.layer.wi_gate.forward(s.x).array();
    REQUIRE(relative_difference(s.layer.forward(s.x), s.layer.wo.forward(hidden)) <= agreement<TestType>);
  }
}

TEST_CASE("the gradients of the feed-forward layer agree with finite differences", "[FeedForward]") {
  for (const Activation activation : activations)
    for (const double dropout : {0.0, 0.3})
      for (const Index tokens : {1, 11}) {
        Setup<double> s(tokens, activation, dropout, 5, 7, seed_away_from_kinks(tokens));
        FeedForward<double> gradients = zeros_like(s.layer);
        Matrix<double> grad_x = s.backward(gradients);
        auto parameters = parameter_views(s.layer), analytic = parameter_views(gradients);
        parameters.push_back(tensor_view("x", s.x));
        analytic.push_back(tensor_view("x", grad_x));
        CAPTURE(static_cast<int>(activation), dropout, tokens);
        require_gradients([&] { return probe_sum(s.probe, s.trained()); }, parameters, analytic);
      }
}

TEMPLATE_TEST_CASE("the feed-forward layer keeps the laws", "[FeedForward]", float, double) {
  for (const Activation activation : activations) {
    const Setup<TestType> s(11, activation), dropping(11, activation, 0.3), same(11, activation);
    require_forward_agrees([&] { return s.layer.forward(s.x); }, [&] { return s.trained(); });
    require_backward_adds(s.layer, [&](FeedForward<TestType>& gradients) { s.backward(gradients); });
    require_backward_adds(s.layer, [&](FeedForward<TestType>& gradients) { dropping.backward(gradients); });
    REQUIRE(identical(s.x, same.x));
    FeedForward<TestType> mine = s.layer, its = same.layer;
    const auto views = parameter_views(mine), untouched = parameter_views(its);
    for (Index p = 0; p < views.size(); ++p) REQUIRE((views[p].array() == untouched[p].array()).all());
  }
}

TEST_CASE("the feed-forward layer in float follows the one in double", "[FeedForward]") {
  for (const Activation activation : activations) {
    const std::uint64_t seed = seed_away_from_kinks(11);
    const Setup<float> single(11, activation, 0.3, 5, 7, seed);
    const Setup<double> twice(11, activation, 0.3, 5, 7, seed);
    FeedForward<float> single_gradients = zeros_like(single.layer);
    FeedForward<double> double_gradients = zeros_like(twice.layer);
    require_float_follows_double([&] { return single.trained(); }, [&] { return twice.trained(); });
    require_float_follows_double([&] { return single.backward(single_gradients); },
                                 [&] { return twice.backward(double_gradients); });
    const auto mine = parameter_views(single_gradients);
    const auto its = parameter_views(double_gradients);
    for (Index p = 0; p < mine.size(); ++p)
      require_float_follows_double([&] { return mine[p].array(); }, [&] { return its[p].array(); });
  }
}

TEMPLATE_TEST_CASE("the feed-forward layer gives a row the same bits in any batch, with any number of threads",
                   "[FeedForward]", float, double) {
  for (const Activation activation : activations) {
    const Setup<TestType> s(150, activation, 0.0, 19, 37);
    FeedForward<TestType> gradients = zeros_like(s.layer);
    const Matrix<TestType> y = s.layer.forward(s.x), grad_x = s.backward(gradients);
    for (const Index row : {0, 63, 64, 149}) {
      Setup<TestType> alone = s;
      alone.x = s.x.row(row);
      alone.probe = s.probe.row(row);
      FeedForward<TestType> own = zeros_like(s.layer);
      REQUIRE(identical(alone.trained(), Matrix<TestType>(y.row(row))));
      REQUIRE(identical(alone.backward(own), Matrix<TestType>(grad_x.row(row))));
    }
    const Setup<TestType> dropping(150, activation, 0.3, 19, 37);
    require_same_bits_with_threads([&] { return dropping.trained(); });
    require_same_bits_with_threads([&] {
      FeedForward<TestType> own = zeros_like(s.layer);
      return dropping.backward(own);
    });
    require_same_bits_with_threads([&] {
      FeedForward<TestType> own = zeros_like(s.layer);
      dropping.backward(own);
      return own.wi.weight.matrix();
    });
  }
}

TEMPLATE_TEST_CASE("no tokens give no rows and no gradient", "[FeedForward]", float, double) {
  for (const Activation activation : activations) {
    const Setup<TestType> s(0, activation, 0.3);
    FeedForward<TestType> gradients = zeros_like(s.layer);
    REQUIRE(s.layer.forward(s.x).rows() == 0);
    REQUIRE(s.trained().cols() == 5);
    REQUIRE(s.backward(gradients).rows() == 0);
    for (const auto& view : parameter_views(gradients)) REQUIRE((view.array() == TestType{0}).all());
  }
}

TEST_CASE("inference drops nothing", "[FeedForward]") {
  const Setup<float> plain(11, Activation::gated_gelu), dropping(11, Activation::gated_gelu, 0.5);
  REQUIRE(identical(dropping.layer.forward(dropping.x), plain.layer.forward(plain.x)));
  REQUIRE_FALSE(identical(dropping.trained(), plain.trained()));
}

TEST_CASE("the feed-forward layer is initialised as in T5", "[FeedForward]") {
  for (const Activation activation : activations) {
    FeedForward<float> layer({64, 100, activation, 0.0});
    Rng rng(1);
    layer.initialize(0.5, rng);
    // 6400 numbers each: standard error 0.9 %
    REQUIRE_THAT(measured_deviation(layer.wi.weight.matrix()), WithinRel(0.5 / 8, 0.04));
    REQUIRE_THAT(measured_deviation(layer.wo.weight.matrix()), WithinRel(0.5 / 10, 0.04));
    if (activation != Activation::gated_gelu) continue;
    REQUIRE_THAT(measured_deviation(layer.wi_gate.weight.matrix()), WithinRel(0.5 / 8, 0.04));
    REQUIRE_FALSE(identical(layer.wi.weight.matrix(), layer.wi_gate.weight.matrix()));
  }
}

TEST_CASE("the feed-forward layer names its parameters as published checkpoints do", "[FeedForward]") {
  const auto names = [](Activation activation) {
    FeedForward<float> layer({5, 7, activation, 0.0});
    Vector<std::string> result;
    for (const auto& view : parameter_views(layer, "D.")) result.push_back(view.name);
    return result;
  };
  REQUIRE(names(Activation::gated_gelu) == Vector<std::string>{"D.wi_0.weight", "D.wi_1.weight", "D.wo.weight"});
  REQUIRE(names(Activation::relu) == Vector<std::string>{"D.wi.weight", "D.wo.weight"});
}

TEST_CASE("the feed-forward layer says what does not fit", "[FeedForward]") {
  REQUIRE(argument_error([] { FeedForward<float>({-1, 7}); }) == "FeedForward: width: got -1, expected at least 1");
  REQUIRE(argument_error([] { FeedForward<float>({5, 0}); }) == "FeedForward: hidden: got 0, expected at least 1");
  REQUIRE(argument_error([] {
            FeedForward<float>({5, 7, Activation::relu, 1.5});
          }) == "Dropout: rate: got 1.5, expected a rate in [0, 1)");
  const Setup<float> s(11, Activation::relu);
  FeedForward<float> gradients = zeros_like(s.layer);
  FeedForward<float>::Cache cache;
  Rng rng(1);
  s.layer.forward(s.x, rng, cache);
  REQUIRE(argument_error([&] { s.layer.forward(Matrix<float>::Zero(2, 4)); }) ==
          "Linear::forward: x.cols(): got 4, expected 5");
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(2, 5), cache, gradients); }) ==
          "Linear::backward: grad_y.rows(): got 2, expected 11");
}

TEMPLATE_TEST_CASE("a feed-forward layer prepared for inference gives the same bits", "[FeedForward]", float, double) {
  for (const Activation activation : activations)
    for (const Index tokens : {0, 1, 30}) {
      Setup<TestType> s(tokens, activation, 0.0, 19, 43);
      const Matrix<TestType> before = s.layer.forward(s.x);
      s.layer.prepare_for_inference(kernels::Precision::full);
      s.layer.prepare_for_inference(kernels::Precision::full);
      REQUIRE(identical(s.layer.forward(s.x), before));
      REQUIRE_THROWS_AS(s.layer.visit([](const std::string&, auto&) {}, ""), std::invalid_argument);
    }
}

TEST_CASE("a feed-forward layer made without its weights gets the inner maps together", "[FeedForward]") {
  struct Bringer {
    const FeedForward<float>& source;
    std::string names = {};
    void operator()(const std::string& name, Matrix<float>&) { names += name + " "; }
    void absent(Weight<float>& weight, const std::string& name) {
      weight.bring((name.ends_with("wo.weight") ? source.wo : source.wi).weight.matrix(), kernels::Precision::full);
      names += "absent " + name + " ";
    }
    void absent(FeedForward<float>& layer, const std::string& prefix) {
      layer.prepare_inner_with(source.wi.weight.matrix(), source.wi_gate.weight.matrix(), kernels::Precision::full);
      names += "absent " + prefix + " ";
    }
  };
  for (const Activation activation : activations) {
    const bool gated = activation == Activation::gated_gelu;
    const Setup<float> s(30, activation, 0.0, 19, 43);
    FeedForward<float> layer({19, 43, activation}, Weights::absent);
    REQUIRE(layer.weight_bytes() == 0);
    REQUIRE_THROWS_AS(layer.visit([](const std::string&, auto&) {}, "f."), std::invalid_argument);
    REQUIRE_THROWS_AS(layer.forward(s.x), std::invalid_argument);
    layer.prepare_for_inference(kernels::Precision::full);
    REQUIRE_THROWS_AS(layer.forward(s.x), std::invalid_argument);

    Bringer bringer{s.layer};
    layer.visit(bringer, "f.");
    REQUIRE(bringer.names == (gated ? "absent f. absent f.wo.weight " : "absent f.wi.weight absent f.wo.weight "));
    REQUIRE_THROWS_AS(layer.visit(bringer, "f."), std::invalid_argument);
    REQUIRE_THROWS_AS(
        layer.prepare_inner_with(s.layer.wi.weight.matrix(), s.layer.wi_gate.weight.matrix(), kernels::Precision::full),
        std::invalid_argument);
    FeedForward<float> prepared = s.layer;
    REQUIRE(prepared.weight_bytes() == (gated ? 3 : 2) * 19 * 43 * sizeof(float));
    prepared.prepare_for_inference(kernels::Precision::full);
    REQUIRE(layer.weight_bytes() == prepared.weight_bytes());
    REQUIRE(identical(layer.forward(s.x), s.layer.forward(s.x)));
  }
}

}  // namespace feed_forward_test
