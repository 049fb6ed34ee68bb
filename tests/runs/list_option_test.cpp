// Options read what they write, and say what is wrong with a value.
#include <merganser/runs/list_option.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace list_option_test {

using namespace merganser;
using namespace merganser::runs;

constexpr OptionRole role = OptionRole::training;

std::string error_of(const Option& option, const std::string& text) {
  try {
    option.read(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "none";
}

TEST_CASE("lists read what they write", "[list_option]") {
  std::vector<Index> blocks;
  const Option counts = counts_option("--blocks", "", role, blocks, 0, 9);
  CHECK_FALSE(counts.text().has_value());
  counts.read("1,3");
  CHECK(blocks == std::vector<Index>{1, 3});
  CHECK(counts.text() == "1,3");
  CHECK(error_of(counts, "1,10") == "got 10, expected whole numbers from 0 to 9");
  CHECK(error_of(counts, "") == "got nothing, expected whole numbers with commas between them");
  CHECK(error_of(counts, "1,,2").starts_with("got nothing, expected whole numbers"));

  std::vector<std::string> names;
  const Option texts = texts_option("--name", "NAME", "", role, names);
  CHECK(texts.values == OptionValues::repeated);
  CHECK_FALSE(texts.text().has_value());
  texts.read("a,b");
  texts.read("c");
  CHECK(names == std::vector<std::string>{"a,b", "c"});
  CHECK(texts.text() == "a,b c");
}

}  // namespace list_option_test
