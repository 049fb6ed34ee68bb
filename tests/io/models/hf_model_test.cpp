#include <merganser/io/models/hf_model.hpp>

#include <merganser/io/models/hf_config.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"

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
      const Model::Config back = io::model_config<float>(io::hf_config(config));
      CHECK(back.head == head);
      CHECK(back.scales_head_input() == config.scales_head_input());
    }
}

TEST_CASE("no pad is a value", "[hf_model]") {
  Model::Config config;
  config.encoder = testing::tiny_stack();
  for (const TokenId pad : {TokenId{0}, TokenId{5}, models::no_pad}) {
    config.pad = pad;
    CHECK(io::model_config<float>(io::hf_config(config)).pad == pad);
  }
  CHECK_FALSE(io::hf_config(config).pad_token_id.has_value());
}
