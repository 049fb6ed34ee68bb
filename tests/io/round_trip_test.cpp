// Files of the library in a reader of their own, files of a writer of their own in the library.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <merganser/io/model_directory.hpp>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/plain_safetensors.hpp"

using namespace merganser;
using namespace merganser::testing;
using Model = models::EncoderDecoder<float>;

namespace {

Model tiny_model() {
  Model::Config config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  config.decoder_blocks = 1;
  config.gates.push_back(gate_at(1));
  Model model(config);
  fill_model(model, 1);
  return model;
}

/// What a file of the model has to be, tensor by tensor.
PlainFile plain_file_of(Model& model) {
  PlainFile file;
  file.metadata["format"] = "pt";
  for (const auto& view : parameter_views(model)) {
    PlainTensor tensor{"F32", {static_cast<std::uint64_t>(view.cols)}, ""};
    if (!view.is_vector) tensor.shape.insert(tensor.shape.begin(), static_cast<std::uint64_t>(view.rows));
    for (Index i = 0; i < view.size(); ++i) tensor.data += plain_f32(view.data[i]);
    file.tensors.emplace_back(view.name, tensor);
  }
  return file;
}

}  // namespace

TEST_CASE("a saved model is, byte by byte, the file that the format asks for", "[round_trip]") {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  io::save_model(model, directory.path());
  const std::string bytes = io::read_text_file(directory / "model.safetensors");
  const PlainFile expected = plain_file_of(model);
  const auto [header, data] = split_safetensors(bytes);
  CHECK(header.size() % 8 == 0);
  REQUIRE(header.substr(0, 34) == R"({"__metadata__":{"format":"pt"},"s)");
  const std::string expected_header = plain_header(expected);
  REQUIRE(header.size() == expected_header.size());
  for (std::size_t i = 0; i < header.size(); ++i) {
    INFO("byte " << i << " of the header");
    REQUIRE(header[i] == expected_header[i]);
  }
  const bool same = bytes == write_plain_safetensors(expected);
  CHECK(same);
  CHECK(read_plain_safetensors(bytes) == expected);
}

TEST_CASE("a file of another writer is the model", "[round_trip]") {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  io::save_model(model, directory.path());
  PlainFile file = plain_file_of(model);
  SECTION("in the same order") {}
  SECTION("in another order, without metadata") {
    std::reverse(file.tensors.begin(), file.tensors.end());
    file.metadata.clear();
  }
  SECTION("with a copy of the embedding and a table that nothing reads") {
    file.tensors.insert(file.tensors.begin() + 2, {"encoder.embed_tokens.weight", file.tensors[0].second});
    file.tensors.push_back(
        {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", {"F32", {1}, plain_f32(1)}});
  }
  SECTION("with the embedding under another name alone") {
    REQUIRE(file.tensors[0].first == "shared.weight");
    file.tensors[0].first = "decoder.embed_tokens.weight";
  }
  io::write_file_atomically(directory / "model.safetensors", write_plain_safetensors(file));
  for (const io::Mapping mapping : {io::Mapping::mapped, io::Mapping::in_memory}) {
    io::LoadModelOptions options;
    options.mapping = mapping;
    CHECK(numbers_of(io::load_model<float>(directory.path(), options)) == numbers_of(model));
  }
}

TEST_CASE("shards go both ways", "[round_trip]") {
  const TemporaryDirectory directory;
  Model model = tiny_model();
  io::save_model(model, directory / "ours", {.dtype = {}, .max_shard_bytes = 2000});
  const PlainFile whole = plain_file_of(model);

  std::size_t next = 0, files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "ours"))
    if (entry.path().extension() == ".safetensors") ++files;
  REQUIRE(files > 2);
  for (std::size_t i = 1; i <= files; ++i) {
    const std::string name = "model-0000" + std::to_string(i) + "-of-0000" + std::to_string(files) + ".safetensors";
    const std::string bytes = io::read_text_file(directory.path() / "ours" / name);
    const PlainFile part = read_plain_safetensors(bytes);
    CHECK(part.metadata == whole.metadata);
    for (const auto& tensor : part.tensors) REQUIRE(tensor == whole.tensors.at(next++));
    CHECK(bytes == write_plain_safetensors(part));
  }
  CHECK(next == whole.tensors.size());

  const std::filesystem::path theirs = directory / "theirs";
  std::filesystem::create_directory(theirs);
  std::filesystem::copy_file(directory.path() / "ours" / "config.json", theirs / "config.json");
  PlainFile even, odd;
  std::string map;
  for (std::size_t i = 0; i < whole.tensors.size(); ++i) {
    (i % 2 == 0 ? even : odd).tensors.push_back(whole.tensors[i]);
    map += (i == 0 ? "\"" : ",\"") + whole.tensors[i].first + "\":\"" + (i % 2 == 0 ? "even" : "odd") + "\"";
  }
  io::write_file_atomically(theirs / "even", write_plain_safetensors(even));
  io::write_file_atomically(theirs / "odd", write_plain_safetensors(odd));
  io::write_file_atomically(theirs / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  CHECK(numbers_of(io::load_model<float>(theirs)) == numbers_of(model));
}

TEST_CASE("both readers see the same in every golden file", "[round_trip][golden]") {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(golden_dir())) {
    if (entry.path().extension() != ".safetensors") continue;
    ++files;
    INFO(entry.path());
    const std::string bytes = io::read_text_file(entry.path());
    const PlainFile plain = read_plain_safetensors(bytes);
    const io::SafetensorsFile file = io::SafetensorsFile::open(entry.path());
    CHECK(plain.metadata == file.metadata());
    REQUIRE(plain.tensors.size() == file.names().size());
    for (const auto& [name, tensor] : plain.tensors) {
      const io::TensorInfo& info = file.tensor(name);
      CHECK(tensor.dtype == io::name_of(info.dtype));
      CHECK(tensor.shape == std::vector<std::uint64_t>(info.shape.begin(), info.shape.end()));
      const bool same = tensor.data == std::string(reinterpret_cast<const char*>(info.bytes.data()), info.bytes.size());
      CHECK(same);
    }
  }
  CHECK(files > 0);
}
