// A training run that is saved while it goes, and gone on with.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/batch_source.hpp>
#include <merganser/io/checkpoints/checkpoint.hpp>
#include <merganser/io/checkpoints/checkpoint_directory.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// Saves model, trainer and batches of a run every so many steps, and brings them back to where they stood. The run
/// that goes on has the bits of one that was never stopped.
template <class Model>
class RunCheckpoints {
 public:
  using Trainer = training::Trainer<Model>;

  struct Config {
    Index every = 500;  ///< steps between checkpoints
    Index keep = 3;     ///< of them, the best one besides
  };

  /// @throws IoError if the directory can't be made or locked
  /// @throws std::invalid_argument if a number is below 1
  RunCheckpoints(const std::filesystem::path& directory, const Config& config)
      : every_(config.every), directory_(directory, {.keep = config.keep}) {
    check_argument(config.every >= 1, "RunCheckpoints", "every", config.every, "at least 1");
  }

  /// What checkpoints remember besides; the key `seconds` is taken.
  std::map<std::string, std::string> settings;
  /// What the weights are worth after a step, lower is better; nothing: not to be compared. May be empty.
  std::function<std::optional<double>(const Model&, const Trainer&)> metric;

  const std::filesystem::path& path() const { return directory_.path(); }

  /// Brings everything where the checkpoint left it.
  /// @throws IoError as `load_checkpoint`
  void resume(const NewestCheckpoint& stored, Model& model, Trainer& trainer, data::BatchSource& batches) {
    auto checkpoint = load_checkpoint(model, stored.path);
    trainer.set_state(std::move(checkpoint.trainer));
    batches.cursor = checkpoint.data;
    seconds_before_ = seconds_of(stored);
    saved_ = trainer.steps_taken();
  }

  /// Seconds that went into the run before it was resumed.
  double seconds_before() const { return seconds_before_; }

  /// Saves, if the step is one of those at which that is to be.
  /// @param seconds of the run since it was begun or resumed
  void on_step(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds) {
    if (trainer.steps_taken() % every_ == 0) save(model, trainer, batches, seconds);
  }

  /// Saves, unless this step is saved.
  /// @throws IoError as `CheckpointDirectory::save`
  void save(const Model& model, const Trainer& trainer, const data::BatchSource& batches, double seconds) {
    if (saved_ == trainer.steps_taken()) return;
    Checkpoint<Model> checkpoint{trainer.state()};
    checkpoint.data = batches.cursor;
    if (metric && trainer.steps_taken() > 0) checkpoint.metric = metric(model, trainer);
    checkpoint.settings = settings;
    checkpoint.settings[seconds_key] = std::to_string(seconds_before_ + seconds);
    directory_.save(model, std::move(checkpoint));
    saved_ = trainer.steps_taken();
  }

 private:
  static constexpr const char* seconds_key = "seconds";

  static double seconds_of(const NewestCheckpoint& stored) {
    const auto place = stored.record.settings.find(seconds_key);
    return place == stored.record.settings.end() ? 0.0 : std::strtod(place->second.c_str(), nullptr);
  }

  Index every_;
  CheckpointDirectory directory_;
  double seconds_before_ = 0;
  std::optional<Index> saved_;  // last step
};

}  // namespace merganser::io
