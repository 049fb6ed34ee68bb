#include <merganser/io/files/safetensors_writer.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/io/files/safetensors_reader.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace safetensors_writer_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using io::DataType;
using io::SafetensorsFile;
using io::SafetensorsWriter;
using merganser::testing::TemporaryDirectory;

template <class Number>
Number number_at(const std::string& bytes, std::size_t offset) {
  Number number;
  REQUIRE(offset + sizeof(Number) <= bytes.size());
  std::memcpy(&number, bytes.data() + offset, sizeof(Number));
  return number;
}

TEST_CASE("the bytes of a written file are these", "[SafetensorsWriter]") {
  const TemporaryDirectory directory;
  Matrix<float> matrix(2, 3);
  matrix << 1, 2, 3, 4, 5, 6;
  RowVector<double> vector(2);
  vector << 0.1, -7;
  const std::vector<std::int64_t> integers{-100};
  SafetensorsWriter writer;
  writer.add("z\"", ParameterView<float>{"", matrix.data(), 2, 3, false});
  writer.add("a", ParameterView<double>{"", vector.data(), 1, 2, true});
  writer.add("i", {}, integers);
  writer.write(directory / "file");

  const std::string header =
      R"({"__metadata__":{"format":"pt"},"z\"":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("a":{"dtype":"F64","shape":[2],"data_offsets":[24,40]},)"
      R"("i":{"dtype":"I64","shape":[],"data_offsets":[40,48]}})";
  const std::size_t padded = (header.size() + 7) / 8 * 8;
  const std::string bytes = io::read_text_file(directory / "file");
  REQUIRE(bytes.size() == 8 + padded + 48);
  // Little-endian, byte by byte.
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) length |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  CHECK(length == padded);
  CHECK(bytes.substr(8, padded) == header + std::string(padded - header.size(), ' '));
  CHECK(bytes.substr(8 + padded, 8) == std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  for (std::size_t i = 0; i < 6; ++i) CHECK(number_at<float>(bytes, 8 + padded + 4 * i) == static_cast<float>(i + 1));
  CHECK(number_at<double>(bytes, 8 + padded + 24) == 0.1);
  CHECK(number_at<double>(bytes, 8 + padded + 32) == -7.0);
  CHECK(bytes.substr(8 + padded + 40) == "\x9c" + std::string(7, '\xff'));
  CHECK(directory.entries() == std::vector<std::string>{"file"});
}

TEST_CASE("the header is padded at every length", "[SafetensorsWriter]") {
  const TemporaryDirectory directory;
  for (std::size_t size = 1; size <= 9; ++size) {
    SafetensorsWriter writer;
    writer.add(std::string(size, 'n'), {0}, std::span<const float>());
    writer.write(directory / "file");
    const std::string bytes = io::read_text_file(directory / "file");
    CHECK(bytes.size() % 8 == 0);
    CHECK(number_at<std::uint64_t>(bytes, 0) == bytes.size() - 8);
    CHECK(SafetensorsFile::open(directory / "file").contains(std::string(size, 'n')));
  }
}

TEMPLATE_TEST_CASE("what is written is read back bit by bit", "[SafetensorsWriter]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const TemporaryDirectory directory;
  std::vector<TestType> values{
      0, TestType(-0.0), TestType(0.1), Limits::infinity(), Limits::denorm_min(), Limits::max()};
  SafetensorsWriter writer;
  writer.add("b", {3, 1, 2}, std::span<const TestType>(values));
  writer.add("\xc3\xa9", {0, 4}, std::span<const TestType>());
  writer.add("a", {6}, std::span<const TestType>(values));
  writer.set_metadata("step", "7");
  writer.write(directory / "file");
  const SafetensorsFile file = SafetensorsFile::open(directory / "file");
  CHECK(file.names() == std::vector<std::string>{"b", "\xc3\xa9", "a"});
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"step", "7"}});
  CHECK(file.tensor("b").shape == std::vector<Index>{3, 1, 2});
  CHECK(file.tensor("b").dtype == io::data_type_of<TestType>);
  CHECK(std::memcmp(file.tensor("b").bytes.data(), values.data(), values.size() * sizeof(TestType)) == 0);
  CHECK(file.tensor("\xc3\xa9").shape == std::vector<Index>{0, 4});
}

TEST_CASE("numbers are converted on request, over many chunks", "[SafetensorsWriter]") {
  const TemporaryDirectory directory;
  std::vector<double> doubles(10'000);
  for (std::size_t i = 0; i < doubles.size(); ++i) doubles[i] = 0.1 * static_cast<double>(i);
  const std::vector<float> floats(doubles.begin(), doubles.end());
  SafetensorsWriter writer;
  writer.add("narrow", {10'000}, std::span<const double>(doubles), DataType::f32);
  writer.add("wide", {10'000}, std::span<const float>(floats), DataType::f64);
  writer.write(directory / "file");
  const SafetensorsFile file = SafetensorsFile::open(directory / "file");
  CHECK(file.tensor("narrow").dtype == DataType::f32);
  CHECK(file.tensor("wide").dtype == DataType::f64);
  const Eigen::Map<const PlainMatrix<float>> expected(floats.data(), 1, 10'000);
  CHECK(file.matrix<float>("narrow") == expected);
  CHECK(file.matrix<double>("wide") == expected.cast<double>());
}

TEMPLATE_TEST_CASE("numbers are rounded to F16 and BF16", "[SafetensorsWriter]", float, double) {
  const TemporaryDirectory directory;
  std::vector<TestType> values;
  for (int i = 0; i < 5000; ++i) values.push_back(static_cast<TestType>(i - 2500) / TestType(7));
  SafetensorsWriter writer;
  const Index size = static_cast<Index>(values.size());
  writer.add("half", {size}, std::span<const TestType>(values), DataType::f16);
  writer.add("bfloat", {size}, std::span<const TestType>(values), DataType::bf16);
  writer.write(directory / "file");
  const SafetensorsFile file = SafetensorsFile::open(directory / "file");
  CHECK(file.tensor("half").bytes.size() == 10'000);
  const Matrix<double> half = file.matrix<double>("half"), bfloat = file.matrix<double>("bfloat");
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    const Index j = static_cast<Index>(i);
    REQUIRE(std::abs(half(0, j) - value) <= std::abs(value) * 0x1p-11);
    REQUIRE(std::abs(bfloat(0, j) - value) <= std::abs(value) * 0x1p-8);
  }
}

TEST_CASE("a finite number never becomes infinite in a file", "[SafetensorsWriter]") {
  const auto accepts = [](double value, DataType dtype) {
    const std::vector<double> values{0, value};
    SafetensorsWriter writer;
    try {
      writer.add("t", {2}, std::span<const double>(values), dtype);
    } catch (const std::invalid_argument&) {
      return false;
    }
    const TemporaryDirectory directory;
    writer.write(directory / "file");
    const double stored = SafetensorsFile::open(directory / "file").matrix<double>("t")(0, 1);
    CHECK(std::isfinite(stored) == std::isfinite(value));
    return true;
  };
  const double tiny = 1e-9;  // relative
  CHECK(accepts(65520 * (1 - tiny), DataType::f16));
  CHECK_FALSE(accepts(65520, DataType::f16));
  CHECK_FALSE(accepts(-65520, DataType::f16));
  CHECK(accepts(0x1.ffp127 * (1 - tiny), DataType::bf16));
  CHECK_FALSE(accepts(0x1.ffp127, DataType::bf16));
  CHECK(accepts(0x1.ffffffp127 * (1 - tiny), DataType::f32));
  CHECK_FALSE(accepts(0x1.ffffffp127, DataType::f32));
  CHECK_FALSE(accepts(-1e300, DataType::f32));
  for (const DataType dtype : {DataType::f16, DataType::bf16, DataType::f32, DataType::f64}) {
    CHECK(accepts(std::numeric_limits<double>::infinity(), dtype));
    CHECK(accepts(std::numeric_limits<double>::quiet_NaN(), dtype));
  }
}

TEST_CASE("an empty writer writes a valid file", "[SafetensorsWriter]") {
  const TemporaryDirectory directory;
  SafetensorsWriter().write(directory / "file");
  CHECK(SafetensorsFile::open(directory / "file").names().empty());
}

TEST_CASE("a tensor that can't be written is the caller's mistake", "[SafetensorsWriter]") {
  const std::vector<float> values(6);
  const std::span<const float> span(values);
  SafetensorsWriter writer;
  writer.add("a", {2, 3}, span);
  CHECK_THROWS_WITH(writer.add("a", {2, 3}, span), ContainsSubstring("got a, expected a name that is not taken"));
  CHECK_THROWS_WITH(writer.add("b", {2, 2}, span),
                    "SafetensorsWriter::add: b: got 6 numbers, expected as many as shape [2, 2] has");
  CHECK_THROWS_AS(writer.add("b", {-2, -3}, span), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("b", {Index{1} << 62, 8}, span), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("__metadata__", {6}, span), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("\xff", {6}, span), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("b", {6}, span, DataType::u8), std::invalid_argument);
  CHECK_THROWS_AS(writer.add("b", {6}, span, DataType::i32), std::invalid_argument);
  CHECK_THROWS_AS(writer.set_metadata("\xff", ""), std::invalid_argument);
  CHECK_THROWS_AS(writer.set_metadata("a", "\xff"), std::invalid_argument);
  const TemporaryDirectory directory;
  writer.write(directory / "file");
  CHECK(SafetensorsFile::open(directory / "file").names() == std::vector<std::string>{"a"});
}

TEST_CASE("a file that can't be written is an IoError", "[SafetensorsWriter]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(SafetensorsWriter().write(directory / "missing/file"), IoError);
  CHECK_THROWS_AS(SafetensorsWriter().write(directory.path()), IoError);
  CHECK(directory.entries().empty());
}

}  // namespace safetensors_writer_test
