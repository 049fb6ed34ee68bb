// byte_demo without a subcommand: the model that comes with it reads sentences in several scripts.
#include <iostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/evaluation/deletion_view.hpp>
#include <merganser/evaluation/language_report.hpp>

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

void print_views(const Model& model, evaluation::ViewStyle style) {
  for (const Sentences& language : sentences) {
    const std::string_view line = language.lines.front();
    const DeletionReport report = report_deletion(model, line, static_cast<Index>(line.size()), {}, seed);
    std::cout << language.code << "  " << evaluation::render(evaluation::visible_segments(line, report.kept), style)
              << "\n";
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

  std::cout << "A byte-level transformer that comes with merganser puts sentences right in which a\n"
               "tenth of the bytes are masked. Its first blocks read every byte. Then a learned\n"
               "gate deletes those that the other blocks can do without; here they stand between\n"
               "[- and -]:\n\n";
  print_views(model, wants_color(options.color) ? evaluation::ViewStyle::ansi : evaluation::ViewStyle::plain);
  std::cout << "\n";
  print_languages(model);
  std::cout << "\nWith " << percent(measured.hard.deletion_rate) << " of all tokens deleted, "
            << percent(measured.hard.token_accuracy) << " of the bytes come back right, "
            << percent(measured.none.token_accuracy) << " without deletion.\n"
            << measured.none.sequences << " sentences take " << fixed(measured.hard.milliseconds, 1) << " ms, "
            << fixed(measured.none.milliseconds, 1) << " ms without: " << fixed(measured.speed_up(), 2)
            << " times as fast, " << fixed(comparison.predicted_speed_up, 2)
            << " by the cost model.\n\n"
               "Go on with\n"
               "  byte_demo show --model "
            << options.model
            << " 'A text of yours'\n"
               "  byte_demo vowels                 a small model learns, in minutes, what it can drop\n"
               "  byte_demo train --text FILE --save DIR             a model of your own\n"
               "  byte_demo --help\n";
}

}  // namespace byte_demo
