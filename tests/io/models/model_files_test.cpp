#include <merganser/io/models/model_files.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <merganser/io/files/safetensors_writer.hpp>
#include <merganser/io/models/model_directory.hpp>

#include "io/safetensors_bytes.hpp"
#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/golden_dir.hpp"
#include "support/laws.hpp"

namespace model_files_test {

using namespace merganser;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using io::FileBytes;
using io::ModelFiles;
using io::TensorTable;
using Model = models::EncoderDecoder<float>;
using Names = std::vector<std::string>;

/// A file whose tensors are one float each: the number of letters of the file's name.
void write_file(const std::filesystem::path& path, const Names& tensors) {
  const std::vector<float> values{static_cast<float>(path.filename().string().size())};
  io::SafetensorsWriter writer;
  for (const std::string& tensor : tensors) writer.add(tensor, {1}, std::span<const float>(values));
  writer.write(path);
}

/// Two shards "s1" (a, b) and "s22" (c), and an index with the given text.
struct Shards {
  TemporaryDirectory directory;
  std::filesystem::path index = directory / std::string(io::shard_index_name);

  explicit Shards(const std::string& map, const std::string& metadata = R"({"total_size": 12})") {
    write_file(directory / "s1", {"a", "b"});
    write_file(directory / "s22", {"c"});
    io::write_file_atomically(index, R"({"metadata": )" + metadata + R"(, "weight_map": )" + map + "}");
  }

  std::string error() const {
    const std::string mapped = io_error([&] { io::open_weights(directory.path()); });
    CHECK(mapped == io_error([&] { io::open_weights(directory.path(), io::Mapping::in_memory); }));
    return mapped;
  }
  std::string path(const std::string& name) const { return (directory / name).string(); }
};

const char* const right_map = R"({"c": "s22", "a": "s1", "b": "s1"})";

/// The files of a directory as a program might have them that never saw the directory.
struct Buffers {
  std::map<std::string, std::vector<std::byte>> bytes;

  explicit Buffers(const std::filesystem::path& directory) {
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      bytes[entry.path().filename().string()] = io::read_file(entry.path());
  }

  std::string text(const std::string& name) const {
    return {reinterpret_cast<const char*>(bytes.at(name).data()), bytes.at(name).size()};
  }

  ModelFiles files() const {
    ModelFiles result;
    result.config = text("config.json");
    for (const auto& [name, content] : bytes) {
      if (name == "model.safetensors.index.json") result.shard_index = text(name);
      if (name.starts_with("model") && name.ends_with(".safetensors"))
        result.weights[name] = FileBytes::borrowed(content);
    }
    return result;
  }
};

std::string error_of(const ModelFiles& files) {
  return io_error([&] { io::load_model<float>(files); });
}

Model tiny_model() {
  Design<Model> design;
  design.vocabulary = 11;
  design.encoder = tiny_stack();
  design.decoder_blocks = 1;
  design.gates.push_back(gate_at(1));
  Model model = design.make();
  fill_model(model, 1);
  return model;
}

/// The buffers of a small model, in shards of so many bytes, whose directory is gone.
Buffers buffers_of(const Model& model, std::optional<std::uint64_t> shard_bytes = {}) {
  const TemporaryDirectory directory;
  io::save_model(model, directory.path(), {.dtype = {}, .max_shard_bytes = shard_bytes});
  return Buffers(directory.path());
}

/// The same file with one text in its header replaced by another of the same length.
std::vector<std::byte> with_header(const std::vector<std::byte>& bytes, const std::string& from,
                                   const std::string& to) {
  REQUIRE(from.size() == to.size());
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  return bytes_of(std::vector<char>(text.begin(), text.end()));
}

TEST_CASE("shards are read as one table", "[ModelFiles]") {
  const Shards shards(right_map);
  for (const io::Mapping mapping : {io::Mapping::mapped, io::Mapping::in_memory}) {
    const TensorTable table = io::open_weights(shards.directory.path(), mapping);
    CHECK(table.names() == Names{"a", "b", "c"});
    CHECK(table.matrix<float>("b")(0, 0) == 2);
    CHECK(table.matrix<float>("c")(0, 0) == 3);
    CHECK(table.file_of("c") == shards.path("s22"));
    CHECK(table.file_name() == shards.index.string());
  }
  // Nobody reads what the metadata say.
  for (const char* metadata : {"{}", R"({"total_size": 16})", R"({"total_size": 12.0})", R"({"total_size": "12"})"})
    CHECK(Shards(right_map, metadata).error().empty());
  CHECK(Shards("{}", R"({"total_size": 0})").error().empty());
}

TEST_CASE("shards that disagree with their index are IoErrors", "[ModelFiles]") {
  const Shards lost(R"({"a": "s1", "b": "s1", "c": "s3"})");
  CHECK(lost.error() ==
        lost.path("s3") + ": file: got no such file, expected a shard, which " + lost.index.string() + " names");
  const Shards unnamed(R"({"a": "s1", "c": "s22"})");
  CHECK(unnamed.error() == unnamed.path("s1") + ": b: got a tensor that is not in weight_map of " +
                               unnamed.index.string() + ", expected only tensors that are");
  const Shards absent(R"({"a": "s1", "b": "s1", "c": "s22", "d": "s22"})");
  CHECK(absent.error() == absent.path("s22") + ": d: got no such tensor, expected this tensor, as weight_map of " +
                              absent.index.string() + " says");
  const Shards swapped(R"({"a": "s1", "b": "s22", "c": "s22"})");
  CHECK(swapped.error() ==
        swapped.path("s1") + ": b: got a tensor that belongs to s22, expected a tensor in one shard only");
  const Shards twice(right_map);
  write_file(twice.directory / "s22", {"c", "a"});
  CHECK(twice.error() ==
        twice.path("s22") + ": a: got a tensor that belongs to s1, expected a tensor in one shard only");
  const Shards folder(right_map);
  std::filesystem::remove(folder.directory / "s22");
  std::filesystem::create_directory(folder.directory / "s22");
  CHECK_THAT(folder.error(), StartsWith(folder.path("s22") + ": file: got something that is not a regular file"));
  const Shards damaged(right_map);
  std::filesystem::resize_file(damaged.directory / "s1", 50);
  CHECK_THAT(damaged.error(), StartsWith(damaged.path("s1") + ": header"));
}

TEST_CASE("a directory has one file or shards", "[ModelFiles]") {
  const Shards shards(right_map);
  CHECK(io::open_weights(shards.directory.path()).names() == Names{"a", "b", "c"});
  write_file(shards.directory / std::string(io::weights_file_name), {"x"});
  CHECK(io::open_weights(shards.directory.path()).names() == Names{"x"});
  const TemporaryDirectory empty;
  CHECK(io_error([&] { io::open_weights(empty.path()); }) ==
        (empty / "model.safetensors").string() + ": file: got no such file, expected a file");
}

TEST_CASE("a directory has its files, in whatever way they are held", "[ModelFiles]") {
  const TemporaryDirectory directory;
  io::save_model(tiny_model(), directory.path());
  for (const io::Mapping mapping : {io::Mapping::mapped, io::Mapping::in_memory}) {
    const ModelFiles files = io::open_model_files(directory.path(), mapping);
    CHECK(files.origin == directory.path());
    CHECK(files.path_of("config.json") == (directory / "config.json").string());
    CHECK(files.config == io::read_text_file(directory / "config.json"));
    CHECK_FALSE(files.generation_config);
    CHECK_FALSE(files.shard_index);
    REQUIRE(files.weights.size() == 1);
    const auto bytes = files.weights.at("model.safetensors").bytes();
    CHECK(std::vector<std::byte>(bytes.begin(), bytes.end()) == io::read_file(directory / "model.safetensors"));
  }
  io::write_file_atomically(directory / "generation_config.json", std::string_view("anything"));
  CHECK(io::open_model_files(directory.path()).generation_config == "anything");
  CHECK(io_error([&] { io::open_model_files(directory / "nowhere"); }) ==
        (directory.path() / "nowhere" / "config.json").string() + ": file: got no such file, expected a file");
}

TEST_CASE("a golden model from buffers has the bits of the mapped and of the unmapped one", "[ModelFiles][golden]") {
  for (const char* name : {"mrt5_soft_hard", "mrt5_relu_tied", "bpt5", "byt5_plain"}) {
    INFO(name);
    const std::filesystem::path directory = std::filesystem::path(golden_dir()) / name;
    io::LoadModelOptions unmapped;
    unmapped.mapping = io::Mapping::in_memory;
    const Model first = io::load_model<float>(directory), second = io::load_model<float>(directory, unmapped);
    const Model third = [&] {
      const Buffers buffers(directory);
      return io::load_model<float>(buffers.files());
    }();  // the buffers are gone
    CHECK(numbers_of(second) == numbers_of(first));
    CHECK(numbers_of(third) == numbers_of(first));
    const TokenBatch source = random_tokens({9, 1, 30, 0}, 256, 2), target = random_tokens({4, 1, 5, 2}, 256, 3);
    const auto logits = [&](const Model& model) { return model.forward_targets(source, target, {}).logits; };
    CHECK(identical(logits(second), logits(first)));
    CHECK(identical(logits(third), logits(first)));
  }
}

TEST_CASE("shards load from buffers with and without their index, owned or borrowed, at any address", "[ModelFiles]") {
  const Model model = tiny_model();
  const Buffers buffers = buffers_of(model, 2000);
  ModelFiles files = buffers.files();
  REQUIRE(files.weights.size() > 2);
  CHECK(numbers_of(io::load_model<float>(files)) == numbers_of(model));
  const ModelFiles copy = files;
  files.shard_index.reset();
  CHECK(numbers_of(io::load_model<float>(files)) == numbers_of(model));
  CHECK(numbers_of(io::load_model<float>(copy)) == numbers_of(model));

  std::vector<std::vector<std::byte>> shifted;
  for (auto& [name, bytes] : files.weights) {
    std::vector<std::byte>& place = shifted.emplace_back(1 + shifted.size() % 7);
    const std::size_t offset = place.size();
    place.insert(place.end(), bytes.bytes().begin(), bytes.bytes().end());
    bytes = FileBytes::borrowed(std::span<const std::byte>(place).subspan(offset));
  }
  CHECK(numbers_of(io::load_model<float>(files)) == numbers_of(model));
  for (auto& [name, bytes] : files.weights) bytes = FileBytes::owned(buffers.bytes.at(name));
  shifted.clear();
  CHECK(numbers_of(io::load_model<float>(files)) == numbers_of(model));
}

TEST_CASE("an owned table outlives the files that it was made of", "[ModelFiles]") {
  const Model model = tiny_model();
  const TensorTable table = [&] {
    ModelFiles files = buffers_of(model).files();
    const Buffers buffers = buffers_of(model);
    for (auto& [name, bytes] : files.weights) bytes = FileBytes::owned(buffers.bytes.at(name));
    return io::open_weights(files);
  }();
  CHECK(identical(table.matrix<float>("shared.weight"), model.shared.weight));
  CHECK(table.file_of("shared.weight") == (std::filesystem::path("memory") / "model.safetensors").string());
}

TEST_CASE("damaged buffers are errors that name them", "[ModelFiles]") {
  const Buffers buffers = buffers_of(tiny_model());
  ModelFiles files = buffers.files();
  REQUIRE(error_of(files).empty());
  const std::vector<std::byte> right = buffers.bytes.at("model.safetensors");
  std::vector<std::byte> bytes = right;
  const auto error_with = [&](const std::vector<std::byte>& weights) {
    files.weights["model.safetensors"] = FileBytes::borrowed(weights);
    return error_of(files);
  };
  std::string where = "memory/";
  SECTION("in memory") {}
  SECTION("under a given name") {
    files.origin = "a model of mine";
    where = "a model of mine/";
  }
  SECTION("under no name") {
    files.origin = "";
    where = "";
  }
  bytes.resize(bytes.size() - 4);
  CHECK_THAT(error_with(bytes), StartsWith(where + "model.safetensors: ") && ContainsSubstring(".data_offsets: got "));
  CHECK(error_with({}) == where + "model.safetensors: header length: got 0 bytes in all, expected at least 8 bytes");
  CHECK_THAT(error_with(std::vector<std::byte>(9)), StartsWith(where + "model.safetensors: header: got "));
  CHECK(error_with(with_header(right, "\"shared.weight\"", "\"shared_weight\"")) ==
        where + "model.safetensors: shared.weight: got no such tensor, expected a tensor of this name");
  CHECK(error_with(with_header(right, "[11,6]", "[6,11]")) ==
        where + "model.safetensors: shared.weight: got shape [6, 11], expected shape [11, 6]");
  bytes = right;
  bytes[bytes.size() - 1] = bytes[bytes.size() - 2] = std::byte{0x7f};
  bytes[bytes.size() - 2] = std::byte{0x80};
  CHECK_THAT(error_with(bytes), StartsWith(where + "model.safetensors: ") && ContainsSubstring(": got ") &&
                                    ContainsSubstring(" at [") && ContainsSubstring("finite as float"));
  files = buffers.files();
  files.origin = where;
  for (const auto& [text, message] :
       {std::pair("", "config.json: file: got "), std::pair("[]", "config.json: file: got "),
        std::pair("{}", "config.json: model_type: got no such key")}) {
    files.config = text;
    CHECK_THAT(error_of(files), StartsWith(where + message));
  }
}

TEST_CASE("shards that are missing, twice or too many are errors that name them", "[ModelFiles]") {
  const Buffers buffers = buffers_of(tiny_model(), 2000);
  ModelFiles files = buffers.files();
  REQUIRE(error_of(files).empty());
  const std::string first = files.weights.begin()->first, second = std::next(files.weights.begin())->first;
  SECTION("none at all") {
    files.shard_index.reset();
    files.weights.clear();
    CHECK(error_of(files) == "memory/model.safetensors: file: got no such file, expected a file");
  }
  SECTION("one that the index names") {
    files.weights.erase(first);
    CHECK(error_of(files) == "memory/" + first +
                                 ": file: got no such file, expected a shard, which "
                                 "memory/model.safetensors.index.json names");
  }
  SECTION("one of them, and no index") {
    files.shard_index.reset();
    files.weights.erase(first);
    CHECK(error_of(files) == "memory: shared.weight: got no such tensor, expected a tensor of this name");
  }
  SECTION("one that the index does not name") {
    files.weights["more.safetensors"] = files.weights.at(first);
    CHECK(error_of(files) ==
          "memory/more.safetensors: file: got a file that memory/model.safetensors.index.json does "
          "not name, expected only its shards");
  }
  SECTION("the same twice, and no index") {
    files.shard_index.reset();
    files.weights["more.safetensors"] = files.weights.at(first);
    CHECK_THAT(error_of(files), StartsWith("memory/more.safetensors: ") &&
                                    ContainsSubstring(": got a tensor that is in memory/" + first +
                                                      " as well, expected every tensor once"));
  }
  SECTION("one in the place of another") {
    files.weights.at(first) = files.weights.at(second);
    CHECK_THAT(error_of(files),
               StartsWith("memory/" + first + ": ") && ContainsSubstring(": got a tensor that belongs to " + second));
  }
  SECTION("no index, but something else") {
    files.shard_index = "[]";
    CHECK(error_of(files) == "memory/model.safetensors.index.json: file: got array, expected a JSON object");
  }
}

}  // namespace model_files_test
