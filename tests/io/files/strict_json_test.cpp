#include <merganser/io/files/strict_json.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace strict_json_test {

using namespace merganser;
using io::detail::JsonFields;
using io::detail::parse_json_object;

std::string error_of(const std::string& text) {
  return testing::io_error([&] { parse_json_object(text, "f.json", "file"); });
}

std::string nested(int levels) {
  return R"({"a":)" + std::string(static_cast<std::size_t>(levels - 1), '[') +
         std::string(static_cast<std::size_t>(levels - 1), ']') + "}";
}

TEST_CASE("an object is parsed", "[strict_json]") {
  const nlohmann::json object = parse_json_object(R"( {"a": [1, {"a": 2}], "b": {"a": null}} )", "f.json", "file");
  CHECK(object["a"][1]["a"] == 2);
  CHECK(parse_json_object("{}", "f.json", "file").empty());
  CHECK(error_of(R"([{"a":1},{"a":2}])") == "f.json: file: got array, expected a JSON object");
}

TEST_CASE("what is no JSON is an IoError", "[strict_json]") {
  for (const char* text : {"", " ", "{", "}", "{'a':1}", R"({"a":1,})", R"({"a":1} x)", R"({"a":1}{})", R"({"a":01})",
                           R"({"a":NaN})", "{\"a\":\"\xff\"}", "{\"a\":\"\xc3\"}", R"({"a":"\ud800"})"})
    CHECK_THAT(error_of(text), Catch::Matchers::StartsWith("f.json: file: got an error at byte "));
  CHECK(error_of(R"({"a":1e999})") == "f.json: file: got a number out of range, expected JSON");
  CHECK(error_of(std::string("{}\0x", 4)) == "f.json: file: got a zero byte, expected JSON");
  for (const char* text : {"[]", "1", "null", "\"a\""}) CHECK_FALSE(error_of(text).empty());
}

TEST_CASE("a key twice in one object is an IoError", "[strict_json]") {
  CHECK(error_of(R"({"a":1,"b":2,"a":1})") == "f.json: a: got this key twice, expected every key once in an object");
  CHECK(error_of(R"({"x":[{"b":{},"b":{}}]})") ==
        "f.json: b: got this key twice, expected every key once in an object");
  CHECK(error_of(R"({"a":{"a":{"a":1}},"b":{"a":1}})").empty());
  CHECK_FALSE(error_of(R"({"a":1,"\u0061":1})").empty());
}

TEST_CASE("nesting is limited", "[strict_json]") {
  CHECK(error_of(nested(64)).empty());
  CHECK(error_of(nested(65)) == "f.json: file: got deeper nesting, expected 64 levels at most");
  CHECK(error_of(nested(1'000'000)) == "f.json: file: got deeper nesting, expected 64 levels at most");
  CHECK_FALSE(error_of(R"({"a":)" + std::string(1'000'000, '[')).empty());
  std::string wide = R"({"a":[)";
  for (int i = 0; i < 100; ++i) wide += "[],{},";
  CHECK(error_of(wide + "1]}").empty());
}

TEST_CASE("fields have types and ranges", "[JsonFields]") {
  enum class Colour { red, blue };
  constexpr std::array<io::detail::Choice<Colour>, 2> colours{{{"red", Colour::red}, {"blue", Colour::blue}}};
  const nlohmann::json object = parse_json_object(
      R"({"int":7,"negative":-7,"big":18446744073709551615,"real":0.5,"whole":7.0,"yes":true,"word":"blue","other":"x",
          "null":null,"list":[1,2],"mixed":[1,"2"],"words":["a",""],"object":{"a":1}})",
      "f.json", "file");
  const JsonFields fields(object, "f.json", "p.");
  const auto any = [](double) { return true; };

  CHECK(fields.integer("int", 0, 7) == 7);
  CHECK(fields.integer("negative", -7, 7) == -7);
  CHECK_THROWS_WITH(fields.integer("int", 0, 6), "f.json: p.int: got 7, expected a whole number in 0 .. 6");
  CHECK_THROWS_WITH(fields.integer("int", 8, 9), "f.json: p.int: got 7, expected a whole number in 8 .. 9");
  for (const char* key : {"big", "real", "whole", "yes", "word", "list", "object"})
    CHECK_THROWS_AS(fields.integer(key, -1000, 1000), IoError);
  CHECK(fields.number("int", any, "") == 7.0);
  CHECK(fields.number("real", any, "") == 0.5);
  CHECK_THROWS_WITH(fields.number("word", any, "a number"), "f.json: p.word: got \"blue\", expected a number");
  CHECK_THROWS_AS(fields.number(
                      "real", [](double x) { return x > 1; }, "more than 1"),
                  IoError);
  CHECK(fields.flag("yes") == true);
  CHECK_THROWS_WITH(fields.flag("int"), "f.json: p.int: got 7, expected true or false");
  CHECK((fields.choice("word", colours) == Colour::blue));
  CHECK(fields.is_text("word"));
  CHECK_FALSE(fields.is_text("list"));
  CHECK_FALSE(fields.is_text("null"));
  CHECK_FALSE(fields.is_text("missing"));
  CHECK(fields.is_array("list"));
  CHECK_FALSE(fields.is_array("word"));
  CHECK_THROWS_WITH(fields.choice("other", colours), "f.json: p.other: got \"x\", expected \"red\" or \"blue\"");
  CHECK_THROWS_WITH(fields.choice("list", colours), "f.json: p.list: got an array, expected \"red\" or \"blue\"");
  CHECK(fields.integers("list", 1, 2) == std::vector<Index>{1, 2});
  CHECK_THROWS_AS(fields.integers("list", 1, 1), IoError);
  CHECK_THROWS_AS(fields.integers("mixed", 1, 2), IoError);
  CHECK_THROWS_AS(fields.integers("int", 1, 2), IoError);
  CHECK(fields.texts("words") == std::vector<std::string>{"a", ""});
  CHECK_THROWS_WITH(fields.texts("mixed"), "f.json: p.mixed: got 1, expected an array of texts");
  CHECK_THROWS_WITH(fields.texts("word"), "f.json: p.word: got \"blue\", expected an array of texts");
  CHECK((*fields.object("object"))["a"] == 1);
  CHECK_THROWS_WITH(fields.object("list"), "f.json: p.list: got an array, expected an object");

  for (const char* key : {"missing", "null"}) {
    CHECK_FALSE(fields.integer(key, 0, 1));
    CHECK_FALSE(fields.number(key, any, ""));
    CHECK_FALSE(fields.flag(key));
    CHECK_FALSE(fields.choice(key, colours));
    CHECK_FALSE(fields.integers(key, 0, 1));
    CHECK_FALSE(fields.texts(key));
    CHECK(fields.object(key) == nullptr);
  }
  CHECK(fields.required(fields.flag("yes"), "yes", "a flag"));
  CHECK_THROWS_WITH(fields.required(fields.flag("null"), "null", "a flag"),
                    "f.json: p.null: got null, expected a flag");
  CHECK_THROWS_WITH(fields.required(fields.flag("missing"), "missing", "a flag"),
                    "f.json: p.missing: got no such key, expected a flag");
  CHECK_THROWS_AS(fields.allow_only({"int"}), IoError);
}

TEST_CASE("long and odd values are described in short", "[strict_json]") {
  CHECK(io::detail::describe("a\nb\xff").size() < 30);
  CHECK(io::detail::describe(std::string(1000, 'x')).size() < 100);
}

TEST_CASE("values are described as they stand in a file", "[strict_json]") {
  using io::detail::describe;
  CHECK(describe(nullptr) == "null");
  CHECK(describe(true) == "true");
  CHECK(describe(-3) == "-3");
  CHECK(describe(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
  CHECK(describe(0.1) == "0.1");
  CHECK(describe(2.0) == "2.0");  // which is no whole number in a file
  CHECK(describe(1e300) == "1e+300");
  CHECK(describe("text") == "\"text\"");
  CHECK(describe(std::string(100, 'x')) == "\"" + std::string(80, 'x') + "...");
  CHECK(describe(nlohmann::json::array({1})) == "an array");
  CHECK(describe(nlohmann::json::object()) == "an object");
}

}  // namespace strict_json_test
