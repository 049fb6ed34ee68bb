// Which runs a curve has, and the hashes that tell them apart.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "curve_options.hpp"
#include "settings_hash.hpp"

namespace compression_curve {

struct PlannedRun {
  std::string policy;
  double target = 0.0;
  std::uint64_t seed = 1;
  std::optional<std::string> model;  ///< a directory to load from in place of training
  std::string base;                  ///< hash of all settings but policy, target and seed that matter to the policy
  std::string settings;              ///< hash of those three too

  /// "learned 0.5 seed 1"
  std::string name() const;
  /// The same as the name of a folder, with the hash.
  std::string folder() const;
};

struct RunPlan {
  std::map<std::string, std::string>
      bases;                     ///< of every policy, of the twin and of the control, whether it has runs here or not
  std::string data;              ///< hash of the data alone
  std::vector<PlannedRun> runs;  ///< the twin first, then target by target, seed by seed
  std::vector<std::string> skipped;  ///< what cannot be run, and why
};

/// @param contents of the data
/// @param steps of every run
/// @throws std::invalid_argument if a policy is unknown, a target is out of range or something is asked for twice
RunPlan plan_runs(const CurveOptions& options, const Settings& contents, Index steps);

/// The hash of the settings that decide how many steps fit into the minutes; see `Budget`.
std::string budget_hash(const CurveOptions& options, const Settings& contents);

}  // namespace compression_curve
