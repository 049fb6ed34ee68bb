// The deletion view: what is shown, that nothing breaks a terminal, and that nothing is lost.
#include <merganser/evaluation/deletion_view.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/core/random.hpp>
#include "support/catch.hpp"

namespace deletion_view_test {

using namespace merganser;
using evaluation::DeletionSegment;
using evaluation::exact_segments;
using evaluation::render;
using evaluation::TokenFate;
using evaluation::ViewStyle;
using evaluation::visible_segments;

using Flags = std::vector<std::uint8_t>;

/// "k" keeps, anything else deletes.
Flags flags(std::string_view fates) {
  Flags result;
  for (const char fate : fates) result.push_back(fate == 'k' ? 1 : 0);
  return result;
}

std::string plain(std::string_view bytes, std::string_view fates) {
  return render(visible_segments(bytes, flags(fates)));
}

/// Reads a plain rendering of bytes back.
struct ReadBack {
  std::string bytes;
  Flags kept;

  explicit ReadBack(std::string_view line) {
    std::uint8_t fate = 1;
    const auto add = [&](char byte) {
      bytes.push_back(byte);
      kept.push_back(fate);
    };
    while (!line.empty()) {
      if (line.front() == '\\') {
        const char name = line[1];
        if (name == 'x') {
          add(static_cast<char>(std::stoi(std::string(line.substr(2, 2)), nullptr, 16)));
          line.remove_prefix(4);
        } else {
          add(name == 'n' ? '\n' : name == 'r' ? '\r' : name == 't' ? '\t' : name);
          line.remove_prefix(2);
        }
      } else if (line.starts_with(fate == 1 ? "[-" : "-]")) {
        fate = 1 - fate;
        line.remove_prefix(2);
      } else {
        add(line.front());
        line.remove_prefix(1);
      }
    }
  }
};

TEST_CASE("Deleted bytes stand between marks", "[evaluation][deletion_view]") {
  CHECK(plain("hello", "kdkkd") == "h[-e-]ll[-o-]");
  CHECK(plain("hello", "kkkkk") == "hello");
  CHECK(plain("hello", "ddddd") == "[-hello-]");
  CHECK(plain("", "") == "");
  CHECK(plain("a", "d") == "[-a-]");
  CHECK(render(visible_segments("ab", Flags{200, 0})) == "a[-b-]");  // any flag but 0 keeps
}

TEST_CASE("Colour changes nothing but the brightness", "[evaluation][deletion_view]") {
  const auto segments = visible_segments("hello\x1B", flags("kdkkdd"));
  const std::string line = render(segments, ViewStyle::ansi);
  CHECK(line == "h\x1B[2m[-e-]\x1B[22mll\x1B[2m[-o\\x1B-]\x1B[22m");
  std::string stripped = line;
  for (const std::string code : {"\x1B[2m", "\x1B[22m"})
    for (std::size_t at = stripped.find(code); at != std::string::npos; at = stripped.find(code))
      stripped.erase(at, code.size());
  CHECK(stripped == render(segments));
}

TEST_CASE("What is partly deleted has marks and a style of its own", "[evaluation][deletion_view]") {
  const std::vector<DeletionSegment> segments{{"a", TokenFate::partly_deleted}, {"b", TokenFate::kept}};
  CHECK(render(segments) == "[~a~]b");
  CHECK(render(segments, ViewStyle::ansi) == "\x1B[4m[~a~]\x1B[24mb");
}

TEST_CASE("Runs of one fate", "[evaluation][deletion_view]") {
  CHECK(exact_segments("aa\xFF\xC3", flags("kkdk")) ==
        std::vector<DeletionSegment>{{"aa", TokenFate::kept}, {"\xFF", TokenFate::deleted}, {"\xC3", TokenFate::kept}});
  CHECK(exact_segments("", {}).empty());
  CHECK(visible_segments("ab c", flags("kddd")) ==
        std::vector<DeletionSegment>{{"a", TokenFate::kept}, {"b c", TokenFate::deleted}});
}

TEST_CASE("A character stays whole or becomes the escapes of its bytes", "[evaluation][deletion_view]") {
  CHECK(plain("\xC3\xA9t\xC3\xA9", "kkkdd") == "\xC3\xA9t[-\xC3\xA9-]");
  CHECK(plain("\xC3\xA9", "kd") == "\\xC3[-\\xA9-]");
  CHECK(plain("\xE6\x97\xA5\xE6\x9C\xAC", "dkdddd") == "[-\\xE6-]\\x97[-\\xA5\xE6\x9C\xAC-]");
  CHECK(plain("\xF0\x9F\xA6\x86", "kkkk") == "\xF0\x9F\xA6\x86");
  CHECK(plain("\xF0\x9F\xA6\x86", "kkkd") == "\\xF0\\x9F\\xA6[-\\x86-]");
}

TEST_CASE("Bytes that are not UTF-8 are escaped", "[evaluation][deletion_view]") {
  CHECK(plain("a\xFF"
              "b",
              "kkk") == "a\\xFFb");
  CHECK(plain("\xC3", "d") == "[-\\xC3-]");                  // cut short by the end
  CHECK(plain("\xE6\x97z", "kkk") == "\\xE6\\x97z");         // and by another character
  CHECK(plain("\xED\xA0\x80", "kkk") == "\\xED\\xA0\\x80");  // a surrogate
  CHECK(plain("\xC0\xAF", "kk") == "\\xC0\\xAF");            // overlong
  CHECK(plain("\xF0\x9F\xC3\xA9", "kkdd") == "\\xF0\\x9F[-\xC3\xA9-]");
}

TEST_CASE("What acts on a terminal is escaped", "[evaluation][deletion_view]") {
  CHECK(plain(std::string_view("\0\n\r\t\x1B\x7F", 6), "kkkkkk") == "\\x00\\n\\r\\t\\x1B\\x7F");
  CHECK(plain("\xC2\x9B", "kk") == "\\xC2\\x9B");                           // U+009B, a control sequence introducer
  CHECK(plain("\xE2\x80\xAE", "kkk") == "\\xE2\\x80\\xAE");                 // U+202E, turns the line around
  CHECK(plain("\xE2\x80\x8B", "kkk") == "\\xE2\\x80\\x8B");                 // U+200B, invisible
  CHECK(plain("\xF3\xA0\x80\xA1", "kkkk") == "\\xF3\\xA0\\x80\\xA1");       // U+E0021, an invisible tag
  CHECK(plain("\xC2\xA0\xE2\x80\x90", "kkkkk") == "\xC2\xA0\xE2\x80\x90");  // neighbours that are harmless
}

TEST_CASE("Marks and backslashes in the text are told from ours", "[evaluation][deletion_view]") {
  CHECK(plain("[-x-]", "kkkkk") == "\\[-x\\-]");
  CHECK(plain("[-]", "kkk") == "\\[\\-]");
  CHECK(plain("a\\n", "kkk") == "a\\\\n");
  CHECK(plain("[a-b]", "kkkkk") == "[a-b]");
}

TEST_CASE("Ids that stand for no byte are named", "[evaluation][deletion_view]") {
  const std::vector<TokenId> ids{100, 259, 198, 172, 0, 2, 383, 384, -4, 1};
  CHECK(render(visible_segments(ids, flags("kkddkkkkkd"))) ==
        "a\\<extra_id_0>[-\xC3\xA9-]\\<pad>\\<unk>\\<extra_id_124>\\<id 384>\\<id -4>[-\\</s>-]");
  // A character with something else inside is not one.
  CHECK(render(visible_segments(std::vector<TokenId>{198, 1, 172}, flags("kkk"))) == "\\xC3\\</s>\\xA9");
  CHECK(visible_segments(std::vector<TokenId>{}, {}).empty());
  const std::string text = "</s><pad>";
  const auto text_ids = data::ByteTokenizer().encode(text, data::AddEos::no);
  CHECK(render(visible_segments(text_ids, Flags(text_ids.size(), 1))) == text);
}

TEST_CASE("Flags come from the surviving rows of the batch", "[evaluation][deletion_view]") {
  const std::vector<Index> kept{0, 2, 3, 7};
  CHECK(evaluation::kept_flags(kept, {0, 3}) == Flags{1, 0, 1});
  CHECK(evaluation::kept_flags(kept, {3, 0}).empty());
  CHECK(evaluation::kept_flags(kept, {3, 4}) == Flags{1, 0, 0, 0});
  CHECK(evaluation::kept_flags(kept, {7, 2}) == Flags{1, 0});
  CHECK(evaluation::kept_flags({}, {0, 2}) == Flags{0, 0});
}

TEST_CASE("One flag a token", "[evaluation][deletion_view]") {
  CHECK_THROWS_AS(exact_segments("ab", flags("k")), std::invalid_argument);
  CHECK_THROWS_AS(visible_segments("ab", flags("kkk")), std::invalid_argument);
  CHECK_THROWS_AS(visible_segments(std::vector<TokenId>{70}, {}), std::invalid_argument);
}

TEST_CASE("Any bytes can be shown, and read back from what is shown", "[evaluation][deletion_view]") {
  Rng rng(5);
  const std::string alphabet("ax[]--\\\\n\n\0\x1B\x80\x9B\xA9\xBF\xC2\xC3\xE2\xE6\x97\xA5\xF0\x9F\xA6\x86\xFF", 27);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    Flags kept;
    for (std::uint64_t left = rng.below(24); left > 0; --left) {
      bytes.push_back(alphabet[rng.below(alphabet.size())]);
      const bool same = !kept.empty() && rng.bernoulli(0.7);
      kept.push_back(same ? kept.back() : static_cast<std::uint8_t>(rng.below(2)));
    }
    const auto segments = visible_segments(bytes, kept);
    for (std::size_t i = 0; i < segments.size(); ++i) {
      REQUIRE(data::to_utf8(segments[i].text) == segments[i].text);
      REQUIRE_FALSE(segments[i].text.empty());
      if (i > 0) REQUIRE(segments[i].fate != segments[i - 1].fate);
      for (const char byte : segments[i].text) REQUIRE(static_cast<unsigned char>(byte) >= 0x20);
    }
    const ReadBack back(render(segments));
    REQUIRE(back.bytes == bytes);
    REQUIRE(back.kept == kept);

    std::string joined;
    for (const DeletionSegment& segment : exact_segments(bytes, kept)) joined += segment.text;
    REQUIRE(joined == bytes);
  }
}

TEST_CASE("the mask has its name among visible ids, too", "[deletion_view]") {
  const std::vector<TokenId> ids = {data::ByteTokenizer::byte_to_id('a'), 259, 260};
  const std::vector<std::uint8_t> kept = {1, 0, 1};
  CHECK(render(merganser::evaluation::joined(merganser::evaluation::visible_units(ids, kept, {259, {}}))) ==
        "a[-\\<mask>-]\\<extra_id_1>");
}

}  // namespace deletion_view_test
