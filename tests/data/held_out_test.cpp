// Held out lines: by what they say, not by where they stand; of every class.
#include <merganser/data/held_out.hpp>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/error_text.hpp"

using namespace merganser;
using namespace merganser::testing;
using data::held_out;

namespace {

/// `count` different lines of each of three classes, sorted by class.
struct SortedFile {
  std::vector<std::string> texts;
  std::vector<Index> classes;

  explicit SortedFile(int count) {
    for (Index c = 0; c < 3; ++c)
      for (int i = 0; i < count; ++i) {
        texts.push_back("line " + std::to_string(i) + " of " + std::to_string(c));
        classes.push_back(7 - c);
      }
  }

  std::vector<std::string_view> lines() const { return {texts.begin(), texts.end()}; }
};

}  // namespace

TEST_CASE("Of a file sorted by class a tenth of every class is held out", "[data][held_out]") {
  const SortedFile file(50);
  const std::vector<bool> held = held_out(file.lines(), file.classes, 0.1);
  for (int c = 0; c < 3; ++c) CHECK(std::count(held.begin() + 50 * c, held.begin() + 50 * (c + 1), true) == 5);
  const std::vector<bool> together = held_out(file.lines(), {}, 0.1);
  CHECK(std::count(together.begin(), together.end(), true) == 15);
  CHECK(std::find(together.begin(), together.begin() + 100, true) != together.begin() + 100);  // not the last tenth
}

TEST_CASE("The order of the lines does not matter, and equal lines stay together", "[data][held_out]") {
  const SortedFile file(20);
  std::vector<std::string_view> lines = file.lines();
  std::vector<Index> classes = file.classes;
  const std::vector<bool> held = held_out(lines, classes, 0.25);
  std::reverse(lines.begin(), lines.end());
  std::reverse(classes.begin(), classes.end());
  std::vector<bool> back = held_out(lines, classes, 0.25);
  std::reverse(back.begin(), back.end());
  CHECK(back == held);

  lines.insert(lines.end(), lines.begin(), lines.end());  // every line twice
  classes.insert(classes.end(), classes.begin(), classes.end());
  const std::vector<bool> twice = held_out(lines, classes, 0.25);
  CHECK(std::equal(twice.begin(), twice.begin() + 60, twice.begin() + 60));
  CHECK(std::equal(held.rbegin(), held.rend(), twice.begin()));
}

TEST_CASE("Two different lines are enough for both sides, one is not", "[data][held_out]") {
  const std::vector<std::string_view> two = {"a", "b"}, same = {"a", "a", "a"};
  for (const double share : {0.01, 0.99}) {
    const std::vector<bool> held = held_out(two, {}, share);
    CHECK(held[0] != held[1]);
    CHECK(held_out(same, {}, share) == std::vector<bool>{false, false, false});
  }
  CHECK(held_out({}, {}, 0.1).empty());
}

TEST_CASE("The hash of a line is the same everywhere", "[data][held_out]") {
  CHECK(data::line_hash("") != data::line_hash(std::string_view("\0", 1)));
  CHECK(data::line_hash("abc") == 0x1dfe32d915a52a7c);
}

TEST_CASE("What cannot be held out is refused", "[data][held_out]") {
  const std::vector<std::string_view> lines = {"a", "b"};
  const std::vector<Index> classes = {1};
  CHECK(argument_error([&] { held_out(lines, classes, 0.1); }) == "held_out: classes.size(): got 1, expected 2");
  for (const double share : {0.0, 1.0, -0.5, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(held_out(lines, {}, share), std::invalid_argument);
}
