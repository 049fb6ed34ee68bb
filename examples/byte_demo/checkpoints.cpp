// The checkpoints of `train`.
#include <checkpoints.hpp>

#include <stdexcept>
#include <utility>

namespace byte_demo {

StoredRun stored_run(const std::string& directory) {
  const auto newest = io::newest_checkpoint(directory);
  if (!newest) throw std::invalid_argument("--resume " + directory + ": there is no checkpoint");
  return {newest->path.string(), newest->record.settings};
}

Checkpoints open_checkpoints(const TrainOptions& options, Settings settings) {
  const bool fresh = options.resume.empty();
  Checkpoints checkpoints{
      {fresh ? options.checkpoints : options.resume, {.every = options.checkpoint_every, .keep = options.keep}},
      std::nullopt};
  const std::string name = checkpoints.saved.path().string();
  std::optional<io::NewestCheckpoint> newest = io::newest_checkpoint(checkpoints.saved.path());
  if (fresh && newest)
    throw std::invalid_argument("--checkpoints " + name + " holds a run; --resume " + name + " goes on with it");
  if (!fresh && !newest) throw std::invalid_argument("--resume " + name + ": there is no checkpoint");
  if (newest) require_same_contents(newest->record.settings, settings, name);
  checkpoints.resumed = std::move(newest);
  checkpoints.saved.settings = std::move(settings);
  return checkpoints;
}

}  // namespace byte_demo
