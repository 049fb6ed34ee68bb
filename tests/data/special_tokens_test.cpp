// Special tokens: what is typed becomes their ids, and their ids are shown as what was typed.
#include <merganser/data/special_tokens.hpp>

#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace special_tokens_test {

using namespace merganser;
using data::AddEos;
using data::ByteTokenizer;
using data::SpecialTokenNames;
using data::SpecialTokens;

using Ids = std::vector<TokenId>;

const SpecialTokens mask{ByteTokenizer::first_extra_id, {}}, sentinels{{}, 258};

Ids typed(const SpecialTokens& special, std::string_view text) { return special.encode(text, AddEos::no); }

TEST_CASE("Sentinels count down from the first", "[data][special_tokens]") {
  CHECK(sentinels.encode("a<extra_id_0>b") == Ids{100, 258, 101, 1});
  CHECK(typed(sentinels, "<extra_id_1><extra_id_2>") == Ids{257, 256});
  CHECK(typed(sentinels, "<extra_id_124>") == Ids{134});
  CHECK(typed(SpecialTokens{{}, 20}, "<extra_id_17>") == Ids{3});
  CHECK(typed(SpecialTokens{{}, 20}, "<extra_id_18>") == ByteTokenizer().encode("<extra_id_18>", AddEos::no));
  CHECK(typed(sentinels, "<mask>") == ByteTokenizer().encode("<mask>", AddEos::no));
}

TEST_CASE("A mask has two names", "[data][special_tokens]") {
  CHECK(mask.encode("a<mask><mask>") == Ids{100, 259, 259, 1});
  CHECK(typed(mask, "<extra_id_0>") == Ids{259});
  CHECK(typed(mask, "<<mask>>") == Ids{'<' + 3, 259, '>' + 3});
  for (const std::string text : {"<extra_id_1>", "<mask", "<Mask>", "</s>", "<pad>", "<", ""})
    CHECK(typed(mask, text) == ByteTokenizer().encode(text, AddEos::no));
}

TEST_CASE("Without special tokens every byte is text", "[data][special_tokens]") {
  const std::string text("<mask><extra_id_0>\xFF\0", 20);
  CHECK(SpecialTokens().encode(text) == ByteTokenizer().encode(text));
}

TEST_CASE("Ids are shown by the names that are typed", "[data][special_tokens]") {
  CHECK(SpecialTokenNames(mask).name(259) == "<mask>");
  CHECK(SpecialTokenNames(mask).name(258).empty());
  CHECK(SpecialTokenNames(mask).name(260).empty());
  CHECK(SpecialTokenNames(sentinels).name(258) == "<extra_id_0>");
  CHECK(SpecialTokenNames(sentinels).name(248) == "<extra_id_10>");  // the byte 0xF5
  for (const TokenId id : {259, 1, 0, -1, std::numeric_limits<TokenId>::min(), std::numeric_limits<TokenId>::max()}) {
    CHECK(SpecialTokenNames(sentinels).name(id).empty());
    CHECK(SpecialTokenNames().name(id).empty());
  }
}

TEST_CASE("A byte that UTF-8 has is a sentinel only in its turn", "[data][special_tokens]") {
  SpecialTokenNames names(sentinels);
  CHECK(names.name(246).empty());  // <extra_id_12>, the byte 0xF3
  CHECK(names.name(247) == "<extra_id_11>");
  CHECK(names.name(246) == "<extra_id_12>");
  CHECK(names.name(247) == "<extra_id_11>");
  CHECK(names.name(244).empty());
}

}  // namespace special_tokens_test
