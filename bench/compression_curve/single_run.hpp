// One run of a curve: trained or loaded, and measured.
#pragma once

#include <filesystem>
#include <stdexcept>

#include "curve_data.hpp"
#include "curve_options.hpp"
#include "curve_progress.hpp"
#include "run_plan.hpp"
#include "run_row.hpp"

namespace compression_curve {

/// Loss or gradient are not finite any more.
struct Diverged : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What all runs have in common.
struct Workplace {
  const CurveOptions& options;
  const RunPlan& plan;
  const CurveData& data;  ///< its validation is that of all runs
  Index steps;
  std::filesystem::path runs;  ///< a folder for the folders of runs
};

inline constexpr const char* trace_file = "trace.jsonl";

/// Steps of a run that fill the minutes of the budget.
Index steps_in_budget(const CurveOptions& options, const CurveData& data);

/// Goes on from the checkpoint of the run, if it has one; saves the model and the trace beside it.
/// @throws byte_demo::Interrupted, with a checkpoint saved, if byte_demo::CatchSignals caught one
/// @throws Diverged
RunRow run(const Workplace& workplace, const PlannedRun& planned, CurveProgress& progress);

}  // namespace compression_curve
