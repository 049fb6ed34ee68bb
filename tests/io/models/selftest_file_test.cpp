#include <merganser/io/models/selftest_file.hpp>

#include <limits>
#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace selftest_file_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;

Selftest two_cases() {
  Selftest selftest;
  selftest.tolerance = 0.25;
  selftest.seed = std::numeric_limits<std::int64_t>::max();
  selftest.cases.push_back(
      {{38, 259, 1}, merge::DeletionMode::hard, {0, 2}, {0, 38, 1}, {{0, {0.1, -2e-9}}, {2, {7}}}});
  selftest.cases.push_back({{}, merge::DeletionMode::none, {}, {0}, {}});
  return selftest;
}

Json as_json() { return Json::parse(to_json(two_cases())); }

std::string error_of(const std::string& text) {
  return error_text<IoError>([&] { parse_selftest(text, "s.json"); });
}

template <class Value>
std::string error_with(const std::string& place, const Value& value) {
  Json object = as_json();
  object[Json::json_pointer(place)] = value;
  return error_of(object.dump());
}

std::string error_without(const std::string& parent, const std::string& key) {
  Json object = as_json();
  object[Json::json_pointer(parent)].erase(key);
  return error_of(object.dump());
}

TEST_CASE("a self-test comes back from its text", "[Selftest]") {
  for (const Selftest& selftest : {two_cases(), Selftest{}}) {
    const std::string text = to_json(selftest);
    CHECK(parse_selftest(text, "s.json") == selftest);
    CHECK(Json::parse(text)["version"] == 1);
  }
  const TemporaryDirectory directory;
  write_file_atomically(directory / "selftest.json", to_json(two_cases()));
  CHECK(read_selftest(directory.path()) == two_cases());
}

TEST_CASE("a directory without a self-test is an error that names the file", "[Selftest]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_WITH(read_selftest(directory.path()), ContainsSubstring("selftest.json: file: got no such file"));
}

TEST_CASE("errors in a self-test name the field", "[Selftest]") {
  CHECK_THAT(error_of("[]"), ContainsSubstring("s.json: file: got array"));
  CHECK_THAT(error_of(""), ContainsSubstring("s.json: file: "));
  CHECK_THAT(error_of("{\"version\":1,\"version\":1}"), ContainsSubstring("version: got this key twice"));
  CHECK_THAT(error_of(std::string(100, '[')), ContainsSubstring("deeper nesting"));
  for (const char* key : {"version", "tolerance", "seed", "cases"})
    CHECK_THAT(error_without("", key), ContainsSubstring("s.json: " + std::string(key) + ": got no such key"));
  for (const char* key : {"source", "mode", "kept", "target", "logits"})
    CHECK_THAT(error_without("/cases/1", key),
               ContainsSubstring("s.json: cases[1]." + std::string(key) + ": got no such key"));
  for (const char* key : {"position", "values"})
    CHECK_THAT(error_without("/cases/0/logits/1", key),
               ContainsSubstring("s.json: cases[0].logits[1]." + std::string(key) + ": got no such key"));
  for (const char* place : {"/more", "/cases/0/more", "/cases/0/logits/0/more"})
    CHECK_THAT(error_with(place, 1), ContainsSubstring("more: got an unknown key"));

  CHECK_THAT(error_with("/version", 2), ContainsSubstring("version: got 2, expected a whole number in 1 .. 1"));
  CHECK_THAT(error_with("/tolerance", 0), ContainsSubstring("tolerance: got 0, expected a positive number"));
  CHECK_THAT(error_with("/tolerance", "x"), ContainsSubstring("tolerance: got \"x\""));
  CHECK_THAT(error_with("/seed", -1), ContainsSubstring("seed: got -1"));
  CHECK_THAT(error_with("/seed", std::uint64_t{1} << 63), ContainsSubstring("seed: got 9223372036854775808"));
  CHECK_THAT(error_with("/cases", Json::object()), ContainsSubstring("cases: got no array"));
  CHECK_THAT(error_with("/cases/0", 5), ContainsSubstring("cases[0]: got 5, expected an object"));
  CHECK_THAT(error_with("/cases/0/source/1", -1), ContainsSubstring("cases[0].source: got -1"));
  CHECK_THAT(error_with("/cases/0/source/1", 1LL << 31), ContainsSubstring("cases[0].source: got 2147483648"));
  CHECK_THAT(error_with("/cases/0/mode", "gentle"), ContainsSubstring("cases[0].mode: got \"gentle\""));
  CHECK_THAT(error_with("/cases/0/mode", "everything"), ContainsSubstring("cases[0].mode"));
  CHECK_THAT(error_with("/cases/0/kept", Json{2, 0}), ContainsSubstring("cases[0].kept: got positions out of order"));
  CHECK_THAT(error_with("/cases/0/kept", Json{2, 2}), ContainsSubstring("cases[0].kept: got positions out of order"));
  CHECK_THAT(error_with("/cases/0/kept", Json{0, 3}), ContainsSubstring("cases[0].kept: got positions out of order"));
  CHECK_THAT(error_with("/cases/1/kept", Json::array({0})), ContainsSubstring("cases[1].kept: got positions"));
  CHECK_THAT(error_with("/cases/0/target", Json::array()), ContainsSubstring("cases[0].target: got no ids"));
  CHECK_THAT(error_with("/cases/0/logits/0/position", 3), ContainsSubstring("cases[0].logits[0].position: got 3"));
  CHECK_THAT(error_with("/cases/0/logits/0/values", Json::array()),
             ContainsSubstring("logits[0].values: got no numbers"));
  CHECK_THAT(error_with("/cases/0/logits/0/values/1", nullptr), ContainsSubstring("logits[0].values: got null"));
  CHECK_THAT(error_with("/cases/0/logits/0/values", "x"), ContainsSubstring("logits[0].values: got no array"));
}

TEST_CASE("a self-test that cannot be read again is not written", "[Selftest]") {
  Selftest selftest = two_cases();
  SECTION("not finite") { selftest.cases[0].logits[0].values[1] = std::numeric_limits<double>::quiet_NaN(); }
  SECTION("no tolerance") { selftest.tolerance = 0; }
  SECTION("a large seed") { selftest.seed = ~std::uint64_t{0}; }
  SECTION("no target") { selftest.cases[1].target.clear(); }
  SECTION("positions fall") { selftest.cases[0].kept = {2, 1}; }
  SECTION("a mode without a word") { selftest.cases[0].mode = merge::DeletionMode::everything; }
  CHECK_THROWS_AS(to_json(selftest), std::invalid_argument);
}

}  // namespace selftest_file_test
