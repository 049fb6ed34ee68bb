#include <merganser/io/models/weight_files.hpp>

#include <map>
#include <set>
#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace weight_files_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

io::ShardIndex parsed(const std::string& text) { return io::parse_shard_index(text, "i.json"); }

std::string error_of_text(const std::string& text) {
  return testing::io_error([&] { parsed(text); });
}

TEST_CASE("an index says what is where", "[weight_files]") {
  const io::ShardIndex index = parsed(
      R"({"metadata": {"total_size": 12, "total_parameters": 3}, "weight_map": {"a": "f", "b": "d/g", "c": "f"}})");
  CHECK(index.weight_map == std::map<std::string, std::string>{{"a", "f"}, {"b", "d/g"}, {"c", "f"}});
  CHECK(index.files() == std::set<std::string>{"d/g", "f"});
  CHECK(parsed(R"({"metadata": {}, "weight_map": {}})").weight_map.empty());
}

TEST_CASE("a wrong index is an IoError", "[weight_files]") {
  CHECK(error_of_text("{}") == "i.json: weight_map: got no such key, expected an object of file names");
  CHECK(error_of_text(R"({"weight_map": []})") == "i.json: weight_map: got an array, expected an object");
  CHECK(error_of_text(R"({"weight_map": {}, "x": 1})") ==
        "i.json: x: got an unknown key, expected a key of this version");
  CHECK(error_of_text(R"({"weight_map": {"a": "f", "a": "g"}})") ==
        "i.json: a: got this key twice, expected every key once in an object");
  CHECK_THAT(error_of_text(R"({"weight_map": {}, "metadata": 1})"), StartsWith("i.json: metadata: got 1"));
  for (const char* size : {"-1", "1.5", "\"12\"", "18446744073709551616"})  // nobody reads it
    CHECK(error_of_text(R"({"weight_map": {}, "metadata": {"total_size": )" + std::string(size) + "}}").empty());
  for (const std::string& text : {std::string(), std::string("["), std::string(100'000, '['), std::string("\xff")})
    CHECK_FALSE(error_of_text(text).empty());
}

TEST_CASE("a shard lies in the directory of its index", "[weight_files]") {
  for (const char* name : {R"("../f")", R"("/f")", R"("..")", R"(".")", R"("")", R"("d/")", R"("d/../../f")",
                           R"("./f")", R"("d/..")", R"("f\u0000g")", "1", "null", "{}", "[\"f\"]"}) {
    INFO(name);
    CHECK_THAT(error_of_text(R"({"weight_map": {"a": )" + std::string(name) + "}}"),
               StartsWith("i.json: weight_map.a: got ") &&
                   ContainsSubstring("expected the name of a file in the directory of the index"));
  }
  for (const char* name : {"f", "..f", "d/f", "model-00001-of-00002.safetensors"})
    CHECK(error_of_text(R"({"weight_map": {"a": ")" + std::string(name) + "\"}}").empty());
}

}  // namespace weight_files_test
