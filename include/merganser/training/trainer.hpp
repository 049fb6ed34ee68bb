// The training loop: generic over the model, driven by callbacks, silent.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/pi_controller.hpp>
#include <merganser/training/adamw.hpp>
#include <merganser/training/batch_share.hpp>
#include <merganser/training/deletion_schedule.hpp>
#include <merganser/training/gradient_clipping.hpp>
#include <merganser/training/learning_rate_schedule.hpp>
#include <merganser/training/objective.hpp>
#include <merganser/training/trainer_state.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// What happened in one step.
struct StepReport {
  Index step = 0;               ///< counted from 0
  double total = 0.0;           ///< objective, nats
  Vector<ObjectivePart> parts;  ///< its terms
  double token_accuracy = 0.0;  ///< share of the labels with the largest logit
  double deletion_rate = 0.0;   ///< of the tokens of all gated batches of this step; 0 if there are none
  Index gated_batches = 0;      ///< batches of this step whose deletion rate was that of the gate
  double alpha = 0.0;           ///< weight of the gate regulariser in this step
  double next_alpha = 0.0;
  double learning_rate = 0.0;
  double gradient_norm = 0.0;  ///< before clipping
  Index source_tokens = 0;     ///< that are no pads
  Index target_tokens = 0;
};

enum class TrainingEvent {
  /// The loss, the gradient or what the step would leave is not finite: the step was not taken, nothing changed.
  not_finite,
  deletion_collapse,  ///< nearly everything deleted for many steps
};

/// What the caller wants to hear of. Any may be empty.
struct TrainerCallbacks {
  std::function<Continue(const StepReport&)> on_step;
  std::function<Continue(TrainingEvent, const StepReport&)> on_event;
};

/// Minimises the objective of a model over batches.
///
/// The model needs Cache, Output, OutputGradients, ForwardOptions, forward_targets(source, target, options, rng, cache)
/// and backward(grad, cache, gradients). The same seed, batches and settings give the same bits, with any number of
/// threads. Holds a reference to the model; nothing else may write to it meanwhile.
template <class Model>
class Trainer {
 public:
  using Scalar = typename Model::ScalarType;

  struct Config {
    typename AdamW<Model>::Config optimizer;
    LearningRateSchedule::Config schedule;
    double max_gradient_norm = 1.0;
    Index accumulated_batches = 1;  ///< batches that make one step, with the gradient of all their examples together
    ObjectiveConfig objective;
    DeletionSchedule deletion;
    std::uint64_t seed = 0;  ///< of dropout, gate noise and the choice of hard batches
  };

  /// @throws std::invalid_argument if a setting is out of range
  Trainer(Model& model, const Config& config);

  /// One step over `accumulated_batches` batches. One of them that throws leaves everything as it was.
  /// @throws std::invalid_argument if there are more or fewer
  StepReport step(std::span<const data::Batch> batches, const TrainerCallbacks& callbacks = {});

  StepReport step(const data::Batch& batch, const TrainerCallbacks& callbacks = {}) {
    return step(std::span<const data::Batch>(&batch, 1), callbacks);
  }

  /// Steps with batches from `next_batch()` until `steps` were taken or a callback says no. Returns the last report.
  /// A step that was not finite counts, so that the loop ends.
  template <class NextBatch>
  StepReport run(Index steps, NextBatch&& next_batch, const TrainerCallbacks& callbacks = {}) {
    StepReport report;
    for (Index i = 0; i < steps; ++i) {
      Vector<data::Batch> batches;
      for (Index b = 0; b < config_.accumulated_batches; ++b) batches.push_back(next_batch());
      report = step(batches, callbacks);
      if (last_answer_ == Continue::no) break;
    }
    return report;
  }

  const Config& config() const { return config_; }
  Index steps_taken() const { return step_; }
  /// Steps taken and steps left out as not finite: what `run` counts.
  Index steps_tried() const { return attempts_; }
  const AdamW<Model>& optimizer() const { return optimizer_; }
  const merge::PiController& controller() const { return controller_; }
  const Rng& rng() const { return rng_; }
  /// The gradients of the last step, after clipping.
  Model& gradients() { return gradients_; }

  /// What it remembers: a copy, of twice the size of the model. Callbacks may ask; the step of their report is in it.
  TrainerState<Model> state() const {
    return {optimizer_.first_moment,
            optimizer_.second_moment,
            optimizer_.steps,
            controller_.state(),
            rng_,
            step_,
            attempts_,
            collapsed_steps_};
  }

  /// Goes on from a state that `state` gave: with the weights and the Config of that moment, every later step has the
  /// bits that it would have had. Not from within a callback.
  /// @throws std::invalid_argument as `check_trainer_state`; nothing changes then
  void set_state(TrainerState<Model> state);

 private:
  /// Steers by the deletion rate of step `taken` and watches it for collapse.
  void watch_deletion(Index taken, StepReport& report, const TrainerCallbacks& callbacks);

  /// The gradients and the report of all batches together.
  void accumulate(std::span<const data::Batch> batches, StepReport& report);

  /// Adds one batch to the gradients and the report.
  void accumulate(const data::Batch& batch, const BatchShare& share, StepReport& report);

  void notify(const TrainerCallbacks& callbacks, TrainingEvent event, const StepReport& report) {
    if (callbacks.on_event && callbacks.on_event(event, report) == Continue::no) last_answer_ = Continue::no;
  }

  Model& model_;
  Config config_;
  AdamW<Model> optimizer_;
  LearningRateSchedule schedule_;
  merge::PiController controller_;
  Model gradients_;
  typename Model::Cache cache_;
  merge::DeletionStatistics gated_;  ///< of the gated batches of the last step
  Rng rng_;
  Index step_ = 0;
  Index attempts_ = 0;
  Index collapsed_steps_ = 0;
  Continue last_answer_ = Continue::yes;
};

template <class Model>
Trainer<Model>::Trainer(Model& model, const Config& config)
    : model_(model),
      config_(config),
      optimizer_(model, config.optimizer),
      schedule_(config.schedule),
      controller_(config.deletion.controller),
      gradients_(zeros_like(model)),
      rng_(config.seed) {
  const auto check_finite = [](const char* name, double got) {
    check_argument(std::isfinite(got), "Trainer", name, got, "a finite number");
  };
  check_finite("objective.score_penalty", config.objective.score_penalty);
  check_finite("objective.score_limit", config.objective.score_limit);
  check_finite("objective.auxiliary_weight", config.objective.auxiliary_weight);
  check_argument(config.accumulated_batches >= 1, "Trainer", "accumulated_batches", config.accumulated_batches,
                 "at least 1");
  check_argument(config.max_gradient_norm > 0, "Trainer", "max_gradient_norm", config.max_gradient_norm,
                 "a positive number");
  config.deletion.check("Trainer");
}

template <class Model>
StepReport Trainer<Model>::step(std::span<const data::Batch> batches, const TrainerCallbacks& callbacks) {
  check_equal("Trainer::step", "batches.size()", std::ssize(batches), config_.accumulated_batches);
  const Rng rng_before = rng_;
  StepReport report;
  report.step = step_;
  report.alpha = step_ >= config_.deletion.regulariser_from ? controller_.alpha() : 0.0;
  report.learning_rate = schedule_.rate(step_);
  try {
    accumulate(batches, report);
  } catch (...) {
    rng_ = rng_before;
    throw;
  }
  ++attempts_;
  report.gradient_norm = clip_gradients(gradients_, config_.max_gradient_norm);
  const double clipped = std::min(report.gradient_norm, config_.max_gradient_norm);
  last_answer_ = Continue::yes;
  if (!std::isfinite(report.total) || !std::isfinite(report.gradient_norm) ||
      !optimizer_.step(model_, gradients_, report.learning_rate, clipped)) {
    rng_ = rng_before;
    report.next_alpha = report.alpha;
    notify(callbacks, TrainingEvent::not_finite, report);
    return report;
  }
  const Index taken = step_++;
  if (report.gated_batches > 0) watch_deletion(taken, report, callbacks);
  report.next_alpha = controller_.alpha();
  if (callbacks.on_step && callbacks.on_step(report) == Continue::no) last_answer_ = Continue::no;
  return report;
}

template <class Model>
void Trainer<Model>::set_state(TrainerState<Model> state) {
  check_trainer_state(state, model_);
  optimizer_.restore(std::move(state.first_moment), std::move(state.second_moment), state.updates);
  controller_.set_state(state.controller);
  rng_ = state.rng;
  step_ = state.step;
  attempts_ = state.attempts;
  collapsed_steps_ = state.collapsed_steps;
}

template <class Model>
void Trainer<Model>::watch_deletion(Index taken, StepReport& report, const TrainerCallbacks& callbacks) {
  if (taken >= config_.deletion.regulariser_from)
    controller_.update(report.deletion_rate, config_.deletion.target_in(taken));
  report.next_alpha = controller_.alpha();
  if (gated_.deletable() == 0) return;
  const double collapsed = config_.deletion.collapse_rate * static_cast<double>(gated_.deletable());
  collapsed_steps_ = static_cast<double>(gated_.deleted()) > collapsed ? collapsed_steps_ + 1 : 0;
  if (collapsed_steps_ == config_.deletion.collapse_steps) notify(callbacks, TrainingEvent::deletion_collapse, report);
}

template <class Model>
void Trainer<Model>::accumulate(std::span<const data::Batch> batches, StepReport& report) {
  set_zero(gradients_);
  gated_ = {};
  const std::optional<TokenId> pad = data::pad_of(model_);
  Vector<BatchExtent> extents;
  BatchExtent whole;
  for (const data::Batch& batch : batches) whole += extents.emplace_back(BatchExtent::of(batch, pad));
  report.source_tokens = whole.tokens;
  for (const BatchExtent* extent = extents.begin(); const data::Batch& batch : batches)
    accumulate(batch, (extent++)->share_of(whole), report);
  report.deletion_rate = gated_.deletion_rate();
}

template <class Model>
void Trainer<Model>::accumulate(const data::Batch& batch, const BatchShare& share, StepReport& report) {
  typename Model::ForwardOptions options;
  options.deletion = config_.deletion.draw_options(step_, rng_);
  options.deletion.labels = batch.labels;
  if (config_.objective.score_penalty != 0) options.excess_limit = config_.objective.score_limit;
  const auto output = model_.forward_targets(batch.source, batch.target, options, rng_, cache_);
  const auto result =
      evaluate_objective<Model>(output, batch.target.ids, config_.objective, report.alpha, share, batch.target.offsets);
  model_.backward(result.grad, cache_, gradients_);
  if (report.parts.empty()) {
    report.parts = result.parts;
    for (ObjectivePart& part : report.parts) part.value = 0, part.share = 1;
  }
  for (Index i = 0; i < report.parts.size(); ++i) {
    const ObjectivePart& part = result.parts[i];
    report.parts[i].value += part.share * part.value;
    report.total += part.weight * (part.share * part.value);
  }
  if (result.counted > 0)
    report.token_accuracy += share.labels * static_cast<double>(result.correct) / static_cast<double>(result.counted);
  const bool gated =
      options.deletion.mode == merge::DeletionMode::soft || options.deletion.mode == merge::DeletionMode::hard;
  if (gated && !options.deletion.target_rate) {
    ++report.gated_batches;
    const merge::DeletionStatistics& deletion = output.encoded.deletion;
    gated_.tokens.append(deletion.tokens.begin(), deletion.tokens.end());
    gated_.kept.append(deletion.kept.begin(), deletion.kept.end());
  }
  report.target_tokens += batch.target.total();
}

}  // namespace merganser::training

#if MERGANSER_COMPILED
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::training {
extern template class Trainer<models::EncoderDecoder<float>>;
}  // namespace merganser::training
#endif
