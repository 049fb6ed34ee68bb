#include <merganser/core/check.hpp>

#include <clocale>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <merganser/core/types.hpp>

#include "support/catch.hpp"

namespace check_test {

using namespace merganser;

TEST_CASE("an error names function, argument, got and expected", "[check]") {
  REQUIRE_THROWS_AS(throw_invalid_argument("f", "x", 1, 2), std::invalid_argument);
  REQUIRE_THROWS_WITH(throw_invalid_argument("Linear::forward", "x.cols()", 3, "at least 4"),
                      "Linear::forward: x.cols(): got 3, expected at least 4");
}

TEST_CASE("numbers and texts of every kind stand in an error as they are", "[check]") {
  const auto text = [](ErrorText of) { return of.str(); };
  CHECK(text(std::numeric_limits<long long>::min()) == "-9223372036854775808");
  CHECK(text(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
  CHECK(text(std::uint8_t{200}) == "200");
  CHECK(text(true) == "1");
  CHECK(text(0.1F) == "0.1");
  CHECK(text("words") == "words");
  CHECK(text(std::string("of a string")) == "of a string");
  CHECK(text(std::string_view("words").substr(1, 2)) == "or");
}

TEST_CASE("check_argument throws exactly when the condition is false", "[check]") {
  REQUIRE_NOTHROW(check_argument(true, "f", "rate", 0.5, "a rate in [0, 1]"));
  REQUIRE_THROWS_WITH(check_argument(false, "f", "rate", 1.5, "a rate in [0, 1]"),
                      "f: rate: got 1.5, expected a rate in [0, 1]");
}

TEST_CASE("check_equal throws exactly when the two differ", "[check]") {
  REQUIRE_NOTHROW(check_equal("f", "rows", 7, 7));
  REQUIRE_NOTHROW(check_equal("f", "name", std::string("weight"), "weight"));
  REQUIRE_THROWS_WITH(check_equal("f", "rows", 7, 8), "f: rows: got 7, expected 8");
  REQUIRE_THROWS_WITH(check_equal("f", "name", std::string(), "weight"), "f: name: got , expected weight");
}

TEST_CASE("check_same_shape throws exactly when an extent differs", "[check]") {
  const Matrix<float> a(2, 3), b(2, 3), c(3, 2);
  REQUIRE_NOTHROW(check_same_shape("f", "b", b, a));
  REQUIRE_THROWS_WITH(check_same_shape("f", "c", c, a), "f: c: got 3 x 2, expected 2 x 3");
}

TEST_CASE("numbers in errors do not hang on the locale", "[check]") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  int found = 0;
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "C"}) {
    if (std::setlocale(LC_ALL, name) == nullptr) continue;
    ++found;
    CHECK(to_text(1.5) == "1.5");
    CHECK(to_text(1234567.0) == "1.23457e+06");
    CHECK(to_text(1234567) == "1234567");
  }
  std::setlocale(LC_ALL, before.c_str());
  CHECK(found > 0);
  CHECK(to_text(0.1F) == "0.1");
  CHECK(to_text(-2.0) == "-2");
  CHECK(to_text(std::numeric_limits<double>::infinity()) == "inf");
  CHECK(to_text(std::numeric_limits<double>::quiet_NaN()) == "nan");
  CHECK(to_text(-std::numeric_limits<double>::max()) == "-1.79769e+308");
}

}  // namespace check_test
