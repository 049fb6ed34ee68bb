#include <merganser/io/files/parameter_loading.hpp>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <merganser/io/files/safetensors.hpp>

#include "io/small_layer.hpp"
#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace parameter_loading_test {

using namespace merganser;
using io::SafetensorsFile;
using io::SafetensorsWriter;
using merganser::testing::SmallLayer;
using merganser::testing::TemporaryDirectory;

/// Shapes by which a test file may differ from a good one.
struct FileChange {
  std::vector<Index> weight_shape{2, 3};
  std::vector<Index> bias_shape{3};
  bool has_row = true;
  std::string extra = "";
  float extra_first = 1;
};

SafetensorsFile make_file(const FileChange& change) {
  const TemporaryDirectory directory;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  std::vector<float> extra = values;
  extra[0] = change.extra_first;
  SafetensorsWriter writer;
  writer.add("weight", change.weight_shape, std::span<const float>(values));
  writer.add("bias", change.bias_shape, std::span<const float>(values).first(3));
  if (change.has_row) writer.add("row", {1, 3}, std::span<const float>(values).first(3));
  if (!change.extra.empty()) writer.add(change.extra, {2, 3}, std::span<const float>(extra));
  writer.write(directory / "file");
  return SafetensorsFile::parse(io::read_file(directory / "file"), "f");
}

std::string error_of(const FileChange& change, const io::LoadOptions& options = {}) {
  auto layer = SmallLayer<float>::filled();
  try {
    io::load_parameters(layer, make_file(change), "", options);
  } catch (const IoError& error) {
    CHECK(layer == SmallLayer<float>::filled());
    return error.what();
  }
  CHECK(layer.weight(0, 0) == 1);
  return "";
}

TEST_CASE("a file that doesn't fit leaves the layer as it was", "[parameter_loading]") {
  CHECK(error_of({}).empty());
  CHECK(error_of({.has_row = false}) == "f: row: got no such tensor, expected a tensor of this name");
  CHECK(error_of({.weight_shape = {3, 2}}) == "f: weight: got shape [3, 2], expected shape [2, 3]");
  CHECK(error_of({.bias_shape = {1, 3}}) == "f: bias: got shape [1, 3], expected shape [3]");
  CHECK(error_of({.extra = "extra"}) == "f: extra: got an unknown tensor, expected only the parameters of the model");
}

TEST_CASE("a tensor may come again under an alias", "[parameter_loading]") {
  const io::LoadOptions options{.aliases = {{"copy", "weight"}, {"absent", "weight"}}};
  CHECK(error_of({}, options).empty());
  CHECK(error_of({.extra = "copy"}, options).empty());
  CHECK(error_of({.extra = "copy", .extra_first = 2}, options) ==
        "f: copy: got a tensor of its own, expected a copy of weight");
  CHECK_FALSE(error_of({.extra = "copied"}, options).empty());
  CHECK(error_of({.extra = "copy"}, {.aliases = {{"copy", "missing"}}}) ==
        "f: missing: got no such tensor, expected a tensor of this name");
}

TEST_CASE("an alias stands in for a tensor that is missing", "[parameter_loading]") {
  const io::LoadOptions options{.aliases = {{"copy", "row"}, {"second", "row"}}};
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const TemporaryDirectory directory;
  const auto load = [&](const std::string& other, float first) {
    const std::vector<float> others{first, 2, 3};
    SafetensorsWriter writer;
    writer.add("weight", {2, 3}, std::span<const float>(values));
    writer.add("bias", {3}, std::span<const float>(values).first(3));
    writer.add("copy", {1, 3}, std::span<const float>(values).first(3));
    writer.add(other, {1, 3}, std::span<const float>(others));
    writer.write(directory / "file");
    auto layer = SmallLayer<float>::filled();
    io::load_parameters(layer, SafetensorsFile::open(directory / "file"), "", options);
    return layer;
  };
  CHECK(load("second", 1).row(0, 2) == 3);
  CHECK_THROWS_WITH(load("second", 2),
                    (directory / "file").string() + ": second: got a tensor of its own, expected a copy of copy");
  CHECK_THROWS_AS(load("third", 1), IoError);
}

TEST_CASE("tensors that are ignored may be there", "[parameter_loading]") {
  CHECK_FALSE(error_of({.extra = "extra"}).empty());
  io::LoadOptions options;
  options.ignored = {"extra", "absent"};
  CHECK(error_of({.extra = "extra"}, options).empty());
}

TEST_CASE("a number that is not finite leaves the layer as it was", "[parameter_loading]") {
  const TemporaryDirectory directory;
  auto saved = SmallLayer<double>::filled();
  saved.row(0, 1) = 1e300;
  io::save_parameters(saved, directory / "file");
  const SafetensorsFile file = SafetensorsFile::open(directory / "file");
  auto layer = SmallLayer<float>::filled();
  layer.weight(0, 0) = -1;
  const auto before = layer;
  CHECK_THROWS_WITH(
      io::load_parameters(layer, file),
      (directory / "file").string() + ": row: got inf at [0, 1], expected numbers that are finite as float");
  CHECK(layer == before);
  io::LoadOptions options;
  options.non_finite = io::NonFinite::accept;
  io::load_parameters(layer, file, "", options);
  CHECK(std::isinf(layer.row(0, 1)));
  SmallLayer<double> wide;
  io::load_parameters(wide, file);
  CHECK(wide == saved);
}

TEST_CASE("with a prefix only its own tensors count", "[parameter_loading]") {
  SmallLayer<float> layer;
  CHECK_THROWS_AS(io::load_parameters(layer, make_file({}), "encoder."), IoError);
  const TemporaryDirectory directory;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const auto write = [&](const std::string& other) {
    SafetensorsWriter writer;
    writer.add("encoder.weight", {2, 3}, std::span<const float>(values));
    writer.add("encoder.bias", {3}, std::span<const float>(values).first(3));
    writer.add("encoder.row", {1, 3}, std::span<const float>(values).first(3));
    writer.add(other, {6}, std::span<const float>(values));
    writer.write(directory / "file");
    return SafetensorsFile::open(directory / "file");
  };
  CHECK_THROWS_AS(io::load_parameters(layer, write("encoder.other"), "encoder."), IoError);
  CHECK(layer == SmallLayer<float>());
  io::load_parameters(layer, write("decoder.other"), "encoder.");
  CHECK(layer.weight(1, 2) == 6);
}

TEST_CASE("integers are no parameters", "[parameter_loading]") {
  const TemporaryDirectory directory;
  const std::vector<std::int64_t> integers(6);
  const std::vector<float> values(6);
  SafetensorsWriter writer;
  writer.add("weight", {2, 3}, std::span<const float>(values));
  writer.add("bias", {3}, std::span<const std::int64_t>(integers).first(3));
  writer.add("row", {1, 3}, std::span<const float>(values).first(3));
  writer.write(directory / "file");
  auto layer = SmallLayer<double>::filled();
  CHECK_THROWS_WITH(io::load_parameters(layer, SafetensorsFile::open(directory / "file")),
                    (directory / "file").string() + ": bias: got I64, expected F64, F32, F16 or BF16");
  CHECK(layer == SmallLayer<double>::filled());
}

}  // namespace parameter_loading_test
