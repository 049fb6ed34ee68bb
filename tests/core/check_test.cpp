#include <merganser/core/check.hpp>

#include <string>

#include "support/catch.hpp"

using namespace merganser;

TEST_CASE("an error names function, argument, got and expected", "[check]") {
  REQUIRE_THROWS_AS(throw_invalid_argument("f", "x", 1, 2), std::invalid_argument);
  REQUIRE_THROWS_WITH(throw_invalid_argument("Linear::forward", "x.cols()", 3, "at least 4"),
                      "Linear::forward: x.cols(): got 3, expected at least 4");
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
