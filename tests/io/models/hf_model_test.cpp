#include <merganser/io/models/hf_model.hpp>

#include <merganser/io/models/hf_config.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"

namespace hf_model_test {

using namespace merganser;
using models::Head;
using models::HeadInput;
using Model = models::EncoderDecoder<float>;

TEST_CASE("a model's head and what it reads come back from its config.json", "[hf_model]") {
  Model::Config config;
  config.encoder = testing::tiny_stack();
  for (const Head head : {Head::untied, Head::tied})
    for (const HeadInput input : {HeadInput::by_head, HeadInput::unscaled, HeadInput::scaled}) {
      config.head = head;
      config.head_input = input;
      const Model::Config back = io::model_config<float>(io::hf_config(config, {}));
      CHECK(back.head == head);
      CHECK(back.scales_head_input() == config.scales_head_input());
    }
}

TEST_CASE("no pad is a value", "[hf_model]") {
  Model::Config config;
  config.encoder = testing::tiny_stack();
  for (const TokenId pad : {TokenId{0}, TokenId{5}, models::no_pad}) {
    config.pad = pad;
    CHECK(io::model_config<float>(io::hf_config(config, {})).pad == pad);
  }
  CHECK_FALSE(io::hf_config(config, {}).pad_token_id.has_value());
}

TEST_CASE("the policies of a model come back from its config.json", "[hf_model]") {
  testing::Design<Model> design;
  design.encoder = testing::tiny_stack();
  SECTION("none") {}
  SECTION("a gate") { design.gates = {{.block = 1, .scale = -20, .threshold = -3}}; }
  SECTION("two gates") { design.gates = {{.block = 0, .threshold = -15}, {.block = 1, .threshold = -15}}; }
  SECTION("a random gate") { design.gates = {{.kind = io::GateKind::random, .threshold = -15, .rate = 0.25}}; }
  SECTION("boundaries") { design.pooling = io::PoolingConfig{.block = 1, .prior = 0.25}; }
  SECTION("strides") { design.pooling = io::PoolingConfig{.kind = io::PoolingKind::strided, .rate = 3}; }
  const io::HfConfig said = io::hf_config(design.make());
  CHECK(said == io::hf_config(design, {design.gates, design.pooling}));
  CHECK(io::policies_of(said).gates == design.gates);
  CHECK(io::policies_of(said).pooling == design.pooling);
}

TEST_CASE("a threshold that nobody set is written as the number that is in force", "[hf_model]") {
  testing::Design<Model> design;
  design.encoder = testing::tiny_stack();
  design.gates = {{.block = 1, .scale = -20}};
  SECTION("learned") {}
  SECTION("random") { design.gates[0].kind = io::GateKind::random; }
  SECTION("log sigmoid") { design.gates[0].activation = merge::GateActivation::log_sigmoid; }
  const Model model = design.make();
  const auto threshold_of = [](const Model& one) {
    const merge::Policy<float>& policy = one.encoder.policies[0].policy;
    using Random = merge::GatedDeletion<float, merge::RandomGate>;
    if (const auto* random = policy.target<Random>()) return random->threshold();
    return policy.target<merge::GatedDeletion<float, merge::DeleteGate<float>>>()->threshold();
  };
  CHECK(io::hf_config(model).deletion_threshold == threshold_of(model));
}

}  // namespace hf_model_test
