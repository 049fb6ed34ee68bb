#include <merganser/io/weight_files.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <merganser/io/safetensors_writer.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using io::TensorTable;
using merganser::testing::TemporaryDirectory;
using Names = std::vector<std::string>;

namespace {

io::ShardIndex parsed(const std::string& text) { return io::parse_shard_index(text, "i.json"); }

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

std::string error_of_text(const std::string& text) {
  return error_of([&] { parsed(text); });
}

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
    const std::string mapped = error_of([&] { io::open_shards(index); });
    CHECK(mapped == error_of([&] { io::open_shards(index, io::Mapping::in_memory); }));
    return mapped;
  }
  std::string path(const std::string& name) const { return (directory / name).string(); }
};

const char* const right_map = R"({"c": "s22", "a": "s1", "b": "s1"})";

}  // namespace

TEST_CASE("an index says what is where", "[weight_files]") {
  const io::ShardIndex index = parsed(
      R"({"metadata": {"total_size": 12, "total_parameters": 3}, "weight_map": {"a": "f", "b": "d/g", "c": "f"}})");
  CHECK(index.weight_map == std::map<std::string, std::string>{{"a", "f"}, {"b", "d/g"}, {"c", "f"}});
  CHECK(index.total_size == 12);
  CHECK(index.files() == std::set<std::string>{"d/g", "f"});
  CHECK_FALSE(parsed(R"({"weight_map": {}})").total_size);
  CHECK_FALSE(parsed(R"({"metadata": {}, "weight_map": {}})").total_size);
}

TEST_CASE("a wrong index is an IoError", "[weight_files]") {
  CHECK(error_of_text("{}") == "i.json: weight_map: got no such key, expected an object of file names");
  CHECK(error_of_text(R"({"weight_map": []})") == "i.json: weight_map: got an array, expected an object");
  CHECK(error_of_text(R"({"weight_map": {}, "x": 1})") ==
        "i.json: x: got an unknown key, expected a key of this version");
  CHECK(error_of_text(R"({"weight_map": {"a": "f", "a": "g"}})") ==
        "i.json: a: got this key twice, expected every key once in an object");
  CHECK_THAT(error_of_text(R"({"weight_map": {}, "metadata": 1})"), StartsWith("i.json: metadata: got 1"));
  for (const char* size : {"-1", "1.5", "\"12\"", "1e400", "18446744073709551616"})
    CHECK_FALSE(error_of_text(R"({"weight_map": {}, "metadata": {"total_size": )" + std::string(size) + "}}").empty());
  for (const std::string& text : {std::string(), std::string("["), std::string(100'000, '['), std::string("\xff")})
    CHECK_FALSE(error_of_text(text).empty());
}

TEST_CASE("a shard lies in the directory of its index", "[weight_files]") {
  for (const char* name : {R"("../f")", R"("/f")", R"("..")", R"(".")", R"("")", R"("d/")", R"("d/../../f")",
                           R"("./f")", R"("d/..")", R"("f\u0000g")", "1", "null", "{}", "[\"f\"]"}) {
    INFO(name);
    CHECK_THAT(error_of_text(R"({"weight_map": {"a": )" + std::string(name) + "}}"),
               StartsWith("i.json: weight_map.a: got ") &&
                   ContainsSubstring("expected the name of a file in the directory of the index"));
  }
  for (const char* name : {"f", "..f", "d/f", "model-00001-of-00002.safetensors"})
    CHECK(error_of_text(R"({"weight_map": {"a": ")" + std::string(name) + "\"}}").empty());
}

TEST_CASE("shards are read as one table", "[weight_files]") {
  const Shards shards(right_map);
  for (const io::Mapping mapping : {io::Mapping::mapped, io::Mapping::in_memory}) {
    const TensorTable table = io::open_shards(shards.index, mapping);
    CHECK(table.names() == Names{"a", "b", "c"});
    CHECK(table.matrix<float>("b")(0, 0) == 2);
    CHECK(table.matrix<float>("c")(0, 0) == 3);
    CHECK(table.file_of("c") == shards.path("s22"));
    CHECK(table.file_name() == shards.index.string());
  }
  CHECK(Shards(right_map, "{}").error().empty());
  CHECK(Shards("{}", R"({"total_size": 0})").error().empty());
}

TEST_CASE("shards that disagree with their index are IoErrors", "[weight_files]") {
  const Shards size(right_map, R"({"total_size": 16})");
  CHECK(size.error() == size.index.string() + ": metadata.total_size: got 16, expected 12, the bytes of all tensors");
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

TEST_CASE("a directory has one file or shards", "[weight_files]") {
  const Shards shards(right_map);
  CHECK(io::open_weights(shards.directory.path()).names() == Names{"a", "b", "c"});
  write_file(shards.directory / std::string(io::weights_file_name), {"x"});
  CHECK(io::open_weights(shards.directory.path()).names() == Names{"x"});
  const TemporaryDirectory empty;
  CHECK(error_of([&] { io::open_weights(empty.path()); }) ==
        (empty / "model.safetensors").string() + ": file: got no such file, expected a file");
}
