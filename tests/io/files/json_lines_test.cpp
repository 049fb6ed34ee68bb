#include <merganser/io/files/json_lines.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <support/catch.hpp>

namespace json_lines_test {

using namespace merganser;
using namespace merganser::io;

TEST_CASE("A JSON object keeps the order of its keys and takes any text", "[io]") {
  JsonObject object;
  object.set("b", 1).set("a", 0.5).set("text", "a \"quote\"\n").set("yes", true);
  object.set("none", std::numeric_limits<double>::infinity()).set("empty", std::optional<int>());
  object.set("list", std::vector<double>{1.5, std::nan("")}).set("inner", JsonObject().set("x", Index{-3}));
  object.set("rows", std::vector<JsonObject>{JsonObject().set("y", 2u)});
  CHECK(object.line() ==
        "{\"b\":1,\"a\":0.5,\"text\":\"a \\\"quote\\\"\\n\",\"yes\":true,\"none\":null,\"empty\":null,"
        "\"list\":[1.5,null],\"inner\":{\"x\":-3},\"rows\":[{\"y\":2}]}");
  CHECK(JsonObject().set("bytes", std::string("\xff")).line() == "{\"bytes\":\"\xEF\xBF\xBD\"}");
  CHECK(JsonObject().set("a", 1).text() == "{\n  \"a\": 1\n}\n");
  CHECK(JsonObject().line() == "{}");
}

TEST_CASE("Adding an object takes over its keys", "[io]") {
  JsonObject object;
  object.set("a", 1).set("b", 2).add(JsonObject().set("b", 3).set("c", 4));
  CHECK(object.line() == "{\"a\":1,\"b\":3,\"c\":4}");
}

TEST_CASE("A record gives back what was written", "[io]") {
  JsonObject object;
  object.set("count", Index{-7}).set("rate", 1.0 / 3).set("no rate", std::nan("")).set("name", "x").set("on", false);
  object.set("rows", std::vector<JsonObject>{JsonObject().set("y", 2)}).set("inner", JsonObject().set("z", "w"));
  const JsonRecord record(object.line(), "file", "line 1");
  CHECK(record.get<Index>("count") == -7);
  CHECK(record.get<double>("rate") == 1.0 / 3);
  CHECK(std::isnan(record.get<double>("no rate")));
  CHECK(record.get<double>("count") == -7);
  CHECK(record.get<std::string>("name") == "x");
  CHECK_FALSE(record.get<bool>("on"));
  CHECK(record.records("rows").at(0).get<int>("y") == 2);
  CHECK(record.get<JsonRecord>("inner").get<std::string>("z") == "w");
  CHECK_FALSE(record.find<double>("other").has_value());
  CHECK(record.keys() == std::vector<std::string>{"count", "inner", "name", "no rate", "on", "rate", "rows"});
  CHECK(record.find<double>("rate") == 1.0 / 3);
}

TEST_CASE("A record says which value is not as it should be", "[io]") {
  const JsonRecord record("{\"a\":\"x\",\"n\":-1,\"big\":300,\"list\":[1]}", "rows.jsonl", "line 3");
  const std::string expected = ", expected a value as merganser writes it";
  CHECK_THROWS_WITH(record.get<double>("a"), "rows.jsonl: line 3: a: got another kind of value" + expected);
  CHECK_THROWS_WITH(record.get<double>("b"), "rows.jsonl: line 3: b: got no such key" + expected);
  CHECK_THROWS_AS(record.get<std::uint64_t>("n"), IoError);
  CHECK_THROWS_AS(record.get<std::int8_t>("big"), IoError);
  CHECK_THROWS_AS(record.get<std::string>("n"), IoError);
  CHECK_THROWS_AS(record.get<bool>("n"), IoError);
  CHECK_THROWS_AS(record.records("list"), IoError);
  CHECK_THROWS_AS(record.records("a"), IoError);
  CHECK_THROWS_AS(JsonRecord("[1]", "f", "p"), IoError);
  CHECK_THROWS_AS(JsonRecord("{\"a\":1", "f", "p"), IoError);
}

}  // namespace json_lines_test
