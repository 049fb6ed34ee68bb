// byte_demo vowels: a small model learns to leave vowels out.
#include <iostream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <unistd.h>

#include <merganser/core/text_format.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/diagnostic_tasks.hpp>
#include <merganser/evaluation/deletion_layout.hpp>
#include <merganser/evaluation/deletion_report.hpp>

#include <merganser/runs/model_comparison.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/run_log.hpp>
#include <merganser/runs/saved_model.hpp>
#include <merganser/runs/signals.hpp>

#include <answer.hpp>
#include <model.hpp>
#include <options.hpp>
#include <text_view.hpp>
#include <train.hpp>

namespace byte_demo {

namespace {

using merganser::percent_text;
using Tokenizer = data::ByteTokenizer;

constexpr Index letters = 32;  // of a sequence, behind its '#' and before its end
constexpr Index samples = 6;   // lines shown at the end

/// 10 of 52 letters are vowels; '#' and the end of sequence are none.
double vowel_share() { return 10.0 / 52.0 * static_cast<double>(letters) / static_cast<double>(letters + 2); }

/// Vowel removal by 0.48 M parameters, learned within 3 minutes on 2 cores.
runs::TrainOptions train_options(const VowelOptions& asked) {
  runs::TrainOptions options;
  options.data.task = "vowel_removal";
  options.data.window = letters;
  options.model.encoder_blocks = 3;
  options.model.gate_blocks = {1};
  options.seed = asked.program.seed;
  options.save = asked.save;
  training::Recipe& recipe = options.recipe;
  recipe.target = vowel_share();
  recipe.gate_open_until = recipe.regulariser_from = 1000;  // attention learns to copy first
  recipe.target_ramp = 0;
  recipe.proportional_gain = 1.0;
  recipe.integral_gain = 1e-4;
  recipe.hard_probability = 0.0;
  return options;
}

/// What the gate made of the vowels.
struct VowelCount {
  Index vowels = 0, deleted = 0, deleted_vowels = 0;

  double vowels_among_deleted() const { return share(deleted_vowels, deleted); }
  double deleted_among_vowels() const { return share(deleted_vowels, vowels); }

 private:
  static double share(Index part, Index whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  }
};

evaluation::DeletionReport report_hard_deletion(const Model& model, std::span<const merganser::TokenId> source) {
  const auto ids = source.first(source.size() - 1);  // without the end
  return evaluation::report_deletion(model, ids, std::ssize(ids), {}, 0);
}

VowelCount count_vowels(const Model& model, const std::vector<data::Example>& examples) {
  VowelCount count;
  for (const data::Example& example : examples) {
    const std::string text = Tokenizer().decode(example.source);
    const evaluation::DeletionReport report = report_hard_deletion(model, example.source);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool vowel = data::is_vowel(text[i]), deleted = report.kept[i] == 0;
      count.vowels += vowel ? 1 : 0;
      count.deleted += deleted ? 1 : 0;
      count.deleted_vowels += vowel && deleted ? 1 : 0;
    }
  }
  return count;
}

void print_sample(const Model& model, const data::Example& example, evaluation::ViewStyle style) {
  const std::string text = Tokenizer().decode(example.source), expected = Tokenizer().decode(example.target);
  const evaluation::DeletionReport report = report_hard_deletion(model, example.source);
  models::GenerationOptions options;
  options.max_length = static_cast<Index>(text.size()) + 2;  // start, at most the text, end
  const std::string written = answer(model, example.source, options, {});
  const std::size_t columns = runs::view_columns(STDOUT_FILENO);
  const auto ids = Tokenizer().encode(text, data::AddEos::no);
  print_view(std::cout, "in  ", evaluation::character_units(ids, report.kept), columns, style);
  std::vector<evaluation::DeletionSegment> units = units_of(written);
  units.push_back({written == expected ? "  (right)" : "  (wrong)", evaluation::TokenFate::kept});
  print_view(std::cout, "out ", units, columns);
  std::cout << "\n";
}

void print_lesson(const VowelCount& count, const evaluation::Comparison& measured) {
  print_prose(std::cout, "Of the deleted bytes " + percent_text(count.vowels_among_deleted()) +
                             " are vowels; of the vowels " + percent_text(count.deleted_among_vowels()) +
                             " are deleted.");
  std::cout << "\n";
  constexpr double found = 0.95, all_but_few = 0.8, accurate = 0.97;
  const bool learned = count.vowels_among_deleted() >= found && count.deleted_among_vowels() >= all_but_few &&
                       measured.hard.token_accuracy >= accurate;
  print_prose(std::cout, learned ? "Nobody told the gate what a vowel is: it found out which bytes the answer does not "
                                   "need. The blocks behind it never see them and still get " +
                                       percent_text(measured.hard.token_accuracy) + " of the answer right."
                                 : "The gate has not found the vowels yet: it needs more steps than it was given.");
}

}  // namespace

void vowels(const VowelOptions& asked) {
  const runs::TrainOptions options = train_options(asked);
  const runs::ProgramThreads threads(asked.program.threads, std::cerr);
  runs::TrainingData data =
      runs::open_training_data(options.data, {options.recipe.batch_size, options.windows, options.seed, options.seed});
  Model model = runs::make_model(runs::design_model(options.model, options.recipe.target), options.seed);
  if (!options.save.empty()) runs::check_can_save(model, options.save, asked.overwrite);

  print_prose(std::cout, "A transformer of " +
                             merganser::fixed_text(static_cast<double>(merganser::parameter_count(model)) / 1e6, 2) +
                             " M parameters learns to copy letters without their vowels. A gate behind its first block "
                             "learns which bytes the other blocks can do without. Vowels are " +
                             percent_text(vowel_share()) + " of all bytes.");
  std::cout << std::endl;
  runs::RunLog no_log;
  const runs::RunSummary summary = train_model(model, options, asked.steps, data, no_log);
  if (!options.save.empty())
    runs::save_trained_model(model, runs::task_of(options.data), options.save, "", print_warning);
  if (summary.signal != 0) {
    std::cerr << how_to_go_on(options, summary.steps, asked.steps) << "\n";
    throw runs::Interrupted{summary.signal};
  }

  const runs::ModelComparison comparison = runs::compare_modes(model, data.validation, {}, options.seed);
  std::cout << summary.steps << " steps in " << merganser::clock_text(summary.seconds)
            << " minutes. On fresh sequences:\n\n";
  print_table(std::cout, comparison);
  const evaluation::ViewStyle style = view_style(asked.color);
  std::cout << "\n" << legend(style) << "\n\n";
  for (const data::Example& example : std::span(data.validation).first(static_cast<std::size_t>(samples)))
    print_sample(model, example, style);
  print_lesson(count_vowels(model, data.validation), comparison.measured);
  if (!options.save.empty())
    std::cout << "\nSaved. Try: byte_demo show --model " << options.save << " '#aCompletelyNewText'\n";
}

}  // namespace byte_demo
