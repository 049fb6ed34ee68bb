// The checkpoints of `train`.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <merganser/io/checkpoint_directory.hpp>
#include <merganser/training/trainer.hpp>

#include <corpus.hpp>
#include <model.hpp>
#include <options.hpp>
#include <train_settings.hpp>

namespace byte_demo {

namespace io = merganser::io;

/// Saves a run every so many steps, and gives a new one where the old one stopped.
class Checkpoints {
 public:
  using Trainer = training::Trainer<Model>;
  /// What the weights are worth, lower is better; nothing: not to be compared.
  using Metric = std::function<std::optional<double>(const Model&)>;

  /// @param settings what the checkpoints remember besides
  /// @throws merganser::IoError if the directory cannot be written to, or there is nothing to resume
  /// @throws std::invalid_argument if a new run finds checkpoints, or a resumed one other files
  Checkpoints(const TrainOptions& options, Settings settings);

  /// One more thing for the checkpoints to remember.
  void remember(const std::string& name, const std::string& value) { settings_[name] = value; }

  /// Where the run goes on, for the log; nothing for a new one.
  std::optional<Index> resumed_step() const;
  /// The newer checkpoints that were passed over, and what is wrong with each.
  std::vector<std::string> skipped() const { return resumed_ ? resumed_->skipped : std::vector<std::string>(); }
  /// Seconds that went into the run before.
  double seconds_before() const;

  /// Brings model, trainer and batches where the checkpoint left them, or saves the start of a new run.
  void begin(Model& model, Trainer& trainer, data::BatchSource& batches);

  /// Saves every `checkpoint_every` steps.
  void on_step(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds,
               const Metric& metric);

  /// Saves what has not been saved.
  void finish(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds,
              const Metric& metric);

 private:
  void save(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds,
            const Metric& metric);

  Index every_;
  Settings settings_;
  io::CheckpointDirectory directory_;
  std::optional<io::NewestCheckpoint> resumed_;
  std::optional<Index> saved_;  // last step
};

}  // namespace byte_demo
