// One run of a curve: trained or loaded, and measured.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/instruction_set.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/batch_source.hpp>
#include <merganser/io/checkpoints/checkpoint_directory.hpp>
#include <merganser/io/checkpoints/run_checkpoints.hpp>
#include <merganser/io/files/machine_name.hpp>
#include <merganser/io/files/safetensors.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/io/models/model_files.hpp>
#include <merganser/io/models/weight_files_writer.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/runs/curve_measurement.hpp>
#include <merganser/runs/curve_option_table.hpp>
#include <merganser/runs/curve_options.hpp>
#include <merganser/runs/curve_plan.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/model_design.hpp>
#include <merganser/runs/opened_data.hpp>
#include <merganser/runs/peak_memory.hpp>
#include <merganser/runs/run_log.hpp>
#include <merganser/runs/signals.hpp>
#include <merganser/runs/status_line.hpp>
#include <merganser/runs/training_data.hpp>
#include <merganser/runs/training_progress.hpp>
#include <merganser/runs/training_run.hpp>
#include <merganser/runs/training_trace.hpp>
#include <merganser/training/recipe.hpp>
#include <merganser/training/steps_in_time.hpp>
#include <merganser/version.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// The model of labelled texts.
using TextClassifier = models::SequenceClassifier<float>;

/// What all runs have in common.
struct CurveWorkplace {
  const CurveOptions& options;
  const RunPlan& plan;
  const TrainingData& data;  ///< its validation is that of all runs
  Index steps;
  std::filesystem::path runs;  ///< a folder for the folders of runs
  StatusLine& line;
  TrainingProgress& progress;
};

/// The data of a curve. All runs are evaluated on the same examples.
/// @param seed of the batches
/// @throws as `open_training_data`
inline TrainingData open_curve_data(const CurveOptions& options, std::uint64_t seed) {
  return open_training_data(options.train.data, {options.train.recipe.batch_size, options.train.windows, seed, 1});
}

namespace detail {

/// The options of a training run for one run of a curve.
inline TrainOptions run_options(const CurveOptions& options, const PlannedRun& planned) {
  TrainOptions train = options.train;
  train.recipe.target = planned.target;
  train.seed = planned.seed;
  design_policy(planned.policy, train.model, planned.target);
  return train;
}

/// The model that a run asks for: policies by name are the run's alone, whatever a model to start from has.
inline ModelDesign design_run(const TrainOptions& train, const io::LoadModelOptions& loading = {}) {
  ModelDesign design = design_model(train.model, train.recipe.target, loading);
  design.policies.named = train.model.policies;
  return design;
}

template <class Model>
Model make_curve_model(ModelDesign design, std::uint64_t seed, const TrainingData& data) {
  if constexpr (std::same_as<Model, TextModel>) {
    return make_model(std::move(design), seed);
  } else {
    typename Model::Config config;
    config.vocabulary = design.config.vocabulary;
    config.encoder = design.config.encoder;
    config.pad = design.config.pad;
    config.classes = std::ssize(data.classes);
    Model model(config, io::placements_of<float>(design.policies, config.encoder, design.named_policies));
    Rng rng(seed);
    model.initialize(rng);
    start_model(model, std::move(design));
    return model;
  }
}

template <class Model>
void save_curve_model(const Model& model, const std::filesystem::path& directory) {
  if constexpr (std::same_as<Model, TextModel>) {
    io::save_model(model, directory);
  } else {
    std::filesystem::create_directories(directory);
    io::save_weights(model, directory);
  }
}

inline bool has_weights(const std::filesystem::path& directory) {
  return std::filesystem::exists(directory / io::weights_file_name) ||
         std::filesystem::exists(directory / io::shard_index_name);
}

/// The checkpoint to go on from; nothing if there is none, or all are damaged and the run begins anew.
inline std::optional<io::NewestCheckpoint> stored_in(const std::filesystem::path& directory) {
  try {
    return io::newest_checkpoint(directory);
  } catch (const IoError&) {
    return std::nullopt;
  }
}

/// Returns the seconds it took.
template <class Model>
double train_curve_model(Model& model, const CurveWorkplace& place, const PlannedRun& planned,
                         const std::filesystem::path& folder) {
  constexpr Index most_trace_lines = 4000;
  data::BatchSource batches = open_curve_data(place.options, planned.seed).batches;
  auto config = training::trainer_config(run_options(place.options, planned).recipe, model, place.steps, planned.seed);
  config.deletion.without_source = planned.policy == all_deleted;
  io::RunCheckpoints<Model> checkpoints(folder / "checkpoints",
                                        {.every = place.options.train.checkpoint_every, .keep = 1});
  const auto stored = stored_in(checkpoints.path());
  RunLog log(folder / trace_file_name, std::max<Index>(1, place.steps / most_trace_lines),
             stored && stored->record.step > 0 ? RunLog::Start::append : RunLog::Start::empty);
  const RunSurroundings<Model> around{place.progress, log, planned.name(), &checkpoints, stored ? &*stored : nullptr};
  const RunSummary summary = run_training(model, config, place.steps, batches, around);
  if (summary.signal != 0) throw Interrupted{summary.signal};
  return summary.seconds;
}

/// What a file holds that is passed over becomes a line.
inline io::LoadModelOptions loading_for(const CurveWorkplace& place) {
  io::LoadModelOptions options;
  options.named_policies = place.options.named_policies;
  options.on_warning = [&place](const std::string& text) { place.line.note("warning: " + text); };
  return options;
}

/// What a row says of the training.
inline void copy_training(const RunRow& from, RunRow& to) {
  to.parameters = from.parameters;
  to.steps = from.steps;
  to.seconds = from.seconds;
  to.peak_memory_mb = from.peak_memory_mb;
  to.late_rate = from.late_rate;
  to.late_deviation = from.late_deviation;
}

/// Trains the model of a row and saves it, or takes the one that was saved with another evaluation of the same
/// training.
template <class Model>
void train_and_measure(const CurveWorkplace& place, const PlannedRun& planned, const RunRow* trained, RunRow& row) {
  const std::filesystem::path folder = place.runs / planned.folder();
  const TrainOptions options = run_options(place.options, planned);
  ModelDesign design = design_run(options, loading_for(place));
  for (const std::string& difference : design.differences) place.line.note(planned.name() + ": " + difference);
  Model model = make_curve_model<Model>(std::move(design), planned.seed, place.data);
  if (trained != nullptr && has_weights(folder / "model")) {
    place.progress.begin({planned.name() + ", trained before", 0, 0, std::nullopt});
    io::load_parameters(model, io::open_weights(folder / "model"));
    copy_training(*trained, row);
    place.progress.end();
  } else {
    std::filesystem::create_directories(folder);
    row.parameters = parameter_count(model);
    row.steps = place.steps;
    row.seconds = train_curve_model(model, place, planned, folder);
    row.peak_memory_mb = peak_memory_bytes() / 1e6;
    save_curve_model(model, folder / "model");
    if (planned.policy == "learned") {
      const LateTraining late = late_training(read_trace(folder / trace_file_name), place.steps, planned.target);
      row.late_rate = late.rate;
      row.late_deviation = late.deviation;
    }
  }
  model.prepare_for_inference();
  measure(model, place.data, place.options, planned.seed, row);
}

/// The twin of a run, trained before it.
inline const PlannedRun& twin_of(const RunPlan& plan, std::uint64_t seed) {
  const auto twin = std::find_if(plan.runs.begin(), plan.runs.end(),
                                 [&](const PlannedRun& run) { return run.policy == ungated && run.seed == seed; });
  check_argument(twin != plan.runs.end(), "twin_of", "runs", "none", "a twin of every seed");
  return *twin;
}

/// Puts the policy of a run into a twin, in the place of whatever it has.
template <class Model>
void put_policy(const CurveWorkplace& place, const PlannedRun& planned, Model& twin) {
  const auto& make = place.options.named_policies;
  twin.encoder.policies = make(CurvePolicy(planned.policy).named, twin.encoder.config());
  if (!twin.encoder.policies.front().policy.traits().is_training_free)
    place.line.note("warning: " + planned.name() +
                    " is one that a model is trained with, and the twin was not: ungated+" + planned.policy + " is");
}

/// Measures a policy in the twin that was trained without it.
template <class Model>
void measure_in_twin(const CurveWorkplace& place, const PlannedRun& planned, RunRow& row) {
  const PlannedRun& twin = twin_of(place.plan, planned.seed);
  const std::filesystem::path saved = place.runs / twin.folder() / "model";
  if (!has_weights(saved))
    throw IoError(saved.string(), "file", "no weights", "the trained twin, without which nothing is measured");
  place.progress.begin({planned.name() + ", in the twin", 0, 0, std::nullopt});
  const TrainOptions options = run_options(place.options, twin);
  Model model = make_curve_model<Model>(design_run(options, loading_for(place)), twin.seed, place.data);
  io::load_parameters(model, io::open_weights(saved));
  put_policy(place, planned, model);
  row.parameters = parameter_count(model);
  model.prepare_for_inference();
  measure(model, place.data, place.options, planned.seed, row);
  place.progress.end();
}

inline void load_and_measure(const CurveWorkplace& place, const PlannedRun& planned, RunRow& row) {
  if (place.data.kind == AnswerKind::classes)
    throw std::invalid_argument("--model: a saved classifier cannot be loaded");
  place.progress.begin({planned.name() + " from " + *planned.model, 0, 0, std::nullopt});
  TextModel model = io::load_for_inference<float>(*planned.model, loading_for(place));
  if (CurvePolicy(planned.policy).is_of_twin) put_policy(place, planned, model);
  check_reads_bytes(model.config(), *planned.model);
  check_lengths(model, place.data.validation);
  measure(model, place.data, place.options, planned.seed, row);
  row.peak_memory_mb = peak_memory_bytes() / 1e6;
  place.progress.end();
}

}  // namespace detail

/// Steps of a run that fill the minutes of the budget, by those of the twin.
inline Index steps_in_budget(const CurveOptions& options, const TrainingData& data) {
  const PlannedRun twin{ungated, 0.0, options.seeds.front(), std::nullopt, "", ""};
  const TrainOptions train = detail::run_options(options, twin);
  const auto steps = [&]<class Model>(std::in_place_type_t<Model>) {
    const Model model = detail::make_curve_model<Model>(detail::design_run(train), twin.seed, data);
    return training::steps_in_time(model, train.recipe, open_curve_data(options, twin.seed).batches,
                                   60 * options.budget.minutes.value(), twin.seed);
  };
  return data.kind == AnswerKind::classes ? steps(std::in_place_type<TextClassifier>)
                                          : steps(std::in_place_type<TextModel>);
}

/// Goes on from the checkpoint of the run, if it has one; saves the model and the trace beside it.
/// @param trained a row of the same training with another evaluation: its model is measured again, if it is there;
/// null: none
/// @throws Interrupted, with a checkpoint saved, if the caller's `CatchSignals` caught one
/// @throws training::Diverged
inline RunRow make_row(const CurveWorkplace& place, const PlannedRun& planned, const RunRow* trained) {
  reset_peak_memory();
  RunRow row;
  row.settings = planned.settings;
  row.base = planned.base;
  row.data = place.plan.data;
  row.task = place.data.name;
  row.policy = planned.policy;
  row.target = planned.target;
  row.seed = planned.seed;
  const bool of_twin = CurvePolicy(planned.policy).is_of_twin;
  PlannedRun run = planned;
  if (of_twin && !run.model) run.model = detail::twin_of(place.plan, planned.seed).model;
  if (run.model)
    detail::load_and_measure(place, run, row);
  else if (of_twin && place.data.kind == AnswerKind::classes)
    detail::measure_in_twin<TextClassifier>(place, planned, row);
  else if (of_twin)
    detail::measure_in_twin<TextModel>(place, planned, row);
  else if (place.data.kind == AnswerKind::classes)
    detail::train_and_measure<TextClassifier>(place, planned, trained, row);
  else
    detail::train_and_measure<TextModel>(place, planned, trained, row);
  row.origin = {place.plan.evaluation, MERGANSER_VERSION, std::string(instruction_set),
                io::machine_name(),    detail::today(),   settings_of(place.options)};
  return row;
}

}  // namespace merganser::runs
