// Gates of any kind behind one interface: learned, random, by rule.
#include <merganser/merge/gate.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

namespace {

using Ids = Vector<TokenId>;
using Flags = Vector<std::uint8_t>;

GateConfig config_of(GateKind kind) {
  GateConfig config;
  config.kind = kind;
  config.rate = 0.5;
  config.separators = {0};
  return config;
}

template <Real Scalar>
struct Setup {
  Gate<Scalar> gate;
  Matrix<Scalar> x;
  SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{4, 3});
  Ids ids = {5, 6, 7, 8, 0, 1, 2};

  explicit Setup(GateKind kind) : gate(config_of(kind), 5) {
    Rng rng(1);
    randomise(gate, rng);
    x = random_matrix<Scalar>(7, 5, rng);
  }

  GateInput input(const Flags& forced = {}) const { return {offsets, ids, forced}; }
};

constexpr GateKind all_kinds[] = {GateKind::learned, GateKind::random, GateKind::fixed};

}  // namespace

TEST_CASE("a learned gate is a delete gate", "[Gate]") {
  GateConfig config = config_of(GateKind::learned);
  config.activation = GateActivation::log_sigmoid;
  config.scale = -9;
  config.norm = GateNorm::none;
  config.noise = GateNoise::gumbel;
  config.initial_bias = 2.5;
  const Gate<double> gate(config, 5);
  const auto& inner = gate.learned.config();
  REQUIRE(inner.width == 5);
  REQUIRE(inner.activation == GateActivation::log_sigmoid);
  REQUIRE(inner.scale == -9);
  REQUIRE(inner.norm == GateNorm::none);
  REQUIRE(inner.noise == GateNoise::gumbel);
  REQUIRE(gate.learned.bias[0] == 2.5);

  const Setup<double> s(GateKind::learned);
  const Flags forced = {0, 1, 0, 0, 0, 0, 1};
  const auto got = s.gate.forward(s.x, s.input(forced), nullptr), expected = s.gate.learned.forward(s.x, forced);
  REQUIRE(got.values == expected.values);
  REQUIRE(got.logits == expected.logits);
}

TEST_CASE("a learned gate passes training on", "[Gate]") {
  const Setup<double> s(GateKind::learned);
  Rng rng(2);
  Gate<double>::Cache cache, same;
  Gate<double> gradients = zeros_like(s.gate);
  DeleteGate<double> expected_gradients = zeros_like(s.gate.learned);
  REQUIRE(s.gate.forward(s.x, s.input(), rng, cache).values == s.gate.forward(s.x, s.input(), nullptr).values);
  s.gate.learned.forward(s.x, {}, rng, same);
  const auto probe = random_values<double>(7, rng), logit_probe = random_values<double>(7, rng);
  const auto grad_x = s.gate.backward(probe, logit_probe, cache, gradients, 7, 5);
  REQUIRE(identical(grad_x, s.gate.learned.backward(probe, logit_probe, same, expected_gradients)));
  REQUIRE(identical(gradients.learned.weight, expected_gradients.weight));
  REQUIRE((gradients.learned.weight.array() != 0).any());
}

TEST_CASE("only a learned gate has parameters", "[Gate]") {
  for (const GateKind kind : all_kinds) {
    Gate<float> gate(config_of(kind), 5);
    Rng rng(1);
    gate.initialize(1.0, rng);
    REQUIRE((rng.state() == Rng(1).state()) == (kind != GateKind::learned));
    const auto views = parameter_views(gate, "encoder.block.1.");
    if (kind != GateKind::learned) {
      REQUIRE(views.empty());
      continue;
    }
    REQUIRE(views.size() == 3);
    REQUIRE(views[0].name == "encoder.block.1.delete_gate.layer_norm.weight");
    REQUIRE((gate.learned.weight.array() != 0).all());
  }
}

TEMPLATE_TEST_CASE("a random gate draws from the generator it is given", "[Gate]", float, double) {
  const Setup<TestType> s(GateKind::random);
  Rng first(7), second(7), direct(7);
  typename Gate<TestType>::Cache cache;
  const auto values = s.gate.forward(s.x, s.input(), &first).values;
  REQUIRE(values == RandomGate{0.5, -30.0}.values<TestType>(7, direct));
  REQUIRE(s.gate.forward(s.x, s.input(), second, cache).values == values);
  REQUIRE(first.state() == second.state());
  REQUIRE(std::count(values.begin(), values.end(), TestType{0}) > 0);
  REQUIRE(std::count(values.begin(), values.end(), TestType{-30}) > 0);
}

TEST_CASE("a random gate deletes forced tokens whatever it draws", "[Gate]") {
  GateConfig config = config_of(GateKind::random);
  config.rate = 0;
  config.scale = -7;
  const Gate<float> gate(config, 5);
  const Setup<float> s(GateKind::random);
  Rng rng(1);
  REQUIRE(gate.forward(s.x, s.input(Flags{0, 1, 0, 0, 0, 9, 0}), &rng).values == Vector<float>{0, -7, 0, 0, 0, -7, 0});
}

TEMPLATE_TEST_CASE("a fixed gate goes by the ids, and its logits are its values", "[Gate]", float, double) {
  const Setup<TestType> s(GateKind::fixed);
  GateInput input = s.input();
  const auto alone = s.gate.forward(s.x, input, nullptr);
  REQUIRE(alone.values == Vector<TestType>{0, 0, -30, -30, 0, 0, -30});
  REQUIRE(alone.logits == alone.values);
  // Over the batch there are 4 tokens before any separator and 3 behind one, for both sequences.
  input.fixed_rule_scope = FixedRuleScope::batch;
  REQUIRE(s.gate.forward(s.x, input, nullptr).values == Vector<TestType>{0, 0, -30, -30, 0, 0, -30});
  const Ids other = {5, 6, 0, 8, 0, 1, 2};
  input.ids = other;  // before a separator: 2 + 0, behind one: 2 + 3
  REQUIRE(s.gate.forward(s.x, input, nullptr).values == Vector<TestType>{0, -30, 0, 0, 0, -30, 0});
}

TEST_CASE("gates that learn nothing pass no gradient", "[Gate]") {
  for (const GateKind kind : {GateKind::random, GateKind::fixed}) {
    const Setup<double> s(kind);
    Rng rng(1);
    Gate<double>::Cache cache;
    Gate<double> gradients = zeros_like(s.gate);
    s.gate.forward(s.x, s.input(), rng, cache);
    const Vector<double> probe(7, 1.0);
    REQUIRE(
        identical(s.gate.backward(probe, probe, cache, gradients, 7, 5), Matrix<double>(Matrix<double>::Zero(7, 5))));
  }
}

TEST_CASE("every kind takes a batch without tokens", "[Gate]") {
  for (const GateKind kind : all_kinds) {
    const Gate<float> gate(config_of(kind), 5);
    const SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{0, 0});
    Rng rng(1);
    REQUIRE(gate.forward(Matrix<float>(0, 5), {offsets}, &rng).values.empty());
  }
}

TEST_CASE("the threshold in force is halfway unless given", "[Gate]") {
  GateConfig config;
  REQUIRE(config.effective_threshold() == -15.0);
  config.scale = -8;
  REQUIRE(config.effective_threshold() == -4.0);
  config.activation = GateActivation::log_sigmoid;
  REQUIRE(config.effective_threshold() == -std::log(2.0));
  config.threshold = -3.5;
  REQUIRE(config.effective_threshold() == -3.5);
}

TEST_CASE("a gate says what it lacks", "[Gate]") {
  const Setup<float> random(GateKind::random), fixed(GateKind::fixed);
  REQUIRE(argument_error([&] { random.gate.forward(random.x, random.input(), nullptr); }) ==
          "Gate::forward: rng: got none, expected a generator, because the gate is random");
  Rng rng(1);
  REQUIRE(argument_error([&] { random.gate.forward(random.x, random.input(Flags(8, 1)), &rng); }) ==
          "Gate::forward: forced.size(): got 8, expected 7");
  REQUIRE(argument_error([&] { fixed.gate.forward(fixed.x, {fixed.offsets}, nullptr); }) ==
          "Gate::forward: ids.size() for a fixed-rule gate: got 0, expected 7");
  GateConfig config = config_of(GateKind::random);
  config.rate = 1.25;
  REQUIRE(argument_error([&] { Gate<float>(config, 5); }) == "GateConfig: rate: got 1.25, expected in [0, 1]");
  config = config_of(GateKind::learned);
  config.scale = 30;
  REQUIRE(argument_error([&] { Gate<float>(config, 5); }) == "DeleteGate: scale: got 30, expected a negative number");
}

TEST_CASE("a fixed gate counts the words of a sequence without its pads", "[Gate]") {
  Setup<double> s(GateKind::fixed);
  s.ids = {9, 5, 6, 9, 0, 1, 9};
  const Flags forced = {1, 0, 0, 1, 0, 0, 1};
  // Without pads: 5 6 and 0 1, of which half are kept.
  REQUIRE(s.gate.forward(s.x, s.input(forced), nullptr).values == Vector<double>{-30, 0, -30, -30, 0, -30, -30});
  REQUIRE(argument_error([&] { s.gate.forward(s.x, s.input(Flags(8, 1)), nullptr); }) ==
          "Gate::forward: forced.size(): got 8, expected 7");
}

TEST_CASE("a gate refuses numbers that it cannot compare with", "[Gate]") {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const auto error = [](GateKind kind, auto&& change) {
    GateConfig config = config_of(kind);
    change(config);
    return argument_error([&] { Gate<float>(config, 5); });
  };
  for (const GateKind kind : all_kinds) {
    REQUIRE(error(kind, [&](GateConfig& c) { c.threshold = nan; }) ==
            "GateConfig: threshold: got nan, expected a gate value, no NaN");
    REQUIRE(error(kind, [&](GateConfig& c) { c.scale = -infinity; }) ==
            "GateConfig: scale: got -inf, expected a finite number");
    REQUIRE(error(kind, [&](GateConfig& c) { c.rate = nan; }) == "GateConfig: rate: got nan, expected in [0, 1]");
  }
  REQUIRE(error(GateKind::learned, [&](GateConfig& c) { c.initial_bias = nan; }) ==
          "DeleteGate: initial_bias: got nan, expected a finite number");
}
