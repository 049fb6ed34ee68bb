// byte_demo without a subcommand: the model that comes with it reads sentences in several scripts.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/evaluation/deletion_view.hpp>
#include <merganser/evaluation/language_report.hpp>

#include <answer.hpp>
#include <comparison.hpp>
#include <corpus.hpp>
#include <deletion_report.hpp>
#include <model.hpp>
#include <predicted_cost.hpp>
#include <sentences.hpp>
#include <terminal.hpp>

namespace byte_demo {

namespace {

using evaluation::Counted;

constexpr std::uint64_t seed = 1;  // of the masks

std::vector<data::Example> masked(const Sentences& language) {
  const TextTaskMaker make{TextTask::denoise, DataOptions().noise};
  merganser::Rng rng(seed);
  std::vector<data::Example> examples;
  for (const std::string_view line : language.lines) examples.push_back(make(line, rng));
  return examples;
}

std::string visible(std::string_view bytes) {
  const std::vector<std::uint8_t> all_kept(bytes.size(), 1);
  return evaluation::render(evaluation::visible_segments(bytes, all_kept));
}

/// The source of an example with an underscore for each byte that is masked.
std::string as_given(std::span<const merganser::TokenId> source) {
  using Tokenizer = data::ByteTokenizer;
  std::vector<merganser::TokenId> ids(source.begin(), source.end() - 1);  // without the end
  std::replace(ids.begin(), ids.end(), Tokenizer::first_extra_id,
               static_cast<merganser::TokenId>('_') + Tokenizer::byte_offset);
  return visible(Tokenizer().decode(ids));
}

/// The same for all bytes of a character: kept if one of them is.
std::vector<std::uint8_t> kept_characters(std::string_view text, const std::vector<std::uint8_t>& kept) {
  const auto goes_on = [&](std::size_t i) { return i < text.size() && (text[i] & 0xC0) == 0x80; };
  std::vector<std::uint8_t> result(kept.size());
  for (std::size_t begin = 0, end; begin < text.size(); begin = end) {
    for (end = begin + 1; goes_on(end);) ++end;
    const auto from = static_cast<std::ptrdiff_t>(begin), to = static_cast<std::ptrdiff_t>(end);
    std::fill(result.begin() + from, result.begin() + to, *std::max_element(kept.begin() + from, kept.begin() + to));
  }
  return result;
}

void print_views(const Model& model, evaluation::ViewStyle style) {
  for (const Sentences& language : sentences) {
    const std::string_view line = language.lines.front();
    const DeletionReport report = report_deletion(model, line, static_cast<Index>(line.size()), {}, seed);
    const auto segments = evaluation::visible_segments(line, kept_characters(line, report.kept));
    std::cout << language.code << "  " << evaluation::render(segments, style) << "\n";
  }
}

/// Sentences as the model gets them, and what it writes.
void print_answers(const Model& model) {
  for (const Sentences& language : sentences) {
    const data::Example example = masked(language).front();
    models::GenerationOptions options;
    options.max_length = std::ssize(example.source) + 2;  // start, a few more than the text has
    const std::string written = answer(model, example.source, options, {});
    std::cout << language.code << "  in   " << as_given(example.source) << "\n    out  " << visible(written) << "\n";
  }
}

void print_languages(const Model& model) {
  std::vector<evaluation::LanguageText> texts;
  for (const Sentences& language : sentences) {
    evaluation::LanguageText text{std::string(language.code), {}, batches_of(masked(language))};
    for (const std::string_view line : language.lines) {
      text.text.bytes += static_cast<Index>(line.size());
      text.text.characters += evaluation::count_characters(line);
      ++text.text.lines;
    }
    texts.push_back(std::move(text));
  }
  evaluation::EvaluationConfig config;
  config.end_id = model.config().end;
  const evaluation::LanguageReport report =
      evaluation::report_languages(model, std::span<const evaluation::LanguageText>(texts), {}, config);
  std::cout << left("", 14) << right("deleted", 10) << right("tokens a character", 25) << right("bits a byte", 25)
            << "\n"
            << left("", 14) << right("", 10) << right("before", 14) << right("after", 11) << right("before", 14)
            << right("after", 11) << "\n";
  for (std::size_t i = 0; i < report.languages.size(); ++i) {
    const evaluation::LanguageResult& result = report.languages[i];
    std::cout << left(std::string(sentences[i].language), 14) << right(percent(result.deletion_rate()), 10)
              << right(fixed(result.tokens_per_character(Counted::all), 2), 14)
              << right(fixed(result.tokens_per_character(Counted::kept), 2), 11)
              << right(fixed(result.before.bits_per_byte, 3), 14) << right(fixed(result.after.bits_per_byte, 3), 11)
              << "\n";
  }
}

}  // namespace

void first_run(const FirstRunOptions& options) {
  merganser::ThreadPool pool(options.threads.value_or(merganser::hardware_threads()));
  const merganser::ExecutorScope scope(pool);
  ModelSource source;
  source.directory = options.model;
  const Model model = load_model(source);
  std::vector<data::Example> all;
  for (const Sentences& language : sentences)
    for (data::Example& example : masked(language)) all.push_back(std::move(example));
  const ModelComparison comparison = compare_modes(model, all, {}, seed);
  const evaluation::Comparison& measured = comparison.measured;

  std::cout << "A byte-level transformer, trained by merganser, puts sentences right in which a\n"
               "tenth of the bytes are masked. Its first blocks read every byte. Then a learned\n"
               "gate deletes those that the other blocks can do without. Characters of which no\n"
               "byte is left stand between [- and -]:\n\n";
  print_views(model, wants_color(options.color) ? evaluation::ViewStyle::ansi : evaluation::ViewStyle::plain);
  std::cout << "\n";
  print_languages(model);
  std::cout << "\nWhat it gets and what it writes (_ is a masked byte):\n\n";
  print_answers(model);
  std::cout << "\nWith " << percent(measured.hard.deletion_rate) << " of all tokens deleted, "
            << percent(measured.hard.token_accuracy) << " of the bytes come back right,\n"
            << percent(measured.none.token_accuracy) << " without deletion. The " << measured.none.sequences
            << " sentences take " << fixed(measured.hard.milliseconds, 1) << " ms, without\n"
            << fixed(measured.none.milliseconds, 1) << " ms: " << fixed(measured.speed_up(), 2) << " times as fast, "
            << fixed(comparison.predicted_speed_up, 2)
            << " by the cost model.\n\n"
               "Go on with\n"
               "  byte_demo show --model "
            << options.model
            << " 'A text of yours'\n"
               "  byte_demo vowels          a small model learns, in minutes, what it can drop\n"
               "  byte_demo train --text FILE --save DIR      a model of your own\n"
               "  byte_demo --help\n";
}

}  // namespace byte_demo
