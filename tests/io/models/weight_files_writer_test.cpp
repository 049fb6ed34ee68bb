#include <merganser/io/models/weight_files_writer.hpp>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/io/files/safetensors.hpp>
#include <merganser/io/models/model_files.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace weight_files_writer_test {

using namespace merganser;
using io::DataType;
using io::TensorTable;
using io::WeightFormat;
using merganser::testing::TemporaryDirectory;
using Names = std::vector<std::string>;

/// Three tensors: a [2 x 3], b [4], c [1 x 5].
template <Real Scalar>
struct Layer {
  using ScalarType = Scalar;

  Matrix<Scalar> a = Matrix<Scalar>::Constant(2, 3, Scalar(0.1));
  RowVector<Scalar> b = RowVector<Scalar>::Constant(4, Scalar(-2));
  Matrix<Scalar> c = Matrix<Scalar>::Constant(1, 5, Scalar(3));

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    visitor(prefix + "a", a);
    visitor(prefix + "b", b);
    visitor(prefix + "c", c);
  }
};

template <Real Scalar>
Layer<Scalar> loaded(const std::filesystem::path& directory) {
  Layer<Scalar> layer{Matrix<Scalar>::Zero(2, 3), RowVector<Scalar>::Zero(4), Matrix<Scalar>::Zero(1, 5)};
  io::load_parameters(layer, io::open_weights(directory));
  return layer;
}

TEMPLATE_TEST_CASE("one file unless told otherwise", "[weight_files_writer]", float, double) {
  const TemporaryDirectory directory;
  io::save_weights(Layer<TestType>(), directory.path());
  CHECK(directory.entries() == Names{"model.safetensors"});
  CHECK(loaded<TestType>(directory.path()).a(1, 2) == TestType(0.1));
  io::save_weights(Layer<TestType>(), directory.path(), {.dtype = {}, .max_shard_bytes = 1000});
  CHECK(directory.entries() == Names{"model.safetensors"});
}

TEST_CASE("shards take what fits, in order, and are indexed", "[weight_files_writer]") {
  const Layer<float> layer;
  const auto files = [&](std::uint64_t bytes) {
    const TemporaryDirectory directory;
    io::save_weights(layer, directory.path(), {.dtype = {}, .max_shard_bytes = bytes});
    const Layer<float> back = loaded<float>(directory.path());
    CHECK(back.a == layer.a);
    CHECK(back.b == layer.b);
    CHECK(back.c == layer.c);
    return directory.entries();
  };
  const Names three{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                    "model-00003-of-00003.safetensors", "model.safetensors.index.json"};
  const Names two{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                  "model.safetensors.index.json"};
  CHECK(files(1) == three);
  CHECK(files(35) == three);
  CHECK(files(36) == two);  // a | b c
  CHECK(files(40) == two);  // a b | c
  CHECK(files(59) == two);
  CHECK(files(60) == Names{"model.safetensors"});
}

TEST_CASE("the index is the one of Hugging Face", "[weight_files_writer]") {
  const TemporaryDirectory directory;
  io::save_weights(Layer<float>(), directory.path(), {.dtype = DataType::bf16, .max_shard_bytes = 20});
  const std::string text = io::read_text_file(directory / "model.safetensors.index.json");
  CHECK(text ==
        "{\n"
        "  \"metadata\": {\n"
        "    \"total_size\": 30\n"
        "  },\n"
        "  \"weight_map\": {\n"
        "    \"a\": \"model-00001-of-00002.safetensors\",\n"
        "    \"b\": \"model-00001-of-00002.safetensors\",\n"
        "    \"c\": \"model-00002-of-00002.safetensors\"\n"
        "  }\n"
        "}\n");
}

TEMPLATE_TEST_CASE("weights are stored in the type that is asked for", "[weight_files_writer]", float, double) {
  const TemporaryDirectory directory;
  for (const DataType dtype : {DataType::f64, DataType::f32, DataType::f16, DataType::bf16}) {
    io::save_weights(Layer<TestType>(), directory.path(), {.dtype = dtype, .max_shard_bytes = {}}, "p.");
    const TensorTable table = io::open_weights(directory.path());
    CHECK(table.names() == Names{"p.a", "p.b", "p.c"});
    for (const std::string& name : table.names()) CHECK(table.tensor(name).dtype == dtype);
    const double tenth = table.matrix<double>("p.a")(0, 0);
    CHECK(tenth == (dtype == DataType::f16    ? 0.0999755859375
                    : dtype == DataType::bf16 ? 0.10009765625
                    : dtype == DataType::f32  ? static_cast<double>(0.1F)
                    : sizeof(TestType) == 4   ? static_cast<double>(0.1F)
                                              : 0.1));
  }
}

TEST_CASE("files of an earlier save go, others stay", "[weight_files_writer]") {
  const TemporaryDirectory directory;
  const Layer<float> layer;
  std::ofstream(directory / "notes.txt") << "mine";
  std::ofstream(directory / "other.safetensors") << "mine";
  io::save_weights(layer, directory.path());
  io::save_weights(layer, directory.path(), {.dtype = {}, .max_shard_bytes = 1});
  CHECK(directory.entries() == Names{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                     "model-00003-of-00003.safetensors", "model.safetensors.index.json", "notes.txt",
                                     "other.safetensors"});
  io::save_weights(layer, directory.path(), {.dtype = {}, .max_shard_bytes = 40});
  CHECK(directory.entries() == Names{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                     "model.safetensors.index.json", "notes.txt", "other.safetensors"});
  io::save_weights(layer, directory.path());
  CHECK(directory.entries() == Names{"model.safetensors", "notes.txt", "other.safetensors"});
}

TEST_CASE("an index that is not ours names nothing that goes", "[weight_files_writer]") {
  const TemporaryDirectory directory;
  for (const char* map : {R"({"a": "../other.safetensors"})", R"({"a": "notes.txt"})", "1"}) {
    std::ofstream(directory / "notes.txt") << "mine";
    io::write_file_atomically(directory / "model.safetensors.index.json",
                              R"({"weight_map": )" + std::string(map) + "}");
    io::save_weights(Layer<float>(), directory.path());
    CHECK(directory.entries() == Names{"model.safetensors", "notes.txt"});
  }
}

TEST_CASE("what can't be written is refused before anything is", "[weight_files_writer]") {
  const TemporaryDirectory directory;
  Layer<float> layer;
  layer.c(0, 4) = 70'000;
  CHECK_THROWS_WITH(io::save_weights(layer, directory.path(), {.dtype = DataType::f16, .max_shard_bytes = 1}),
                    "SafetensorsWriter::add: c: got 70000, expected numbers that F16 holds");
  CHECK_THROWS_AS(io::save_weights(layer, directory.path(), {.dtype = DataType::i32, .max_shard_bytes = {}}),
                  std::invalid_argument);
  CHECK_THROWS_WITH(io::save_weights(layer, directory.path(), {.dtype = {}, .max_shard_bytes = 0}),
                    "save_weights: max_shard_bytes: got 0, expected at least 1");
  CHECK(directory.entries().empty());
  CHECK_THROWS_AS(io::save_weights(layer, directory / "missing"), IoError);
}

}  // namespace weight_files_writer_test
