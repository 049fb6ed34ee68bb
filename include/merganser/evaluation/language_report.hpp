// What deletion does to each of several languages, and how far apart that leaves them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>
#include <merganser/data/utf8_decoder.hpp>
#include <merganser/evaluation/evaluate.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// Characters of a text of any bytes: UTF-8 code points, and one for each longest piece that is not UTF-8 (see
/// `data::InvalidUtf8::replace`).
inline Index count_characters(std::string_view bytes) {
  const std::string text = data::to_utf8(bytes, data::InvalidUtf8::replace);
  return static_cast<Index>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) >> 6) != 2; }));
}

/// How much text something was measured on.
struct TextExtent {
  Index bytes = 0;
  Index characters = 0;
  Index lines = 0;  ///< of parallel texts: the same number in every language

  bool operator==(const TextExtent&) const = default;
};

/// Which tokens are counted.
enum class Counted {
  all,   ///< without merging: every source token, ends of sequence included
  kept,  ///< those that hard deletion, or a pooling, leaves
};

/// What a model did with the text of one language. Quotients with nothing below them are 0.
struct LanguageResult {
  std::string name;
  TextExtent text;
  EvaluationResult before;  ///< nothing deleted
  EvaluationResult after;   ///< with deletion as the caller asked

  /// In [0, 1].
  double deletion_rate() const { return after.deletion_rate; }

  Index tokens(Counted counted) const {
    if (counted == Counted::all) return before.source_tokens;
    Index kept = 0;
    for (const Index survivors : after.deletion.kept) kept += survivors;
    return kept;
  }

  double tokens_per_character(Counted counted) const { return quotient(tokens(counted), text.characters); }
  double tokens_per_line(Counted counted) const { return quotient(tokens(counted), text.lines); }
  double bytes_per_character() const { return quotient(text.bytes, text.characters); }

 private:
  static double quotient(Index part, Index whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  }
};

/// How far a figure of several languages is spread.
struct LanguageSpread {
  double least = 0.0, most = 0.0;
  std::string least_language, most_language;

  /// At least 1, where 1 treats all alike; 1 without languages, infinite when only the least figure is 0.
  double ratio() const {
    if (most == least) return 1.0;
    return least == 0 ? std::numeric_limits<double>::infinity() : most / least;
  }
};

/// The text of one language as examples.
struct LanguageText {
  std::string name;
  TextExtent text;
  std::vector<data::Batch> batches;
};

/// One model on several languages.
///
/// The token premium of a language is what it pays in tokens for saying the same as the reference language (Petrov et
/// al. 2023, arXiv 2305.15425): so `premium` needs parallel texts, `spread` of characters does not. Bytes that are
/// tokens make languages of two- and three-byte scripts pay twice and three times; deletion can take that back.
struct LanguageReport {
  std::vector<LanguageResult> languages;

  /// @throws std::invalid_argument if there is no such language
  const LanguageResult& language(std::string_view name) const {
    const auto place = std::find_if(languages.begin(), languages.end(),
                                    [name](const LanguageResult& result) { return result.name == name; });
    check_argument(place != languages.end(), "LanguageReport::language", "name", name, "one of the languages");
    return *place;
  }

  /// The spread of figure(language).
  template <class Figure>
  LanguageSpread spread(Figure&& figure) const {
    LanguageSpread result;
    for (std::size_t i = 0; i < languages.size(); ++i) {
      const double value = figure(languages[i]);
      if (i == 0 || value < result.least) result.least = value, result.least_language = languages[i].name;
      if (i == 0 || value > result.most) result.most = value, result.most_language = languages[i].name;
    }
    return result;
  }

  LanguageSpread token_spread(Counted counted) const {
    return spread([counted](const LanguageResult& result) { return result.tokens_per_character(counted); });
  }
  LanguageSpread byte_spread() const {
    return spread([](const LanguageResult& result) { return result.bytes_per_character(); });
  }

  /// Whether every language has as many lines as every other, and some.
  bool has_parallel_lines() const {
    return !languages.empty() && std::all_of(languages.begin(), languages.end(), [this](const LanguageResult& result) {
      return result.text.lines > 0 && result.text.lines == languages.front().text.lines;
    });
  }

  /// Tokens of a language over those of the reference for the same parallel lines; above 1 pays more.
  /// @throws std::invalid_argument if the lines are not parallel or a language is missing
  double premium(std::string_view name, std::string_view reference, Counted counted) const {
    check_argument(has_parallel_lines(), "LanguageReport::premium", "lines", "another number in some language",
                   "as many lines in every language, at least 1");
    const double own = language(name).tokens_per_line(counted), other = language(reference).tokens_per_line(counted);
    return own == other ? 1.0 : own / other;
  }

  /// The spread of tokens a line: `ratio` is the largest premium that any language pays over any other.
  /// @throws std::invalid_argument if the lines are not parallel
  LanguageSpread premium_spread(Counted counted) const {
    check_argument(has_parallel_lines(), "LanguageReport::premium_spread", "lines", "another number in some language",
                   "as many lines in every language, at least 1");
    return spread([counted](const LanguageResult& result) { return result.tokens_per_line(counted); });
  }
};

/// Evaluates the model on every language twice: without deletion and with that of `options`.
/// @throws std::invalid_argument as `evaluate`
template <EvaluableModel Model>
LanguageReport report_languages(const Model& model, std::span<const LanguageText> texts,
                                const typename Model::ForwardOptions& options, const EvaluationConfig& config = {}) {
  typename Model::ForwardOptions undeleted = options;
  undeleted.deletion.mode = merge::DeletionMode::none;
  LanguageReport report;
  for (const LanguageText& text : texts) {
    const std::span<const data::Batch> batches(text.batches);
    report.languages.push_back(
        {text.name, text.text, evaluate(model, batches, undeleted, config), evaluate(model, batches, options, config)});
  }
  return report;
}

}  // namespace merganser::evaluation
