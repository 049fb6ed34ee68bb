// byte_demo vowels: a small model learns to leave vowels out.
#include <iostream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/diagnostic_tasks.hpp>
#include <merganser/evaluation/deletion_layout.hpp>
#include <merganser/evaluation/deletion_report.hpp>

#include <answer.hpp>
#include <comparison.hpp>
#include <corpus.hpp>
#include <design.hpp>
#include <model.hpp>
#include <model_task.hpp>
#include <run_log.hpp>
#include <signals.hpp>
#include <table.hpp>
#include <terminal.hpp>
#include <text_view.hpp>
#include <threads.hpp>
#include <training_run.hpp>
#include <vowel_recipe.hpp>

namespace byte_demo {

namespace {

using Tokenizer = data::ByteTokenizer;

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
  const std::size_t columns = view_columns(STDOUT_FILENO);
  const auto ids = Tokenizer().encode(text, data::AddEos::no);
  print_view(std::cout, "in  ", evaluation::character_units(ids, report.kept), columns, style);
  std::vector<evaluation::DeletionSegment> units = units_of(written);
  units.push_back({written == expected ? "  (right)" : "  (wrong)", evaluation::TokenFate::kept});
  print_view(std::cout, "out ", units, columns);
  std::cout << "\n";
}

void print_lesson(const VowelCount& count, const evaluation::Comparison& measured) {
  const std::size_t columns = prose_columns(STDOUT_FILENO);
  std::cout << wrapped("Of the deleted bytes " + percent(count.vowels_among_deleted()) + " are vowels; of the vowels " +
                           percent(count.deleted_among_vowels()) + " are deleted.",
                       columns)
            << "\n";
  constexpr double found = 0.95, all_but_few = 0.8, accurate = 0.97;
  const bool learned = count.vowels_among_deleted() >= found && count.deleted_among_vowels() >= all_but_few &&
                       measured.hard.token_accuracy >= accurate;
  std::cout << wrapped(learned ? "Nobody told the gate what a vowel is: it found out which bytes the answer does not "
                                 "need. The blocks behind it never see them and still get " +
                                     percent(measured.hard.token_accuracy) + " of the answer right."
                               : "The gate has not found the vowels yet: it needs more steps than it was given.",
                       columns);
}

}  // namespace

void vowels(const VowelOptions& asked) {
  const VowelRecipe recipe;
  const TrainOptions options = recipe.train_options(asked);
  const Threads threads(options.threads);
  TrainingData data = open_training_data(options.data, options.recipe.batch_size, options.windows, options.seed);
  Model model = make_model(design_model(options.model, options.recipe.target), options.seed);
  if (!options.save.empty()) check_can_save(model, options.save, asked.overwrite);
  RunLog no_log("", 1);

  std::cout << wrapped("A transformer of " + fixed(static_cast<double>(merganser::parameter_count(model)) / 1e6, 2) +
                           " M parameters learns to copy letters without their vowels. A gate behind its first block "
                           "learns which bytes the other blocks can do without. Vowels are " +
                           percent(recipe.vowel_share()) + " of all bytes.",
                       prose_columns(STDOUT_FILENO))
            << std::endl;
  const TrainingSummary summary = run_training(model, options, *options.steps, data, no_log);
  if (!options.save.empty()) save_model(model, task_of(options.data), options.save);
  if (summary.signal != 0) {
    std::cerr << how_to_go_on(options, summary.steps, *options.steps) << "\n";
    throw Interrupted{summary.signal};
  }

  const ModelComparison comparison = compare_modes(model, data.validation, {}, options.seed);
  std::cout << summary.steps << " steps in " << clock_time(summary.seconds) << " minutes. On fresh sequences:\n\n";
  print_table(std::cout, comparison);
  const evaluation::ViewStyle style = view_style(asked.color);
  std::cout << "\n" << legend(style) << "\n\n";
  for (const data::Example& example : std::span(data.validation).first(static_cast<std::size_t>(recipe.samples)))
    print_sample(model, example, style);
  print_lesson(count_vowels(model, data.validation), comparison.measured);
  if (!options.save.empty())
    std::cout << "\nSaved. Try: byte_demo show --model " << options.save << " '#aCompletelyNewText'\n";
}

}  // namespace byte_demo
