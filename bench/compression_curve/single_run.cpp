// One run of a curve.
#include "single_run.hpp"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/io/checkpoint_directory.hpp>
#include <merganser/io/model_directory.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/training/recipe.hpp>
#include <merganser/training/steps_in_time.hpp>
#include <merganser/training/trainer.hpp>

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

/// Saves a run now and then, and knows where it stood.
template <class Model>
class RunCheckpoints {
 public:
  using Trainer = training::Trainer<Model>;

  explicit RunCheckpoints(const std::filesystem::path& path) : directory_(path, {.keep = 1}) {}

  /// Brings everything where the last checkpoint left it; the seconds that went into the run before.
  double resume(Model& model, Trainer& trainer, merganser::data::BatchSource& batches) {
    std::optional<io::NewestCheckpoint> newest;
    try {
      newest = io::newest_checkpoint(directory_.path());
    } catch (const merganser::IoError&) {  // all damaged: the run begins anew
    }
    if (!newest) return 0;
    auto checkpoint = io::load_checkpoint(model, newest->path);
    trainer.set_state(std::move(checkpoint.trainer));
    batches.cursor = checkpoint.data;
    saved_ = trainer.steps_taken();
    return std::strtod(checkpoint.settings["seconds"].c_str(), nullptr);
  }

  void save(const Model& model, const Trainer& trainer, const merganser::data::BatchSource& batches, double seconds) {
    if (saved_ == trainer.steps_taken()) return;
    io::Checkpoint<Model> checkpoint{trainer.state()};
    checkpoint.data = batches.cursor;
    checkpoint.settings["seconds"] = std::to_string(seconds);
    directory_.save(model, std::move(checkpoint));
    saved_ = trainer.steps_taken();
  }

 private:
  io::CheckpointDirectory directory_;
  std::optional<Index> saved_;  // last step
};

/// Returns the seconds it took.
template <class Model>
double train(Model& model, const Workplace& workplace, const PlannedRun& planned, const std::filesystem::path& folder,
             CurveProgress& progress) {
  constexpr Index most_unfinite_steps = 20, most_trace_lines = 4000;  // steps in a row; lines
  const byte_demo::TrainOptions options = train_options(workplace.options, planned);
  const Index steps = workplace.steps;
  merganser::data::BatchSource batches = open_data(workplace.options, planned.seed).batches;
  auto config = training::trainer_config(options.recipe, model, steps, options.seed);
  config.deletion.without_source = planned.policy == all_deleted;
  training::Trainer<Model> trainer(model, config);
  RunCheckpoints<Model> checkpoints(folder / "checkpoints");
  const double before = checkpoints.resume(model, trainer, batches);
  const auto start = Clock::now();
  const auto seconds = [&] { return before + std::chrono::duration<double>(Clock::now() - start).count(); };
  byte_demo::RunLog log((folder / trace_file).string(), std::max<Index>(1, steps / most_trace_lines),
                        trainer.steps_taken() > 0 ? byte_demo::RunLog::Start::append : byte_demo::RunLog::Start::empty);
  progress.begin(planned.name(), steps, trainer.steps_tried());
  Index unfinite = 0;
  training::TrainerCallbacks callbacks;
  callbacks.on_step = [&](const training::StepReport& report) {
    unfinite = 0;
    progress.update(report);
    log.step(report, seconds());
    if (trainer.steps_taken() % options.checkpoint_every == 0) checkpoints.save(model, trainer, batches, seconds());
    return byte_demo::CatchSignals::caught() != 0 ? merganser::Continue::no : merganser::Continue::yes;
  };
  callbacks.on_event = [&](training::TrainingEvent event, const training::StepReport& report) {
    const std::string step = planned.name() + ", step " + std::to_string(report.step) + ": ";
    if (event == training::TrainingEvent::deletion_collapse)
      progress.note(step + "nearly everything has been deleted for many steps");
    else if (++unfinite == most_unfinite_steps)
      throw Diverged(step + "loss or gradient is not finite");
    return merganser::Continue::yes;
  };
  trainer.run(steps - trainer.steps_tried(), batches, callbacks);
  checkpoints.save(model, trainer, batches, seconds());
  if (trainer.steps_tried() < steps) throw byte_demo::Interrupted{byte_demo::CatchSignals::caught()};
  return seconds();
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
