#include <merganser/io/models/hf_pooling.hpp>

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/io/models/model_directory.hpp>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/laws.hpp"

namespace hf_pooling_test {

using namespace merganser;
using namespace merganser::testing;
using Json = nlohmann::json;
using io::PoolingConfig;
using io::PoolingKind;
using models::EncoderDecoder;

Json t5() {
  return {{"model_type", "t5"}, {"vocab_size", 384}, {"d_model", 32},  {"d_kv", 8},
          {"d_ff", 64},         {"num_heads", 4},    {"num_layers", 3}};
}

Json bpt5() {
  Json object = t5();
  object["boundary_predictor_layer"] = 1;
  object["boundary_predictor_type"] = "gumbel";
  object["prior"] = 0.25;
  object["temperature"] = 0.75;
  return object;
}

Json canine() {
  Json object = t5();
  object["downsampling_layer"] = 2;
  object["downsampling_rate"] = 5;
  return object;
}

io::HfConfig parsed(const Json& object) { return io::parse_hf_config(object.dump(), "c.json"); }

std::string error_of(const Json& object) {
  return error_text<IoError>([&] { parsed(object); });
}

template <class Value>
std::string error_with(Json object, const std::string& key, const Value& value) {
  object[key] = value;
  return error_of(object);
}

std::string error_without(Json object, const std::string& key) {
  object.erase(key);
  return error_of(object);
}

TEST_CASE("the keys of a pooling are read and written back", "[hf_pooling]") {
  REQUIRE_FALSE(parsed(t5()).pooling);
  const auto boundaries = parsed(bpt5()), strided = parsed(canine());
  REQUIRE(boundaries.pooling == PoolingConfig{1, PoolingKind::boundaries, 0.25, 0.75});
  REQUIRE(strided.pooling ==
          PoolingConfig{2, PoolingKind::strided, PoolingConfig().prior, PoolingConfig().temperature, 5});
  REQUIRE(parsed(Json::parse(io::to_json(boundaries))) == boundaries);
  REQUIRE(parsed(Json::parse(io::to_json(strided))) == strided);
  REQUIRE(Json::parse(io::to_json(boundaries))["architectures"][0] == "BPT5ForConditionalGeneration");
  REQUIRE(Json::parse(io::to_json(strided))["architectures"][0] == "CanineT5ForConditionalGeneration");
}

TEST_CASE("without a pooling layer its other keys are passed over", "[hf_pooling]") {
  Json object = t5();
  object["temperature"] = -1.0;
  object["prior"] = "x";
  object["downsampling_rate"] = nullptr;
  object["boundary_predictor_layer"] = nullptr;
  REQUIRE_FALSE(parsed(object).pooling);
}

TEST_CASE("what is missing, unknown or out of range names its key", "[hf_pooling]") {
  const auto starts = [](const std::string& error, const std::string& key) {
    CAPTURE(error, key);
    REQUIRE(error.find(key) != std::string::npos);
  };
  for (const char* key : {"boundary_predictor_type", "prior", "temperature"}) starts(error_without(bpt5(), key), key);
  starts(error_without(canine(), "downsampling_rate"), "downsampling_rate");
  for (const char* type : {"unigram", "entropy", "whitespaces", ""})
    starts(error_with(bpt5(), "boundary_predictor_type", type), "\"gumbel\"");
  for (const double prior : {0.0, 1.0, -0.5}) starts(error_with(bpt5(), "prior", prior), "prior");
  for (const double temperature : {0.0, -1.0}) starts(error_with(bpt5(), "temperature", temperature), "temperature");
  for (const int layer : {-1, 3}) {
    starts(error_with(bpt5(), "boundary_predictor_layer", layer), "boundary_predictor_layer");
    starts(error_with(canine(), "downsampling_layer", layer), "downsampling_layer");
  }
  for (const int rate : {0, -4}) starts(error_with(canine(), "downsampling_rate", rate), "downsampling_rate");
  starts(error_with(canine(), "downsampling_rate", 2.5), "downsampling_rate");
  starts(error_with(bpt5(), "downsampling_layer", 1), "downsampling_layer");
  Json mrt5 = bpt5();
  mrt5["model_type"] = "mrt5";
  mrt5["delete_gate_layer"] = 1;
  mrt5["deletion_threshold"] = -15.0;
  mrt5["sigmoid_mask_scale"] = -30.0;
  mrt5["deletion_type"] = "scaled_sigmoid";
  starts(error_of(mrt5), "gates or a pooling");
}

TEMPLATE_TEST_CASE("a model with a pooling comes back with the same bits", "[hf_pooling]", float, double) {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided})
    for (const Index rate : {1, 3}) {
      Design<EncoderDecoder<TestType>> design;
      design.vocabulary = 11;
      design.encoder = tiny_stack();
      design.pooling = PoolingConfig{1, kind, 0.4, 0.3, rate};  // more than either kind uses
      EncoderDecoder<TestType> model = design.make();
      fill_model(model, 1);
      const TemporaryDirectory directory;
      io::save_model(model, directory / "model");
      EncoderDecoder<TestType> loaded = io::load_model<TestType>(directory / "model");
      REQUIRE(numbers_of(loaded) == numbers_of(model));
      REQUIRE(io::describe_policies(loaded.encoder.policies).pooling == io::detail::used_settings(*design.pooling));
      const TokenBatch source = random_tokens({3, 1, 5, 0}, 11, 2), target = random_tokens({2, 4, 1, 3}, 11, 3);
      REQUIRE(identical(loaded.forward_targets(source, target, {}).logits,
                        model.forward_targets(source, target, {}).logits));
      const auto file = io::SafetensorsFile::open(directory / "model" / "model.safetensors");
      if (kind == PoolingKind::strided)
        REQUIRE(file.tensor("encoder.block.1.downsampling_module.conv.weight").shape == std::vector<Index>{6, 6, rate});
    }
}

}  // namespace hf_pooling_test
