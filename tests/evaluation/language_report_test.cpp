// Per-language figures against counts by hand.
#include <merganser/evaluation/language_report.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/data/byte_tokenizer.hpp>
#include "support/catch.hpp"

namespace language_report_test {

using namespace merganser;
using Catch::Matchers::WithinAbs;
using evaluation::count_characters;
using evaluation::Counted;
using evaluation::LanguageReport;
using evaluation::LanguageResult;
using evaluation::LanguageText;
using merge::DeletionMode;

/// Says 1 for every label and, unless told to delete nothing, keeps every second token; with a doubt that grows then.
struct HalvingModel {
  using ScalarType = double;
  struct ForwardOptions {
    merge::DeletionOptions deletion;
    Rng* rng = nullptr;
  };
  struct Encoded {
    merge::DeletionStatistics deletion;
  };
  struct Output {
    Matrix<double> logits;
    Encoded encoded;
  };

  Output forward_targets(const TokenBatch& source, const TokenBatch& target, const ForwardOptions& options) const {
    const bool deletes = options.deletion.mode != DeletionMode::none;
    Output output;
    output.logits = Matrix<double>::Zero(target.total(), 4);    // 2 bits a label
    if (!deletes) output.logits.leftCols(2).setConstant(1000);  // 1 bit for labels 0 and 1
    for (Index i = 0; i < source.count(); ++i) {
      const Index length = source.offsets.length(i);
      output.encoded.deletion.tokens.push_back(length);
      output.encoded.deletion.kept.push_back(deletes ? (length + 1) / 2 : length);
    }
    return output;
  }
};

LanguageText text_of(const std::string& name, const std::vector<std::string>& lines) {
  LanguageText text{name, {}, std::vector<data::Batch>(1)};
  for (const std::string& line : lines) {
    text.text.bytes += static_cast<Index>(line.size());
    text.text.characters += count_characters(line);
    ++text.text.lines;
    text.batches[0].push_back({data::ByteTokenizer().encode(line), std::vector<TokenId>(line.size(), 1)});
  }
  return text;
}

LanguageResult result_of(const std::string& name, Index characters, Index lines, Index tokens, Index kept) {
  LanguageResult result;
  result.name = name;
  result.text = {tokens, characters, lines};
  result.before.source_tokens = tokens;
  result.after.deletion.tokens = {tokens};
  result.after.deletion.kept = {kept};
  return result;
}

TEST_CASE("Characters of any bytes", "[evaluation][language_report]") {
  CHECK(count_characters("") == 0);
  CHECK(count_characters("abc\n") == 4);
  CHECK(count_characters("\xC3\xA4\xE4\xB8\xAD\xF0\x9F\xA6\x86") == 3);
  CHECK(count_characters("\xFF\x80"
                         "a") == 3);         // two stray bytes
  CHECK(count_characters("\xE4\xB8") == 1);  // one that broke off
  CHECK(count_characters("\xE4\xB8"
                         "a\xC3") == 3);
  CHECK(count_characters(std::string(3, '\0')) == 3);
}

TEST_CASE("Languages are measured before and after", "[evaluation][language_report]") {
  // 4 bytes and 4 characters; 8 bytes and 4 characters; each line is a sequence with its end.
  const std::vector<LanguageText> texts = {text_of("en", {"abc", "d"}),
                                           text_of("el", {"\xCE\xB1\xCE\xB2\xCE\xB3", "\xCE\xB4"})};
  HalvingModel::ForwardOptions options;
  options.deletion.mode = DeletionMode::hard;
  const LanguageReport report = evaluation::report_languages(HalvingModel(), texts, options);
  REQUIRE(report.languages.size() == 2);
  const LanguageResult &english = report.language("en"), &greek = report.language("el");
  CHECK(english.text == evaluation::TextExtent{4, 4, 2});
  CHECK(greek.text == evaluation::TextExtent{8, 4, 2});
  CHECK(english.tokens(Counted::all) == 4 + 2);
  CHECK(english.tokens(Counted::kept) == 2 + 1);
  CHECK(greek.tokens(Counted::all) == 7 + 3);
  CHECK(greek.tokens(Counted::kept) == 4 + 2);
  CHECK(english.deletion_rate() == 0.5);
  CHECK_THAT(greek.deletion_rate(), WithinAbs(0.4, 1e-12));
  CHECK(english.tokens_per_character(Counted::all) == 1.5);
  CHECK(english.tokens_per_character(Counted::kept) == 0.75);
  CHECK(greek.tokens_per_character(Counted::kept) == 1.5);
  CHECK(greek.bytes_per_character() == 2.0);
  CHECK(greek.tokens_per_line(Counted::all) == 5.0);
  for (const LanguageResult& result : report.languages) {
    CHECK_THAT(result.before.bits_per_byte, WithinAbs(1.0, 1e-12));
    CHECK_THAT(result.after.bits_per_byte, WithinAbs(2.0, 1e-12));
    CHECK(result.before.deletion_rate == 0.0);
  }
  CHECK(report.byte_spread().ratio() == 2.0);
  CHECK(report.byte_spread().most_language == "el");
  CHECK(report.token_spread(Counted::all).ratio() == 2.5 / 1.5);
  CHECK(report.token_spread(Counted::kept).ratio() == 2.0);
  REQUIRE(report.has_parallel_lines());
  CHECK(report.premium("el", "en", Counted::all) == 10.0 / 6);
  CHECK(report.premium("el", "en", Counted::kept) == 2.0);
  CHECK(report.premium("en", "el", Counted::kept) == 0.5);
  CHECK(report.premium("en", "en", Counted::all) == 1.0);
  CHECK(report.premium_spread(Counted::kept).ratio() == 2.0);
  CHECK(report.premium_spread(Counted::kept).least_language == "en");
  CHECK_THROWS_AS(report.language("fr"), std::invalid_argument);
  CHECK_THROWS_AS(report.premium("el", "fr", Counted::all), std::invalid_argument);
}

TEST_CASE("Deletion can take a premium back", "[evaluation][language_report]") {
  LanguageReport report;
  report.languages = {result_of("en", 100, 10, 110, 55), result_of("th", 90, 10, 280, 70),
                      result_of("zh", 30, 10, 100, 60)};
  CHECK(report.premium("th", "en", Counted::all) == 280.0 / 110);
  CHECK(report.premium("th", "en", Counted::kept) == 70.0 / 55);
  CHECK(report.premium_spread(Counted::all).ratio() == 2.8);
  CHECK(report.premium_spread(Counted::all).least_language == "zh");
  CHECK(report.premium_spread(Counted::kept).most_language == "th");
  CHECK_THAT(report.token_spread(Counted::kept).ratio(), WithinAbs(2 / 0.55, 1e-12));
  CHECK(report.token_spread(Counted::kept).least_language == "en");
}

TEST_CASE("Nothing to compare", "[evaluation][language_report]") {
  LanguageReport report;
  CHECK(report.token_spread(Counted::all).ratio() == 1.0);
  CHECK_FALSE(report.has_parallel_lines());
  CHECK_THROWS_AS(report.premium_spread(Counted::all), std::invalid_argument);
  const auto none = evaluation::report_languages(HalvingModel(), {}, {});
  CHECK(none.languages.empty());

  const std::vector<LanguageText> empty = {{"xx", {}, {}}};
  const auto nothing = evaluation::report_languages(HalvingModel(), empty, {});
  CHECK(nothing.languages[0].tokens(Counted::kept) == 0);
  CHECK(nothing.languages[0].tokens_per_character(Counted::kept) == 0.0);
  CHECK(nothing.languages[0].bytes_per_character() == 0.0);
  CHECK_FALSE(nothing.has_parallel_lines());

  report.languages = {result_of("a", 10, 3, 12, 0), result_of("b", 10, 4, 12, 6)};
  CHECK_THROWS_AS(report.premium("a", "b", Counted::all), std::invalid_argument);  // not parallel
  CHECK(report.token_spread(Counted::kept).ratio() == std::numeric_limits<double>::infinity());
  report.languages.pop_back();
  CHECK(report.token_spread(Counted::kept).ratio() == 1.0);
  CHECK(report.premium("a", "a", Counted::kept) == 1.0);
}

}  // namespace language_report_test
