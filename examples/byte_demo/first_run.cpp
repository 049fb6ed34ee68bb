// byte_demo without a subcommand: the model that comes with it reads sentences in several scripts.
#include <cstdint>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include <merganser/core/random.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/denoising.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/evaluation/deletion_layout.hpp>
#include <merganser/evaluation/deletion_report.hpp>
#include <merganser/evaluation/language_report.hpp>

#include <merganser/runs/model_comparison.hpp>
#include <merganser/runs/program_threads.hpp>

#include <answer.hpp>
#include <model.hpp>
#include <options.hpp>
#include <sentences.hpp>
#include <text_view.hpp>

namespace byte_demo {

namespace {

using evaluation::Counted;
using merganser::fixed_text;
using merganser::percent_text;

constexpr std::uint64_t seed = 1;  // of the masks

std::vector<data::Example> masked(const Sentences& language) {
  const data::TextTaskMaker make{data::TextTask::denoise, runs::default_noise};
  merganser::Rng rng(seed);
  std::vector<data::Example> examples;
  for (const std::string_view line : language.lines) examples.push_back(make(line, rng));
  return examples;
}

void print_views(const Model& model, evaluation::ViewStyle style, std::size_t columns) {
  for (const Sentences& language : sentences) {
    const auto ids = data::ByteTokenizer().encode(language.lines.front(), data::AddEos::no);
    const auto report = evaluation::report_deletion(model, ids, std::ssize(ids), {}, seed);
    print_view(std::cout, std::string(language.code) + "  ", evaluation::character_units(ids, report.kept), columns,
               style);
  }
}

/// Sentences as the model gets them, and what it writes.
void print_answers(const Model& model, std::size_t columns) {
  const data::SpecialTokens special{data::DenoisingConfig().mask_id, {}};
  for (const Sentences& language : sentences) {
    const data::Example example = masked(language).front();
    models::GenerationOptions options;
    options.max_length = std::ssize(example.source) + 2;  // start, a few more than the text has
    const std::string written = answer(model, example.source, options, {});
    print_view(std::cout, std::string(language.code) + "  in   ", runs::as_given(example, special), columns);
    print_view(std::cout, "    out  ", units_of(written), columns);
  }
}

void print_languages(const Model& model) {
  std::vector<evaluation::LanguageText> texts;
  for (const Sentences& language : sentences) {
    evaluation::LanguageText text{std::string(language.code), {}, data::make_batches(masked(language))};
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
  std::cout << merganser::left_aligned("", 12) << merganser::right_aligned("deleted", 9)
            << merganser::right_aligned("tokens a character", 20) << merganser::right_aligned("bits a byte", 18) << "\n"
            << merganser::left_aligned("", 21) << merganser::right_aligned("before", 11)
            << merganser::right_aligned("after", 9) << merganser::right_aligned("before", 9)
            << merganser::right_aligned("after", 9) << "\n";
  for (std::size_t i = 0; i < report.languages.size(); ++i) {
    const evaluation::LanguageResult& result = report.languages[i];
    std::cout << merganser::left_aligned(std::string(sentences[i].language), 12)
              << merganser::right_aligned(percent_text(result.deletion_rate()), 9)
              << merganser::right_aligned(fixed_text(result.tokens_per_character(Counted::all), 2), 11)
              << merganser::right_aligned(fixed_text(result.tokens_per_character(Counted::kept), 2), 9)
              << merganser::right_aligned(fixed_text(result.before.bits_per_byte, 3), 9)
              << merganser::right_aligned(fixed_text(result.after.bits_per_byte, 3), 9) << "\n";
  }
}

std::string introduction(const Model& model, const io::ModelTask& task) {
  std::string text = "A byte-level transformer";
  text += task.name == "denoise"
              ? ", trained by merganser, puts sentences right in which a tenth of the bytes are masked."
              : " gets sentences in which a tenth of the bytes are masked, which it was not made for.";
  text += training::gates_of(model).count == 0
              ? " It has no gate that could delete any."
              : " Its first blocks read every byte. Then a gate deletes those that the other "
                "blocks can do without.";
  return text + " A character of more bytes than one can go in part:";
}

/// A command that can be copied, whatever the width.
void print_command(const std::string& command, const std::string& what) {
  std::cout << "  " << command << "\n";
  if (!what.empty()) std::cout << "      " << what << "\n";
}

}  // namespace

void first_run(const FirstRunOptions& options) {
  const runs::ProgramThreads threads(options.threads, std::cerr);
  ModelSource source;
  source.directory = options.model;
  const Model model = load_model(source);
  std::vector<data::Example> all;
  for (const Sentences& language : sentences)
    for (data::Example& example : masked(language)) {
      runs::check_length(model, std::ssize(example.source), options.model + ": a sentence of the first run");
      all.push_back(std::move(example));
    }
  const runs::ModelComparison comparison = runs::compare_modes(model, all, {}, seed);
  const evaluation::Comparison& measured = comparison.measured;

  const std::size_t columns = runs::prose_columns(STDOUT_FILENO);
  const evaluation::ViewStyle style = view_style(options.color);
  print_prose(std::cout, introduction(model, runs::task_of(options.model, model)));
  std::cout << legend(style) << "\n\n";
  print_views(model, style, columns);
  std::cout << "\n";
  print_languages(model);
  std::cout << "\n";
  print_prose(std::cout, "What it gets and what it writes (_ is a character with a masked byte):");
  std::cout << "\n";
  print_answers(model, columns);
  std::cout << "\n";
  print_prose(std::cout, "With " + percent_text(measured.hard.deletion_rate) + " of all tokens deleted, " +
                             percent_text(measured.hard.token_accuracy) + " of the bytes come back right, " +
                             percent_text(measured.none.token_accuracy) + " without deletion. The " +
                             std::to_string(measured.none.sequences) + " sentences take " +
                             fixed_text(measured.hard.milliseconds, 1) + " ms, without " +
                             fixed_text(measured.none.milliseconds, 1) + " ms: " + fixed_text(measured.speed_up(), 2) +
                             " times as fast, " + fixed_text(comparison.predicted_speed_up, 2) + " by the cost model.");
  std::cout << "\nGo on with\n";
  print_command("byte_demo show --model " + options.model + " 'A text of yours'", "");
  print_command("byte_demo generate --model " + options.model +
                    " 'The ducks swim slowly across the quiet lake before the ev<mask>ning comes.'",
                "");
  print_command("byte_demo vowels", "a small model learns, in minutes, what it can drop");
  print_command("byte_demo train --text FILE --save DIR", "a model of your own");
  print_command("byte_demo --help", "");
}

}  // namespace byte_demo
