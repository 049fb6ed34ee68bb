#include <merganser/io/models/hf_foreign_keys.hpp>

#include <string>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace hf_foreign_keys_test {

using namespace merganser;
using Json = nlohmann::json;

std::string error_of(const Json& object, bool gated = true) {
  return testing::io_error([&] {
    io::detail::check_foreign_keys(io::detail::JsonFields(object, "c.json"), {32, 8, 4, 3, gated});
  });
}

TEST_CASE("keys that decide nothing may have any value", "[hf_foreign_keys]") {
  CHECK(error_of(Json::object()).empty());
  CHECK(error_of({{"architectures", {"X"}}, {"torch_dtype", 1}, {"use_cache", "x"}, {"n_positions", 512}}).empty());
}

TEST_CASE("keys that would change the arithmetic have the value that does not", "[hf_foreign_keys]") {
  const std::pair<const char*, Json> right[] = {{"is_encoder_decoder", true},
                                                {"is_decoder", false},
                                                {"scalable_attention", false},
                                                {"tie_encoder_decoder", false},
                                                {"pruned_heads", Json::object()},
                                                {"quantization_config", nullptr},
                                                {"is_gated_act", true},
                                                {"dense_act_fn", "gelu_new"},
                                                {"dense_act_fn", "gelu_pytorch_tanh"},
                                                {"hidden_size", 32},
                                                {"head_dim", 8},
                                                {"num_attention_heads", 4},
                                                {"num_hidden_layers", 3}};
  for (const auto& [key, value] : right) {
    INFO(key);
    CHECK(error_of({{key, value}}).empty());
    CHECK(error_of({{key, nullptr}}).empty());
    CHECK_FALSE(error_of({{key, "something else"}}).empty());
  }
  CHECK(error_of({{"is_encoder_decoder", false}}) == "c.json: is_encoder_decoder: got false, expected true");
  CHECK(error_of({{"is_decoder", true}}) == "c.json: is_decoder: got true, expected false");
  CHECK(error_of({{"scalable_attention", true}}) == "c.json: scalable_attention: got true, expected false");
  CHECK(error_of({{"pruned_heads", {{"0", {1}}}}}) ==
        "c.json: pruned_heads: got an object, expected none or an empty one");
  CHECK(error_of({{"quantization_config", {{"bits", 8}}}}) ==
        "c.json: quantization_config: got an object, expected none or an empty one");
  CHECK(error_of({{"hidden_size", 33}}) == "c.json: hidden_size: got 33, expected 32");
}

TEST_CASE("the activation agrees with feed_forward_proj", "[hf_foreign_keys]") {
  CHECK(error_of({{"dense_act_fn", "gelu"}}) ==
        "c.json: dense_act_fn: got \"gelu\", expected \"gelu_new\" or \"gelu_pytorch_tanh\"");
  CHECK(error_of({{"dense_act_fn", "relu"}, {"is_gated_act", false}}, false).empty());
  CHECK(error_of({{"dense_act_fn", "silu"}}, false) == "c.json: dense_act_fn: got \"silu\", expected \"relu\"");
  CHECK(error_of({{"is_gated_act", true}}, false) ==
        "c.json: is_gated_act: got true, expected false, as feed_forward_proj says, which is relu where it is missing");
}

}  // namespace hf_foreign_keys_test
