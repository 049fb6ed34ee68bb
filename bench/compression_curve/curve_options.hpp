// What the command line of compression_curve can ask for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <options.hpp>

namespace compression_curve {

using merganser::Index;

/// A file of one language; no name: the only one.
struct LanguageFile {
  std::string language, path;
};

/// A trained model in place of a run.
struct SavedModel {
  std::string policy;
  double target = 0.0;
  std::string directory;
};

/// How long a run is.
struct Budget {
  std::optional<Index> steps;
  std::optional<double> minutes;  ///< a run; all runs get the steps that fit into it
};

struct CurveOptions {
  /// Task, window and noise of the data, the model, the training; what a run chooses itself is left as it is.
  byte_demo::TrainOptions train;
  std::vector<LanguageFile> texts, pairs, labels;  ///< at most one of them has files; none: a task of its own
  std::vector<LanguageFile> valid;
  std::string reference_language;  ///< of premiums; the first unless given
  std::vector<std::string> policies;
  std::vector<double> targets = {0.0, 0.25, 0.5, 0.7};
  std::vector<std::uint64_t> seeds = {1};
  Budget budget;
  std::vector<SavedModel> models;
  Index timing_repetitions = 3;
  std::string out;
};

}  // namespace compression_curve
