#include <merganser/io/files/json_parser.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace json_parser_test {

using namespace merganser;
using io::detail::parse_json_object;
using merganser::testing::io_error;

TEST_CASE("every kind of value is parsed as the library's own parser does", "[json_parser]") {
  for (const char* text :
       {"{}", R"({"a":null,"b":true,"c":-1,"d":18446744073709551615,"e":0.1,"f":"\u00e4\n","g":[],"h":{}})",
        R"({"a":[1,[2,{"b":[{"c":3},4]}],{"d":{}},5],"":{"":[[[]]]}})",
        R"({"a":-0.0,"b":1e300,"c":12345678901234567890123})"})
    CHECK(parse_json_object(text, "f", "file").dump() == nlohmann::json::parse(text).dump());
}

TEST_CASE("a text of 40,000 objects is parsed, and a key twice found at its end", "[json_parser]") {
  std::string text = "{";
  for (int i = 0; i < 40'000; ++i) text += "\"key." + std::to_string(i) + R"(":{"dtype":"F32","shape":[2,3]},)";
  const nlohmann::json object = parse_json_object(text + "\"last\":{}}", "f", "file");
  CHECK(object.size() == 40'001);
  CHECK(object["key.39999"]["shape"][1] == 3);
  CHECK(io_error([&] { parse_json_object(text + "\"key.0\":{}}", "f", "file"); }) ==
        "f: key.0: got this key twice, expected every key once in an object");
}

TEST_CASE("a text that is too long is not parsed", "[json_parser]") {
  const std::string text = R"({"a":1})";
  CHECK(parse_json_object(text, "f", "file", text.size())["a"] == 1);
  CHECK(io_error([&] { parse_json_object(text, "f", "file", text.size() - 1); }) ==
        "f: file: got 7 bytes, expected at most 6 bytes");
  CHECK(io_error([&] { parse_json_object(std::string(io::detail::json_size_limit + 1, ' '), "f", "file"); }) ==
        "f: file: got 32000001 bytes, expected at most 32000000 bytes");
}

}  // namespace json_parser_test
