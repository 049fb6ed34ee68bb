// compression_curve: how much can be dropped, and what does it cost? Trains models over policies, target rates and
// seeds, and writes a row a run. This file is the command line over merganser/runs/.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/runs/curve_option_table.hpp>
#include <merganser/runs/curve_options.hpp>
#include <merganser/runs/curve_plan.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/curve_result_files.hpp>
#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/curve_run.hpp>
#include <merganser/runs/policy_catalogue.hpp>
#include <merganser/runs/program_threads.hpp>
#include <merganser/runs/signals.hpp>
#include <merganser/runs/status_line.hpp>
#include <merganser/runs/training_progress.hpp>
#include <merganser/training/training_loop.hpp>

#include <command_line/option_parser.hpp>

#include "../measure/program.hpp"
#include "curve_report.hpp"

namespace compression_curve {

namespace {

using merganser::Index;

/// The steps of a run. Those that fit into the minutes are measured once and then written down, so that all runs of a
/// curve have as many, also those of a later call.
Index steps_of(const runs::CurveOptions& options, const runs::TrainingData& data) {
  if (!options.budget.minutes) return options.budget.steps.value_or(runs::default_steps);
  const std::filesystem::path path =
      std::filesystem::path(options.out) / ("steps-" + runs::budget_hash(options, data.contents) + ".json");
  if (std::filesystem::exists(path)) {
    const merganser::io::JsonRecord stored(merganser::io::read_text_file(path), path.string(), "file");
    return stored.get<Index>("steps");
  }
  const Index steps = runs::steps_in_budget(options, data);
  merganser::io::JsonObject planned;
  planned.set("steps", steps).set("minutes", *options.budget.minutes);
  merganser::io::write_file_atomically(path, std::string_view(planned.line() + "\n"));
  return steps;
}

/// Makes the rows that are missing. Returns 0, or the exit code when runs diverged or were interrupted.
int make_rows(const runs::CurveWorkplace& place, const std::vector<runs::PlannedRun>& open,
              runs::ResultFiles& results) {
  int exit_code = 0;
  const runs::CatchSignals signals;
  for (const runs::PlannedRun& planned : open) {
    if (runs::CatchSignals::caught() != 0) break;
    try {
      results.add(runs::make_row(place, planned, results.find_trained(planned.settings)));
      std::filesystem::remove_all(place.runs / planned.folder() / "checkpoints");
    } catch (const merganser::training::Diverged& error) {
      place.progress.end();
      place.line.note("given up: " + planned.name() + ", " + error.what());
      exit_code = command_line::failure_exit;
    } catch (const runs::Interrupted&) {
      break;
    }
  }
  if (const int signal = runs::CatchSignals::caught(); signal != 0) {
    place.line.note("interrupted: the same command goes on");
    exit_code = runs::Interrupted{signal}.exit_code();
  }
  return exit_code;
}

/// Charts beside the rows, and tables.
void report(const runs::ResultFiles& results, const std::vector<runs::RunRow>& rows, runs::AnswerKind kind) {
  write_charts(results.directory(), rows, kind, results.directory() / "runs");
  print_table(std::cout, rows, kind);
  print_languages(std::cout, rows);
}

int make_curve(const runs::CurveOptions& options) {
  const runs::ProgramThreads pool(options.train.threads, std::cerr);
  const runs::TrainingData data = runs::open_curve_data(options, options.seeds.front());
  runs::ResultFiles results(options.out);
  const Index steps = steps_of(options, data);
  const runs::RunPlan plan = runs::plan_runs(options, data.contents, steps);
  std::vector<runs::PlannedRun> open;
  for (const runs::PlannedRun& planned : plan.runs)
    if (results.find(planned.settings, plan.evaluation) == nullptr) open.push_back(planned);
  std::cerr << data.description << "; " << plan.runs.size() << " runs of " << steps << " steps, "
            << plan.runs.size() - open.size() << " of them done\n";
  for (const std::string& text : plan.skipped) std::cerr << "left out: " << text << "\n";

  runs::StatusLine line(std::cerr);
  runs::TrainingProgress progress(line, open.size());
  const runs::CurveWorkplace place{options, plan, data, steps, results.directory() / "runs", line, progress};
  const int exit_code = make_rows(place, open, results);
  results.write();
  report(results, runs::rows_of(plan, results.rows()), data.kind);
  return exit_code;
}

/// What kind of answers rows are of.
runs::AnswerKind kind_of(const std::vector<runs::RunRow>& rows) {
  if (rows.empty()) throw std::invalid_argument("--draw: no rows in --out");
  if (std::isfinite(rows.front().hard.class_accuracy)) return runs::AnswerKind::classes;
  const bool texts = rows.front().task == "denoise" || rows.front().task == "span_corruption";
  return texts ? runs::AnswerKind::texts : runs::AnswerKind::answers;
}

int draw(const std::string& directory) {
  const runs::ResultFiles results(directory);
  report(results, results.rows(), kind_of(results.rows()));
  return 0;
}

std::string policy_help() {
  std::string help;
  for (const runs::Policy& policy : runs::policies()) help += "  " + policy.name + ": " + policy.description + "\n";
  return help;
}

int parse_and_run(int argc, char** argv) {
  CLI::App app(
      "compression_curve: how much can be dropped, and what does it cost? Trains a model for every policy, target rate "
      "and seed, and writes rows.jsonl, rows.csv and charts. Called again it goes on where it stopped.",
      "compression_curve");
  app.footer("Policies:\n" + policy_help() + "Policies of --policy:\n" + runs::catalogue_text() +
             "Examples:\n"
             "  compression_curve --task vowel_removal --targets 0,0.18 --budget quick --out curve\n"
             "  compression_curve --text book.txt --budget 20 --seeds 1,2,3 --out curve\n"
             "  compression_curve --text en=en.txt de=de.txt --valid en=v.en.txt de=v.de.txt --out curve");
  command_line::wrap_help(app);
  runs::CurveOptions options;
  options.named_policies = runs::named_policies;
  command_line::add_options(app, runs::curve_option_table(options), &options.train.given);
  command_line::add_options(app, runs::shared_option_table(options.train), &options.train.given);
  app.get_option("--out")->required();
  bool draws = false;
  app.add_flag("--draw", draws, "Train nothing: draw the charts and print the table of all rows in --out");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  }
  if (draws) return draw(options.out);
  runs::choose_sizes(options);
  runs::check_curve_options(options);
  return make_curve(options);
}

}  // namespace

}  // namespace compression_curve

int bench_program(int argc, char** argv) {
  return command_line::run_program("compression_curve", [&] { return compression_curve::parse_and_run(argc, argv); });
}
