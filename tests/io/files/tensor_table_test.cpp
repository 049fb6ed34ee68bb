#include <merganser/io/files/tensor_table.hpp>

#include <bit>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <merganser/io/files/safetensors_reader.hpp>
#include <merganser/io/files/safetensors_writer.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace tensor_table_test {

using namespace merganser;
using io::Mapping;
using io::NonFinite;
using io::SafetensorsFile;
using io::TensorTable;
using merganser::testing::TemporaryDirectory;

/// A file with the tensor "t" [1000 x 700], longer than one piece; `place` of its numbers is `value`.
template <Real Scalar>
SafetensorsFile large_file(const TemporaryDirectory& directory, Mapping mapping, std::size_t place = 0,
                           Scalar value = 0) {
  std::vector<Scalar> numbers(700'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<Scalar>(i % 65'521);
  numbers[place] = value;
  const std::vector<std::int64_t> integers{-5, 1, 2};
  io::SafetensorsWriter writer;
  writer.add("t", {1000, 700}, std::span<const Scalar>(numbers));
  writer.add("same", {1000, 700}, std::span<const Scalar>(numbers));
  writer.add("flat", {700'000}, std::span<const Scalar>(numbers));
  std::vector<Scalar> others = numbers;
  others.back() += 1;
  writer.add("other", {1000, 700}, std::span<const Scalar>(others));
  writer.add("i", {3}, integers);
  writer.write(directory / "file");
  return SafetensorsFile::open(directory / "file", mapping);
}

TEMPLATE_TEST_CASE("long tensors are read whole, mapped or not", "[TensorTable]", float, double) {
  const TemporaryDirectory directory;
  const Mapping mapping = GENERATE(Mapping::mapped, Mapping::in_memory);
  const SafetensorsFile file = large_file<TestType>(directory, mapping);
  for (int repeat = 0; repeat < 2; ++repeat) {
    Matrix<float> read = Matrix<float>::Zero(1000, 700);
    file.read_into("t", ParameterView<float>{"p", read.data(), 1000, 700, false});
    bool right = true;
    for (Index i = 0; i < read.size(); ++i) right = right && read.data()[i] == static_cast<float>(i % 65'521);
    CHECK(right);
    CHECK(file.matrix<double>("t") == read.cast<double>());
  }
  CHECK(file.same_bits("t", "same"));
  CHECK(file.same_bits("t", "t"));
  CHECK_FALSE(file.same_bits("t", "other"));
  CHECK_FALSE(file.same_bits("t", "flat"));
  CHECK(file.integers("i") == std::vector<std::int64_t>{-5, 1, 2});
  CHECK_THROWS_AS(file.same_bits("t", "missing"), IoError);
}

TEMPLATE_TEST_CASE("a number that is not finite is named with its place", "[TensorTable]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const TemporaryDirectory directory;
  const Mapping mapping = GENERATE(Mapping::mapped, Mapping::in_memory);
  const auto [place, where] = GENERATE(table<std::size_t, std::string>(
      {{0, "[0, 0]"}, {699, "[0, 699]"}, {300'001, "[428, 401]"}, {699'999, "[999, 699]"}}));
  for (const TestType value : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
    const SafetensorsFile file = large_file<TestType>(directory, mapping, place, value);
    Matrix<TestType> read(1000, 700);
    const ParameterView<TestType> view{"p", read.data(), 1000, 700, false};
    const std::string error = testing::io_error([&] { file.read_into("t", view); });
    CHECK(error == file.file_name() + ": t: got " + std::to_string(value) + " at " + where + ", expected " +
                       (sizeof(TestType) == 4 ? "numbers that are finite as float" : "finite numbers"));
    CHECK(testing::io_error([&] { file.template require_finite<TestType>("t"); }) == error);
    file.read_into("t", view, NonFinite::accept);
    const bool kept = std::memcmp(&read.data()[place], &value, sizeof value) == 0;
    CHECK(kept);
  }
}

TEST_CASE("a double that float does not hold is not finite as float", "[TensorTable]") {
  const TemporaryDirectory directory;
  const SafetensorsFile file = large_file<double>(directory, Mapping::mapped, 5, -1e300);
  CHECK(testing::io_error([&] { file.require_finite<float>("t"); }) ==
        file.file_name() + ": t: got -inf at [0, 5], expected numbers that are finite as float");
  CHECK_NOTHROW(file.require_finite<double>("t"));
}

TEST_CASE("the largest and smallest numbers are finite", "[TensorTable]") {
  const std::vector<float> floats{0, -0.0F, std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(),
                                  std::numeric_limits<float>::denorm_min()};
  const std::vector<double> doubles{0, -0.0, std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest(),
                                    std::numeric_limits<double>::denorm_min()};
  CHECK_FALSE(io::detail::first_non_finite(std::span<const float>(floats)));
  CHECK_FALSE(io::detail::first_non_finite(std::span<const double>(doubles)));
  CHECK_FALSE(io::detail::first_non_finite(std::span<const double>()));
  const std::vector<float> nan{1, std::bit_cast<float>(0xff800001U)};
  CHECK(io::detail::first_non_finite(std::span<const float>(nan)) == 1);
}

#ifdef __linux__
/// Resident pages of mapped files, in MiB.
double resident_file_mebibytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "RssFile:") {
      double kibibytes = 0;
      status >> kibibytes;
      return kibibytes / 1024;
    }
  return 0;
}

TEST_CASE("what was read of a mapped file is given back", "[TensorTable]") {
  const TemporaryDirectory directory;
  constexpr Index size = 8'000'000;
  {
    const std::vector<float> numbers(static_cast<std::size_t>(size), 1.5F);
    io::SafetensorsWriter writer;
    writer.add("a", {size}, std::span<const float>(numbers));
    writer.add("b", {size}, std::span<const float>(numbers));
    writer.write(directory / "file");
  }
  const double before = resident_file_mebibytes();
  const SafetensorsFile file = SafetensorsFile::open(directory / "file");
  REQUIRE(file.same_bits("a", "b"));
  file.require_finite<float>("a");
  REQUIRE(file.matrix<float>("b").sum() > 0);
  CHECK(resident_file_mebibytes() - before < 8);  // the file has 61
}
#endif

TEST_CASE("tables are put together", "[TensorTable]") {
  const TemporaryDirectory directory;
  const std::vector<float> one{1};
  const auto file = [&](const std::string& file_name, const std::string& tensor) {
    io::SafetensorsWriter writer;
    writer.add(tensor, {1}, std::span<const float>(one));
    writer.write(directory / file_name);
    return SafetensorsFile::open(directory / file_name);
  };
  TensorTable table("all");
  CHECK(table.names().empty());
  table.append(file("f", "z"));
  table.append(file("g", "a"));
  CHECK(table.names() == std::vector<std::string>{"z", "a"});
  CHECK(table.file_of("a") == (directory / "g").string());
  CHECK(table.matrix<float>("z")(0, 0) == 1);
  CHECK(table.file_name() == "all");
  CHECK(testing::io_error([&] { table.tensor("b"); }) == "all: b: got no such tensor, expected a tensor of this name");
  CHECK(testing::io_error([&] { table.append(file("h", "a")); }) ==
        (directory / "h").string() + ": a: got a tensor that is in " + (directory / "g").string() +
            " as well, expected every tensor once");
}

}  // namespace tensor_table_test
