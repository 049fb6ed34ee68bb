// What a curve can be asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/run_options.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// A trained model in place of a run.
struct SavedModel {
  std::string policy;
  double target = 0.0;
  std::string directory;
};

/// How long a run is.
struct Budget {
  enum class Sizes { as_asked, quick };  ///< quick: a small model and few steps, where nothing else is given

  std::optional<Index> steps;
  std::optional<double> minutes;  ///< a run; all runs get the steps that fit into it
  Sizes sizes = Sizes::as_asked;
};

struct CurveOptions {
  TrainOptions train;     ///< data, model, training; what a run chooses itself is left as it is
  std::string reference;  ///< the language that premiums are over; the first unless given
  std::vector<std::string> policies = policy_names();
  std::vector<std::string> named;    ///< policies by name besides: see `CurvePolicy`
  io::NamedPolicies named_policies;  ///< makes them
  std::vector<double> targets = {0.0, 0.25, 0.5, 0.7};
  std::vector<std::uint64_t> seeds = {1};
  Budget budget;
  std::vector<SavedModel> models;
  Index timing_repetitions = 3;
  std::string out;
};

/// Compares policies by name alone, where only such are asked for. Gives what is not given the sizes at which a curve
/// takes minutes, if the budget is a quick one.
inline void choose_sizes(CurveOptions& options) {
  if (!options.named.empty() && !options.train.given.contains("--policies")) options.policies.clear();
  if (options.budget.sizes != Budget::Sizes::quick) return;
  const auto set = [&](const char* name, auto& value, auto quick) {
    if (!options.train.given.contains(name)) value = quick;
  };
  ModelOptions& model = options.train.model;
  if (model.start_from.empty()) {
    set("--width", model.width, Index{48});
    set("--heads", model.heads, Index{2});
    set("--feed-forward", model.feed_forward, Index{96});
    set("--encoder-blocks", model.encoder_blocks, Index{3});
    set("--gate-block", model.gate_blocks, std::vector<Index>{1});
  }
  const DataOptions& data = options.train.data;
  if (data.pairs.empty() && data.labels.empty()) set("--window", options.train.data.window, Index{32});
  set("--batch", options.train.recipe.batch_size, Index{16});
  set("--windows", options.train.windows, Index{128});
  set("--targets", options.targets, std::vector<double>{0, 0.5});
  options.budget.steps = 1200;
}

}  // namespace merganser::runs
