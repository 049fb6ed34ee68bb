#include <merganser/io/models/hf_config.hpp>

#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

#include <merganser/io/models/hf_config_writer.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/golden_dir.hpp"

namespace hf_config_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using io::HfConfig;
using Json = nlohmann::json;

Json t5() {
  return {{"model_type", "t5"}, {"vocab_size", 384}, {"d_model", 32},   {"d_kv", 8},
          {"d_ff", 64},         {"num_heads", 4},    {"num_layers", 3}, {"architectures", {{"nested", {1, 2}}}}};
}

Json mrt5() {
  Json object = t5();
  object["model_type"] = "mrt5";
  object["delete_gate_layer"] = 1;
  object["deletion_threshold"] = -15.0;
  object["sigmoid_mask_scale"] = -30.0;
  object["deletion_type"] = "scaled_sigmoid";
  return object;
}

HfConfig parsed(const Json& object) { return io::parse_hf_config(object.dump(), "c.json"); }

std::string error_of(const Json& object) {
  return testing::io_error([&] { parsed(object); });
}

template <class Value>
std::string error_with(Json object, const std::string& key, const Value& value) {
  object[key] = value;
  return error_of(object);
}

TEST_CASE("missing keys have the defaults of Hugging Face", "[HfConfig]") {
  const HfConfig config = parsed(t5());
  CHECK(config.model_type == HfConfig::ModelType::t5);
  CHECK(config.vocab_size == 384);
  CHECK(config.d_model == 32);
  CHECK(config.d_kv == 8);
  CHECK(config.d_ff == 64);
  CHECK(config.num_heads == 4);
  CHECK(config.num_layers == 3);
  CHECK(config.num_decoder_layers == 3);
  CHECK(config.relative_attention_num_buckets == 32);
  CHECK(config.relative_attention_max_distance == 128);
  CHECK(config.dropout_rate == 0.1);
  CHECK(config.layer_norm_epsilon == 1e-6);
  CHECK(config.initializer_factor == 1.0);
  CHECK(config.feed_forward_proj == HfConfig::FeedForward::relu);
  CHECK(config.tie_word_embeddings);
  CHECK(config.decoder_start_token_id == 0);
  CHECK(config.eos_token_id == 1);
  CHECK(config.pad_token_id == 0);
  CHECK_FALSE(config.use_softmax1);
  CHECK_FALSE(config.has_absolute_position_embeddings);
  CHECK_FALSE(config.max_position_embeddings);
  CHECK_FALSE(config.delete_gate_layer);
  CHECK_FALSE(config.deletion_type);
  CHECK_FALSE(config.merganser);
}

TEST_CASE("every field is read", "[HfConfig]") {
  Json object = mrt5();
  object.update(Json{{"num_decoder_layers", 1},
                     {"relative_attention_num_buckets", 16},
                     {"relative_attention_max_distance", 64},
                     {"dropout_rate", 0.25},
                     {"layer_norm_epsilon", 1e-5},
                     {"initializer_factor", 2},
                     {"feed_forward_proj", "gated-gelu"},
                     {"tie_word_embeddings", false},
                     {"scale_decoder_outputs", true},
                     {"decoder_start_token_id", 3},
                     {"eos_token_id", 4},
                     {"pad_token_id", 5},
                     {"use_softmax1", true},
                     {"has_absolute_position_embeddings", true},
                     {"max_position_embeddings", 40},
                     {"deletion_type", "log_sigmoid"},
                     {"gate_layer_norm", true},
                     {"use_gumbel_noise", false},
                     {"fixed_deletion_amount", 0.5},
                     {"random_deletion_probability", 1}});
  object["merganser"] = {{"score_bound", "soft_cap"}, {"score_bound_value", 8}, {"gate_blocks", {0, 1, 2}}};
  HfConfig expected;
  expected.model_type = HfConfig::ModelType::mrt5;
  expected.vocab_size = 384;
  expected.d_model = 32;
  expected.d_kv = 8;
  expected.d_ff = 64;
  expected.num_heads = 4;
  expected.num_layers = 3;
  expected.num_decoder_layers = 1;
  expected.relative_attention_num_buckets = 16;
  expected.relative_attention_max_distance = 64;
  expected.dropout_rate = 0.25;
  expected.layer_norm_epsilon = 1e-5;
  expected.initializer_factor = 2;
  expected.feed_forward_proj = HfConfig::FeedForward::gated_gelu;
  expected.tie_word_embeddings = false;
  expected.scale_decoder_outputs = true;
  expected.decoder_start_token_id = 3;
  expected.eos_token_id = 4;
  expected.pad_token_id = 5;
  expected.use_softmax1 = true;
  expected.has_absolute_position_embeddings = true;
  expected.max_position_embeddings = 40;
  expected.delete_gate_layer = 1;
  expected.deletion_threshold = -15;
  expected.sigmoid_mask_scale = -30;
  expected.deletion_type = HfConfig::DeletionType::log_sigmoid;
  expected.gate_layer_norm = true;
  expected.use_gumbel_noise = false;
  expected.fixed_deletion_amount = 0.5;
  expected.random_deletion_probability = 1;
  expected.merganser = HfConfig::Extension{HfConfig::ScoreBound::soft_cap, 8.0, {0, 1, 2}};
  CHECK(parsed(object) == expected);

  // And back: the same fields, under the same names.
  const Json written = Json::parse(io::to_json(expected));
  for (const auto& [key, value] : object.items())
    if (key != "architectures") CHECK(written.at(key) == value);
  CHECK(written.at("architectures") == Json::array({"MrT5ForConditionalGeneration"}));
  CHECK(written.size() == object.size() + 1);  // is_encoder_decoder
  CHECK(io::parse_hf_config(io::to_json(expected), "c.json") == expected);
}

TEST_CASE("the words of a key are these and no others", "[HfConfig]") {
  for (const char* word : {"scaled_sigmoid", "log_sigmoid", "fixed", "random"})
    CHECK(error_with(mrt5(), "deletion_type", word).empty());
  CHECK(
      error_with(mrt5(), "deletion_type", "soft") ==
      "c.json: deletion_type: got \"soft\", expected \"scaled_sigmoid\" or \"log_sigmoid\" or \"fixed\" or \"random\"");
  CHECK(error_with(t5(), "feed_forward_proj", "gated-silu") ==
        "c.json: feed_forward_proj: got \"gated-silu\", expected \"relu\" or \"gated-gelu\"");
  CHECK(error_with(t5(), "model_type", "bert") ==
        "c.json: model_type: got \"bert\", expected \"t5\" or \"mt5\" or \"mrt5\"");
  for (const char* word : {"none", "soft_cap", "normalised"})
    CHECK(error_with(t5(), "merganser", Json{{"score_bound", word}, {"score_bound_value", 8.0}}).empty());
}

TEST_CASE("a wrong type or range names file, field, got and expected", "[HfConfig]") {
  CHECK(error_with(t5(), "d_model", 0) == "c.json: d_model: got 0, expected a whole number in 1 .. 2147483647");
  CHECK(error_with(t5(), "d_model", "32") == "c.json: d_model: got \"32\", expected a whole number in 1 .. 2147483647");
  for (const char* key : {"vocab_size", "d_model", "d_kv", "d_ff", "num_heads", "num_layers"}) {
    for (const Json& value : {Json(-1), Json(0), Json(2147483648), Json(8.0), Json("8"), Json(true), Json::array({8})})
      CHECK_THAT(error_with(t5(), key, value), StartsWith("c.json: " + std::string(key) + ": got "));
    Json missing = t5();
    missing.erase(key);
    CHECK(error_of(missing) == "c.json: " + std::string(key) + ": got no such key, expected a positive whole number");
    CHECK(error_with(t5(), key, nullptr) ==
          "c.json: " + std::string(key) + ": got null, expected a positive whole number");
  }
  Json missing = t5();
  missing.erase("model_type");
  CHECK(error_of(missing) == "c.json: model_type: got no such key, expected \"t5\" or \"mt5\" or \"mrt5\"");

  const auto wrong = [](const std::string& key, std::initializer_list<Json> values) {
    for (const Json& value : values) {
      INFO(value);
      CHECK_THAT(error_with(mrt5(), key, value), StartsWith("c.json: " + key + ": got "));
    }
  };
  wrong("num_decoder_layers", {-1, 0.5});
  wrong("relative_attention_num_buckets", {0, 3, -32, 256});
  wrong("relative_attention_max_distance", {0, 16});
  wrong("dropout_rate", {-0.1, 1.0, "0", false});
  wrong("layer_norm_epsilon", {0, -1e-6, "1e-6"});
  wrong("initializer_factor", {0, -1});
  for (const char* key : {"tie_word_embeddings", "use_softmax1", "has_absolute_position_embeddings", "gate_layer_norm",
                          "use_gumbel_noise"})
    wrong(key, {0, 1, "true", Json::array()});
  for (const char* key : {"decoder_start_token_id", "eos_token_id", "pad_token_id"}) wrong(key, {-1, 384, 1.0});
  wrong("max_position_embeddings", {0, 1.5});
  wrong("delete_gate_layer", {-1, 3, 1.0, "1"});
  wrong("deletion_threshold", {"-15", true});
  wrong("sigmoid_mask_scale", {0, 30.0, "x"});
  wrong("fixed_deletion_amount", {-0.1, 1.1});
  wrong("random_deletion_probability", {-0.1, 1.1});
  wrong("merganser", {1, "x", Json::array()});
}

TEST_CASE("keys that need each other", "[HfConfig]") {
  for (const char* key : {"delete_gate_layer", "deletion_threshold", "sigmoid_mask_scale", "deletion_type"}) {
    Json object = mrt5();
    object.erase(key);
    CHECK(error_of(object) ==
          "c.json: " + std::string(key) +
              ": got no such key, expected a value, as model_type is \"mrt5\"; whoever loads it may give one");
    CHECK_THAT(error_with(mrt5(), key, nullptr), ContainsSubstring("got null"));
    object["model_type"] = "t5";
    CHECK(error_of(object).empty());
  }
  CHECK_THAT(error_with(t5(), "vocab_size", 1), StartsWith("c.json: eos_token_id: got no such key"));
  CHECK(error_with(t5(), "has_absolute_position_embeddings", true) ==
        "c.json: max_position_embeddings: got no such key, expected a positive whole number");
}

TEST_CASE("a missing key of the gate can be given, and what the file says wins", "[HfConfig]") {
  Json object = mrt5();
  for (const char* key : {"delete_gate_layer", "deletion_threshold", "sigmoid_mask_scale"}) object.erase(key);
  object["deletion_type"] = nullptr;
  const io::MissingGateKeys missing{2, -20.0, -7.0, HfConfig::DeletionType::log_sigmoid};
  const HfConfig config = io::parse_hf_config(object.dump(), "c.json", missing);
  CHECK(config.delete_gate_layer == 2);
  CHECK(config.sigmoid_mask_scale == -20.0);
  CHECK(config.deletion_threshold == -7.0);
  CHECK(config.deletion_type == HfConfig::DeletionType::log_sigmoid);
  CHECK(io::parse_hf_config(mrt5().dump(), "c.json", missing) == parsed(mrt5()));
  CHECK(io::parse_hf_config(t5().dump(), "c.json", missing) == parsed(t5()));

  const auto error = [&object](const io::MissingGateKeys& given) {
    try {
      io::parse_hf_config(object.dump(), "c.json", given);
    } catch (const IoError& fault) {
      return std::string(fault.what());
    }
    return std::string();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THAT(error({3, -20.0, -7.0, HfConfig::DeletionType::fixed}), StartsWith("c.json: delete_gate_layer: got 3"));
  CHECK_THAT(error({2, 20.0, -7.0, HfConfig::DeletionType::fixed}), StartsWith("c.json: sigmoid_mask_scale: got 20"));
  CHECK_THAT(error({2, -20.0, nan, HfConfig::DeletionType::fixed}), StartsWith("c.json: deletion_threshold: got"));
  CHECK_THAT(error({2, -20.0, -7.0, {}}), StartsWith("c.json: deletion_type: got null"));
}

TEST_CASE("mT5 has defaults of its own", "[HfConfig]") {
  Json object = t5();
  object["model_type"] = "mt5";
  HfConfig config = parsed(object);
  CHECK(config.model_type == HfConfig::ModelType::mt5);
  CHECK(config.feed_forward_proj == HfConfig::FeedForward::gated_gelu);
  CHECK_FALSE(config.tie_word_embeddings);
  object.update(Json{{"feed_forward_proj", "relu"}, {"tie_word_embeddings", true}});
  config = parsed(object);
  CHECK(config.feed_forward_proj == HfConfig::FeedForward::relu);
  CHECK(config.tie_word_embeddings);
  CHECK(io::parse_hf_config(io::to_json(config), "c.json") == config);
}

TEST_CASE("configs as they are published are read", "[HfConfig]") {
  const Json byt5 = Json::parse(R"({"_name_or_path": "some/where", "architectures": ["T5ForConditionalGeneration"],
    "classifier_dropout": 0.0, "d_ff": 3584, "d_kv": 64, "d_model": 1472, "decoder_start_token_id": 0,
    "dense_act_fn": "gelu_new", "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
    "gradient_checkpointing": false, "initializer_factor": 1.0, "is_encoder_decoder": true, "is_gated_act": true,
    "layer_norm_epsilon": 1e-06, "model_type": "t5", "num_decoder_layers": 4, "num_heads": 6, "num_layers": 12,
    "pad_token_id": 0, "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
    "tie_word_embeddings": false, "tokenizer_class": "ByT5Tokenizer", "torch_dtype": "float32",
    "transformers_version": "4.29.2", "use_cache": true, "vocab_size": 384})");
  CHECK(parsed(byt5).num_layers == 12);
  const Json first_t5 = Json::parse(R"({"architectures": ["T5ForConditionalGeneration"], "d_ff": 2048, "d_kv": 64,
    "d_model": 512, "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "initializer_factor": 1.0,
    "is_encoder_decoder": true, "layer_norm_epsilon": 1e-06, "model_type": "t5", "n_positions": 512, "num_heads": 8,
    "num_layers": 6, "output_past": true, "pad_token_id": 0, "relative_attention_num_buckets": 32,
    "task_specific_params": {"summarization": {"early_stopping": true, "length_penalty": 2.0, "num_beams": 4}},
    "max_length": 128, "num_beams": 1, "temperature": 1.0, "use_cache": true, "vocab_size": 32128})");
  CHECK(parsed(first_t5).tie_word_embeddings);
  const Json mt5 = Json::parse(R"({"_name_or_path": "google/mt5-base", "architectures": ["MT5ForConditionalGeneration"],
    "d_ff": 2048, "d_kv": 64, "d_model": 768, "decoder_start_token_id": 0, "dropout_rate": 0.1, "dtype": "float32",
    "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": true, "layer_norm_epsilon": 1e-06,
    "model_type": "mt5", "num_decoder_layers": 12, "num_heads": 12, "num_layers": 12, "output_past": true,
    "pad_token_id": 0, "relative_attention_num_buckets": 32, "tie_word_embeddings": false,
    "tokenizer_class": "T5Tokenizer", "transformers_version": "4.10.0", "use_cache": true, "vocab_size": 250112})");
  CHECK(parsed(mt5).vocab_size == 250112);
}

TEST_CASE("our own object is strict", "[HfConfig]") {
  const auto error = [](const Json& extension) { return error_with(mrt5(), "merganser", extension); };
  CHECK(error(Json::object()).empty());
  CHECK(error({{"gate_blocks", {0, 1}}}).empty());
  CHECK(error({{"gate_blocks", Json::array()}}).empty());
  CHECK(error({{"policies", {"tome:block=1", "own"}}}).empty());
  CHECK(error({{"policies", "tome"}}) == "c.json: merganser.policies: got \"tome\", expected an array of texts");
  CHECK(error({{"policies", {"tome", 1}}}) == "c.json: merganser.policies: got 1, expected an array of texts");
  CHECK(error({{"scorebound", "none"}}) ==
        "c.json: merganser.scorebound: got an unknown key, expected a key of this version");
  CHECK_THAT(error({{"score_bound", "cap"}}), StartsWith("c.json: merganser.score_bound: got \"cap\""));
  CHECK(error({{"score_bound", "soft_cap"}}) ==
        "c.json: merganser.score_bound_value: got no such key, expected a positive number");
  CHECK_THAT(error({{"score_bound_value", 0}}), StartsWith("c.json: merganser.score_bound_value: got 0"));
  for (const Json& blocks : {Json{1, 1}, Json{1, 0}, Json{0, 2}, Json{1, 3}, Json{-1, 1}, Json{1, 1.5}, Json(1)})
    CHECK_THAT(error({{"gate_blocks", blocks}}), StartsWith("c.json: merganser.gate_blocks: got "));
}

TEST_CASE("a number that is infinite as float is refused, and one that is 0 or 1 where that is none", "[HfConfig]") {
  Json object = mrt5();
  object["merganser"] = {{"score_bound", "soft_cap"}, {"score_bound_value", 8.0}};
  for (const char* key : {"layer_norm_epsilon", "initializer_factor", "deletion_threshold"})
    CHECK_THAT(error_with(object, key, 1e39), StartsWith("c.json: " + std::string(key) + ": got 1e+39, expected"));
  CHECK_THAT(error_with(object, "sigmoid_mask_scale", -1e39), StartsWith("c.json: sigmoid_mask_scale: got -1e+39"));
  CHECK_THAT(error_with(object, "dropout_rate", 1 - 1e-12), StartsWith("c.json: dropout_rate: got 0.9999"));
  for (const double bound : {1e39, 1e-60}) {
    object["merganser"]["score_bound_value"] = bound;
    CHECK_THAT(error_of(object), StartsWith("c.json: merganser.score_bound_value: got "));
  }
  Json pooled = t5();
  pooled.update(
      {{"boundary_predictor_layer", 1}, {"boundary_predictor_type", "gumbel"}, {"prior", 0.2}, {"temperature", 0.5}});
  CHECK(error_of(pooled).empty());
  for (const double temperature : {1e39, 1e-60})
    CHECK_THAT(error_with(pooled, "temperature", temperature), StartsWith("c.json: temperature: got "));
  for (const double prior : {1e-60, 1 - 1e-12})
    CHECK_THAT(error_with(pooled, "prior", prior), StartsWith("c.json: prior: got "));
}

TEST_CASE("a pad may be missing by name", "[HfConfig]") {
  Json object = t5();
  CHECK(parsed(object).pad_token_id == 0);
  object["pad_token_id"] = nullptr;
  CHECK_FALSE(parsed(object).pad_token_id.has_value());
}

TEST_CASE("decoder outputs are scaled as the file says, else as the tie does", "[HfConfig]") {
  Json object = t5();
  CHECK(parsed(object).scale_decoder_outputs);
  object["tie_word_embeddings"] = false;
  CHECK_FALSE(parsed(object).scale_decoder_outputs);
  object["scale_decoder_outputs"] = true;
  CHECK(parsed(object).scale_decoder_outputs);
  object["tie_word_embeddings"] = true;
  object["scale_decoder_outputs"] = false;
  CHECK_FALSE(parsed(object).scale_decoder_outputs);
  CHECK(error_with(object, "scale_decoder_outputs", 1) ==
        "c.json: scale_decoder_outputs: got 1, expected true or false");
}

TEST_CASE("what is passed over is said", "[HfConfig]") {
  const auto warnings = [](const Json& object, const io::MissingGateKeys& missing = {}) {
    std::string all;
    io::parse_hf_config(object.dump(), "c.json", missing, [&](const std::string& text) { all += text + "\n"; });
    return all;
  };
  CHECK(warnings(mrt5()).empty());
  Json object = t5();
  object.update({{"use_cache", true}, {"torch_dtype", "float32"}, {"transformers_version", "5.0.0"}});
  CHECK(warnings(object).empty());
  object["attention_window"] = 512;
  CHECK(warnings(object) == "c.json: attention_window: is passed over: no key that models are made of here\n");
  object.erase("attention_window");
  object["delete_gate_layer"] = 1;
  CHECK(warnings(object) == "c.json: delete_gate_layer: is passed over, as model_type is not \"mrt5\"\n");
  io::MissingGateKeys missing;
  missing.delete_gate_layer = 2;
  CHECK(warnings(mrt5(), missing) == "c.json: delete_gate_layer: is 1; 2, given for a missing key, is passed over\n");
  missing.delete_gate_layer = 1;
  CHECK(warnings(mrt5(), missing).empty());
}

TEST_CASE("hostile text is an IoError", "[HfConfig]") {
  CHECK(testing::io_error([] { io::parse_hf_config(std::string(1'000'001, ' '), "c.json"); }) ==
        "c.json: file: got 1000001 bytes, expected at most 1000000 bytes");
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string("\xff"),
                                  R"({"d_model":1,"d_model":1})" + std::string(), std::string(1'000'000, '['),
                                  R"({"x":)" + std::string(100, '[') + std::string(100, ']') + "}"})
    CHECK_THROWS_AS(io::parse_hf_config(text, "c.json"), IoError);
}

TEST_CASE("a config that could not be read back is not written", "[HfConfig]") {
  HfConfig config = parsed(mrt5());
  CHECK_NOTHROW(io::to_json(config));
  config.d_model = 0;
  CHECK_THROWS_WITH(io::to_json(config), StartsWith("to_json: config: d_model: got 0"));
  config = parsed(mrt5());
  config.deletion_threshold = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(io::to_json(config), std::invalid_argument);
  config = parsed(mrt5());
  config.fixed_deletion_amount = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(io::to_json(config), std::invalid_argument);
  config = parsed(mrt5());
  config.sigmoid_mask_scale.reset();
  CHECK_THROWS_AS(io::to_json(config), std::invalid_argument);
  CHECK_THROWS_AS(io::to_json(HfConfig()), std::invalid_argument);
}

TEST_CASE("numbers keep every digit", "[HfConfig]") {
  HfConfig config = parsed(mrt5());
  config.dropout_rate = 0.1 + 0.2;
  config.layer_norm_epsilon = 1e-300;
  config.deletion_threshold = -std::numeric_limits<double>::denorm_min();
  CHECK(io::parse_hf_config(io::to_json(config), "c.json") == config);
}

TEST_CASE("every golden config is read, written and read again", "[HfConfig][golden]") {
  const merganser::testing::TemporaryDirectory directory;
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(merganser::testing::golden_dir())) {
    if (!entry.is_directory()) continue;
    ++cases;
    INFO(entry.path());
    const HfConfig config = io::read_hf_config(entry.path() / "config.json");
    const Json original = Json::parse(io::read_text_file(entry.path() / "config.json"));
    io::write_file_atomically(directory / "config.json", io::to_json(config));
    CHECK(io::read_hf_config(directory / "config.json") == config);
    // Whatever we write, the original says the same where it says anything.
    const Json written = Json::parse(io::read_text_file(directory / "config.json"));
    for (const auto& [key, value] : written.items()) {
      INFO(key);
      if (key != "architectures" && original.contains(key)) CHECK(original.at(key) == value);
    }
    CHECK(config.delete_gate_layer.has_value() == (config.model_type == HfConfig::ModelType::mrt5));
  }
  CHECK(cases > 0);
  CHECK_THROWS_AS(io::read_hf_config(directory / "missing.json"), IoError);
}

}  // namespace hf_config_test
