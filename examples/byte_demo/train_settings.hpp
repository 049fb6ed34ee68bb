// The options of `train` as texts: what a checkpoint remembers of its command line, and how a run is resumed from it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <options.hpp>

namespace byte_demo {

/// Option to value; "" for flags. Names that do not begin with "--" are no options.
using Settings = std::map<std::string, std::string>;

/// Every option that is in force, the files by their absolute paths; without those of the machine (--threads) and
/// without --checkpoints and --resume themselves.
Settings settings_of(const TrainOptions& options);

/// The newest complete checkpoint of a run.
struct StoredRun {
  std::string checkpoint;  ///< its directory
  Settings settings;       ///< what it remembers
};

/// @throws merganser::IoError or std::invalid_argument if there is none
StoredRun stored_run(const std::string& directory);

/// The command line that goes on with a stored run. It writes only where the new one says: an output of the stored one
/// that is not given again is named on the standard error.
/// @param asked the options of the new command line
/// @param given the names of those that are on it
/// @throws std::invalid_argument if one that decides the result differs from the stored one, with its name
std::vector<std::string> resumed_arguments(const Settings& stored, const Settings& asked,
                                           const std::set<std::string>& given, const std::string& directory);

/// @throws std::invalid_argument if a name that begins with "content of" differs, or one side lacks it
void require_same_contents(const Settings& stored, const Settings& now, const std::string& directory);

}  // namespace byte_demo
