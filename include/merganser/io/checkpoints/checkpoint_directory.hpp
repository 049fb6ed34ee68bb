// The checkpoints of one run: saving them one after another, keeping the last and the best, finding the newest.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/checkpoints/checkpoint.hpp>
#include <merganser/io/checkpoints/checkpoint_manifest.hpp>
#include <merganser/io/checkpoints/checkpoint_record.hpp>
#include <merganser/io/files/atomic_directory.hpp>
#include <merganser/io/files/directory_lock.hpp>
#include <merganser/io/files/warning.hpp>
#include <merganser/io/models/weight_files.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// step-00001000 for step 1,000.
inline std::string checkpoint_name(Index step) {
  return "step-" + detail::padded_number(static_cast<std::uint64_t>(step), 8);
}

/// The step of a directory name, if it is the name of a checkpoint.
inline std::optional<Index> checkpoint_step(const std::string& name) {
  constexpr std::size_t prefix = 5, longest = prefix + 18;
  if (!name.starts_with("step-") || name.size() > longest) return std::nullopt;
  Index step = 0;
  for (const char c : name.substr(prefix)) {
    if (c < '0' || c > '9') return std::nullopt;
    step = 10 * step + (c - '0');
  }
  if (checkpoint_name(step) != name) return std::nullopt;
  return step;
}

/// A complete checkpoint, and the newer ones that are not.
struct NewestCheckpoint {
  std::filesystem::path path;
  CheckpointRecord record;
  std::vector<std::string> skipped;  ///< what is wrong with each, newest first: texts of IoError
};

namespace detail {

/// The steps of all entries that are called like a checkpoint, rising.
inline std::vector<Index> present_steps(const std::filesystem::path& directory) {
  std::error_code failure;
  std::vector<Index> steps;
  for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
       entry.increment(failure))
    if (const auto step = checkpoint_step(entry->path().filename().string())) steps.push_back(*step);
  if (failure) throw IoError(directory.string(), "directory", failure.message(), "a directory of checkpoints");
  std::sort(steps.begin(), steps.end());
  return steps;
}

}  // namespace detail

/// The newest complete checkpoint of a directory: the one with the highest step whose manifest, sizes and checksums are
/// right. Needs no right to write. Nothing if there is no checkpoint at all.
/// @throws IoError if the directory can't be read, or there are checkpoints and all of them are damaged
inline std::optional<NewestCheckpoint> newest_checkpoint(const std::filesystem::path& directory) {
  NewestCheckpoint newest;
  std::vector<Index> steps = detail::present_steps(directory);
  for (; !steps.empty(); steps.pop_back()) {
    newest.path = directory / checkpoint_name(steps.back());
    try {
      newest.record = read_checkpoint_record(newest.path);
      if (newest.record.step != steps.back())
        throw IoError((newest.path / CheckpointRecord::file_name).string(), "step", newest.record.step, steps.back());
      return newest;
    } catch (const IoError& error) {
      newest.skipped.emplace_back(error.what());
    }
  }
  if (!newest.skipped.empty())
    throw IoError(directory.string(), "checkpoints", "no complete one (" + newest.skipped.front() + ")",
                  "at least one that is complete");
  return std::nullopt;
}

/// Which metric is better.
enum class BetterMetric { lower, higher };

/// Where a run saves its checkpoints. One writer at a time, which the directory's lock sees to.
///
/// A checkpoint is written under another name, flushed and renamed: whatever happens meanwhile, a kill or a full disk,
/// the ones before it stay as they are. After that, older ones than the last `keep` go, but for the best. Room is
/// needed for `keep` + 2 of them. Damaged ones do not count; they go when they would have gone or when their step is
/// saved anew.
class CheckpointDirectory {
 public:
  struct Config {
    Index keep = 3;  ///< the last so many, at least 1; the best one is kept besides
    BetterMetric better = BetterMetric::lower;
    WarningCallback on_warning = {};  ///< told of damaged checkpoints when the directory is opened
  };

  /// Makes the directory unless it is there, and removes what a killed writer has left in it.
  /// @throws IoError if the directory can't be made or written to, or another writer has it open
  /// @throws std::invalid_argument if keep is below 1
  CheckpointDirectory(std::filesystem::path path, const Config& config)
      : path_(std::move(path)), config_(checked(config)), lock_(make(path_)) {
    remove_unfinished(path_);
    find_checkpoints();
  }

  const std::filesystem::path& path() const { return path_; }
  const Config& config() const { return config_; }

  /// The steps with a complete checkpoint, rising.
  std::vector<Index> steps() const {
    std::vector<Index> steps;
    for (const auto& [step, metric] : complete_) steps.push_back(step);
    return steps;
  }

  /// The checkpoint with the best metric, if any has one; the earlier of two equals.
  std::optional<RatedStep> best() const {
    std::optional<RatedStep> best;
    for (const auto& [step, metric] : complete_)
      if (metric && (!best || is_better(*metric, best->metric))) best = RatedStep{step, *metric};
    return best;
  }

  /// Saves the run as it stands and returns the directory of the checkpoint. Its `best` is filled in; a metric that is
  /// not finite counts as none.
  /// @throws IoError if something can't be written, or an older checkpoint can't be removed; those before stay
  /// @throws std::invalid_argument if this step has a complete checkpoint, or as `write_checkpoint`
  template <class Model>
  std::filesystem::path save(const Model& model, Checkpoint<Model> checkpoint) {
    const Index step = checkpoint.trainer.step;
    check_argument(!complete_.contains(step), "CheckpointDirectory::save", "step", step,
                   "a step that has no checkpoint yet");
    if (checkpoint.metric && !std::isfinite(*checkpoint.metric)) checkpoint.metric.reset();
    checkpoint.best = best();
    if (checkpoint.metric && (!checkpoint.best || is_better(*checkpoint.metric, checkpoint.best->metric)))
      checkpoint.best = RatedStep{step, *checkpoint.metric};
    std::filesystem::path target = path_ / checkpoint_name(step);
    if (damaged_.contains(step)) remove_directory_atomically(target);
    damaged_.erase(step);
    AtomicDirectory directory(target);
    write_checkpoint(model, checkpoint, directory.path());
    directory.commit();
    complete_.emplace(step, checkpoint.metric);
    prune();
    return target;
  }

 private:
  static Config checked(const Config& config) {
    check_argument(config.keep >= 1, "CheckpointDirectory", "keep", config.keep, "at least 1");
    return config;
  }

  static const std::filesystem::path& make(const std::filesystem::path& path) {
    std::error_code failure;
    std::filesystem::create_directories(path, failure);
    if (failure) throw IoError(path.string(), "directory", failure.message(), "a directory that can be made");
    return path;
  }

  bool is_better(double metric, double than) const {
    return config_.better == BetterMetric::lower ? metric < than : metric > than;
  }

  // The newest must be whole, because the run goes on from it: its contents are read, and so are those of all that are
  // newer but damaged. Of the others sizes will do.
  void find_checkpoints() {
    std::vector<Index> present = detail::present_steps(path_);
    for (; !present.empty(); present.pop_back()) {
      const Index step = present.back();
      const auto check = complete_.empty() ? ManifestCheck::contents : ManifestCheck::sizes;
      try {
        const CheckpointRecord record = read_checkpoint_record(path_ / checkpoint_name(step), check);
        if (record.step != step) throw IoError(path_.string(), "step", record.step, step);
        complete_.emplace(step, record.metric);
      } catch (const IoError& error) {
        detail::warn(config_.on_warning, path_.string(), checkpoint_name(step),
                     std::string("is passed over: ") + error.what());
        damaged_.insert(step);
      }
    }
  }

  void prune() {
    std::set<Index> kept;
    for (auto place = complete_.rbegin(); place != complete_.rend() && std::ssize(kept) < config_.keep; ++place)
      kept.insert(place->first);
    const Index oldest_of_the_last = *kept.begin();
    if (const auto rated = best()) kept.insert(rated->step);
    for (const Index step : steps()) {
      if (kept.contains(step)) continue;
      remove_directory_atomically(path_ / checkpoint_name(step));
      complete_.erase(step);
    }
    while (!damaged_.empty() && *damaged_.begin() < oldest_of_the_last) {
      remove_directory_atomically(path_ / checkpoint_name(*damaged_.begin()));
      damaged_.erase(damaged_.begin());
    }
  }

  std::filesystem::path path_;
  Config config_;
  DirectoryLock lock_;
  std::map<Index, std::optional<double>> complete_;  // step to metric
  std::set<Index> damaged_;
};

}  // namespace merganser::io
