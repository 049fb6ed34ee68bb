// Measures, on a sample, what each threshold makes of a trained model.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/executor.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>
#include <merganser/evaluation/calibration.hpp>
#include <merganser/evaluation/evaluate.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// A model that says what its gates thought of each token: encoded.reports as those of merge::PolicyReport.
template <class Model>
concept GatedModel = EvaluableModel<Model> &&
    requires(const Model& model, const TokenBatch& tokens, typename Model::ForwardOptions options) {
  {
    model.forward_targets(tokens, tokens, options).encoded.reports.front().scores.front()
    } -> std::convertible_to<typename Model::ScalarType>;
  { model.forward_targets(tokens, tokens, options).encoded.reports.front().forced } -> std::convertible_to<Marks>;
  { model.forward_targets(tokens, tokens, options).encoded.reports.front().is_gate } -> std::convertible_to<bool>;
  model.forward_targets(tokens, tokens, options).encoded.reports.front().offsets.total();
  model.forward_targets(tokens, tokens, options).encoded.reports.front().group.empty();
};

struct CalibrateConfig {
  Index points = 10;          ///< thresholds, at evenly spaced deletion rates; steps can add as many again
  double highest_rate = 0.9;  ///< of the thresholds, in (0, 1]; the lowest is 0
  EvaluationConfig evaluation = {.end_id = 1, .timing_repetitions = 3};
};

/// Thresholds, rising, that delete evenly spaced shares, from 0 to `highest_rate`, of tokens with these gate values.
///
/// They lie in the middle between two values. Where many values are equal there is a step: one threshold just below
/// them and one at them, in place of those shares that no threshold deletes. They are numbers of type Scalar, so that
/// comparing in that type rounds nothing.
/// @throws std::invalid_argument if there are no values, one is not finite, there are fewer than two points, or the
///   rate is not in (0, 1]
template <Real Scalar>
std::vector<double> calibration_thresholds(std::vector<Scalar> values, Index points, double highest_rate) {
  check_argument(points >= 2, "CalibrateConfig", "points", points, "at least 2");
  check_argument(highest_rate > 0 && highest_rate <= 1, "CalibrateConfig", "highest_rate", highest_rate, "in (0, 1]");
  check_argument(!values.empty(), "calibration_thresholds", "values", "none", "gate values");
  for (const Scalar value : values)
    check_argument(std::isfinite(value), "calibration_thresholds", "values", value, "finite gate values");
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  const double spacing = highest_rate / static_cast<double>(points - 1);
  const auto below = [](Scalar value) { return std::nextafter(value, std::numeric_limits<Scalar>::lowest()); };
  const auto that_deletes = [&](std::size_t deleted) {  // no tie at this place
    if (deleted == 0) return below(values.front());
    if (deleted == values.size()) return values.back();
    const Scalar low = values[deleted - 1], high = values[deleted], middle = low + (high - low) / 2;
    return middle < high ? middle : low;
  };
  std::vector<double> thresholds;
  for (Index i = 0; i < points; ++i) {
    const auto deleted = static_cast<std::size_t>(std::lround(spacing * static_cast<double>(i) * count));
    const std::size_t place = std::min(deleted, values.size() - 1);
    const auto [first, last] = std::equal_range(values.begin(), values.end(), values[place]);
    const auto begin = static_cast<std::size_t>(first - values.begin()),
               end = static_cast<std::size_t>(last - values.begin());
    const bool inside = begin < deleted && deleted < end;
    if (inside && static_cast<double>(end - begin) > spacing * count / 2) {
      thresholds.push_back(static_cast<double>(below(values[place])));
      thresholds.push_back(static_cast<double>(values[place]));
    } else {
      const std::size_t nearer = deleted - begin < end - deleted ? begin : end;
      thresholds.push_back(static_cast<double>(that_deletes(inside ? nearer : std::min(deleted, values.size()))));
    }
  }
  std::sort(thresholds.begin(), thresholds.end());
  thresholds.erase(std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
  return thresholds;
}

/// For every token of the batches, the lowest value that a gate gives it when nothing is removed: what a threshold for
/// all gates is compared with. Forced tokens (pads) are left out.
template <GatedModel Model>
std::vector<typename Model::ScalarType> lowest_gate_values(const Model& model, std::span<const data::Batch> batches,
                                                           typename Model::ForwardOptions options) {
  options.deletion.mode = merge::DeletionMode::soft;
  options.deletion.threshold.reset();
  options.deletion.target_rate.reset();
  using Scalar = typename Model::ScalarType;
  std::vector<Scalar> all;
  timed_pass(model, batches, options, [&](const data::Batch&, const auto& output) {
    const auto& reports = output.encoded.reports;
    if (reports.empty()) return;
    const Index tokens = reports.front().offsets.total();
    std::vector<Index> row(static_cast<std::size_t>(tokens));  // that each token has become, or -1
    std::iota(row.begin(), row.end(), Index{0});
    std::vector<Scalar> lowest(row.size(), std::numeric_limits<Scalar>::infinity());
    for (const auto& report : reports) {
      for (std::size_t t = 0; report.is_gate && t < row.size(); ++t) {
        if (row[t] < 0) continue;
        const Scalar value = std::data(report.scores)[row[t]];
        if (!(lowest[t] <= value) && !std::isnan(lowest[t])) lowest[t] = value;
      }
      if (!report.group.empty())
        for (Index& place : row)
          if (place >= 0) place = std::data(report.group)[place];
    }
    const Marks forced = reports.front().forced;
    for (std::size_t t = 0; t < row.size(); ++t)
      if (!forced[t] && lowest[t] != std::numeric_limits<Scalar>::infinity()) all.push_back(lowest[t]);
  });
  return all;
}

/// Runs the model over the batches with hard deletion at thresholds for evenly spaced deletion rates (see
/// `calibration_thresholds`), which takes points x repetitions passes and one more, and makes the table of them.
///
/// The passes take turns (`evaluate_in_turns`). One threshold holds for all gates, as `DeletionOptions::threshold`
/// does. Threshold, target rate and mode of `base_options` are not looked at, the rest of them holds; a random gate
/// needs their generator. The highest rate measured may be a little below the one asked for, as every sequence keeps a
/// token.
/// @throws std::invalid_argument if the batches have no source bytes, the model has no gates, what it gives is not
///   finite, or a number of the config is out of its range
template <class Clock = std::chrono::steady_clock, GatedModel Model>
Calibration calibrate(const Model& model, std::span<const data::Batch> batches,
                      const typename Model::ForwardOptions& base_options, const CalibrateConfig& config = {}) {
  auto values = lowest_gate_values(model, batches, base_options);
  check_argument(!values.empty(), "calibrate", "model and batches", "no gate values",
                 "a model with gates, and batches with source tokens");
  const std::vector<double> thresholds = calibration_thresholds(std::move(values), config.points, config.highest_rate);
  std::vector<typename Model::ForwardOptions> options(thresholds.size(), base_options);
  for (std::size_t i = 0; i < thresholds.size(); ++i) {
    options[i].deletion.mode = merge::DeletionMode::hard;
    options[i].deletion.target_rate.reset();
    options[i].deletion.threshold = thresholds[i];
  }
  const std::vector<EvaluationResult> results = evaluate_in_turns<Clock>(
      model, batches, std::span<const typename Model::ForwardOptions>(options), config.evaluation);
  const Index bytes = results.front().source_bytes;
  check_argument(bytes >= 1, "calibrate", "batches", "no source bytes", "at least 1");
  constexpr double kilobyte = 1000;
  std::vector<CalibrationPoint> points;
  for (std::size_t i = 0; i < thresholds.size(); ++i)
    points.push_back({thresholds[i], results[i].deletion_rate, results[i].bits_per_byte, results[i].token_accuracy,
                      results[i].sequence_accuracy, results[i].milliseconds * kilobyte / static_cast<double>(bytes)});
  return Calibration(std::move(points),
                     {bytes, results.front().sequences, thread_count(), base_options.deletion.survivor_bias});
}

}  // namespace merganser::evaluation
