#include <merganser/core/dispatch.hpp>

#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace dispatch_test {

using namespace merganser;

const std::vector<Level> levels = {{.name = "base"}, {.name = "middle", .needs = 1}, {.name = "best", .needs = 3}};

TEST_CASE("the last level that the processor can run is chosen", "[dispatch]") {
  REQUIRE(choose_level(levels, 0, "") == 0);
  REQUIRE(choose_level(levels, 1, "") == 1);
  REQUIRE(choose_level(levels, 2, "") == 0);
  REQUIRE(choose_level(levels, 3, "") == 2);
  REQUIRE(choose_level(levels, ~Instructions{0}, "") == 2);
}

TEST_CASE("a level can be asked for by name", "[dispatch]") {
  REQUIRE(choose_level(levels, 3, "base") == 0);
  REQUIRE(choose_level(levels, 3, "middle") == 1);
  REQUIRE_THROWS_WITH(choose_level(levels, 3, "v9"),
                      "MERGANSER_LEVEL: level: got v9, expected one of base, middle, best");
  REQUIRE_THROWS_WITH(
      choose_level(levels, 2, "middle"),
      "MERGANSER_LEVEL: level: got middle, expected one that this processor has (missing: " + extension_names(1) + ")");
}

TEST_CASE("a program for newer processors only says what is missing", "[dispatch]") {
  REQUIRE_THROWS_WITH(
      choose_level(std::span(levels).subspan(1), 0, ""),
      "this program was compiled for newer processors than this one, which lacks " + extension_names(1));
}

int initialised = 0;

TEST_CASE("a level that starts runs its own initialisers and no others", "[dispatch]") {
  static const Level::Initializer ones[] = {[](int, char**, char**) { initialised += 1; }};
  static const Level::Initializer tens[] = {[](int, char**, char**) { initialised += 10; },
                                            [](int, char**, char**) { initialised += 100; }};
  const std::vector<Level> two = {{.name = "a", .needs = 0, .initializers = ones},
                                  {.name = "b", .needs = 0, .initializers = tens}};
  initialised = 0;
  REQUIRE(setenv(level_variable, "a", 1) == 0);
  REQUIRE(start_level(two) == 0);
  REQUIRE(initialised == 1);
  REQUIRE(unsetenv(level_variable) == 0);
  REQUIRE(start_level(two) == 1);
  REQUIRE(initialised == 111);
}

}  // namespace dispatch_test
