// Texts as readers see them: whole characters in every script, in lines of a width.
#include <merganser/evaluation/deletion_layout.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/core/random.hpp>
#include "support/catch.hpp"

namespace deletion_layout_test {

using namespace merganser;
using data::ByteTokenizer;
using data::SpecialTokens;
using evaluation::character_units;
using evaluation::DeletionSegment;
using evaluation::joined;
using evaluation::render;
using evaluation::wrapped;

using Flags = std::vector<std::uint8_t>;

std::vector<TokenId> ids_of(std::string_view text) { return ByteTokenizer().encode(text, data::AddEos::no); }

/// Of a text with one letter a byte: "k" keeps.
std::string view(std::string_view text, std::string_view fates) {
  Flags kept;
  for (const char fate : fates) kept.push_back(fate == 'k' ? 1 : 0);
  return render(joined(character_units(ids_of(text), kept)));
}

std::vector<std::string> lines(const std::vector<DeletionSegment>& units, Index columns) {
  std::vector<std::string> result;
  for (const auto& line : wrapped(units, columns)) result.push_back(render(line));
  return result;
}

char32_t first_code(const std::string& text) {
  data::Utf8Decoder decoder;
  std::string character;
  for (std::size_t i = 0; character.empty(); ++i) character = decoder.push(text.substr(i, 1));
  return data::code_point(character);
}

/// One sentence in each of these scripts.
const std::string scripts[] = {"The duck swims, ne\u0301e \u00E0 l'eau.",
                               "\u0423\u0442\u043A\u0438 \u043F\u043B\u044B\u0432\u0443\u0442.",
                               "\u039F\u03B9 \u03C0\u03AC\u03C0\u03B9\u03B5\u03C2.",
                               "\u064A\u064E\u0633\u0628\u062D \u0627\u0644\u0628\u0637.",
                               "\u05D1\u05B0\u05BC\u05E8\u05B5\u05D0.",
                               "\u092C\u0924\u094D\u0924\u0916 \u0924\u0948\u0930\u0940.",
                               "\u0E40\u0E1B\u0E47\u0E14\u0E27\u0E48\u0E32\u0E22\u0E19\u0E49\u0E33",
                               "\u9E2D\u5B50\u6E38\u7740\u3002",
                               "\u30A2\u30D2\u30EB\u304C\u6CF3\u3050\u3002",
                               "\uC624\uB9AC\uAC00 \uD5E4\uC5C4\uCE5C\uB2E4.",
                               "\U0001F986\U0001F44D\U0001F3FD!"};

TEST_CASE("A partly deleted character is whole and marked", "[evaluation][deletion_layout]") {
  CHECK(view("\u0443\u0442 k", "dkdkdk") == "[~\u0443\u0442~][- -]k");
  CHECK(view("\u9E2D\u5B50", "dkkddd") == "[~\u9E2D~][-\u5B50-]");
  CHECK(view("\u9E2D", "kkk") == "\u9E2D");
  CHECK(view("abc", "kdk") == "a[-b-]c");
  CHECK(view("", "") == "");
}

TEST_CASE("Marks stay with their character, which has one fate", "[evaluation][deletion_layout]") {
  CHECK(view("e\u0301x", "kddk") == "[~e\u0301~]x");
  CHECK(view("e\u0301x", "dddk") == "[-e\u0301-]x");
  CHECK(view("\u0E40\u0E1B\u0E47", "kkkdddddd") == "\u0E40[-\u0E1B\u0E47-]");
  CHECK(view("\u0301", "kd") == "[~\u0301~]");        // nothing before it
  CHECK(view("\n\u0301", "kdd") == "\\n[-\u0301-]");  // nothing to stand on
}

TEST_CASE("What is no character is escaped, character by character", "[evaluation][deletion_layout]") {
  CHECK(view("a\xFF\xE4\xB8z", "kdkkk") == "a[-\\xFF-]\\xE4\\xB8z");
  CHECK(view("\n\x1B\\", "kkd") == "\\n\\x1B[-\\\\-]");
  CHECK(view("\u200D", "kkk") == "\\u{200D}");
  CHECK(view("\u202E", "kdk") == "[~\\u{202E}~]");
  CHECK(view("\U000E0041", "dddd") == "[-\\u{E0041}-]");
  CHECK(view("[~a~]-", "kkkkkk") == "\\[~a\\~]-");
}

TEST_CASE("Special tokens have the names that are typed", "[evaluation][deletion_layout]") {
  const SpecialTokens mask{259, {}}, sentinels{{}, 258};
  const auto shown = [](const SpecialTokens& special, std::string_view text) {
    const auto ids = special.encode(text);
    Flags kept(ids.size(), 1);
    kept.back() = 0;
    return render(joined(character_units(ids, kept, special)));
  };
  CHECK(shown(mask, "a<mask>\u0443") == "a<mask>\u0443[-</s>-]");
  CHECK(shown(mask, "<extra_id_0>") == "<mask>[-</s>-]");
  CHECK(shown(sentinels, "a <extra_id_0> b <extra_id_1>") == "a <extra_id_0> b <extra_id_1>[-</s>-]");
  CHECK(shown({}, "\xFF") == "\\xFF[-</s>-]");
  CHECK(render(joined(character_units(std::vector<TokenId>{0, 259, 4000}, Flags{1, 0, 1}))) ==
        "<pad>[-<extra_id_0>-]<id 4000>");
}

TEST_CASE("Lines break behind blanks and never within a unit", "[evaluation][deletion_layout]") {
  const auto kept = [](std::string_view text) { return character_units(ids_of(text), Flags(text.size(), 1)); };
  CHECK(lines(kept("one two three"), 80) == std::vector<std::string>{"one two three"});
  CHECK(lines(kept("one two three"), 8) == std::vector<std::string>{"one two ", "three"});
  CHECK(lines(kept("onetwothree"), 4) == std::vector<std::string>{"onet", "woth", "ree"});
  CHECK(lines(kept("a bcdefghij"), 6) == std::vector<std::string>{"a bcde", "fghij"});
  CHECK(lines(kept("\u9E2D\u5B50\u6E38"), 5) == std::vector<std::string>{"\u9E2D\u5B50", "\u6E38"});
  CHECK(lines(kept("a\xFFz"), 2) == std::vector<std::string>{"a", "\\xFF", "z"});
  CHECK(lines(kept(""), 5).empty());
  CHECK_THROWS_AS(wrapped(kept("a"), 0), std::invalid_argument);
  const auto deleted = character_units(ids_of("abcdef"), Flags(6, 0));
  CHECK(lines(deleted, 7) == std::vector<std::string>{"[-abc-]", "[-def-]"});  // marks count, and each line has its own
}

TEST_CASE("In every script characters are whole at any width, whatever is deleted", "[evaluation][deletion_layout]") {
  Rng rng(7);
  for (const std::string& text : scripts)
    for (Index columns = 8; columns < 30; ++columns) {
      Flags kept;
      for (std::size_t i = 0; i < text.size(); ++i) kept.push_back(static_cast<std::uint8_t>(rng.below(2)));
      const auto units = character_units(ids_of(text), kept);
      std::string whole;
      for (const auto& line : wrapped(units, columns)) {
        CHECK(data::columns_of(render(line)) <= columns);
        CHECK_FALSE(data::joins_previous(first_code(line.front().text)));
        for (const DeletionSegment& segment : line) {
          CHECK(data::to_utf8(segment.text) == segment.text);
          whole += segment.text;
        }
      }
      CHECK(whole == text);  // no bytes, no escapes
    }
}

}  // namespace deletion_layout_test
