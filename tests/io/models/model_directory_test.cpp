#include <merganser/io/models/model_directory.hpp>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/golden_dir.hpp"
#include "support/laws.hpp"

namespace model_directory_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using models::EncoderDecoder;

template <Real Scalar>
using Config = Design<EncoderDecoder<Scalar>>;

template <Real Scalar>
Config<Scalar> config_of(const std::vector<Index>& gates) {
  Config<Scalar> config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  config.decoder_blocks = 3;
  config.start = 2;
  for (const Index block : gates) config.gates.push_back(gate_at(block));
  return config;
}

template <Real Scalar>
EncoderDecoder<Scalar> model_of(const Config<Scalar>& config) {
  EncoderDecoder<Scalar> model = config.make();
  fill_model(model, 1);
  return model;
}

template <Real Scalar>
Matrix<Scalar> logits_of(const EncoderDecoder<Scalar>& model, merge::DeletionMode mode = merge::DeletionMode::hard) {
  typename EncoderDecoder<Scalar>::ForwardOptions options;
  options.deletion = deletion(mode);
  Rng rng(5);
  options.rng = &rng;
  return model.forward_targets(random_tokens({3, 1, 5, 0}, 11, 2), random_tokens({2, 4, 1, 3}, 11, 3), options).logits;
}

/// Saves, loads, and requires the same bits of every weight and every logit, and the same config.
template <Real Scalar>
EncoderDecoder<Scalar> require_round_trip(const Config<Scalar>& config) {
  const TemporaryDirectory directory;
  const EncoderDecoder<Scalar> model = model_of<Scalar>(config);
  save_model(model, directory / "model");
  EncoderDecoder<Scalar> loaded = load_model<Scalar>(directory / "model");
  REQUIRE(numbers_of(loaded) == numbers_of(model));
  for (const auto mode : {merge::DeletionMode::none, merge::DeletionMode::soft, merge::DeletionMode::hard})
    REQUIRE(identical(logits_of(loaded, mode), logits_of(model, mode)));
  REQUIRE(hf_config(loaded) == hf_config(model));
  REQUIRE(loaded.config().encoder.score_bound == config.encoder.score_bound);
  REQUIRE(loaded.encoder.policies.size() == config.gates.size());
  return loaded;
}

std::string error_of_loading(const std::filesystem::path& directory) {
  return error_text<IoError>([&] { load_model<float>(directory); });
}

void replace_in_file(const std::filesystem::path& path, const std::string& from, const std::string& to) {
  std::string text = read_text_file(path);
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  write_file_atomically(path, text.replace(at, from.size(), to));
}

TEMPLATE_TEST_CASE("a saved model comes back with the same bits", "[model_directory]", float, double) {
  Config<TestType> config = config_of<TestType>({1});
  SECTION("one gate") {}
  SECTION("no gate") { config.gates.clear(); }
  SECTION("two gates, tied head") {
    config = config_of<TestType>({0, 1});
    config.head = models::Head::tied;
  }
  SECTION("absolute positions, ReLU, ordinary softmax") {
    config.encoder.positions = models::PositionScheme::absolute;
    config.encoder.activation = nn::Activation::relu;
    config.encoder.softmax = nn::SoftmaxKind::softmax;
  }
  SECTION("soft cap, dropout, another epsilon, another threshold") {
    config.encoder.score_bound = nn::ScoreBound::soft_cap(8);
    config.encoder.dropout = 0.125;
    config.encoder.norm_epsilon = 1e-5;
    config.gates[0].threshold = -4.5;
  }
  SECTION("normalised scores, log sigmoid without norm, noise") {
    config.encoder.score_bound = nn::ScoreBound::normalised(10);
    config.gates[0].activation = merge::GateActivation::log_sigmoid;
    config.gates[0].norm = merge::GateNorm::none;
    config.gates[0].noise = merge::GateNoise::gumbel;
  }
  SECTION("a random gate") {
    config.gates[0].kind = GateKind::random;
    config.gates[0].rate = 0.25;
  }
  SECTION("a fixed gate") {
    config.gates[0].kind = GateKind::fixed;
    config.gates[0].rate = 0.75;
    config.gates[0].separators = data::ByteTokenizer::separator_ids();
  }
  const EncoderDecoder<TestType> loaded = require_round_trip<TestType>(config);
  const Vector<GateConfig> gates = describe_policies(loaded.encoder.policies).gates;
  REQUIRE(gates.size() == config.gates.size());
  for (Index g = 0; g < config.gates.size(); ++g) {
    const GateConfig &gate = gates[g], &saved = config.gates[g];
    REQUIRE(gate.block == saved.block);
    REQUIRE(gate.kind == saved.kind);
    REQUIRE(gate.activation == saved.activation);
    REQUIRE(gate.scale == saved.scale);
    REQUIRE(io::detail::threshold_of(gate) == io::detail::threshold_of(saved));
    REQUIRE(gate.norm == saved.norm);
    REQUIRE(gate.noise == saved.noise);
    REQUIRE(gate.rate == saved.rate);
    REQUIRE(gate.separators == saved.separators);
  }
}

TEST_CASE("a model is two files with the names of Hugging Face, and can be saved again over itself",
          "[model_directory]") {
  const TemporaryDirectory directory;
  const EncoderDecoder<float> model = model_of<float>(config_of<float>({1}));
  save_model(model, directory / "a");
  save_model(model, directory / "a");
  save_model(model, directory.path() / "b" / "c");
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "a"))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  REQUIRE(names == std::vector<std::string>{"config.json", "model.safetensors"});
  REQUIRE(numbers_of(load_model<float>(directory.path() / "b" / "c")) == numbers_of(model));
  const SafetensorsFile file = SafetensorsFile::open(directory.path() / "a" / "model.safetensors");
  REQUIRE(file.contains("encoder.block.1.delete_gate.feed_forward.weight"));
  REQUIRE(file.contains("decoder.block.2.layer.1.EncDecAttention.q.weight"));
}

TEST_CASE("a model saved in one precision loads in the other", "[model_directory]") {
  const TemporaryDirectory directory;
  const EncoderDecoder<float> model = model_of<float>(config_of<float>({1}));
  save_model(model, directory / "float");
  const EncoderDecoder<double> wide = load_model<double>(directory / "float");
  REQUIRE(relative_difference(logits_of(wide), logits_of(model)) < 1e-4);
  save_model(wide, directory / "double");
  REQUIRE(numbers_of(load_model<float>(directory / "double")) == numbers_of(model));
}

TEST_CASE("every golden case of a T5 or MrT5 model loads", "[model_directory]") {
  int loaded = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden_dir())) {
    if (!std::filesystem::exists(entry.path() / "model.safetensors")) continue;
    const std::string config = read_text_file(entry.path() / "config.json");
    if (config.find("\"mrt5\"") == std::string::npos && config.find("\"t5\"") == std::string::npos) continue;
    CAPTURE(entry.path().string());
    EncoderDecoder<float> model = load_model<float>(entry.path());
    REQUIRE(all_finite(model));
    const TemporaryDirectory directory;
    save_model(model, directory / "copy");
    REQUIRE(numbers_of(load_model<float>(directory / "copy")) == numbers_of(model));
    ++loaded;
  }
  REQUIRE(loaded > 0);
}

TEST_CASE("copies of the embedding under the names of Hugging Face are read, other tensors are not",
          "[model_directory]") {
  const TemporaryDirectory directory;
  Config<float> config = config_of<float>({1});
  config.head = models::Head::tied;
  EncoderDecoder<float> model = model_of<float>(config);
  save_model(model, directory / "m");
  const auto write = [&](const std::string& name, float first) {
    SafetensorsWriter writer;
    const auto views = parameter_views(model);
    for (const auto& view : views) writer.add(view.name, view);
    Matrix<float> copy = model.shared.weight;
    copy(0, 0) += first;
    const std::vector<Index> shape{copy.rows(), copy.cols()};
    writer.add(name, shape, std::span<const float>(copy.data(), static_cast<std::size_t>(copy.size())));
    writer.write(directory.path() / "m" / "model.safetensors");
  };
  for (const char* alias : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}) {
    write(alias, 0);
    REQUIRE(numbers_of(load_model<float>(directory / "m")) == numbers_of(model));
    if (std::string(alias) == "lm_head.weight") continue;  // one of its own is a head of its own
    write(alias, 1);
    REQUIRE_THAT(error_of_loading(directory / "m"),
                 ContainsSubstring(alias) && ContainsSubstring("a copy of shared.weight"));
  }
  write("encoder.block.7.extra.weight", 0);
  REQUIRE_THAT(error_of_loading(directory / "m"),
               ContainsSubstring("encoder.block.7.extra.weight") && ContainsSubstring("an unknown tensor"));
}

TEST_CASE("what is missing, damaged or does not fit is an error that says where", "[model_directory]") {
  const TemporaryDirectory directory;
  const EncoderDecoder<float> model = model_of<float>(config_of<float>({1}));
  const std::filesystem::path saved = directory / "m", config = saved / "config.json",
                              weights = saved / "model.safetensors";
  REQUIRE_THAT(error_of_loading(directory / "nowhere"),
               ContainsSubstring("config.json") && ContainsSubstring("no such file"));
  save_model(model, saved);

  SECTION("no weights") {
    std::filesystem::remove(weights);
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("model.safetensors") && ContainsSubstring("no such file"));
  }
  SECTION("no config") {
    std::filesystem::remove(config);
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("config.json") && ContainsSubstring("no such file"));
  }
  SECTION("a config that is not JSON") {
    write_file_atomically(config, std::string_view("{\"d_model\": "));
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("config.json"));
  }
  SECTION("weights cut short") {
    std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 8);
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("model.safetensors"));
  }
  SECTION("an empty file of weights") {
    std::filesystem::resize_file(weights, 0);
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("model.safetensors"));
  }
  SECTION("another width") {
    replace_in_file(config, "\"d_model\": 6", "\"d_model\": 7");
    REQUIRE_THAT(error_of_loading(saved),
                 ContainsSubstring("shared.weight") && ContainsSubstring("[11, 6]") && ContainsSubstring("[11, 7]"));
  }
  SECTION("one block more") {
    replace_in_file(config, "\"num_layers\": 2", "\"num_layers\": 3");
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("encoder.block.2.layer.0.SelfAttention.q.weight"));
  }
  SECTION("one block fewer") {
    replace_in_file(config, "\"num_decoder_layers\": 3", "\"num_decoder_layers\": 2");
    REQUIRE_THAT(error_of_loading(saved),
                 ContainsSubstring("decoder.block.2.") && ContainsSubstring("an unknown tensor"));
  }
  SECTION("the gate elsewhere") {
    replace_in_file(config, "\"delete_gate_layer\": 1", "\"delete_gate_layer\": 0");
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("encoder.block.0.delete_gate"));
  }
  SECTION("the gate past the last block") {
    replace_in_file(config, "\"delete_gate_layer\": 1", "\"delete_gate_layer\": 2");
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("delete_gate_layer"));
  }
  SECTION("a model of another kind") {
    replace_in_file(config, "\"mrt5\"", "\"bert\"");
    REQUIRE_THAT(error_of_loading(saved), ContainsSubstring("model_type") && ContainsSubstring("bert"));
  }
}

TEST_CASE("a model that no config describes is refused before anything is written", "[model_directory]") {
  const TemporaryDirectory directory;
  Config<float> config = config_of<float>({0, 1});
  SECTION("gates that differ") { config.gates[1].scale = -20; }
  SECTION("a fixed gate with separators of its own") {
    config.gates.resize(1);
    config.gates[0].kind = GateKind::fixed;
    config.gates[0].separators = {4, 7};
  }
  SECTION("an end id outside of the vocabulary") { config.end = 11; }
  Vector<merge::Placement<float>> more;
  const merge::DeleteGate<float> gate({.width = config.encoder.width});
  SECTION("a gate behind the last block") { more = {merge::before_block(2, gate)}; }
  SECTION("a gate behind attention") { more = {merge::after_attention(1, gate)}; }
  SECTION("a gate beside another") { more = {merge::before_block(1, gate)}; }
  SECTION("a pooling beside gates") {
    more = {merge::before_block(1, merge::StridedPooling<float>({config.encoder.width, 2}))};
  }
  EncoderDecoder<float> model = model_of<float>(config);
  model.encoder.policies.append(more.begin(), more.end());
  REQUIRE_THROWS_AS(save_model(model, directory / "m"), std::invalid_argument);
  REQUIRE(directory.entries().empty());
}

TEST_CASE("what cannot be written is an error, and what stood there stays", "[model_directory]") {
  const TemporaryDirectory directory;
  const EncoderDecoder<float> model = model_of<float>(config_of<float>({1}));
  std::ofstream(directory / "file") << "here";
  REQUIRE_THROWS_AS(save_model(model, directory / "file"), IoError);
  REQUIRE_THROWS_AS(save_model(model, directory.path() / "file" / "deeper"), IoError);
  REQUIRE(read_text_file(directory / "file") == "here");
  REQUIRE(directory.entries() == std::vector<std::string>{"file"});
}

}  // namespace model_directory_test
