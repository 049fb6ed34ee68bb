// One model in every mode of deletion: measured, as a table and as JSON.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <merganser/data/example.hpp>
#include <merganser/evaluation/evaluate.hpp>

#include <model.hpp>

namespace byte_demo {

namespace data = merganser::data;
namespace evaluation = merganser::evaluation;

struct ModelComparison {
  evaluation::Comparison measured;
  double predicted_speed_up = 1.0;  ///< arithmetic without deletion over that with hard deletion
  std::uint64_t seed = 0;           ///< of random gates
};

/// @param deletion how much hard deletion deletes; nothing given: the trained threshold
ModelComparison compare_modes(const Model& model, const std::vector<data::Example>& examples,
                              const merge::DeletionOptions& deletion, std::uint64_t seed);

/// Hard deletion at the trained threshold, as `compare_modes` measures it.
evaluation::EvaluationResult evaluate_hard(const Model& model, const std::vector<data::Example>& examples,
                                           std::uint64_t seed);

/// The table and the sentences under it, in the width of the terminal, at most 80 columns where there is none.
void print_table(std::ostream& out, const ModelComparison& comparison);

/// none, soft, hard, hard_reference, everything, soft_hard_gap, speed_up, predicted_speed_up and the denominators.
nlohmann::ordered_json to_json(const ModelComparison& comparison);

}  // namespace byte_demo
