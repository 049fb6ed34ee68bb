// Scores and times a model over batches, in one or in all modes of deletion.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <concepts>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/check_logits.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>
#include <merganser/evaluation/accuracy.hpp>
#include <merganser/evaluation/bits_per_byte.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// A model that can be evaluated: forward_targets(source, target, options) gives logits [L x V] and what was deleted.
template <class Model>
concept EvaluableModel = requires(const Model& model, const TokenBatch& tokens,
                                  typename Model::ForwardOptions options) {
  { options.deletion } -> std::same_as<merge::DeletionOptions&>;
  { options.rng } -> std::same_as<Rng*&>;
  { model.forward_targets(tokens, tokens, options).logits } -> std::convertible_to<Matrix<typename Model::ScalarType>>;
  { model.forward_targets(tokens, tokens, options).encoded.deletion } -> std::convertible_to<merge::DeletionStatistics>;
};

struct EvaluationConfig {
  TokenId end_id = 1;            ///< source tokens with this id stand for no byte
  Index timing_repetitions = 1;  ///< passes over all batches; milliseconds is their median
};

/// What a model did with a set of batches in one mode of deletion.
struct EvaluationResult {
  double deletion_rate = 0.0;      ///< share of the source tokens deleted, in [0, 1]; soft: what hard deletion would do
  double bits_per_byte = 0.0;      ///< bits of all scored labels over `source_bytes`
  double token_accuracy = 0.0;     ///< in [0, 1]
  double sequence_accuracy = 0.0;  ///< in [0, 1]
  double milliseconds = 0.0;       ///< wall time of the forward passes over all batches
  Index sequences = 0;
  Index source_tokens = 0;             ///< that are no pads
  Index source_bytes = 0;              ///< source tokens that are not the end id
  Index target_tokens = 0;             ///< scored labels
  merge::DeletionStatistics deletion;  ///< sequence by sequence, in the order of the batches
};

/// The middle one, or the mean of the middle two; 0 of none.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Runs the model over the batches once and hands `on_output(batch, output)` each result; returns the milliseconds that
/// the forward passes took, without `on_output`. A generator in the options is copied, so that calls repeat.
template <class Clock = std::chrono::steady_clock, EvaluableModel Model, class OnOutput>
double timed_pass(const Model& model, std::span<const data::Batch> batches, typename Model::ForwardOptions options,
                  OnOutput&& on_output) {
  std::optional<Rng> rng;
  if (options.rng != nullptr) options.rng = &rng.emplace(*options.rng);
  std::chrono::duration<double, std::milli> elapsed{0};
  for (const data::Batch& batch : batches) {
    const auto start = Clock::now();
    const auto output = model.forward_targets(batch.source, batch.target, options);
    elapsed += Clock::now() - start;
    on_output(batch, output);
  }
  return elapsed.count();
}

/// Runs the model over the batches once and scores it; `milliseconds` is the time of this pass. Pads of the source,
/// which the Config of the model may name, count as nothing.
/// @throws std::invalid_argument if the model's logits are no numbers
template <class Clock = std::chrono::steady_clock, EvaluableModel Model>
EvaluationResult scored_pass(const Model& model, std::span<const data::Batch> batches,
                             const typename Model::ForwardOptions& options, TokenId end_id) {
  EvaluationResult result;
  BitsPerByte bits;
  Accuracy accuracy;
  const std::optional<TokenId> pad = data::pad_of(model);
  result.milliseconds = timed_pass<Clock>(model, batches, options, [&](const data::Batch& batch, const auto& output) {
    check_logits<typename Model::ScalarType>("evaluate", output.logits);
    bits.add_labels(output.logits, batch.target.ids);
    bits.add_source(batch.source.ids, end_id, pad);
    accuracy.add(output.logits, batch.target);
    const merge::DeletionStatistics& deletion = output.encoded.deletion;
    result.deletion.tokens.append(deletion.tokens.begin(), deletion.tokens.end());
    result.deletion.kept.append(deletion.kept.begin(), deletion.kept.end());
    result.sequences += batch.source.count();
    for (const TokenId id : batch.source.ids) result.source_tokens += id != pad ? 1 : 0;
  });
  result.deletion_rate = result.deletion.deletion_rate();
  result.bits_per_byte = bits.bits_per_byte();
  result.token_accuracy = accuracy.token_accuracy();
  result.sequence_accuracy = accuracy.sequence_accuracy();
  result.source_bytes = bits.bytes();
  result.target_tokens = accuracy.tokens();
  return result;
}

/// One result for each of the options. The passes take turns (options 0, 1, ..., 0, 1, ...), so that what slows the
/// machine slows all of them: compare times of one call only. With several options an untimed pass over the first batch
/// comes first, so that none pays for the start.
/// @throws std::invalid_argument if there is not at least one repetition or the model's logits are no numbers
template <class Clock = std::chrono::steady_clock, EvaluableModel Model>
std::vector<EvaluationResult> evaluate_in_turns(const Model& model, std::span<const data::Batch> batches,
                                                std::span<const typename Model::ForwardOptions> options,
                                                const EvaluationConfig& config = {}) {
  check_argument(config.timing_repetitions >= 1, "EvaluationConfig", "timing_repetitions", config.timing_repetitions,
                 "at least 1");
  const auto ignore = [](const auto&...) {};
  if (options.size() > 1 && !batches.empty()) timed_pass<Clock>(model, batches.first(1), options.front(), ignore);
  std::vector<EvaluationResult> results;
  std::vector<std::vector<double>> times(options.size());
  for (std::size_t i = 0; i < options.size(); ++i) {
    results.push_back(scored_pass<Clock>(model, batches, options[i], config.end_id));
    times[i].push_back(results[i].milliseconds);
  }
  for (Index repetition = 1; repetition < config.timing_repetitions; ++repetition)
    for (std::size_t i = 0; i < options.size(); ++i)
      times[i].push_back(timed_pass<Clock>(model, batches, options[i], ignore));
  for (std::size_t i = 0; i < options.size(); ++i) results[i].milliseconds = median(std::move(times[i]));
  return results;
}

/// Scores and times the model with the same options for all batches (so they carry nothing that belongs to one batch,
/// such as marks of hidden tokens). No batches, or batches without tokens, give zeros.
/// @throws std::invalid_argument if there is not at least one repetition or the model's logits are no numbers
template <class Clock = std::chrono::steady_clock, EvaluableModel Model>
EvaluationResult evaluate(const Model& model, std::span<const data::Batch> batches,
                          const typename Model::ForwardOptions& options, const EvaluationConfig& config = {}) {
  const std::span<const typename Model::ForwardOptions> one(&options, 1);
  return std::move(evaluate_in_turns<Clock>(model, batches, one, config).front());
}

/// One model on one set of batches, in every mode.
struct Comparison {
  EvaluationResult none;  ///< nothing deleted
  EvaluationResult soft;
  EvaluationResult hard;            ///< with the survivors' bias that the caller asked for
  EvaluationResult hard_reference;  ///< hard, survivors lose their gate value
  EvaluationResult everything;      ///< the control: what the decoder knows without its source

  /// |hard - soft| / soft in bits per byte, 0 when both are 0. Small is good: what training saw is what inference gets.
  double soft_hard_gap() const {
    const double difference = std::abs(hard.bits_per_byte - soft.bits_per_byte);
    return difference == 0 ? 0.0 : difference / soft.bits_per_byte;
  }

  /// Time without deletion over time with hard deletion; above 1 is faster. 1 when both took no time.
  double speed_up() const {
    return none.milliseconds == hard.milliseconds ? 1.0 : none.milliseconds / hard.milliseconds;
  }
};

/// Evaluates the model in every mode in turns. Threshold, target rate and the rest of `base_options` hold in all of
/// them. Without gates none, soft and hard agree.
/// @throws std::invalid_argument if there is not at least one repetition or the model's logits are no numbers
template <class Clock = std::chrono::steady_clock, EvaluableModel Model>
Comparison compare(const Model& model, std::span<const data::Batch> batches,
                   const typename Model::ForwardOptions& base_options, const EvaluationConfig& config = {}) {
  using merge::DeletionMode;
  std::array<typename Model::ForwardOptions, 5> options;
  options.fill(base_options);
  options[0].deletion.mode = DeletionMode::none;
  options[1].deletion.mode = DeletionMode::soft;
  options[2].deletion.mode = DeletionMode::hard;
  options[3].deletion.mode = DeletionMode::hard;
  options[3].deletion.survivor_bias = merge::SurvivorBias::dropped;
  options[4].deletion.mode = DeletionMode::everything;
  std::vector<EvaluationResult> results =
      evaluate_in_turns<Clock>(model, batches, std::span<const typename Model::ForwardOptions>(options), config);
  return {std::move(results[0]), std::move(results[1]), std::move(results[2]), std::move(results[3]),
          std::move(results[4])};
}

}  // namespace merganser::evaluation
