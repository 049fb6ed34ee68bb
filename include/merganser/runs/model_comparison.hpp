// One model in every mode of deletion: measured, and as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/data/batch_source.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/example.hpp>
#include <merganser/evaluation/evaluate.hpp>
#include <merganser/evaluation/predicted_cost.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

struct ModelComparison {
  evaluation::Comparison measured;
  double predicted_speed_up = 1.0;  ///< arithmetic without deletion over that with hard deletion
  std::uint64_t seed = 0;           ///< of random gates
};

inline constexpr Index timing_repetitions = 3;

/// @param deletion how much hard deletion deletes; nothing given: the trained threshold
template <class Model>
ModelComparison compare_modes(const Model& model, const std::vector<data::Example>& examples,
                              const merge::DeletionOptions& deletion, std::uint64_t seed) {
  const std::vector<data::Batch> batches = data::make_batches(examples);
  Rng rng(seed);
  typename Model::ForwardOptions options;
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

/// Hard deletion at the trained threshold, as `compare_modes` measures it, without its time.
template <class Model>
evaluation::EvaluationResult evaluate_hard(const Model& model, const std::vector<data::Example>& examples,
                                           std::uint64_t seed) {
  const std::vector<data::Batch> batches = data::make_batches(examples);
  Rng rng(seed);
  typename Model::ForwardOptions options;
  options.rng = &rng;
  evaluation::EvaluationConfig config;
  config.end_id = model.config().end;
  return evaluation::evaluate(model, std::span<const data::Batch>(batches), options, config);
}

namespace detail {

inline io::JsonObject mode_json(const evaluation::EvaluationResult& result) {
  return io::JsonObject()
      .set("deletion_rate", result.deletion_rate)
      .set("bits_per_byte", result.bits_per_byte)
      .set("token_accuracy", result.token_accuracy)
      .set("sequence_accuracy", result.sequence_accuracy)
      .set("milliseconds", result.milliseconds);
}

}  // namespace detail

/// none, soft, hard, hard_reference, everything, soft_hard_gap, speed_up, predicted_speed_up and the denominators.
inline io::JsonObject to_json(const ModelComparison& comparison) {
  const evaluation::Comparison& measured = comparison.measured;
  io::JsonObject json;
  json.set("none", detail::mode_json(measured.none)).set("soft", detail::mode_json(measured.soft));
  json.set("hard", detail::mode_json(measured.hard));
  json.set("hard_reference", detail::mode_json(measured.hard_reference));
  json.set("everything", detail::mode_json(measured.everything));
  json.set("soft_hard_gap", measured.soft_hard_gap()).set("speed_up", measured.speed_up());
  json.set("predicted_speed_up", comparison.predicted_speed_up).set("seed", comparison.seed);
  io::JsonObject denominators;
  denominators.set("sequences", measured.none.sequences)
      .set("source_tokens", measured.none.source_tokens)
      .set("source_bytes", measured.none.source_bytes)
      .set("target_tokens", measured.none.target_tokens)
      .set("deletion_rate", "deleted source tokens / source_tokens")
      .set("bits_per_byte", "bits of all target tokens / source_bytes")
      .set("token_accuracy", "target tokens with the largest logit, true tokens before them / target_tokens")
      .set("sequence_accuracy", "sequences with every target token right / sequences")
      .set("milliseconds", "wall time of the forward passes over all sequences, median of 3")
      .set("soft_hard_gap", "|hard - soft| / soft, of bits_per_byte")
      .set("speed_up", "milliseconds of none / milliseconds of hard")
      .set("predicted_speed_up", "floating-point operations of none / those of hard");
  return json.set("denominators", denominators);
}

}  // namespace merganser::runs
