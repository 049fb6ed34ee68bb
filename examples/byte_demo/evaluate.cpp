// byte_demo evaluate: a trained model in every mode of deletion.
#include <iostream>

#include <nlohmann/json.hpp>

#include <comparison.hpp>
#include <corpus.hpp>
#include <model.hpp>
#include <model_task.hpp>
#include <options.hpp>
#include <threads.hpp>

namespace byte_demo {

void evaluate(const EvaluateOptions& options) {
  const Threads threads(options.threads);
  const auto examples = open_evaluation_data(with_task_of(options.model, options.data), options.windows, options.seed);
  const Model model = load_model(options.model);
  for (const data::Example& example : examples)
    for (const auto& ids : {example.source, example.target})
      check_length(model, static_cast<Index>(ids.size()), "example");
  const ModelComparison comparison =
      compare_modes(model, examples, deletion_options(options.rate, options.model, model), options.seed);
  if (options.format == OutputFormat::json)
    std::cout << to_json(comparison).dump(2) << "\n";
  else
    print_table(std::cout, comparison);
}

}  // namespace byte_demo
