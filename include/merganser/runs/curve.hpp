// A whole curve: every policy, target and seed, row after row, in a folder that a later call goes on with.
#pragma once

#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/runs/curve_options.hpp>
#include <merganser/runs/curve_plan.hpp>
#include <merganser/runs/curve_result_files.hpp>
#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/curve_run.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/signals.hpp>
#include <merganser/runs/status_line.hpp>
#include <merganser/runs/training_progress.hpp>
#include <merganser/training/training_loop.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

inline constexpr int diverged_exit = 1;

/// The steps of a run. Those that fit into the minutes are measured once and then written down, so that all runs of a
/// curve have as many, also those of a later call.
inline Index steps_of(const CurveOptions& options, const TrainingData& data) {
  if (!options.budget.minutes) return options.budget.steps.value_or(default_steps);
  const std::filesystem::path path =
      std::filesystem::path(options.out) / ("steps-" + budget_hash(options, data.contents) + ".json");
  if (std::filesystem::exists(path)) {
    const io::JsonRecord stored(io::read_text_file(path), path.string(), "file");
    return stored.get<Index>("steps");
  }
  const Index steps = steps_in_budget(options, data);
  io::JsonObject planned;
  planned.set("steps", steps).set("minutes", *options.budget.minutes);
  io::write_file_atomically(path, std::string_view(planned.line() + "\n"));
  return steps;
}

/// Makes the rows that are missing. Returns 0, or the exit code when runs diverged or were interrupted.
inline int make_rows(const CurveWorkplace& place, const std::vector<PlannedRun>& open, ResultFiles& results) {
  int exit_code = 0;
  const CatchSignals signals;
  for (const PlannedRun& planned : open) {
    if (CatchSignals::caught() != 0) break;
    try {
      results.add(make_row(place, planned, results.find_trained(planned.settings)));
      std::filesystem::remove_all(place.runs / planned.folder() / "checkpoints");
    } catch (const training::Diverged& error) {
      place.progress.end();
      place.line.note("given up: " + planned.name() + ", " + error.what());
      exit_code = diverged_exit;
    } catch (const Interrupted&) {
      break;
    }
  }
  if (const int signal = CatchSignals::caught(); signal != 0) {
    place.line.note("interrupted: the same command goes on");
    exit_code = Interrupted{signal}.exit_code();
  }
  return exit_code;
}

}  // namespace detail

struct Curve {
  ResultFiles results;       ///< of its folder
  std::vector<RunRow> rows;  ///< of these options
  AnswerKind kind = AnswerKind::texts;
  int exit_code = 0;  ///< not 0: a run diverged, or a signal interrupted it; the same call goes on
};

/// Makes the rows that are missing in the folder `options.out`, and writes them there.
/// @param messages progress, and what is left out
/// @throws std::invalid_argument as `check_curve_options`
/// @throws IoError if a file cannot be read or written
inline Curve make_curve(const CurveOptions& options, std::ostream& messages) {
  const ProgramThreads pool(options.train.threads, messages);
  const TrainingData data = open_curve_data(options, options.seeds.front());
  ResultFiles results(options.out);
  const Index steps = detail::steps_of(options, data);
  const RunPlan plan = plan_runs(options, data.contents, steps);
  std::vector<PlannedRun> open;
  for (const PlannedRun& planned : plan.runs)
    if (results.find(planned.settings, plan.evaluation) == nullptr) open.push_back(planned);
  messages << data.description << "; " << plan.runs.size() << " runs of " << steps << " steps, "
           << plan.runs.size() - open.size() << " of them done\n";
  for (const std::string& text : plan.skipped) messages << "left out: " << text << "\n";

  StatusLine line(messages);
  TrainingProgress progress(line, open.size());
  const CurveWorkplace place{options, plan, data, steps, results.directory() / "runs", line, progress};
  const int exit_code = detail::make_rows(place, open, results);
  results.write();
  std::vector<RunRow> rows = rows_of(plan, results.rows());
  return {std::move(results), std::move(rows), data.kind, exit_code};
}

}  // namespace merganser::runs
