// The checkpoints of `train`.
#include <checkpoints.hpp>

#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace byte_demo {

namespace {

constexpr const char* seconds_setting = "seconds";

}  // namespace

StoredRun stored_run(const std::string& directory) {
  const auto newest = io::newest_checkpoint(directory);
  if (!newest) throw std::invalid_argument("--resume " + directory + ": there is no checkpoint");
  return {newest->path.string(), newest->record.settings};
}

Checkpoints::Checkpoints(const TrainOptions& options, Settings settings)
    : every_(options.checkpoint_every),
      settings_(std::move(settings)),
      directory_(options.resume.empty() ? options.checkpoints : options.resume, {.keep = options.keep}) {
  const std::string name = directory_.path().string();
  std::optional<io::NewestCheckpoint> newest = io::newest_checkpoint(directory_.path());
  if (options.resume.empty()) {
    if (newest)
      throw std::invalid_argument("--checkpoints " + name + " holds a run; --resume " + name + " goes on with it");
    return;
  }
  if (!newest) throw std::invalid_argument("--resume " + name + ": there is no checkpoint");
  require_same_contents(newest->record.settings, settings_, name);
  resumed_ = std::move(newest);
}

std::optional<Index> Checkpoints::resumed_step() const {
  return resumed_ ? std::optional(resumed_->record.step) : std::nullopt;
}

double Checkpoints::seconds_before() const {
  if (!resumed_) return 0.0;
  const auto place = resumed_->record.settings.find(seconds_setting);
  return place == resumed_->record.settings.end() ? 0.0 : std::strtod(place->second.c_str(), nullptr);
}

void Checkpoints::begin(Model& model, Trainer& trainer, data::BatchSource& batches) {
  if (!resumed_) return save(model, trainer, batches, 0.0, {});
  auto checkpoint = io::load_checkpoint(model, resumed_->path);
  trainer.set_state(std::move(checkpoint.trainer));
  batches.cursor = checkpoint.data;
  saved_ = trainer.steps_taken();
}

void Checkpoints::on_step(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds,
                          const Metric& metric) {
  if (trainer.steps_taken() % every_ == 0) save(model, trainer, batches, seconds, metric);
}

void Checkpoints::finish(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds,
                         const Metric& metric) {
  if (saved_ != trainer.steps_taken()) save(model, trainer, batches, seconds, metric);
}

void Checkpoints::save(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds,
                       const Metric& metric) {
  io::Checkpoint<Model> checkpoint{trainer.state()};
  checkpoint.data = batches.cursor;
  if (metric) checkpoint.metric = metric(model);
  checkpoint.settings = settings_;
  checkpoint.settings[seconds_setting] = std::to_string(seconds);
  directory_.save(model, std::move(checkpoint));
  saved_ = trainer.steps_taken();
}

}  // namespace byte_demo
