#include <merganser/io/files/tensor_data.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "io/safetensors_bytes.hpp"
#include "support/catch.hpp"

namespace tensor_data_test {

using namespace merganser;
using io::DataType;
using io::TensorInfo;
using merganser::testing::bytes_of;

template <class Target, class Number>
std::vector<Target> converted(DataType dtype, const std::vector<Number>& numbers) {
  // One byte in front, so that the tensor lies unaligned.
  std::vector<std::byte> bytes = bytes_of(numbers);
  bytes.insert(bytes.begin(), std::byte{0});
  const TensorInfo info{dtype, {static_cast<Index>(numbers.size())}, std::span<const std::byte>(bytes).subspan(1)};
  REQUIRE(info.size() == static_cast<Index>(numbers.size()));
  std::vector<Target> result(numbers.size());
  if constexpr (std::is_floating_point_v<Target>)
    io::detail::convert_floating(info, result.data());
  else
    io::detail::convert_integers(info, result.data());
  return result;
}

using Longs = std::vector<std::int64_t>;

TEST_CASE("element types have names and sizes", "[DataType]") {
  const std::pair<const char*, std::size_t> all[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
                                                     {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},   {"BOOL", 1}};
  for (const auto& [name, size] : all) {
    const std::optional<DataType> type = io::data_type_named(name);
    REQUIRE(type);
    CHECK(io::name_of(*type) == name);
    CHECK(io::size_of(*type) == size);
    CHECK(io::is_floating(*type) == (std::string(name).find('F') != std::string::npos));
  }
  for (const char* name : {"", "f32", "F8", "F32 ", "U64"}) CHECK_FALSE(io::data_type_named(name));
}

TEST_CASE("elements are counted without overflow", "[TensorInfo]") {
  constexpr Index half = Index{1} << 32;
  const std::vector<std::pair<std::vector<Index>, std::optional<Index>>> cases{{{}, 1},
                                                                               {{0}, 0},
                                                                               {{3, 24}, 72},
                                                                               {{half, half}, {}},
                                                                               {{half, half / 4}, Index{1} << 62},
                                                                               {{0, half, half}, 0},
                                                                               {{half, half, 0}, {}},
                                                                               {{-1}, {}},
                                                                               {{-1, -1}, {}}};
  for (const auto& [shape, count] : cases) CHECK(io::element_count(shape) == count);
  CHECK(io::shape_text(std::vector<Index>{}) == "[]");
  CHECK(io::shape_text(std::vector<Index>{3, 24}) == "[3, 24]");
}

TEST_CASE("F32 and F64 become float and double", "[TensorInfo]") {
  const std::vector<float> floats{0.1F, -0.0F, 1e-45F, std::numeric_limits<float>::infinity()};
  const std::vector<double> doubles{0.1, -0.0, 5e-324, -1e300};
  CHECK(converted<float>(DataType::f32, floats) == floats);
  CHECK(converted<double>(DataType::f64, doubles) == doubles);
  CHECK(converted<double>(DataType::f32, floats) == std::vector<double>(floats.begin(), floats.end()));
  CHECK(converted<float>(DataType::f64, doubles) ==
        std::vector<float>{0.1F, -0.0F, 0.0F, -std::numeric_limits<float>::infinity()});
  CHECK(converted<float>(DataType::f32, std::vector<float>{}).empty());
}

TEST_CASE("every half float becomes the number that its bits say", "[TensorInfo]") {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
    const int exponent = static_cast<int>((bits >> 10) & 31U);
    const double fraction = (bits & 1023U) / 1024.0;
    const float value = io::detail::float_of_half(static_cast<std::uint16_t>(bits));
    if (exponent == 31 && fraction > 0)
      REQUIRE(std::isnan(value));
    else if (exponent == 31)
      REQUIRE(static_cast<double>(value) == sign * std::numeric_limits<double>::infinity());
    else
      REQUIRE(static_cast<double>(value) ==
              sign * (exponent == 0 ? fraction * 0x1p-14 : (1 + fraction) * std::pow(2.0, exponent - 15)));
  }
  CHECK(std::signbit(io::detail::float_of_half(0x8000)));
  CHECK(converted<double>(DataType::f16, std::vector<std::uint16_t>{0x3c00, 0xc000, 0x3555}) ==
        std::vector<double>{1, -2, 0.333251953125});
}

TEST_CASE("bfloat16 is the upper half of a float", "[TensorInfo]") {
  CHECK(converted<float>(DataType::bf16, std::vector<std::uint16_t>{0x3f80, 0xc000, 0x7f80, 0x0001}) ==
        std::vector<float>{1, -2, std::numeric_limits<float>::infinity(), 0x1p-133F});
}

TEST_CASE("integers keep their sign", "[TensorInfo]") {
  constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
  CHECK(converted<std::int64_t>(DataType::i64, Longs{-100, lowest, 7}) == Longs{-100, lowest, 7});
  CHECK(converted<std::int64_t>(DataType::i32, std::vector<std::int32_t>{-100, 7}) == Longs{-100, 7});
  CHECK(converted<std::int64_t>(DataType::i16, std::vector<std::int16_t>{-100, 7}) == Longs{-100, 7});
  CHECK(converted<std::int64_t>(DataType::i8, std::vector<std::int8_t>{-100, 7}) == Longs{-100, 7});
  CHECK(converted<std::int64_t>(DataType::u8, std::vector<std::uint8_t>{200, 7}) == Longs{200, 7});
  CHECK(converted<std::int64_t>(DataType::boolean, std::vector<std::uint8_t>{0, 1}) == Longs{0, 1});
}

TEST_CASE("tensors are equal by type, shape and bits", "[TensorInfo]") {
  const std::vector<std::byte> bytes = bytes_of<float>({1, 2});
  const std::vector<std::byte> same = bytes;
  const std::vector<std::byte> other = bytes_of<float>({1, 3});
  const TensorInfo info{DataType::f32, {2}, bytes};
  CHECK(info == TensorInfo{DataType::f32, {2}, same});
  CHECK_FALSE(info == TensorInfo{DataType::f32, {2}, other});
  CHECK_FALSE(info == TensorInfo{DataType::f32, {1, 2}, same});
  CHECK_FALSE(info == TensorInfo{DataType::i32, {2}, same});
  CHECK(TensorInfo{DataType::f32, {0}, {}} == TensorInfo{DataType::f32, {0}, {}});
}

}  // namespace tensor_data_test
