// The delete gate: its formula, its gradients, its noise, its start, and what it refuses.
#include <merganser/merge/policies/delete_gate.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace delete_gate_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

using Flags = Vector<std::uint8_t>;

template <Real Scalar>
struct Setup {
  using Gate = DeleteGate<Scalar>;

  Gate gate;
  Matrix<Scalar> x;
  Vector<Scalar> value_probe, logit_probe;
  Flags forced;

  explicit Setup(Index tokens, typename Gate::Config config = {}) {
    if (config.width == 0) config.width = 5;
    gate = Gate(config);
    Rng rng(1);
    randomise(gate, rng);
    x = random_matrix<Scalar>(tokens, config.width, rng);
    value_probe = random_values<Scalar>(tokens, rng);
    logit_probe = random_values<Scalar>(tokens, rng);
  }

  /// Training, always with the same noise.
  GateValues<Scalar> trained(typename Gate::Cache& cache) const {
    Rng rng(99);
    return gate.forward({x, forced}, rng, cache);
  }

  GateValues<Scalar> trained() const {
    typename Gate::Cache cache;
    return trained(cache);
  }

  Matrix<Scalar> backward(Gate& gradients) const {
    typename Gate::Cache cache;
    trained(cache);
    return gate.backward(value_probe, logit_probe, cache, gradients);
  }

  double loss() const {
    const auto result = trained();
    double sum = 0;
    for (Index t = 0; t < value_probe.size(); ++t) sum += value_probe[t] * result.values[t];
    for (Index t = 0; t < logit_probe.size(); ++t) sum += logit_probe[t] * result.logits[t];
    return sum;
  }
};

/// One row, to compare lists with the tools for matrices.
template <Real Scalar>
Matrix<Scalar> row_of(const Vector<Scalar>& values) {
  return Eigen::Map<const PlainMatrix<Scalar>>(values.data(), 1, values.size());
}

template <Real Scalar>
typename DeleteGate<Scalar>::Config config_of(GateActivation activation, GateNorm norm = GateNorm::rms,
                                              GateNoise noise = GateNoise::none) {
  typename DeleteGate<Scalar>::Config config;
  config.width = 5;
  config.activation = activation;
  config.norm = norm;
  config.noise = noise;
  return config;
}

/// A gate whose logit is the one input.
template <Real Scalar>
DeleteGate<Scalar> identity_gate(GateActivation activation = GateActivation::scaled_sigmoid) {
  auto config = config_of<Scalar>(activation, GateNorm::none);
  config.width = 1;
  config.initial_bias = 0;
  DeleteGate<Scalar> gate(config);
  gate.weight.setOnes();
  return gate;
}

TEMPLATE_TEST_CASE("a gate value is scale * sigmoid(-logit) of the normalised token", "[DeleteGate]", float, double) {
  for (const GateActivation activation : {GateActivation::scaled_sigmoid, GateActivation::log_sigmoid})
    for (const GateNorm norm : {GateNorm::rms, GateNorm::none})
      for (const Index width : {1, 5, 37}) {
        auto config = config_of<TestType>(activation, norm);
        config.width = width;
        config.scale = -12.5;
        const Setup<TestType> s(11, config);
        const auto result = s.gate.forward({s.x});
        REQUIRE(result.logits.size() == 11);
        REQUIRE(result.values.size() == 11);
        Matrix<double> logits(1, 11), values(1, 11);
        for (Index t = 0; t < 11; ++t) {
          double square = 0, logit = static_cast<double>(s.gate.bias[0]);
          for (Index d = 0; d < width; ++d) square += std::pow(static_cast<double>(s.x(t, d)), 2);
          const double rms = std::sqrt(square / static_cast<double>(width) + 1e-6);
          for (Index d = 0; d < width; ++d) {
            const double scale = norm == GateNorm::rms ? static_cast<double>(s.gate.norm.scale[d]) / rms : 1.0;
            logit += static_cast<double>(s.gate.weight(0, d)) * scale * static_cast<double>(s.x(t, d));
          }
          logits(0, t) = logit;
          const double keeps = 1.0 / (1.0 + std::exp(-logit));
          values(0, t) = activation == GateActivation::scaled_sigmoid ? -12.5 * (1.0 - keeps) : std::log(keeps);
        }
        CAPTURE(width, static_cast<int>(activation), static_cast<int>(norm));
        REQUIRE(relative_difference(row_of(result.logits), logits) <= agreement<TestType>);
        REQUIRE(relative_difference(row_of(result.values), values) <= agreement<TestType>);
      }
}

TEMPLATE_TEST_CASE("a high logit keeps, a low one deletes, and no logit is too large", "[DeleteGate]", float, double) {
  const TestType infinity = std::numeric_limits<TestType>::infinity();
  Matrix<TestType> logits(7, 1);
  logits << -infinity, -1000, -40, 0, 40, 1000, infinity;
  const auto scaled = identity_gate<TestType>().forward({logits}).values;
  REQUIRE(scaled[0] == TestType{-30});
  REQUIRE(scaled[1] == TestType{-30});
  REQUIRE_THAT(scaled[2], WithinAbs(-30.0, 1e-5));
  REQUIRE_THAT(scaled[3], WithinAbs(-15.0, 1e-5));
  REQUIRE_THAT(scaled[4], WithinAbs(0.0, 1e-12));
  REQUIRE(scaled[5] == TestType{0});
  REQUIRE(scaled[6] == TestType{0});
  REQUIRE(std::is_sorted(scaled.begin(), scaled.end()));

  const auto logged = identity_gate<TestType>(GateActivation::log_sigmoid).forward({logits}).values;
  REQUIRE(logged[0] == -infinity);
  REQUIRE(logged[1] == TestType{-1000});
  REQUIRE_THAT(logged[3], WithinAbs(-std::log(2.0), 1e-6));
  REQUIRE_THAT(logged[4], WithinAbs(0.0, 1e-12));
  REQUIRE(std::is_sorted(logged.begin(), logged.end()));
}

TEMPLATE_TEST_CASE("a forced token has exactly the value scale, and its own logit", "[DeleteGate]", float, double) {
  for (const GateActivation activation : {GateActivation::scaled_sigmoid, GateActivation::log_sigmoid}) {
    const Setup<TestType> s(4, config_of<TestType>(activation));
    const auto free = s.gate.forward({s.x}), forced = s.gate.forward({s.x, Flags{0, 1, 255, 0}});
    REQUIRE(forced.logits == free.logits);
    REQUIRE(forced.values == Vector<TestType>{free.values[0], -30, -30, free.values[3]});
    REQUIRE(free.values[1] != TestType{-30});
    REQUIRE(s.gate.forward({s.x, Flags(4, 0)}).values == free.values);
  }
}

TEMPLATE_TEST_CASE("a new gate keeps everything", "[DeleteGate]", float, double) {
  auto config = config_of<TestType>(GateActivation::scaled_sigmoid);
  config.width = 64;
  DeleteGate<TestType> gate(config);
  Rng rng(3);
  const auto x = random_matrix<TestType>(200, 64, rng, 5.0);
  const double value = -30.0 / (1.0 + std::exp(3.0));
  for (const TestType got : gate.forward({x}).values) REQUIRE_THAT(got, WithinAbs(value, 1e-5));

  gate.initialize(0.05, rng);  // as T5 starts its linear maps
  REQUIRE_THAT(measured_deviation(gate.weight), WithinRel(0.05 / 8.0, 0.3));
  REQUIRE((gate.norm.scale.array() == TestType{1}).all());
  REQUIRE(gate.bias[0] == TestType{3});
  for (const TestType got : gate.forward({x}).values) REQUIRE(static_cast<double>(got) > gate.default_threshold());
}

TEST_CASE("the threshold is halfway", "[DeleteGate]") {
  for (const GateActivation activation : {GateActivation::scaled_sigmoid, GateActivation::log_sigmoid}) {
    const auto gate = identity_gate<double>(activation);
    const double halfway = gate.forward({Matrix<double>::Zero(1, 1)}).values[0];
    REQUIRE_THAT(gate.default_threshold(), WithinAbs(halfway, 1e-14));
  }
  auto config = config_of<double>(GateActivation::scaled_sigmoid);
  config.scale = -8;
  REQUIRE(DeleteGate<double>(config).default_threshold() == -4.0);
}

TEST_CASE("the gradients of a gate agree with finite differences", "[DeleteGate]") {
  enum class Through { values, logits, both };
  for (const GateActivation activation : {GateActivation::scaled_sigmoid, GateActivation::log_sigmoid})
    for (const GateNorm norm : {GateNorm::rms, GateNorm::none})
      for (const GateNoise noise : {GateNoise::none, GateNoise::gumbel})
        for (const bool with_forced : {false, true})
          for (const Through through : {Through::values, Through::logits, Through::both}) {
            Setup<double> s(7, config_of<double>(activation, norm, noise));
            if (with_forced) s.forced = {0, 1, 0, 0, 1, 0, 0};
            if (through == Through::values) s.logit_probe.clear();
            if (through == Through::logits) s.value_probe.clear();
            auto gradients = zeros_like(s.gate);
            Matrix<double> grad_x = s.backward(gradients);
            auto parameters = parameter_views(s.gate), analytic = parameter_views(gradients);
            parameters.push_back(tensor_view("x", s.x));
            analytic.push_back(tensor_view("x", grad_x));
            CAPTURE(static_cast<int>(activation), static_cast<int>(norm), static_cast<int>(noise), with_forced,
                    static_cast<int>(through));
            require_gradients([&] { return s.loss(); }, parameters, analytic);
          }
}

TEST_CASE("a forced token's value carries no gradient, its logit does", "[DeleteGate]") {
  Setup<double> s(3);
  s.forced = {0, 1, 0};
  s.logit_probe.clear();
  auto gradients = zeros_like(s.gate);
  REQUIRE((s.backward(gradients).row(1).array() == 0).all());
  REQUIRE((s.backward(gradients).row(0).array() != 0).any());
  s.logit_probe = {1, 1, 1};
  REQUIRE((s.backward(gradients).row(1).array() != 0).any());
}

TEST_CASE("without gradients of values and logits there is none", "[DeleteGate]") {
  Setup<double> s(3);
  s.value_probe.clear();
  s.logit_probe.clear();
  auto gradients = zeros_like(s.gate);
  REQUIRE(identical(s.backward(gradients), Matrix<double>(Matrix<double>::Zero(3, 5))));
  for (const auto& view : parameter_views(gradients)) REQUIRE((view.array() == 0).all());
}

TEMPLATE_TEST_CASE("a gate keeps the laws", "[DeleteGate]", float, double) {
  const Setup<TestType> s(11), same(11);
  require_forward_agrees([&] { return row_of(s.gate.forward({s.x}).values); },
                         [&] { return row_of(s.trained().values); });
  require_forward_agrees([&] { return row_of(s.gate.forward({s.x}).logits); },
                         [&] { return row_of(s.trained().logits); });
  require_backward_adds(s.gate, [&](DeleteGate<TestType>& gradients) { s.backward(gradients); });
  REQUIRE(identical(s.x, same.x));
  REQUIRE(identical(s.gate.weight, same.gate.weight));
  require_same_bits_with_threads([&] { return row_of(s.gate.forward({s.x}).values); });
}

TEST_CASE("a gate in float follows the one in double", "[DeleteGate]") {
  for (const GateNoise noise : {GateNoise::none, GateNoise::gumbel}) {
    const Setup<float> single(11, config_of<float>(GateActivation::scaled_sigmoid, GateNorm::rms, noise));
    const Setup<double> twice(11, config_of<double>(GateActivation::scaled_sigmoid, GateNorm::rms, noise));
    require_float_follows_double([&] { return row_of(single.trained().values); },
                                 [&] { return row_of(twice.trained().values); });
    auto single_gradients = zeros_like(single.gate);
    auto double_gradients = zeros_like(twice.gate);
    require_float_follows_double([&] { return single.backward(single_gradients); },
                                 [&] { return twice.backward(double_gradients); });
    require_float_follows_double([&] { return single_gradients.weight; }, [&] { return double_gradients.weight; });
  }
}

TEST_CASE("noise shifts every logit by a number of its own, in training only", "[DeleteGate]") {
  const Setup<double> quiet(2000, config_of<double>(GateActivation::scaled_sigmoid));
  Setup<double> noisy(2000, config_of<double>(GateActivation::scaled_sigmoid, GateNorm::rms, GateNoise::gumbel));
  const auto without = quiet.gate.forward({quiet.x}).logits;
  REQUIRE(noisy.gate.forward({noisy.x}).logits == without);
  const auto with = noisy.trained();
  Rng rng(99);
  double sum = 0;
  for (Index t = 0; t < without.size(); ++t) {
    REQUIRE_THAT(with.logits[t] - without[t], WithinAbs(rng.gumbel(), 1e-12));
    REQUIRE_THAT(with.values[t], WithinAbs(-30.0 / (1.0 + std::exp(with.logits[t])), 1e-12));
    sum += with.logits[t] - without[t];
  }
  REQUIRE_THAT(sum / 2000, WithinAbs(0.5772, 0.15));  // the mean of a Gumbel number

  Rng untouched(5);
  DeleteGate<double>::Cache cache;
  quiet.gate.forward({quiet.x}, untouched, cache);
  REQUIRE(untouched.state() == Rng(5).state());
}

TEMPLATE_TEST_CASE("a gate takes no tokens, and gives a token the same bits in any batch", "[DeleteGate]", float,
                   double) {
  const Setup<TestType> s(100);
  REQUIRE(s.gate.forward({Matrix<TestType>(0, 5)}).values.empty());
  Setup<TestType> none(0);
  auto gradients = zeros_like(none.gate);
  REQUIRE(none.backward(gradients).rows() == 0);
  const auto all = s.gate.forward({s.x});
  for (const Index row : {0, 50, 99}) REQUIRE(s.gate.forward({s.x.row(row)}).values[0] == all.values[row]);
}

TEST_CASE("a gate names its parameters", "[DeleteGate]") {
  const auto names_of = [](GateNorm norm) {
    DeleteGate<float> gate(config_of<float>(GateActivation::scaled_sigmoid, norm));
    Vector<std::string> names;
    for (const auto& view : parameter_views(gate, "encoder.block.2.delete_gate.")) names.push_back(view.name);
    return names;
  };
  const std::string prefix = "encoder.block.2.delete_gate.";
  REQUIRE(names_of(GateNorm::rms) == Vector<std::string>{prefix + "layer_norm.weight", prefix + "feed_forward.weight",
                                                         prefix + "feed_forward.bias"});
  REQUIRE(names_of(GateNorm::none) ==
          Vector<std::string>{prefix + "feed_forward.weight", prefix + "feed_forward.bias"});
  DeleteGate<float> gate(config_of<float>(GateActivation::scaled_sigmoid));
  const auto views = parameter_views(gate);
  REQUIRE(views[1].rows == 1);
  REQUIRE(views[1].cols == 5);
  REQUIRE_FALSE(views[1].is_vector);
  REQUIRE(views[2].is_vector);
}

TEST_CASE("a gate says what does not fit", "[DeleteGate]") {
  const auto error_of = [](auto&& change) {
    auto config = config_of<float>(GateActivation::scaled_sigmoid);
    change(config);
    return argument_error([&] { DeleteGate<float> gate(config); });
  };
  REQUIRE(error_of([](auto& c) { c.scale = 0; }) == "DeleteGate: scale: got 0, expected a negative number");
  REQUIRE(error_of([](auto& c) { c.scale = std::nan(""); }) ==
          "DeleteGate: scale: got nan, expected a negative number");
  REQUIRE(error_of([](auto& c) { c.scale = -std::numeric_limits<double>::infinity(); }) ==
          "DeleteGate: scale: got -inf, expected a negative number");
  REQUIRE(error_of([](auto& c) { c.initial_bias = std::nan(""); }) ==
          "DeleteGate: initial_bias: got nan, expected a finite number");
  REQUIRE(error_of([](auto& c) { c.width = 0; }) == "RmsNorm: width: got 0, expected at least 1");

  const Matrix<float> narrow = Matrix<float>::Zero(3, 4), fits = Matrix<float>::Zero(3, 5);
  for (const GateNorm norm : {GateNorm::rms, GateNorm::none}) {
    const DeleteGate<float> gate(config_of<float>(GateActivation::scaled_sigmoid, norm));
    const std::string text = norm == GateNorm::rms ? "RmsNorm" : "DeleteGate";
    REQUIRE(argument_error([&] { gate.forward({narrow}); }) == text + "::forward: x.cols(): got 4, expected 5");
    REQUIRE(argument_error([&] {
              gate.forward({fits, Flags{1}});
            }) == "DeleteGate::forward: forced.size(): got 1, expected 3");
  }

  const Setup<float> s(3);
  DeleteGate<float>::Cache cache;
  s.trained(cache);
  auto gradients = zeros_like(s.gate);
  const Vector<float> two(2, 0.0F);
  REQUIRE(argument_error([&] { s.gate.backward(two, {}, cache, gradients); }) ==
          "DeleteGate::backward: grad_values.size(): got 2, expected 3");
  REQUIRE(argument_error([&] { s.gate.backward({}, two, cache, gradients); }) ==
          "DeleteGate::backward: grad_logits.size(): got 2, expected 3");
}

TEST_CASE("a gate that deletes keeps the laws of policies", "[DeleteGate]") {
  for (const GateNoise noise : {GateNoise::none, GateNoise::gumbel})
    for (const SurvivorBias bias : {SurvivorBias::kept, SurvivorBias::dropped}) {
      PolicyLaws laws;
      laws.options.survivor_bias = bias;
      laws.quiet_training = noise == GateNoise::none;
      require_policy_laws(
          [&]<Real Scalar>() {
            auto config = config_of<Scalar>(GateActivation::scaled_sigmoid, GateNorm::rms, noise);
            config.width = laws.width;
            DeleteGate<Scalar> gate(config);
            Rng rng(2);
            randomise(gate, rng);
            return gate;
          },
          laws);
    }
}

}  // namespace delete_gate_test
