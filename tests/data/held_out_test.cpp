#include <merganser/data/held_out.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace held_out_test {

using merganser::data::held_out;
using merganser::data::line_hash;

std::vector<std::string> numbered(int count) {
  std::vector<std::string> lines;
  for (int i = 0; i < count; ++i) lines.push_back("line " + std::to_string(i));
  return lines;
}

std::size_t count(const std::vector<std::uint8_t>& held) {
  return static_cast<std::size_t>(std::count(held.begin(), held.end(), std::uint8_t{1}));
}

std::set<std::string> chosen(const std::vector<std::string>& lines, const std::vector<std::uint8_t>& held) {
  std::set<std::string> result;
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (held[i] != 0) result.insert(lines[i]);
  return result;
}

TEST_CASE("one line in so many is held out, in any order of the file", "[held_out]") {
  std::vector<std::string> lines = numbered(1000);
  const std::set<std::string> first = chosen(lines, held_out(lines, 10));
  CHECK(first.size() == 100);
  std::reverse(lines.begin(), lines.end());
  CHECK(chosen(lines, held_out(lines, 10)) == first);
}

TEST_CASE("the held-out lines are spread over the file", "[held_out]") {
  const auto held = held_out(numbered(1000), 10);
  for (std::size_t part = 0; part < 4; ++part) {
    const auto begin = held.begin() + static_cast<std::ptrdiff_t>(250 * part);
    const auto in_part = std::count(begin, begin + 250, std::uint8_t{1});
    CHECK(in_part > 10);
    CHECK(in_part < 45);
  }
}

TEST_CASE("a file that grows keeps its split but for a few lines", "[held_out]") {
  const std::vector<std::string> lines = numbered(1000), more = numbered(1010);
  const std::set<std::string> before = chosen(lines, held_out(lines, 10)), after = chosen(more, held_out(more, 10));
  std::vector<std::string> kept;
  std::set_intersection(before.begin(), before.end(), after.begin(), after.end(), std::back_inserter(kept));
  CHECK(kept.size() >= 98);
}

TEST_CASE("every stratum is held out by its share, and one line at least", "[held_out]") {
  // Sorted by class, as the last tenth must not be cut from.
  std::vector<std::string> lines = numbered(115), labels;
  labels.insert(labels.end(), 60, "bird");
  labels.insert(labels.end(), 50, "fish");
  labels.insert(labels.end(), 4, "rare");
  labels.insert(labels.end(), 1, "single");
  const auto held = held_out(lines, 10, labels);
  const auto in = [&](std::size_t from, std::size_t to) {
    return std::accumulate(held.begin() + static_cast<std::ptrdiff_t>(from),
                           held.begin() + static_cast<std::ptrdiff_t>(to), 0);
  };
  CHECK(in(0, 60) == 6);
  CHECK(in(60, 110) == 5);
  CHECK(in(110, 114) == 1);
  CHECK(in(114, 115) == 0);
}

TEST_CASE("equal lines stay on one side, and something is left to train on", "[held_out]") {
  std::vector<std::string> lines;
  for (int i = 0; i < 40; ++i) lines.push_back("line " + std::to_string(i % 8));
  const auto held = held_out(lines, 10);
  for (std::size_t i = 8; i < lines.size(); ++i) CHECK(held[i] == held[i - 8]);
  CHECK(count(held) == 5);
  CHECK(count(held_out(std::vector<std::string>(7, "the same"), 2)) == 0);
  CHECK(count(held_out(std::vector<std::string>{"a", "b"}, 10)) == 1);
  CHECK(held_out(std::vector<std::string>{}, 10).empty());
}

TEST_CASE("the hash is the same on every machine", "[held_out]") {
  CHECK(line_hash("") == 0xf52a15e9a9b5e89bU);
  CHECK(line_hash("a") != line_hash("b"));
  CHECK(line_hash("ab") != line_hash("ba"));
}

TEST_CASE("bad arguments are refused", "[held_out]") {
  CHECK_THROWS_AS(held_out(numbered(3), 1), std::invalid_argument);
  CHECK_THROWS_AS(held_out(numbered(3), 10, numbered(2)), std::invalid_argument);
}

}  // namespace held_out_test
