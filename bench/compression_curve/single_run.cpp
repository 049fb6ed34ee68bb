// One run of a curve.
#include "single_run.hpp"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/io/checkpoint_directory.hpp>
#include <merganser/io/model_directory.hpp>
#include <merganser/io/run_checkpoints.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/training/recipe.hpp>
#include <merganser/training/steps_in_time.hpp>
#include <merganser/training/trainer.hpp>
#include <merganser/training/training_loop.hpp>

#include <design.hpp>
#include <model.hpp>
#include <run_log.hpp>
#include <signals.hpp>

#include "measure/peak_memory.hpp"
#include "policies.hpp"
#include "run_measurement.hpp"
#include "trace.hpp"

namespace compression_curve {

namespace io = merganser::io;
namespace models = merganser::models;
namespace training = merganser::training;

namespace {

using Writer = byte_demo::Model;
using Classifier = models::SequenceClassifier<float>;
using Clock = std::chrono::steady_clock;

template <class Model>
constexpr bool is_writer = std::same_as<Model, Writer>;

/// The options of byte_demo for one run.
byte_demo::TrainOptions train_options(const CurveOptions& options, const PlannedRun& planned) {
  byte_demo::TrainOptions train = options.train;
  train.recipe.target = planned.target;
  train.seed = planned.seed;
  design(planned.policy, train.model, planned.target);
  return train;
}

byte_demo::Design design_of(const byte_demo::TrainOptions& train) {
  return byte_demo::design_model(train.model, train.recipe.target);
}

template <class Model>
Model make(byte_demo::Design design, const byte_demo::TrainOptions& train, const CurveData& data) {
  if constexpr (is_writer<Model>) {
    return byte_demo::make_model(std::move(design), train.seed);
  } else {
    typename Model::Config config;
    config.vocabulary = design.config.vocabulary;
    config.encoder = design.config.encoder;
    config.gates = design.config.gates;
    config.pooling = design.config.pooling;
    config.pad = design.config.pad;
    config.classes = static_cast<Index>(data.classes.size());
    Model model(config);
    Rng rng(train.seed);
    model.initialize(rng, 1.0, design.embedding_deviation);
    byte_demo::start(model, std::move(design));
    return model;
  }
}

// ---- Training ----

/// The checkpoint to go on from; nothing if there is none, or all are damaged and the run begins anew.
std::optional<io::NewestCheckpoint> stored_in(const std::filesystem::path& directory) {
  try {
    return io::newest_checkpoint(directory);
  } catch (const merganser::IoError&) {
    return std::nullopt;
  }
}

/// Returns the seconds it took.
template <class Model>
double train(Model& model, const Workplace& workplace, const PlannedRun& planned, const std::filesystem::path& folder,
             CurveProgress& progress) {
  constexpr Index most_trace_lines = 4000;
  const byte_demo::TrainOptions options = train_options(workplace.options, planned);
  const Index steps = workplace.steps;
  merganser::data::BatchSource batches = open_data(workplace.options, planned.seed).batches;
  auto config = training::trainer_config(options.recipe, model, steps, options.seed);
  config.deletion.without_source = planned.policy == all_deleted;
  training::Trainer<Model> trainer(model, config);
  io::RunCheckpoints<Model> checkpoints(folder / "checkpoints", {.every = options.checkpoint_every, .keep = 1});
  if (const auto stored = stored_in(checkpoints.path())) checkpoints.resume(*stored, model, trainer, batches);
  const auto start = Clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  byte_demo::RunLog log((folder / trace_file).string(), std::max<Index>(1, steps / most_trace_lines),
                        trainer.steps_taken() > 0 ? byte_demo::RunLog::Start::append : byte_demo::RunLog::Start::empty);
  progress.begin(planned.name(), steps, trainer.steps_tried());
  training::LoopCallbacks callbacks;
  callbacks.on_step = [&](const training::StepReport& report) {
    progress.update(report);
    log.step(report, checkpoints.seconds_before() + seconds());
    checkpoints.on_step(model, trainer, batches, seconds());
  };
  callbacks.on_event = [&](training::TrainingEvent event, const training::StepReport& report) {
    if (event == training::TrainingEvent::deletion_collapse)
      progress.note(planned.name() + ", step " + std::to_string(report.step) +
                    ": nearly everything has been deleted for many steps");
  };
  callbacks.stop = [] { return byte_demo::CatchSignals::caught() != 0; };
  bool finished = false;
  try {
    finished = training::train_to(steps, trainer, batches, callbacks);
  } catch (const training::Diverged& error) {
    throw Diverged(planned.name() + ", " + error.what());
  }
  checkpoints.save(model, trainer, batches, seconds());
  if (!finished) throw byte_demo::Interrupted{byte_demo::CatchSignals::caught()};
  return checkpoints.seconds_before() + seconds();
}

template <class Model>
void save(const Model& model, const std::filesystem::path& directory) {
  if constexpr (is_writer<Model>) {
    io::save_model(model, directory);
  } else {
    std::filesystem::create_directories(directory);
    io::save_weights(model, directory);
  }
}

template <class Model>
void train_and_measure(const Workplace& workplace, const PlannedRun& planned, CurveProgress& progress, RunRow& row) {
  const std::filesystem::path folder = workplace.runs / planned.folder();
  std::filesystem::create_directories(folder);
  const byte_demo::TrainOptions options = train_options(workplace.options, planned);
  byte_demo::Design design = design_of(options);
  for (const std::string& difference : design.differences) progress.note(planned.name() + ": " + difference);
  Model model = make<Model>(std::move(design), options, workplace.data);
  row.parameters = merganser::parameter_count(model);
  row.steps = workplace.steps;
  row.seconds = train(model, workplace, planned, folder, progress);
  row.peak_memory_mb = merganser::bench::peak_memory_bytes() / 1e6;
  save(model, folder / "model");
  if (planned.policy == "learned") {
    const LateTraining late = late_training(read_trace(folder / trace_file), workplace.steps, planned.target);
    row.late_rate = late.rate;
    row.late_deviation = late.deviation;
  }
  model.prepare_for_inference();
  measure(model, workplace.data, workplace.options, planned.seed, row);
}

void load_and_measure(const Workplace& workplace, const PlannedRun& planned, CurveProgress& progress, RunRow& row) {
  if (workplace.data.kind == TaskKind::classes)
    throw std::invalid_argument("--model: a saved classifier cannot be loaded");
  progress.begin(planned.name() + " from " + *planned.model, 0, 0);
  byte_demo::ModelSource source;
  source.directory = *planned.model;
  const Writer model = byte_demo::load_model(source);
  for (const data::Example& example : workplace.data.validation)
    for (const auto& ids : {example.source, example.target})
      byte_demo::check_length(model, static_cast<Index>(ids.size()), "example");
  measure(model, workplace.data, workplace.options, planned.seed, row);
  row.peak_memory_mb = merganser::bench::peak_memory_bytes() / 1e6;
}

}  // namespace

Index steps_in_budget(const CurveOptions& options, const CurveData& data) {
  const PlannedRun twin{ungated, 0.0, options.seeds.front(), std::nullopt, "", ""};
  const byte_demo::TrainOptions train = train_options(options, twin);
  const merganser::data::BatchSource batches = open_data(options, twin.seed).batches;
  const auto steps = [&](const auto& model) {
    return training::steps_in_time(model, train.recipe, batches, 60 * *options.budget.minutes, train.seed);
  };
  return data.kind == TaskKind::classes ? steps(make<Classifier>(design_of(train), train, data))
                                        : steps(make<Writer>(design_of(train), train, data));
}

RunRow run(const Workplace& workplace, const PlannedRun& planned, CurveProgress& progress) {
  merganser::bench::reset_peak_memory();
  RunRow row;
  row.settings = planned.settings;
  row.base = planned.base;
  row.data = workplace.plan.data;
  row.task = workplace.data.name;
  row.policy = planned.policy;
  row.target = planned.target;
  row.seed = planned.seed;
  if (planned.model)
    load_and_measure(workplace, planned, progress, row);
  else if (workplace.data.kind == TaskKind::classes)
    train_and_measure<Classifier>(workplace, planned, progress, row);
  else
    train_and_measure<Writer>(workplace, planned, progress, row);
  return row;
}

}  // namespace compression_curve
