#include <progress_line.hpp>
#include <table.hpp>

#include <cstddef>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"

using byte_demo::progress_line;
using byte_demo::ProgressPart;
using byte_demo::Table;
using byte_demo::wrapped;

namespace {

const std::vector<ProgressPart> parts = {{"10/20", 0}, {"loss 1.5", 1}, {"alpha 0.1", 3}, {"9 kB/s", 2}};

std::size_t longest_line(const std::string& text) {
  std::istringstream stream(text);
  std::size_t longest = 0;
  for (std::string line; std::getline(stream, line);) longest = std::max(longest, line.size());
  return longest;
}

std::string printed(const Table& table, std::size_t columns) {
  std::ostringstream out;
  table.print(out, columns);
  return out.str();
}

}  // namespace

TEST_CASE("a line of progress leaves out what can be spared and never reaches the last column", "[terminal]") {
  CHECK(progress_line(parts, std::nullopt) == "10/20 loss 1.5 alpha 0.1 9 kB/s");
  CHECK(progress_line(parts, 32) == "10/20 loss 1.5 alpha 0.1 9 kB/s");
  CHECK(progress_line(parts, 31) == "10/20 loss 1.5 9 kB/s");
  CHECK(progress_line(parts, 20) == "10/20 loss 1.5");
  CHECK(progress_line(parts, 10) == "10/20");
  CHECK(progress_line(parts, 4) == "10/");
  for (std::size_t columns = 2; columns < 40; ++columns) CHECK(progress_line(parts, columns).size() < columns);
}

TEST_CASE("a table that is too wide goes on below, with its first column again", "[terminal]") {
  Table table;
  table.add_column("", 8, Table::Align::left);
  table.add_column("first", 8);
  table.add_column("second", 8);
  table.add_row({"one", "1", "2"});
  table.add_row({"two", "3", ""});
  CHECK(printed(table, 24) == "           first  second\none            1       2\ntwo            3\n");
  CHECK(printed(table, 23) ==
        "           first\none            1\ntwo            3\n\n          second\none            2\ntwo\n");
  CHECK(longest_line(printed(table, 5)) <= 16);
}

TEST_CASE("a long cell widens its column", "[terminal]") {
  Table table;
  table.add_column("", 4, Table::Align::left);
  table.add_column("x", 4);
  table.add_row({"a long name", "123456"});
  CHECK(printed(table, 80) == "                  x\na long name  123456\n");
}

TEST_CASE("sentences are broken between words", "[terminal]") {
  CHECK(wrapped("one two three", 80) == "one two three\n");
  CHECK(wrapped("one two three", 7) == "one two\nthree\n");
  CHECK(wrapped("one two three", 3) == "one\ntwo\nthree\n");
  CHECK(wrapped("", 10) == "\n");
  CHECK(longest_line(wrapped("many words of all sorts and lengths, and none is cut", 11)) <= 11);
}
