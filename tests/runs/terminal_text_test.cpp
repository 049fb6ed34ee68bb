// Tables, sentences and bytes in the width of a terminal.
#include <merganser/runs/terminal_text.hpp>

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <string>

#include "support/catch.hpp"

namespace terminal_text_test {

using namespace merganser::runs;

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  for (const std::string& line : merganser::split(text, '\n')) longest = std::max(longest, line.size());
  return longest;
}

std::string printed(const TextTable& table, std::size_t columns) {
  std::ostringstream out;
  table.print(out, columns);
  return out.str();
}

TEST_CASE("a table that is too wide goes on below, with its first column again", "[terminal_text]") {
  TextTable table;
  table.add_column("", 8, TextTable::Align::left);
  table.add_column("first", 8);
  table.add_column("second", 8);
  table.add_row({"one", "1", "2"});
  table.add_row({"two", "3", ""});
  CHECK(printed(table, 24) == "           first  second\none            1       2\ntwo            3\n");
  CHECK(printed(table, 23) ==
        "           first\none            1\ntwo            3\n\n          second\none            2\ntwo\n");
  CHECK(longest_line(printed(table, 5)) <= 16);
}

TEST_CASE("a long cell widens its column", "[terminal_text]") {
  TextTable table;
  table.add_column("", 4, TextTable::Align::left);
  table.add_column("x", 4);
  table.add_row({"a long name", "123456"});
  CHECK(printed(table, 80) == "                  x\na long name  123456\n");
}

TEST_CASE("sentences are broken between words", "[terminal_text]") {
  CHECK(wrapped("one two three", 80) == "one two three\n");
  CHECK(wrapped("one two three", 7) == "one two\nthree\n");
  CHECK(wrapped("one two three", 3) == "one\ntwo\nthree\n");
  CHECK(wrapped("", 10) == "\n");
  CHECK(longest_line(wrapped("many words of all sorts and lengths, and none is cut", 11)) <= 11);
}

TEST_CASE("a shell reads a word back", "[terminal_text]") {
  CHECK(shell_word("run/step-1.2") == "run/step-1.2");
  CHECK(shell_word("r 3") == "'r 3'");
  CHECK(shell_word("it's") == "'it'\\''s'");
  CHECK(shell_word("$HOME") == "'$HOME'");
  CHECK(shell_word("") == "''");
}

TEST_CASE("what acts on a terminal is shown by its number", "[terminal_text]") {
  CHECK(showable_text("a\x1B[2J\xff \xc3\xa9\n\t") == "a\\x1B[2J\\xFF \xc3\xa9\n\t");
  CHECK(one_line("two\nlines\r\n\x07") == "two lines  \\x07");
}

}  // namespace terminal_text_test
