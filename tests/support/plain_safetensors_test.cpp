#include "support/plain_safetensors.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace plain_safetensors_test {

using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;

std::string file_of(std::string header, const std::string& data, std::size_t length) {
  std::string bytes;
  for (std::size_t i = 0; i < 8; ++i, length /= 256) bytes += static_cast<char>(length % 256);
  return bytes + std::move(header) + data;
}

std::string file_of(const std::string& header, const std::string& data) { return file_of(header, data, header.size()); }

template <class Read>
std::string error_of(Read read, const std::string& bytes) {
  try {
    read(bytes);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

std::string error_of(const std::string& header, std::size_t data) {
  return error_of(read_plain_safetensors, file_of(header, std::string(data, 'x')));
}

const std::string two = R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)";

TEST_CASE("the plain reader reads what the format asks for", "[plain_safetensors]") {
  const std::string header =
      R"({"__metadata__":{"a \"b\"":"c\\"},"y":{"data_offsets":[4,6],"shape":[],"dtype":"BF16"},)"
      R"("empty":{"dtype":"I64","shape":[0,3],"data_offsets":[4,4]},"x":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}}   )";
  const PlainFile file = read_plain_safetensors(file_of(header, "012345"));
  CHECK(file.metadata == std::map<std::string, std::string>{{"a \"b\"", "c\\"}});
  REQUIRE(file.tensors.size() == 3);
  CHECK(file.tensors[0] == std::pair<std::string, PlainTensor>{"x", {"U8", {2, 2}, "0123"}});
  CHECK(file.tensors[1] == std::pair<std::string, PlainTensor>{"empty", {"I64", {0, 3}, ""}});
  CHECK(file.tensors[2] == std::pair<std::string, PlainTensor>{"y", {"BF16", {}, "45"}});
  CHECK(read_plain_safetensors(file_of("{}", "")).tensors.empty());
}

TEST_CASE("the plain reader refuses what breaks a rule", "[plain_safetensors]") {
  CHECK(error_of("{" + two.substr(0, two.size() - 1) + "}", 8).empty());
  CHECK_THAT(error_of(read_plain_safetensors, "1234567"), ContainsSubstring("fewer than 8 bytes"));
  CHECK_THAT(error_of(read_plain_safetensors, file_of("{}", "", 3)), ContainsSubstring("longer than the file"));
  CHECK_THAT(error_of(read_plain_safetensors, file_of("{}", "", ~std::size_t{0})), ContainsSubstring("longer than"));
  for (
      const auto& [header, data, expected] : std::vector<std::tuple<std::string, std::size_t, std::string>>{
          {"", 0, "expected {"},
          {" {}", 0, "expected {"},
          {"{}\n", 0, "expected  "},
          {"{} {}", 0, "expected  "},
          {"{", 0, "expected \""},
          {"{}", 1, "tensors that fill the data"},
          {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1],"data_offsets":[9,10]}})",
           10, "without gaps"},
          {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[2],"data_offsets":[7,9]}})",
           9, "without gaps and overlaps"},
          {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})", 9, "without gaps"},
          {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "offsets within the data"},
          {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "offsets within the data"},
          {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}})", 8, "offsets within the data"},
          {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "as many bytes as type and shape have"},
          {R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8, "an element type"},
          {R"({"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}})", 8, "an element type"},
          {R"({"a":{"dtype":"F32","shape":[2]}})", 0, "the three keys"},
          {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8, "a key of a tensor"},
          {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "a whole number"},
          {R"({"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}})", 8, "a whole number"},
          {R"({"a":{"dtype":"F32","shape":[18446744073709551618],"data_offsets":[0,8]}})", 8, "a whole number"},
          {"{" + two + two.substr(0, two.size() - 1) + "}", 8, "every key once"}}) {
    INFO(header);
    CHECK_THAT(error_of(header, data), ContainsSubstring(expected));
  }
}

TEST_CASE("the plain reader sees what is not aligned", "[plain_safetensors]") {
  const std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  const auto padded = [&](std::size_t blanks) { return file_of(header + std::string(blanks, ' '), "x"); };
  const std::size_t blanks = (8 - header.size() % 8) % 8;
  CHECK(error_of(read_aligned_safetensors, padded(blanks)).empty());
  CHECK_FALSE(error_of(read_aligned_safetensors, padded(blanks + 1)).empty());
  CHECK_FALSE(error_of(read_aligned_safetensors, padded(blanks + 8)).empty());
  PlainFile file;
  file.tensors = {{"byte", {"U8", {1}, "x"}}, {"half", {"F16", {1}, "yz"}}};
  CHECK_THAT(error_of(read_aligned_safetensors, write_plain_safetensors(file)), ContainsSubstring("half"));
  CHECK(read_plain_safetensors(write_plain_safetensors(file)) == file);
  std::swap(file.tensors[0], file.tensors[1]);
  CHECK(read_aligned_safetensors(write_plain_safetensors(file)) == file);
}

TEST_CASE("numbers have the bytes of their type", "[plain_safetensors]") {
  for (const float value : {0.0F, -0.0F, 1.0F, -2.5F, 0.1F, 1e-40F, 3.4e38F, 1.17549435e-38F}) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    std::string bytes;
    for (std::uint32_t i = 0; i < 4; ++i) bytes += static_cast<char>((bits >> (8 * i)) & 0xff);
    CHECK(plain_number(plain_float("F32"), static_cast<double>(value)) == bytes);
    CHECK(plain_value(plain_float("F32"), bytes) == static_cast<double>(value));
  }
  for (const double value : {0.0, 1.0, -0.1, 1e300, 5e-324}) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    std::string bytes;
    for (std::uint32_t i = 0; i < 8; ++i) bytes += static_cast<char>((bits >> (8 * i)) & 0xff);
    CHECK(plain_number(plain_float("F64"), value) == bytes);
    CHECK(plain_value(plain_float("F64"), bytes) == value);
  }
  const auto half = [](double value) { return plain_number(plain_float("F16"), value); };
  CHECK(half(1) == std::string("\x00\x3c", 2));
  CHECK(half(-2) == std::string("\x00\xc0", 2));
  CHECK(half(65504) == std::string("\xff\x7b", 2));
  CHECK(half(0x1p-24) == std::string("\x01\x00", 2));
  CHECK(half(1 + 0x1p-11) == half(1));                                                 // a tie, to even
  CHECK(half(1 + 0x3p-11) == half(1 + 0x1p-9));                                        // and upwards
  CHECK(half(2 - 0x1p-12) == half(2));                                                 // into the next exponent
  CHECK(plain_number(plain_float("BF16"), 1.00390625) == std::string("\x80\x3f", 2));  // 1 + 2^-8, a tie
  CHECK(plain_value(plain_float("BF16"), std::string("\x81\x3f", 2)) == 1.0078125);
  CHECK(plain_value(plain_float("F16"), half(-0.333)) == -0.333007812500);
}

}  // namespace plain_safetensors_test
