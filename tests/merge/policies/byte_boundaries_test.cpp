#include <merganser/merge/policies/byte_boundaries.hpp>

#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/segment_laws.hpp"

namespace byte_boundaries_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

/// Bytes as the ids of ByT5.
Vector<TokenId> ids_of(std::string_view text, TokenId first_byte = 3) {
  Vector<TokenId> ids;
  for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte) + first_byte);
  return ids;
}

/// The text with a bar in front of each segment.
template <class Rule>
std::string cut(const Rule& rule, std::string_view text, TokenId first_byte = 3) {
  const Vector<std::uint8_t> marks = marks_of(rule, ids_of(text, first_byte));
  std::string result;
  for (std::size_t t = 0; t < text.size(); ++t) {
    if (marks[static_cast<Index>(t)] != 0) result += '|';
    result += text[t];
  }
  return result;
}

TEST_CASE("a set of ids knows those that are listed and says one thing of all others", "[byte_boundaries]") {
  const IdSet set{{0, 1, 255}, true};
  REQUIRE_FALSE(set.contains(0));
  REQUIRE(set.contains(1));
  REQUIRE(set.contains(2));
  REQUIRE(set.contains(3));
  REQUIRE(set.contains(-1));
  REQUIRE_FALSE(IdSet{}.contains(0));
  const IdSet of_a = IdSet::of_bytes([](int byte) { return byte == 'a'; });
  REQUIRE(of_a.listed.size() == 259);
  for (TokenId id = -2; id < 300; ++id) REQUIRE(of_a.contains(id) == (id == 'a' + 3));
  REQUIRE(IdSet::of_bytes([](int byte) { return byte == 'a'; }, false, 0).contains('a'));
  REQUIRE(argument_error([] { IdSet::of_bytes([](int) { return true; }, true, -1); }) ==
          "IdSet::of_bytes: first_byte: got -1, expected at least 0");
}

TEST_CASE("the bytes of whitespace and what is like a space", "[byte_boundaries]") {
  const std::string_view white = " \t\n\v\f\r";
  const IdSet whitespace = whitespace_bytes(), space_like = space_like_bytes();
  for (int byte = 0; byte < 256; ++byte) {
    CAPTURE(byte);
    REQUIRE(whitespace.contains(byte + 3) == (byte != 0 && white.find(static_cast<char>(byte)) != white.npos));
    const bool word = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
    const bool continuation = byte >= 128 && byte < 192;
    REQUIRE(space_like.contains(byte + 3) == (!word && !continuation));
  }
  for (const TokenId special : {0, 1, 2, 259, 400}) {
    REQUIRE_FALSE(whitespace.contains(special));
    REQUIRE(space_like.contains(special));
  }
}

TEST_CASE("words begin with the spaces in front of them or end with those behind", "[WordStarts]") {
  REQUIRE(cut(WordStarts{}, "the cat,  sat\n") == "|the| cat,|  sat|\n");
  REQUIRE(cut(WordStarts{.separators = WordStarts::Separators::trail}, "the cat,  sat\n") == "|the |cat,  |sat\n");
  REQUIRE(cut(WordStarts{}, "  a") == "|  a");
  REQUIRE(cut(WordStarts{.separators = WordStarts::Separators::trail}, "  a") == "|  |a");
  REQUIRE(cut(WordStarts{.separating = whitespace_bytes(0)}, "a b", 0) == "|a| b");
  for (const auto separators : {WordStarts::Separators::lead, WordStarts::Separators::trail})
    require_segment_laws(WordStarts{separators, {{0, 0, 1, 0, 1}}});
}

TEST_CASE("every k-th token begins a segment", "[FixedStride]") {
  REQUIRE(cut(FixedStride{.rate = 3}, "abcdefgh") == "|abc|def|gh");
  REQUIRE(cut(FixedStride{.rate = 1}, "ab") == "|a|b");
  REQUIRE(cut(FixedStride{.rate = 9}, "ab") == "|ab");
  require_segment_laws(FixedStride{});
  REQUIRE(argument_error([] { cut(FixedStride{.rate = 0}, "a"); }) == "FixedStride: rate: got 0, expected at least 1");
}

TEST_CASE("of a run of bytes that are like a space the first begins a segment, or what is behind it", "[SpaceLike]") {
  const SpaceLike at, behind{.begin = SpaceLike::Begin::behind};
  const SpaceLike published{.begin = SpaceLike::Begin::behind, .starts = Starts::published};
  REQUIRE(cut(at, "The cat, sat42 (!) x") == "|The| cat|, sat42| (!) x");
  REQUIRE(cut(behind, "The cat, sat42 (!) x") == "|The |cat,| sat42 |(!) x");
  REQUIRE(cut(published, "The cat, sat") == "|T|he |cat,| sat");
  REQUIRE(cut(at, " a") == "| a");
  REQUIRE(cut(behind, " a") == "| |a");
  REQUIRE(cut(behind, "  a") == "| | a");
  REQUIRE(cut(at, "na\xC3\xAFve") == "|na|\xC3\xAFve");  // a character of two bytes begins like a space
  for (const auto begin : {SpaceLike::Begin::at, SpaceLike::Begin::behind})
    for (const Starts starts : {Starts::first_token, Starts::published})
      require_segment_laws(SpaceLike{begin, starts, {{0, 1, 1, 0, 0}}});
}

TEST_CASE("rules of bytes without ids say so", "[byte_boundaries]") {
  const Matrix<double> x = Matrix<double>::Zero(2, 1);
  const Tokens<double> tokens{x, {}};
  REQUIRE(argument_error([&] { WordStarts{}.marks(tokens); }) == "WordStarts: ids.size(): got 0, expected 2");
  REQUIRE(argument_error([&] { SpaceLike{}.marks(tokens); }) == "SpaceLike: ids.size(): got 0, expected 2");
}

}  // namespace byte_boundaries_test
