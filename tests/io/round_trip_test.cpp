// Files of the library in a reader of their own, files of a writer of their own in the library.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <merganser/io/models/model_directory.hpp>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/plain_safetensors.hpp"

namespace round_trip_test {

using namespace merganser;
using namespace merganser::testing;
using Model = models::EncoderDecoder<float>;

Model tiny_model(models::Head head = models::Head::untied) {
  Design<Model> design;
  design.vocabulary = 11;
  design.encoder = tiny_stack();
  design.decoder_blocks = 1;
  design.head = head;
  design.gates.push_back(gate_at(1));
  Model model = design.make();
  fill_model(model, 1);
  return model;
}

/// What a file of the model has to be, tensor by tensor.
PlainFile plain_file_of(Model& model, const std::string& dtype = "F32") {
  const PlainFloat& type = plain_float(dtype);
  PlainFile file;
  file.metadata["format"] = "pt";
  for (const auto& view : parameter_views(model)) {
    PlainTensor tensor{dtype, {static_cast<std::uint64_t>(view.cols)}, ""};
    if (!view.is_vector) tensor.shape.insert(tensor.shape.begin(), static_cast<std::uint64_t>(view.rows));
    for (Index i = 0; i < view.size(); ++i) tensor.data += plain_number(type, static_cast<double>(view.data[i]));
    file.tensors.emplace_back(view.name, tensor);
  }
  return file;
}

/// The numbers of all tensors of a file, one after another.
std::vector<double> values_of(const PlainFile& file) {
  std::vector<double> values;
  for (const auto& [name, tensor] : file.tensors) {
    const PlainFloat& type = plain_float(tensor.dtype);
    const auto size = static_cast<std::size_t>(type.bytes);
    for (std::size_t at = 0; at < tensor.data.size(); at += size)
      values.push_back(plain_value(type, tensor.data.substr(at, size)));
  }
  return values;
}

std::vector<double> values_of(const Model& model) {
  const auto numbers = numbers_of(model);
  return {numbers.begin(), numbers.end()};
}

io::DataType data_type(const std::string& name) { return io::data_type_named(name).value(); }

/// The same bytes, told apart at the first that differs.
void require_same_bytes(const std::string& got, const std::string& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    if (got[i] != expected[i]) FAIL("byte " << i << " of " << got.size());
}

TEST_CASE("a saved model is, byte by byte, the file that the format asks for", "[round_trip]") {
  const std::string dtype = GENERATE(as<std::string>(), "F32", "F16", "BF16", "F64");
  const models::Head head = GENERATE(models::Head::untied, models::Head::tied);
  INFO(dtype);
  const TemporaryDirectory directory;
  Model model = tiny_model(head);
  io::save_model(model, directory.path(), {.dtype = data_type(dtype), .max_shard_bytes = {}});
  const std::string bytes = io::read_text_file(directory / "model.safetensors");
  const PlainFile expected = plain_file_of(model, dtype);
  const auto [header, data] = split_safetensors(bytes);
  REQUIRE(header.substr(0, 34) == R"({"__metadata__":{"format":"pt"},"s)");
  require_same_bytes(header, plain_header(expected));
  require_same_bytes(bytes, write_plain_safetensors(expected));
  CHECK(read_aligned_safetensors(bytes) == expected);
  // One table more with a head of its own.
  std::size_t heads = 0;
  for (const auto& [name, tensor] : expected.tensors) heads += name == "lm_head.weight" ? 1 : 0;
  CHECK(heads == (head == models::Head::untied ? 1U : 0U));
  CHECK(values_of(io::load_model<float>(directory.path())) == values_of(expected));
}

TEST_CASE("a file of another writer is the model", "[round_trip]") {
  const std::string dtype = GENERATE(as<std::string>(), "F32", "F16", "BF16", "F64");
  const models::Head head = GENERATE(models::Head::untied, models::Head::tied);
  INFO(dtype);
  const TemporaryDirectory directory;
  Model model = tiny_model(head);
  io::save_model(model, directory.path());
  PlainFile file = plain_file_of(model, dtype);
  const std::vector<double> expected = values_of(file);
  if (dtype == "F32" || dtype == "F64") REQUIRE(expected == values_of(model));
  std::string blanks;
  SECTION("in the same order") {}
  SECTION("in another order, without metadata") {
    std::reverse(file.tensors.begin(), file.tensors.end());
    file.metadata.clear();
  }
  SECTION("with many blanks behind the header") { blanks.assign(1001, ' '); }
  SECTION("with a copy of the embedding and a table that nothing reads") {
    file.tensors.insert(file.tensors.begin() + 2, {"encoder.embed_tokens.weight", file.tensors[0].second});
    file.tensors.push_back({"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
                            {dtype, {1}, plain_number(plain_float(dtype), 1)}});
  }
  SECTION("with the embedding under another name alone") {
    REQUIRE(file.tensors[0].first == "shared.weight");
    file.tensors[0].first = "decoder.embed_tokens.weight";
  }
  const std::string bytes = write_plain_safetensors(file);
  const auto [header, data] = split_safetensors(bytes);
  const std::uint64_t length = header.size() + blanks.size();
  std::string prefix;
  for (std::uint64_t i = 0; i < 8; ++i) prefix += static_cast<char>((length >> (8 * i)) & 0xff);
  io::write_file_atomically(directory / "model.safetensors", prefix + header + blanks + data);
  for (const io::Mapping mapping : {io::Mapping::mapped, io::Mapping::in_memory}) {
    io::LoadModelOptions options;
    options.mapping = mapping;
    CHECK(values_of(io::load_model<float>(directory.path(), options)) == expected);
  }
}

TEST_CASE("shards go both ways", "[round_trip]") {
  const std::string dtype = GENERATE(as<std::string>(), "F32", "F16", "BF16", "F64");
  const models::Head head = GENERATE(models::Head::untied, models::Head::tied);
  INFO(dtype);
  const TemporaryDirectory directory;
  Model model = tiny_model(head);
  io::save_model(model, directory / "ours", {.dtype = data_type(dtype), .max_shard_bytes = 1000});
  const PlainFile whole = plain_file_of(model, dtype);
  const std::vector<double> expected = values_of(whole);

  std::size_t next = 0, files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "ours"))
    if (entry.path().extension() == ".safetensors") ++files;
  REQUIRE(files > 2);
  const auto number = [](std::size_t i) {
    const std::string digits = std::to_string(i);
    return std::string(5 - digits.size(), '0') + digits;
  };
  for (std::size_t i = 1; i <= files; ++i) {
    const std::string name = "model-" + number(i) + "-of-" + number(files) + ".safetensors";
    const std::string bytes = io::read_text_file(directory.path() / "ours" / name);
    const PlainFile part = read_aligned_safetensors(bytes);
    CHECK(part.metadata == whole.metadata);
    for (const auto& tensor : part.tensors) REQUIRE(tensor == whole.tensors.at(next++));
    require_same_bytes(bytes, write_plain_safetensors(part));
  }
  CHECK(next == whole.tensors.size());
  CHECK(values_of(io::load_model<float>(directory / "ours")) == expected);

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
  CHECK(values_of(io::load_model<float>(theirs)) == expected);
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

}  // namespace round_trip_test
