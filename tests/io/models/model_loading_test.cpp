#include <merganser/io/models/model_loading.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <merganser/io/models/model_directory.hpp>

#include "io/safetensors_bytes.hpp"
#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace model_loading_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using Model = models::EncoderDecoder<float>;

Model tiny_model(const std::vector<Index>& gates = {1}, models::Head head = models::Head::untied) {
  Design<Model> design;
  design.vocabulary = 11;
  design.encoder = tiny_stack();
  design.decoder_blocks = 1;
  design.head = head;
  for (const Index block : gates) design.gates.push_back(gate_at(block));
  Model model = design.make();
  fill_model(model, 1);
  return model;
}

std::string error_of(const std::filesystem::path& directory, const LoadModelOptions& options = {}) {
  return error_text<IoError>([&] { load_model<float>(directory, options); });
}

void replace_in_file(const std::filesystem::path& path, const std::string& from, const std::string& to) {
  std::string text = read_text_file(path);
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  write_file_atomically(path, text.replace(at, from.size(), to));
}

/// The tensors of a model in one file, with changes.
struct FileChange {
  std::string left_out = {};
  std::string extra = {};
  float extra_first = 0;  ///< added to the first number of the extra copy of the embedding
};

void write_weights(Model& model, const std::filesystem::path& directory, const FileChange& change) {
  SafetensorsWriter writer;
  const auto views = parameter_views(model);
  for (const auto& view : views)
    if (view.name != change.left_out) writer.add(view.name, view);
  Matrix<float> copy = model.shared.weight;
  copy(0, 0) += change.extra_first;
  if (!change.extra.empty())
    writer.add(change.extra, ParameterView<float>{"", copy.data(), copy.rows(), copy.cols(), false});
  writer.write(directory / "model.safetensors");
}

TEST_CASE("a directory loads mapped and in memory alike", "[model_loading]") {
  const TemporaryDirectory directory;
  const Model model = tiny_model();
  for (const WeightFormat& format : {WeightFormat{}, WeightFormat{{}, 1000}}) {
    save_model(model, directory.path(), format);
    for (const Mapping mapping : {Mapping::mapped, Mapping::in_memory}) {
      LoadModelOptions options;
      options.mapping = mapping;
      CHECK(numbers_of(load_model<float>(directory.path(), options)) == numbers_of(model));
    }
  }
  // A model may be saved over the directory that it was mapped from.
  Model again = load_model<float>(directory.path());
  save_model(again, directory.path());
  CHECK(numbers_of(load_model<float>(directory.path())) == numbers_of(model));
}

TEST_CASE("weights in every floating type load", "[model_loading]") {
  const TemporaryDirectory directory;
  const Model model = tiny_model();
  const auto exact = numbers_of(model);
  for (const auto& [dtype, error] : {std::pair(DataType::f64, 0.0F), std::pair(DataType::f32, 0.0F),
                                     std::pair(DataType::f16, 0x1p-11F), std::pair(DataType::bf16, 0x1p-8F)}) {
    save_model(model, directory.path(), {dtype, {}});
    CHECK(SafetensorsFile::open(directory / "model.safetensors").tensor("shared.weight").dtype == dtype);
    const auto rounded = numbers_of(load_model<float>(directory.path()));
    REQUIRE(rounded.size() == exact.size());
    for (Index i = 0; i < exact.size(); ++i)
      REQUIRE(std::abs(rounded[i] - exact[i]) <= error * std::abs(exact[i]) + (error > 0 ? 1e-7F : 0.0F));
  }
}

TEST_CASE("a missing key of the gate is an error unless the caller gives it", "[model_loading]") {
  const TemporaryDirectory directory;
  const Model model = tiny_model();
  save_model(model, directory.path());
  const auto drop = [&](const std::string& key) {
    replace_in_file(directory / "config.json", "\"" + key + "\"", "\"was_" + key + "\"");
  };
  drop("delete_gate_layer");
  CHECK_THAT(error_of(directory.path()), ContainsSubstring("config.json: delete_gate_layer: got no such key"));
  LoadModelOptions options;
  options.missing.delete_gate_layer = 1;
  CHECK(numbers_of(load_model<float>(directory.path(), options)) == numbers_of(model));
  drop("sigmoid_mask_scale");
  CHECK_THAT(error_of(directory.path(), options),
             ContainsSubstring("config.json: sigmoid_mask_scale: got no such key"));
  options.missing.sigmoid_mask_scale = -12.5;
  drop("deletion_threshold");
  CHECK_THAT(error_of(directory.path(), options),
             ContainsSubstring("config.json: deletion_threshold: got no such key"));
  options.missing.deletion_threshold = -3.25;
  const Model loaded = load_model<float>(directory.path(), options);
  const auto* gate = loaded.encoder.policies[0].policy.target<merge::GatedDeletion<float, merge::DeleteGate<float>>>();
  REQUIRE(gate != nullptr);
  CHECK(gate->inner().config().scale == -12.5);
  CHECK(gate->threshold() == -3.25);
  options.missing.delete_gate_layer = 2;
  CHECK_THAT(error_of(directory.path(), options), ContainsSubstring("delete_gate_layer: got 2"));
}

TEST_CASE("mT5 and ByT5 directories load", "[model_loading]") {
  const TemporaryDirectory directory;
  Model::Config config;
  config.vocabulary = 384;
  config.encoder = tiny_stack();
  config.encoder.activation = nn::Activation::gated_gelu;
  config.encoder.softmax = nn::SoftmaxKind::softmax;
  config.decoder_blocks = 1;
  Model model(config);
  fill_model(model, 1);
  save_model(model, directory.path());
  CHECK_THAT(read_text_file(directory / "config.json"), ContainsSubstring("\"model_type\": \"t5\""));
  CHECK(numbers_of(load_model<float>(directory.path())) == numbers_of(model));
  const std::string mt5 =
      R"({"model_type": "mt5", "vocab_size": 384, "d_model": 6, "d_kv": 4, "d_ff": 5, "num_heads": 2, "num_layers": 2,
          "num_decoder_layers": 1, "relative_attention_num_buckets": 6, "relative_attention_max_distance": 4})";
  write_file_atomically(directory / "config.json", mt5);
  const Model loaded = load_model<float>(directory.path());
  CHECK(numbers_of(loaded) == numbers_of(model));
  CHECK(loaded.config().head == models::Head::untied);
  write_file_atomically(directory / "config.json", mt5.substr(0, mt5.size() - 1) + R"(, "is_decoder": true})");
  CHECK_THAT(error_of(directory.path()), ContainsSubstring("config.json: is_decoder: got true, expected false"));
}

TEST_CASE("the embedding may come under its other names", "[model_loading]") {
  const TemporaryDirectory directory;
  const models::Head head = GENERATE(models::Head::untied, models::Head::tied);
  Model model = tiny_model({1}, head);
  save_model(model, directory.path());
  for (const char* alias : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}) {
    write_weights(model, directory.path(), {.left_out = "shared.weight", .extra = alias});
    CHECK(numbers_of(load_model<float>(directory.path())) == numbers_of(model));
    write_weights(model, directory.path(), {.left_out = "", .extra = alias, .extra_first = 1});
    CHECK(error_of(directory.path()) == (directory / "model.safetensors").string() + ": " + alias +
                                            ": got a tensor of its own, expected a copy of shared.weight");
  }
  write_weights(model, directory.path(), {.left_out = "shared.weight"});
  CHECK_THAT(error_of(directory.path()), ContainsSubstring(": shared.weight: got no such tensor"));
  if (head == models::Head::tied) {
    write_weights(model, directory.path(), {.left_out = "", .extra = "lm_head.weight"});
    CHECK(numbers_of(load_model<float>(directory.path())) == numbers_of(model));
    write_weights(model, directory.path(), {.left_out = "", .extra = "lm_head.weight", .extra_first = 1});
    const Model own = load_model<float>(directory.path());
    CHECK(own.config().head == models::Head::untied);
    CHECK(own.lm_head.weight.matrix()(0, 0) == model.shared.weight(0, 0) + 1);
  } else {
    write_weights(model, directory.path(), {.left_out = "lm_head.weight"});
    CHECK_THAT(error_of(directory.path()), ContainsSubstring(": lm_head.weight: got no such tensor"));
  }
}

TEST_CASE("a tensor that can be no parameter is passed over, and that is said", "[model_loading]") {
  const TemporaryDirectory directory;
  const Model model = tiny_model();
  save_model(model, directory.path());
  std::vector<std::byte> file = read_file(directory / "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  std::string header(reinterpret_cast<const char*>(file.data()) + sizeof length, length);
  const std::size_t end = file.size() - sizeof length - length;
  const auto with_extra = [&](const std::string& dtype) {
    std::string longer = header.substr(0, header.rfind('}')) + R"(,"extra":{"dtype":")" + dtype +
                         R"(","shape":[1],"data_offsets":[)" + std::to_string(end) + "," + std::to_string(end + 4) +
                         "]}}";
    std::vector<std::byte> data(file.begin() + static_cast<std::ptrdiff_t>(sizeof length + length), file.end());
    data.resize(data.size() + 4);
    write_file_atomically(directory / "model.safetensors", safetensors_bytes(longer.size(), longer, data));
  };
  std::string heard;
  LoadModelOptions options;
  options.on_warning = [&](const std::string& text) { heard = text; };
  for (const char* dtype : {"U32", "I32"}) {
    with_extra(dtype);
    heard.clear();
    CHECK(numbers_of(load_model<float>(directory.path(), options)) == numbers_of(model));
    CHECK(heard == (directory / "model.safetensors").string() + ": extra: is passed over: no parameter is " + dtype);
    CHECK_NOTHROW(load_for_inference<float>(directory.path()));
  }
  with_extra("F32");
  CHECK_THAT(error_of(directory.path()), ContainsSubstring(": extra: got an unknown tensor"));
}

TEST_CASE("a weight that is not finite is named", "[model_loading]") {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  model.decoder.blocks[0].feed_forward.wo.weight.matrix()(2, 3) = std::numeric_limits<float>::infinity();
  save_model(model, directory.path());
  CHECK(error_of(directory.path()) == (directory / "model.safetensors").string() +
                                          ": decoder.block.0.layer.2.DenseReluDense.wo.weight: got inf at [2, 3], "
                                          "expected numbers that are finite as float");
  LoadModelOptions options;
  options.non_finite = NonFinite::accept;
  CHECK(numbers_of(load_model<float>(directory.path(), options)) == numbers_of(model));
}

TEST_CASE("a config that asks for more than the weights hold takes no memory", "[model_loading]") {
  const TemporaryDirectory directory;
  save_model(tiny_model(), directory.path());
  const std::string config = read_text_file(directory / "config.json");
  for (const char* key : {"d_model", "d_ff", "d_kv", "num_heads", "vocab_size", "num_layers", "num_decoder_layers"}) {
    INFO(key);
    const std::string field = "\"" + std::string(key) + "\": ";
    const std::size_t begin = config.find(field) + field.size(), end = config.find_first_of(",\n", begin);
    std::string absurd = config;
    write_file_atomically(directory / "config.json", absurd.replace(begin, end - begin, "2147483647"));
    CHECK_THAT(error_of(directory.path()),
               StartsWith((directory / "config.json").string() + ": sizes: got a model of ") &&
                   ContainsSubstring("model.safetensors"));
  }
}

TEST_CASE("small blocks without end and wide convolutions take no memory either", "[model_loading]") {
  const TemporaryDirectory directory;
  save_model(tiny_model(), directory.path());
  const std::string smallest = R"({"model_type":"t5","vocab_size":3,"d_model":1,"d_kv":1,"d_ff":1,"num_heads":1,)";
  SECTION("blocks of the encoder") {
    write_file_atomically(directory / "config.json", smallest + R"("num_layers":1000000,"num_decoder_layers":0})");
    CHECK_THAT(error_of(directory.path()), ContainsSubstring("sizes: got a model of 1000000 blocks, expected fewer"));
  }
  SECTION("blocks of the decoder") {
    write_file_atomically(directory / "config.json", smallest + R"("num_layers":1,"num_decoder_layers":1000000})");
    CHECK_THAT(error_of(directory.path()), ContainsSubstring("sizes: got a model of 1000001 blocks, expected fewer"));
  }
  SECTION("the convolution of a pooling") {
    const std::string wide =
        R"({"model_type":"t5","vocab_size":3,"d_model":100,"d_kv":1,"d_ff":1,"num_heads":1,"num_layers":1,)";
    write_file_atomically(directory / "config.json", wide + R"("downsampling_layer":0,"downsampling_rate":65536})");
    CHECK_THAT(error_of(directory.path()), ContainsSubstring("sizes: got a model of 6.55"));
  }
}

TEST_CASE("damaged shards are errors", "[model_loading]") {
  const TemporaryDirectory directory;
  save_model(tiny_model(), directory.path(), {{}, 2000});
  const std::filesystem::path index = directory / "model.safetensors.index.json";
  const std::string first = parse_shard_index(read_text_file(index), "i").weight_map.at("shared.weight");
  SECTION("a shard is missing") {
    std::filesystem::remove(directory / first);
    CHECK_THAT(error_of(directory.path()), StartsWith((directory / first).string() + ": file: got no such file"));
  }
  SECTION("a shard is cut short") {
    std::filesystem::resize_file(directory / first, std::filesystem::file_size(directory / first) - 1);
    CHECK_THAT(error_of(directory.path()), StartsWith((directory / first).string()));
  }
  SECTION("the index is missing") {
    std::filesystem::remove(index);
    CHECK_THAT(error_of(directory.path()), ContainsSubstring("model.safetensors: file: got no such file"));
  }
  SECTION("the index names another file") {
    replace_in_file(index, "\"shared.weight\": \"" + first, "\"shared.weight\": \"../" + first);
    CHECK_THAT(error_of(directory.path()), StartsWith(index.string() + ": weight_map.shared.weight: got \"../"));
  }
}

}  // namespace model_loading_test
