// byte_demo evaluate: a trained model in every mode of deletion.
#include <iostream>

#include <merganser/runs/model_comparison.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/training_data.hpp>

#include <model.hpp>
#include <options.hpp>
#include <text_view.hpp>

namespace byte_demo {

void evaluate(const EvaluateOptions& options) {
  const runs::ProgramThreads threads(options.program.threads, std::cerr);
  const std::string& directory = options.model.directory;
  const auto examples =
      runs::open_evaluation_data(runs::with_task_of(directory, options.data), options.windows, options.program.seed);
  const Model model = load_model(options.model, options.rate);
  runs::check_lengths(model, examples);
  const merge::DeletionOptions deletion = runs::deletion_options(options.rate, directory, model, print_warning);
  const runs::ModelComparison comparison = runs::compare_modes(model, examples, deletion, options.program.seed);
  warn_of_missed_target(options.rate, comparison.measured.hard.deletion_rate);
  if (options.format == OutputFormat::json)
    std::cout << runs::to_json(comparison).text();
  else
    print_table(std::cout, comparison);
}

}  // namespace byte_demo
