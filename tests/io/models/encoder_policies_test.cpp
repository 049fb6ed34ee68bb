#include <merganser/io/models/encoder_policies.hpp>

#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace encoder_policies_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using merge::Placement;

template <Real Scalar = float>
Vector<Placement<Scalar>> placed(const EncoderPolicies& policies) {
  return placements_of<Scalar>(policies, tiny_stack());
}

std::string placing_error(const EncoderPolicies& policies) {
  return argument_error([&] { placed(policies); });
}

std::string describing_error(Vector<Placement<float>> placements) {
  return argument_error([&] { describe_policies(placements); });
}

merge::DeleteGate<float> learned() { return merge::DeleteGate<float>({.width = tiny_stack().width}); }

merge::StridedPooling<float> strided() { return merge::StridedPooling<float>({tiny_stack().width, 2}); }

/// A planner that no config.json knows.
struct KeepAll {
  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    Vector<Index> all(tokens.count());
    std::iota(all.begin(), all.end(), Index{0});
    return merge::MergePlan<Scalar>::keeping(all, tokens.count());
  }
};

/// A gate that no config.json knows.
struct KeepingGate {
  template <Real Scalar>
  merge::GateValues<Scalar> forward(const merge::GateInput<Scalar>& input) const {
    return {{}, Vector<Scalar>(input.x.rows(), Scalar{0})};
  }
  double default_threshold() const { return -1; }
};

TEMPLATE_TEST_CASE("settings become policies and come back", "[encoder_policies]", float, double) {
  EncoderPolicies policies;
  SECTION("none") {}
  SECTION("a gate as it is by itself") { policies.gates = {GateConfig{}}; }
  SECTION("learned, with everything set") {
    policies.gates = {{.block = 1,
                       .activation = merge::GateActivation::log_sigmoid,
                       .scale = -12.5,
                       .threshold = -3.25,
                       .norm = merge::GateNorm::none,
                       .noise = merge::GateNoise::gumbel,
                       .initial_bias = 1.5}};
  }
  SECTION("random") { policies.gates = {{.kind = GateKind::random, .scale = -20, .threshold = -7, .rate = 0.25}}; }
  SECTION("fixed") {
    policies.gates = {{.block = 1, .kind = GateKind::fixed, .scale = -8, .rate = 0.75, .separators = {4, 7}}};
  }
  SECTION("several that differ") {
    policies.gates = {{.block = 0, .kind = GateKind::random, .rate = 1},
                      {.block = 1, .threshold = -std::numeric_limits<double>::infinity()}};
  }
  SECTION("boundaries") { policies.pooling = {.block = 1, .prior = 0.4, .temperature = 0.75}; }
  SECTION("strided") { policies.pooling = {.block = 1, .kind = PoolingKind::strided, .rate = 3}; }
  const auto placements = placed<TestType>(policies);
  CHECK(placements.size() == policies.gates.size() + (policies.pooling ? 1 : 0));
  const EncoderPolicies back = describe_policies(placements);
  CHECK(back.gates == policies.gates);
  CHECK(back.pooling == policies.pooling);

  auto running = placements_of<TestType, nn::Weights::absent>(policies, tiny_stack());
  CHECK(describe_policies(running).gates == policies.gates);
  CHECK(describe_policies(running).pooling == policies.pooling);
  Rng rng(1);
  for (auto& placement : running) CHECK_THROWS_AS(placement.policy.initialize(1, rng), std::invalid_argument);
}

TEST_CASE("a policy is what its settings say, and where", "[encoder_policies]") {
  using Learned = merge::GatedDeletion<float, merge::DeleteGate<float>>;
  const auto gates = placed({{{.block = 0, .scale = -12, .threshold = -2, .initial_bias = 1},
                              {.block = 1, .kind = GateKind::fixed, .rate = 0.75, .separators = {4, 7}}},
                             {}});
  REQUIRE(gates.size() == 2);
  CHECK(gates[0].block == 0);
  CHECK(gates[1].block == 1);
  for (const auto& placement : gates) {
    CHECK(placement.site == merge::Site::before_block);
    CHECK(placement.size_bias == merge::SizeBias::none);
    CHECK(placement.policy.traits().is_gate);
  }
  const Learned* first = gates[0].policy.target<Learned>();
  REQUIRE(first != nullptr);
  CHECK(first->threshold() == -2);
  CHECK(first->settings().regulariser == merge::GateRegulariser::mean_gate);
  CHECK(first->inner().weight.cols() == tiny_stack().width);
  CHECK(first->inner().bias(0) == 1);
  CHECK(first->inner().config().scale == -12);
  const auto* second = gates[1].policy.target<merge::FixedRuleGate>();
  REQUIRE(second != nullptr);
  CHECK(second->amount == 0.75);
  CHECK(second->scale == -30);
  CHECK(second->separators == Vector<TokenId>{4, 7});

  const auto boundaries = placed({{}, PoolingConfig{.block = 1, .prior = 0.25}});
  REQUIRE(boundaries.size() == 1);
  const auto* predicted = boundaries[0].policy.target<merge::BoundaryPooling<float>>();
  REQUIRE(predicted != nullptr);
  CHECK(predicted->config().width == tiny_stack().width);
  CHECK(predicted->config().hidden == tiny_stack().feed_forward_width);
  CHECK(predicted->config().prior == 0.25);
  const auto strides = placed({{}, PoolingConfig{.kind = PoolingKind::strided, .rate = 3}});
  const auto* convolution = strides[0].policy.target<merge::StridedPooling<float>>();
  REQUIRE(convolution != nullptr);
  CHECK(convolution->config().width == tiny_stack().width);
  CHECK(convolution->config().rate == 3);
}

TEST_CASE("a pooling keeps what it uses", "[encoder_policies]") {
  const auto back = describe_policies(placed({{}, PoolingConfig{1, PoolingKind::strided, 0.4, 0.3, 3}}));
  CHECK(back.pooling == PoolingConfig{.block = 1, .kind = PoolingKind::strided, .rate = 3});
}

TEST_CASE("a gate that a caller places is described as well, lifted or not", "[encoder_policies]") {
  CHECK(describe_policies(Vector<Placement<float>>{merge::before_block(1, learned())}).gates ==
        Vector<GateConfig>{{.block = 1}});
  using Learned = merge::GatedDeletion<float, merge::DeleteGate<float>>;
  CHECK(describe_policies(Vector<Placement<float>>{merge::before_block(1, Learned(learned(), {.threshold = -5}))})
            .gates == Vector<GateConfig>{{.block = 1, .threshold = -5}});
  CHECK(describe_policies(Vector<Placement<float>>{merge::before_block(0, merge::RandomGate{0.25, -10})}).gates ==
        Vector<GateConfig>{{.kind = GateKind::random, .scale = -10, .rate = 0.25}});
}

TEST_CASE("settings that are no policies are refused", "[encoder_policies]") {
  CHECK(placing_error({{{.block = 1}, {.block = 0}}, {}}) ==
        "placements_of: gates: block: got 0, expected rising block numbers below 2");
  CHECK_THAT(placing_error({{{.block = 1}, {.block = 1}}, {}}), ContainsSubstring("gates: block: got 1"));
  CHECK_THAT(placing_error({{{.block = 2}}, {}}), ContainsSubstring("gates: block: got 2"));
  CHECK_THAT(placing_error({{{.block = -1}}, {}}), ContainsSubstring("gates: block: got -1"));
  CHECK(placing_error({{GateConfig{}}, PoolingConfig{.block = 1}}) ==
        "placements_of: pooling: got gates and a pooling, expected one of them");
  for (const Index block : {-1, 2})
    CHECK(placing_error({{}, PoolingConfig{.block = block}}) ==
          "placements_of: pooling: block: got " + std::to_string(block) + ", expected a block number below 2");
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const GateKind kind : {GateKind::learned, GateKind::random, GateKind::fixed}) {
    for (const double rate : {-0.1, 1.1, nan})
      CHECK_THAT(placing_error({{{.kind = kind, .rate = rate}}, {}}), StartsWith("GateConfig: rate: got "));
    CHECK_THAT(placing_error({{{.kind = kind, .scale = -infinity}}, {}}), StartsWith("GateConfig: scale: got "));
    CHECK_THAT(placing_error({{{.kind = kind, .threshold = nan}}, {}}), ContainsSubstring("threshold: got "));
  }
  CHECK_THAT(placing_error({{{.scale = 1}}, {}}), StartsWith("DeleteGate: scale: got 1"));
  for (const double prior : {0.0, 1.0})
    CHECK_THAT(placing_error({{}, PoolingConfig{.prior = prior}}), ContainsSubstring("prior: got "));
  CHECK_THAT(placing_error({{}, PoolingConfig{.temperature = 0}}), ContainsSubstring("temperature: got 0"));
  CHECK_THAT(placing_error({{}, PoolingConfig{.kind = PoolingKind::strided, .rate = 0}}),
             ContainsSubstring("rate: got 0"));
}

TEST_CASE("placements that a config.json has no words for are refused", "[encoder_policies]") {
  const std::string no_words =
      "hf_config: policies: got one that config.json has no words for, expected delete gates or a pooling on entry to "
      "blocks, or a Placement::name";
  CHECK(describing_error({merge::before_block(0, KeepAll{})}) == no_words);
  CHECK(describing_error({merge::before_block(0, KeepingGate{})}) == no_words);
  CHECK(describing_error({merge::before_block(0, learned()), merge::before_block(1, KeepAll{})}) == no_words);
  CHECK(describing_error({merge::after_attention(0, learned())}) == no_words);
  CHECK(describing_error({merge::before_block(0, merge::StridedPooling<float>({tiny_stack().width, 2, 3}))}) ==
        no_words);
  using Boundaries = merge::BoundaryPooling<float>;
  Boundaries::Config config{.width = tiny_stack().width, .hidden = 4};
  CHECK(describing_error({merge::before_block(0, Boundaries(config))}) == "nothing thrown");
  config.intervals = {{0.3, 0.1}};
  CHECK(describing_error({merge::before_block(0, Boundaries(config))}) == no_words);
  config.intervals.clear();
  config.null_group = true;
  CHECK(describing_error({merge::before_block(0, Boundaries(config))}) == no_words);
  CHECK(describing_error({merge::after_attention(0, strided())}) == no_words);
  CHECK(describing_error({merge::before_block(0, strided(), merge::SizeBias::log_size)}) == no_words);
}

TEST_CASE("placements that a config.json has no words for together are refused", "[encoder_policies]") {
  const std::string rises =
      "hf_config: policies: got gates that do not rise by block, expected one at a block, in their order";
  CHECK(describing_error({merge::before_block(1, learned()), merge::before_block(0, learned())}) == rises);
  CHECK(describing_error({merge::before_block(1, learned()), merge::before_block(1, learned())}) == rises);
  CHECK(describing_error({merge::before_block(0, strided()), merge::before_block(1, strided())}) ==
        "hf_config: policies: got two poolings, expected one");
  const std::string both = "hf_config: policies: got gates and a pooling, expected one of them";
  CHECK(describing_error({merge::before_block(0, learned()), merge::before_block(1, strided())}) == both);
  CHECK(describing_error({merge::before_block(0, strided()), merge::before_block(1, learned())}) == both);
}

TEST_CASE("a policy with a name is made by whoever knows it", "[encoder_policies]") {
  const NamedPolicies knows = [](const std::string& name, const models::StackConfig& stack) {
    Vector<Placement<float>> made = {merge::before_block(0, KeepAll{}), merge::after_attention(1, KeepAll{})};
    if (name == "beyond") made[1].block = stack.blocks;
    return made;
  };
  EncoderPolicies policies{{{.block = 1}}, {}, {"keep"}};
  Vector<Placement<float>> placements = placements_of<float>(policies, tiny_stack(), knows);
  REQUIRE(placements.size() == 3);
  CHECK(placements[0].name == "keep");
  CHECK(placements[1].name == "keep");
  CHECK(placements[1].site == merge::Site::after_attention);
  CHECK(placements[2].policy.traits().is_gate);
  placements.pop_back();
  CHECK(describe_policies(placements).named == std::vector<std::string>{"keep"});
  placements.push_back(merge::before_block(1, learned()));
  CHECK(describe_policies(placements).gates.size() == 1);
  std::swap(placements[1], placements[2]);
  CHECK(describing_error(placements) ==
        "hf_config: policies: got keep behind a gate or a pooling of its block, expected policies by name in front of "
        "those");

  const std::string unknown =
      "placements_of: policies: got keep, expected a model in float, and LoadModelOptions::named_policies to make it";
  CHECK(placing_error(policies) == unknown);
  CHECK(argument_error([&] { placements_of<double>(policies, tiny_stack(), knows); }) == unknown);
  policies.named = {"beyond"};
  CHECK_THAT(argument_error([&] { placements_of<float>(policies, tiny_stack(), knows); }),
             StartsWith("placements_of: policies: block: got 2"));
}

}  // namespace encoder_policies_test
