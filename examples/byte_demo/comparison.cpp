// One model in every mode of deletion.
#include <comparison.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <merganser/core/random.hpp>
#include <merganser/evaluation/predicted_cost.hpp>

#include <table.hpp>
#include <terminal.hpp>

namespace byte_demo {

using merganser::Rng;

namespace {

constexpr Index timing_repetitions = 3;

void add_row(Table& table, const std::string& name, const evaluation::EvaluationResult& result,
             const std::string& speed_up) {
  table.add_row({name, percent(result.token_accuracy, 2), percent(result.sequence_accuracy),
                 percent(result.deletion_rate), fixed(result.bits_per_byte, 4),
                 speed_up.empty() ? "" : fixed(result.milliseconds, 1), speed_up});
}

nlohmann::ordered_json result_json(const evaluation::EvaluationResult& result) {
  return {{"deletion_rate", result.deletion_rate},
          {"bits_per_byte", result.bits_per_byte},
          {"token_accuracy", result.token_accuracy},
          {"sequence_accuracy", result.sequence_accuracy},
          {"milliseconds", result.milliseconds}};
}

}  // namespace

evaluation::EvaluationResult evaluate_hard(const Model& model, const std::vector<data::Example>& examples,
                                           std::uint64_t seed) {
  const std::vector<data::Batch> batches = data::make_batches(examples);
  Rng rng(seed);
  Model::ForwardOptions options;
  options.rng = &rng;
  evaluation::EvaluationConfig config;
  config.end_id = model.config().end;
  return evaluation::evaluate(model, std::span<const data::Batch>(batches), options, config);
}

ModelComparison compare_modes(const Model& model, const std::vector<data::Example>& examples,
                              const merge::DeletionOptions& deletion, std::uint64_t seed) {
  const std::vector<data::Batch> batches = data::make_batches(examples);
  Rng rng(seed);
  Model::ForwardOptions options;
  options.deletion = deletion;
  options.rng = &rng;
  evaluation::EvaluationConfig config;
  config.end_id = model.config().end;
  config.timing_repetitions = timing_repetitions;
  ModelComparison comparison;
  comparison.seed = seed;
  comparison.measured = evaluation::compare(model, std::span<const data::Batch>(batches), options, config);
  comparison.predicted_speed_up =
      evaluation::predict_cost(model, std::span<const data::Batch>(batches), options).speed_up();
  return comparison;
}

void print_table(std::ostream& out, const ModelComparison& comparison) {
  const evaluation::Comparison& measured = comparison.measured;
  const auto ratio = [&](const evaluation::EvaluationResult& result) {
    return fixed(measured.none.milliseconds / std::max(result.milliseconds, 1e-9), 2) + "x";
  };
  Table table;
  table.add_column("", 20, Table::Align::left);
  table.add_column("accuracy", 10);
  table.add_column("exact", 10);
  table.add_column("deleted", 10);
  table.add_column("bits/byte", 11);
  table.add_column("ms", 10);
  table.add_column("speed-up", 9);
  add_row(table, "no deletion", measured.none, ratio(measured.none));
  add_row(table, "soft deletion", measured.soft, ratio(measured.soft));
  add_row(table, "hard deletion", measured.hard, ratio(measured.hard));
  add_row(table, "hard, as reference", measured.hard_reference, ratio(measured.hard_reference));
  add_row(table, "everything deleted", measured.everything, "");
  const std::size_t columns = columns_of(STDOUT_FILENO);
  table.print(out, columns);
  out << "\n";
  const auto print = [&](const std::string& text) { out << wrapped(text, columns); };
  print("Over " + std::to_string(measured.none.sequences) + " sequences, " +
        std::to_string(measured.none.source_bytes) + " source bytes and " +
        std::to_string(measured.none.target_tokens) + " target tokens.");
  print("accuracy: target tokens right, given those before. exact: sequences all right.");
  print("bits/byte: bits of the target for each source byte. ms: for all sequences.");
  print("as reference: survivors lose their gate value, as in the code of the MrT5 paper.");
  print("Soft and hard differ by " + fixed(100 * measured.soft_hard_gap(), 2) + " % in bits per byte.");
  print("Speed-up of hard deletion: " + fixed(measured.speed_up(), 2) + "x measured, " +
        fixed(comparison.predicted_speed_up, 2) + "x predicted by the cost model.");
}

nlohmann::ordered_json to_json(const ModelComparison& comparison) {
  const evaluation::Comparison& measured = comparison.measured;
  nlohmann::ordered_json json;
  json["none"] = result_json(measured.none);
  json["soft"] = result_json(measured.soft);
  json["hard"] = result_json(measured.hard);
  json["hard_reference"] = result_json(measured.hard_reference);
  json["everything"] = result_json(measured.everything);
  json["soft_hard_gap"] = measured.soft_hard_gap();
  json["speed_up"] = measured.speed_up();
  json["predicted_speed_up"] = comparison.predicted_speed_up;
  json["seed"] = comparison.seed;
  json["denominators"] = {
      {"sequences", measured.none.sequences},
      {"source_tokens", measured.none.source_tokens},
      {"source_bytes", measured.none.source_bytes},
      {"target_tokens", measured.none.target_tokens},
      {"deletion_rate", "deleted source tokens / source_tokens"},
      {"bits_per_byte", "bits of all target tokens / source_bytes"},
      {"token_accuracy", "target tokens with the largest logit, true tokens before them / target_tokens"},
      {"sequence_accuracy", "sequences with every target token right / sequences"},
      {"milliseconds", "wall time of the forward passes over all sequences, median of 3"},
      {"soft_hard_gap", "|hard - soft| / soft, of bits_per_byte"},
      {"speed_up", "milliseconds of none / milliseconds of hard"},
      {"predicted_speed_up", "floating-point operations of none / those of hard"}};
  return json;
}

}  // namespace byte_demo
