// Columns of characters and marks, against what terminals do.
#include <merganser/data/character_columns.hpp>

#include <string>

#include "support/catch.hpp"

namespace character_columns_test {

using namespace merganser;
using data::code_point;
using data::columns_of;
using data::joins_previous;

TEST_CASE("A character's code point", "[data][character_columns]") {
  CHECK(code_point("a") == U'a');
  CHECK(code_point("\u00E9") == 0xE9);
  CHECK(code_point("\u4E00") == 0x4E00);
  CHECK(code_point("\U0001F986") == 0x1F986);
}

TEST_CASE("East Asian characters take two columns, marks none", "[data][character_columns]") {
  CHECK(columns_of("") == 0);
  CHECK(columns_of("duck") == 4);
  CHECK(columns_of("\u0443\u0442\u043A\u0430") == 4);        // Russian
  CHECK(columns_of("\u9E2D\u5B50\u3002") == 6);              // Chinese, with a full stop
  CHECK(columns_of("\uC624\uB9AC") == 4);                    // Korean
  CHECK(columns_of("\u30A2\u30D2\u30EB") == 6);              // Japanese
  CHECK(columns_of("\u0E40\u0E1B\u0E47\u0E14") == 3);        // Thai, one mark
  CHECK(columns_of("\u092C\u0924\u094D\u0924\u0916") == 4);  // Devanagari, one virama
  CHECK(columns_of("e\u0301") == 1);
  CHECK(columns_of("\U0001F986") == 2);
  CHECK(columns_of("\uFF41") == 2);              // full width
  CHECK(columns_of("\u1112\u1161\u11AB") == 2);  // a Korean syllable of three letters
  CHECK(columns_of("a\xFF\xE4\xB8z") == 5);      // bytes that are no character
  CHECK(columns_of(std::string("\xE4\xB8", 2)) == 2);
}

TEST_CASE("Marks belong to the character before them", "[data][character_columns]") {
  for (const char32_t code : {0x301u, 0x5B0u, 0x64Eu, 0xE47u, 0x93Eu, 0x11ABu, 0xFE0Fu, 0x1F3FDu, 0xE01EFu})
    CHECK(joins_previous(code));
  for (const char32_t code : {0x0u, 0x61u, 0x2FFu, 0x370u, 0x1112u, 0x4E00u, 0xAC00u, 0x1F986u, 0x10FFFFu})
    CHECK_FALSE(joins_previous(code));
}

TEST_CASE("Tables of characters rise", "[data][character_columns]") {
  const auto check = [](const auto& ranges) {
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      REQUIRE(ranges[i].first <= ranges[i].last);
      if (i > 0) REQUIRE(ranges[i - 1].last < ranges[i].first);
    }
  };
  check(data::detail::marks_without_column);
  check(data::detail::marks_with_column);
  check(data::detail::wide_characters);
}

}  // namespace character_columns_test
