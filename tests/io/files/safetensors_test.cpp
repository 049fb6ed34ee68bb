#include <merganser/io/files/safetensors.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "io/small_layer.hpp"
#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace safetensors_test {

using namespace merganser;
using io::SafetensorsFile;
using io::SafetensorsWriter;
using merganser::testing::SmallLayer;
using merganser::testing::TemporaryDirectory;

TEMPLATE_TEST_CASE("a layer is saved and loaded bit by bit", "[safetensors]", float, double) {
  const TemporaryDirectory directory;
  const std::string prefix = GENERATE("", "encoder.");
  const SmallLayer<TestType> saved = SmallLayer<TestType>::filled();
  io::save_parameters(saved, directory / "file", prefix);
  const SafetensorsFile file = SafetensorsFile::open(directory / "file");
  CHECK(file.names() == std::vector<std::string>{prefix + "weight", prefix + "bias", prefix + "row"});
  CHECK(file.tensor(prefix + "bias").shape == std::vector<Index>{3});
  CHECK(file.tensor(prefix + "row").shape == std::vector<Index>{1, 3});
  SmallLayer<TestType> loaded;
  const TestType* place = loaded.weight.data();
  io::load_parameters(loaded, file, prefix);
  CHECK(loaded == saved);
  CHECK(loaded.weight.data() == place);
}

TEST_CASE("a layer in another precision is converted", "[safetensors]") {
  const TemporaryDirectory directory;
  const auto single = SmallLayer<float>::filled();
  io::save_parameters(single, directory / "single");
  SmallLayer<double> wide;
  io::load_parameters(wide, SafetensorsFile::open(directory / "single"));
  CHECK(wide.weight == single.weight.cast<double>());
  io::save_parameters(SmallLayer<double>::filled(), directory / "double");
  SmallLayer<float> narrow;
  io::load_parameters(narrow, SafetensorsFile::open(directory / "double"));
  CHECK(narrow == single);
}

TEST_CASE("saving over a file replaces it whole", "[safetensors]") {
  const TemporaryDirectory directory;
  io::save_parameters(SmallLayer<float>(), directory / "file");
  io::save_parameters(SmallLayer<float>::filled(), directory / "file");
  SmallLayer<float> layer;
  io::load_parameters(layer, SafetensorsFile::open(directory / "file"));
  CHECK(layer == SmallLayer<float>::filled());
  CHECK(directory.entries() == std::vector<std::string>{"file"});
}

}  // namespace safetensors_test
