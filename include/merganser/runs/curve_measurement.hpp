// What a row says of a finished model: every mode of deletion, times, cost, languages.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/evaluation/evaluate.hpp>
#include <merganser/evaluation/language_report.hpp>
#include <merganser/evaluation/predicted_cost.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/runs/curve_options.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/opened_data.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

/// Milliseconds of one pass of the encoder alone; of a classifier, whose head is next to nothing, of all of it.
template <class Model>
double encoder_pass(const Model& model, const std::vector<data::Batch>& batches,
                    typename Model::ForwardOptions options) {
  Rng rng(options.rng != nullptr ? *options.rng : Rng());
  options.rng = &rng;
  std::chrono::duration<double, std::milli> elapsed{0};
  for (const data::Batch& batch : batches) {
    const auto start = std::chrono::steady_clock::now();
    if constexpr (requires { model.encode(batch.source, options); })
      model.encode(batch.source, options);
    else
      model.forward(batch.source, options);
    elapsed += std::chrono::steady_clock::now() - start;
  }
  return elapsed.count();
}

/// A policy that adds up the time it takes.
struct TimedPolicy {
  struct Cache {};
  using Gradients = TimedPolicy;

  merge::Policy<float> policy;
  std::chrono::duration<double, std::milli>* elapsed = nullptr;

  merge::PolicyTraits traits() const { return policy.traits(); }
  auto own_budget() const { return policy.own_budget(); }
  merge::Reduction<float> forward(Matrix<float> x, const merge::PolicyContext<float>& context) const {
    const auto start = std::chrono::steady_clock::now();
    merge::Reduction<float> reduction = policy.forward(std::move(x), context);
    *elapsed += std::chrono::steady_clock::now() - start;
    return reduction;
  }
  merge::Reduction<float> forward(Matrix<float> x, const merge::PolicyContext<float>& context, Rng&, Cache&) const {
    return forward(std::move(x), context);
  }
  merge::TokenGradient<float> backward(const merge::ReductionGradient<float>&, const Cache&, Gradients&) const {
    return {};  // it only runs
  }
};

/// Milliseconds of one pass of the encoder without deletion and with hard deletion, and of the latter in policies.
struct EncoderTimes {
  double none = no_figure, hard = no_figure, policies = no_figure;
};

/// In turns; medians. The time in policies is of the same passes as that of hard deletion.
template <class Model>
EncoderTimes encoder_milliseconds(const Model& model, const std::vector<data::Batch>& batches,
                                  const typename Model::ForwardOptions& options, Index repetitions) {
  typename Model::ForwardOptions undeleted = options;
  undeleted.deletion.mode = merge::DeletionMode::none;
  Model timed = model;
  std::chrono::duration<double, std::milli> elapsed{0};
  for (merge::Placement<float>& placement : timed.encoder.policies)
    placement.policy = merge::Policy<float>(TimedPolicy{placement.policy, &elapsed});
  std::vector<double> none, hard, policies;
  for (Index i = 0; i < repetitions; ++i) {
    none.push_back(encoder_pass(model, batches, undeleted));
    elapsed = {};
    hard.push_back(encoder_pass(timed, batches, options));
    policies.push_back(elapsed.count());
  }
  return {evaluation::median(std::move(none)), evaluation::median(std::move(hard)),
          evaluation::median(std::move(policies))};
}

inline ModeFigures figures_of(const evaluation::EvaluationResult& result, AnswerKind kind) {
  ModeFigures figures;
  figures.deletion_rate = result.deletion_rate;
  figures.bits_per_byte = result.bits_per_byte;
  if (kind == AnswerKind::classes) {
    figures.class_accuracy = result.token_accuracy;
  } else {
    figures.token_accuracy = result.token_accuracy;
    figures.sequence_accuracy = result.sequence_accuracy;
  }
  return figures;
}

inline void add_languages(const evaluation::LanguageReport& report, const std::string& reference, RunRow& row) {
  using evaluation::Counted;
  const bool parallel = report.has_parallel_lines();
  const std::string& against = reference.empty() ? report.languages.front().name : reference;
  for (const evaluation::LanguageResult& result : report.languages) {
    LanguageRow language;
    language.language = result.name;
    language.bytes = result.text.bytes;
    language.characters = result.text.characters;
    language.lines = result.text.lines;
    language.tokens = result.tokens(Counted::all);
    language.kept_tokens = result.tokens(Counted::kept);
    language.deletion_rate = result.deletion_rate();
    language.bits_per_byte_before = result.before.bits_per_byte;
    language.bits_per_byte_after = result.after.bits_per_byte;
    language.accuracy_before = result.before.token_accuracy;
    language.accuracy_after = result.after.token_accuracy;
    language.bytes_per_character = result.bytes_per_character();
    language.tokens_per_character = result.tokens_per_character(Counted::all);
    language.kept_tokens_per_character = result.tokens_per_character(Counted::kept);
    if (parallel) {
      language.premium_before = report.premium(result.name, against, Counted::all);
      language.premium_after = report.premium(result.name, against, Counted::kept);
    }
    row.languages.push_back(std::move(language));
  }
  row.bytes_per_character_spread = report.byte_spread().ratio();
  row.tokens_per_character_spread = report.token_spread(Counted::all).ratio();
  row.kept_per_character_spread = report.token_spread(Counted::kept).ratio();
  if (!parallel) return;
  row.premium_spread = report.premium_spread(Counted::all).ratio();
  row.kept_premium_spread = report.premium_spread(Counted::kept).ratio();
}

/// Today by UTC: 2026-11-30.
inline std::string today() {
  using namespace std::chrono;
  const year_month_day day(floor<days>(system_clock::now()));
  const auto two = [](unsigned number) { return (number < 10 ? "0" : "") + std::to_string(number); };
  return std::to_string(static_cast<int>(day.year())) + "-" + two(static_cast<unsigned>(day.month())) + "-" +
         two(static_cast<unsigned>(day.day()));
}

}  // namespace detail

/// Fills in what the row of a run says of its model, which is laid out to run.
/// @param seed of random gates
template <class Model>
void measure(const Model& model, const TrainingData& examples, const CurveOptions& how, std::uint64_t seed,
             RunRow& row) {
  const std::vector<data::Batch> batches = data::make_batches(examples.validation);
  Rng rng(seed);
  typename Model::ForwardOptions options;
  options.rng = &rng;
  if (CurvePolicy(row.policy).is_of_twin) options.deletion.target_rate = row.target;
  evaluation::EvaluationConfig config;
  config.end_id = data::ByteTokenizer::eos_id;
  config.timing_repetitions = how.timing_repetitions;
  const evaluation::Comparison all = evaluation::compare(model, std::span<const data::Batch>(batches), options, config);
  row.none = detail::figures_of(all.none, examples.kind);
  row.soft = detail::figures_of(all.soft, examples.kind);
  row.hard = detail::figures_of(all.hard, examples.kind);
  row.hard_reference = detail::figures_of(all.hard_reference, examples.kind);
  row.everything = detail::figures_of(all.everything, examples.kind);
  row.sequences = all.none.sequences;
  row.source_bytes = all.none.source_bytes;
  row.source_tokens = all.none.source_tokens;
  row.target_tokens = all.none.target_tokens;
  if (row.policy == all_deleted) {  // never learned to read, and saves nobody time
    row.none = row.soft = row.hard = row.hard_reference = row.everything;
    return;
  }
  row.soft_hard_gap = all.soft_hard_gap();
  row.total_ms_none = all.none.milliseconds;
  row.total_ms_soft = all.soft.milliseconds;
  row.total_ms_hard = all.hard.milliseconds;
  const detail::EncoderTimes times = detail::encoder_milliseconds(model, batches, options, how.timing_repetitions);
  row.encoder_ms_none = times.none;
  row.encoder_ms_hard = times.hard;
  row.policy_ms_hard = times.policies;
  row.predicted_cost_ratio = evaluation::predict_cost(model, std::span<const data::Batch>(batches), options).ratio();
  if (examples.languages.empty()) return;
  config.timing_repetitions = 1;
  detail::add_languages(evaluation::report_languages(
                            model, std::span<const evaluation::LanguageText>(examples.languages), options, config),
                        how.reference, row);
}

}  // namespace merganser::runs
