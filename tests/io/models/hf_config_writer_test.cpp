#include <merganser/io/models/hf_config_writer.hpp>

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

namespace hf_config_writer_test {

using namespace merganser;
using io::HfConfig;
using Json = nlohmann::json;

TEST_CASE("what is written is read alike, with and without a pad, whatever scales the head's input",
          "[hf_config_writer]") {
  HfConfig config;
  config.vocab_size = 11;
  config.d_model = config.d_kv = config.d_ff = config.num_heads = config.num_layers = config.num_decoder_layers = 2;
  for (const std::optional<TokenId> pad : {std::optional<TokenId>(3), std::optional<TokenId>()})
    for (const bool tied : {false, true})
      for (const bool scaled : {false, true}) {
        config.pad_token_id = pad;
        config.tie_word_embeddings = tied;
        config.scale_decoder_outputs = scaled;
        const std::string text = io::to_json(config);
        CHECK(io::parse_hf_config(text, "c.json") == config);
        CHECK(Json::parse(text)["pad_token_id"].is_null() == !pad.has_value());
        CHECK(Json::parse(text)["scale_decoder_outputs"] == scaled);
      }
}

}  // namespace hf_config_writer_test
