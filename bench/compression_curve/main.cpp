// compression_curve: how much can be dropped, and what does it cost? Trains models over policies, target rates and
// seeds, and writes a row a run. This file is the command line.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <merganser/io/atomic_file.hpp>

#include <command_line.hpp>
#include <signals.hpp>
#include <text_view.hpp>
#include <threads.hpp>

#include "../measure/program.hpp"
#include "curve_data.hpp"
#include "curve_options.hpp"
#include "curve_progress.hpp"
#include "curve_report.hpp"
#include "policies.hpp"
#include "result_files.hpp"
#include "run_plan.hpp"
#include "single_run.hpp"

namespace compression_curve {

namespace {

constexpr int failure_exit = 1, usage_exit = 2;
constexpr Index default_steps = 2500;

// ---- Words of the command line ----

/// "en=FILE" or "FILE"; a name holds letters, digits, - and _.
LanguageFile language_file(const std::string& text) {
  const std::size_t place = text.find('=');
  const std::string name = text.substr(0, place);
  const bool named =
      place != std::string::npos && !name.empty() &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == std::string::npos;
  return named ? LanguageFile{name, text.substr(place + 1)} : LanguageFile{"", text};
}

double number_in(const std::string& option, const std::string& text) {
  double value = 0;
  if (!CLI::detail::lexical_cast(text, value) || !(value == value))
    throw std::invalid_argument(option + ": got " + text + ", expected a number");
  return value;
}

/// "learned@0.5=DIR"
SavedModel saved_model(const std::string& text) {
  const std::size_t at = text.find('@'), equals = text.find('=', at == std::string::npos ? 0 : at);
  if (at == std::string::npos || equals == std::string::npos)
    throw std::invalid_argument("--model: got " + text + ", expected POLICY@TARGET=DIR");
  return {text.substr(0, at), number_in("--model", text.substr(at + 1, equals - at - 1)), text.substr(equals + 1)};
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

std::string policy_help() {
  std::string help;
  for (const Policy& policy : policies()) help += "  " + policy.name + ": " + policy.description + "\n";
  return help;
}

/// What is given as text and understood after parsing.
struct Arguments {
  CurveOptions options;
  std::vector<std::string> texts, pairs, labels, valid, models;
  std::string policies, targets, seeds, budget;
  std::optional<int> threads;
  bool draw = false;
};

void add_data(CLI::App& app, Arguments& arguments) {
  byte_demo::DataOptions& data = arguments.options.train.data;
  app.add_option("--task", data.task,
                 "On --text: denoise (the default) or span_corruption. On letters of its own: copy, vowel_removal, "
                 "contextual_vowel_removal or sequence_merge")
      ->check(CLI::IsMember(
          {"denoise", "span_corruption", "copy", "vowel_removal", "contextual_vowel_removal", "sequence_merge"}))
      ->option_text("NAME");
  const auto add_files = [&app](const std::string& name, std::vector<std::string>& files, const std::string& help) {
    app.add_option(name, files, help)->option_text("[LANG=]FILE...");
  };
  add_files("--text", arguments.texts, "A text of any bytes; several languages as en=FILE de=FILE, for one model");
  add_files("--tsv", arguments.pairs, "Lines of a source and a target with a tab between them");
  add_files("--labels", arguments.labels, "Lines of a class and a text with a tab between them: classification");
  add_files(
      "--valid", arguments.valid,
      "Evaluate on these instead of a tenth of each file: the end of a text; of lines those with the smallest hashes");
  app.add_option("--reference", arguments.options.reference_language,
                 "The language that token premiums are over; the first unless given")
      ->option_text("LANG");
  byte_demo::add_count(app, "--window", data.window, 1, 1000000,
                       "Bytes of a sequence: 64 of a text, 32 letters of a task");
  byte_demo::add_shortest_window(app, data);
  byte_demo::add_number(app, "--noise", data.noise, 0, 1, "Share of the bytes that denoising masks, 0.1");
}

void add_curve(CLI::App& app, Arguments& arguments) {
  CurveOptions& options = arguments.options;
  app.add_option("--policies", arguments.policies, "Some of " + policy_names() + "; all unless given")
      ->option_text("NAME,...");
  app.add_option(
         "--targets", arguments.targets,
         "Deletion rates, 0,0.25,0.5,0.7; 0 is the twin without deletion, 1 the control trained without its source")
      ->option_text("X,...");
  app.add_option("--seeds", arguments.seeds, "1 unless given; error bars need several")->option_text("N,...");
  auto* budget =
      app.add_option("--budget", arguments.budget,
                     "quick: a small model and 1,200 steps, to see what comes out. Or how long a run is: 20 or "
                     "20m, 2h; every run gets the steps that fit into that")
          ->option_text("quick|MINUTES|HOURSh");
  byte_demo::add_count(app, "--steps", options.budget.steps, 1, 1000000000, "Steps of every run, 2500")
      ->excludes(budget);
  app.add_option("--model", arguments.models,
                 "Measure a saved model in place of training; the twin is ungated@0, the control all_deleted@1")
      ->option_text("POLICY@TARGET=DIR...");
  byte_demo::add_count(app, "--windows", options.train.windows, 1, 1000000000, "Most sequences to evaluate on, 512");
  byte_demo::add_count(app, "--repetitions", options.timing_repetitions, 1, 1000, "Of the timed passes, 3");
  byte_demo::add_count(app, "--checkpoint-every", options.train.checkpoint_every, 1, 1000000000,
                       "Steps between checkpoints of a run, 500");
  byte_demo::add_threads(app, arguments.threads);
  byte_demo::add_path(app, "--out", options.out, "DIR",
                      "The folder of rows, charts, models and traces; the same again goes on")
      ->required();
  app.add_flag("--draw", arguments.draw, "Train nothing: draw the charts and print the table of all rows in --out");
}

/// Sizes at which a curve takes minutes; what is given on the command line stays.
void make_quick(const CLI::App& app, CurveOptions& options) {
  const auto set = [&app](const std::string& name, auto& value, auto quick) {
    if (app.count(name) == 0) value = quick;
  };
  byte_demo::ModelOptions& model = options.train.model;
  if (model.start_from.empty()) {
    set("--width", model.width, Index{48});
    set("--heads", model.heads, Index{2});
    set("--feed-forward", model.feed_forward, Index{96});
    set("--encoder-blocks", model.encoder_blocks, Index{3});
    set("--gate-block", model.gate_blocks, std::vector<Index>{1});
  }
  set("--batch", options.train.recipe.batch_size, Index{16});
  set("--window", options.train.data.window, Index{32});
  set("--windows", options.train.windows, Index{128});
  set("--targets", options.targets, std::vector<double>{0, 0.5});
  options.budget.steps = 1200;
}

void read_budget(const CLI::App& app, const std::string& text, CurveOptions& options) {
  if (text == "quick") return make_quick(app, options);
  if (text.empty()) return;
  const char unit = text.back();
  const bool has_unit = unit == 'h' || unit == 'm';
  const double value = number_in("--budget", has_unit ? text.substr(0, text.size() - 1) : text);
  if (!(value > 0 && value < 1e6)) throw std::invalid_argument("--budget: got " + text + ", expected a time above 0");
  options.budget.minutes = unit == 'h' ? 60 * value : value;
}

CurveOptions understood(const CLI::App& app, const Arguments& arguments) {
  CurveOptions options = arguments.options;
  const auto files = [](const std::vector<std::string>& texts) {
    std::vector<LanguageFile> result;
    for (const std::string& text : texts) result.push_back(language_file(text));
    return result;
  };
  options.texts = files(arguments.texts);
  options.pairs = files(arguments.pairs);
  options.labels = files(arguments.labels);
  options.valid = files(arguments.valid);
  for (const std::string& text : arguments.models) options.models.push_back(saved_model(text));
  options.policies = split(arguments.policies.empty() ? policy_names() : arguments.policies);
  if (!arguments.targets.empty()) {
    options.targets.clear();
    for (const std::string& text : split(arguments.targets)) options.targets.push_back(number_in("--targets", text));
  }
  if (!arguments.seeds.empty()) {
    options.seeds.clear();
    for (const std::string& text : split(arguments.seeds)) {
      const std::string problem = byte_demo::check_unsigned_number(text);
      if (!problem.empty()) throw std::invalid_argument("--seeds: " + problem);
      options.seeds.push_back(std::strtoull(text.c_str(), nullptr, 10));
    }
  }
  read_budget(app, arguments.budget, options);
  if (options.policies.empty() || options.targets.empty() || options.seeds.empty())
    throw std::invalid_argument("--policies, --targets and --seeds: at least one each");
  return options;
}

// ---- The job ----

/// The steps of a run. Those that fit into the minutes are measured once and then written down, so that all runs of a
/// curve have as many, also those of a later call.
Index steps_of(const CurveOptions& options, const CurveData& data) {
  if (!options.budget.minutes) return options.budget.steps.value_or(default_steps);
  const std::filesystem::path path =
      std::filesystem::path(options.out) / ("steps-" + budget_hash(options, data.contents) + ".json");
  if (std::filesystem::exists(path)) {
    const auto stored = nlohmann::json::parse(merganser::io::read_text_file(path), nullptr, false);
    if (stored.is_object() && stored.value("steps", Index{0}) > 0) return stored["steps"].get<Index>();
  }
  const Index steps = steps_in_budget(options, data);
  const nlohmann::json planned = {{"steps", steps}, {"minutes", *options.budget.minutes}};
  merganser::io::write_file_atomically(path, std::string_view(planned.dump() + "\n"));
  return steps;
}

/// Charts beside the rows, and tables.
void report(const ResultFiles& results, const std::vector<RunRow>& rows, TaskKind kind) {
  write_charts(results.directory(), rows, kind, results.directory() / "runs");
  print_table(std::cout, rows, kind);
  print_languages(std::cout, rows);
}

/// 0, or the exit code when runs diverged or were interrupted.
int make_curve(const CurveOptions& options, std::optional<int> threads) {
  const byte_demo::Threads pool(threads);
  const CurveData data = open_data(options, options.seeds.front());
  ResultFiles results(options.out);
  const Index steps = steps_of(options, data);
  const RunPlan plan = plan_runs(options, data.contents, steps);
  const std::filesystem::path runs = results.directory() / "runs";
  std::vector<PlannedRun> open;
  for (const PlannedRun& planned : plan.runs)
    if (results.find(planned.settings) == nullptr) open.push_back(planned);
  std::cerr << data.description << "; " << plan.runs.size() << " runs of " << steps << " steps, "
            << plan.runs.size() - open.size() << " of them done\n";
  for (const std::string& text : plan.skipped) std::cerr << "left out: " << text << "\n";

  CurveProgress progress(open.size());
  const Workplace workplace{options, plan, data, steps, runs};
  int exit_code = 0;
  const byte_demo::CatchSignals signals;
  for (const PlannedRun& planned : open) {
    if (byte_demo::CatchSignals::caught() != 0) break;
    try {
      results.add(run(workplace, planned, progress));
      std::filesystem::remove_all(runs / planned.folder() / "checkpoints");
    } catch (const Diverged& error) {
      progress.note(std::string("given up: ") + error.what());
      exit_code = failure_exit;
    } catch (const byte_demo::Interrupted&) {
      break;
    }
    progress.end();
  }
  if (const int signal = byte_demo::CatchSignals::caught(); signal != 0) {
    progress.note("interrupted: the same command goes on");
    exit_code = byte_demo::Interrupted{signal}.exit_code();
  }
  results.write();
  report(results, results.rows_of(plan.bases), data.kind);
  return exit_code;
}

/// What kind of task rows are of.
TaskKind kind_of(const std::vector<RunRow>& rows) {
  if (rows.empty()) throw std::invalid_argument("--draw: no rows in --out");
  if (std::isfinite(rows.front().hard.class_accuracy)) return TaskKind::classes;
  const bool texts = rows.front().task == "denoise" || rows.front().task == "span_corruption";
  return texts ? TaskKind::texts : TaskKind::answers;
}

int draw(const std::string& directory) {
  const ResultFiles results(directory);
  report(results, results.rows(), kind_of(results.rows()));
  return 0;
}

/// One line on stderr, whatever the message holds.
int fail(std::string_view message, int exit_code) {
  std::cerr << "compression_curve: " << byte_demo::one_line(message) << std::endl;
  return exit_code;
}

int parse_and_run(int argc, char** argv) {
  CLI::App app(
      "compression_curve: how much can be dropped, and what does it cost? Trains a model for every policy, target rate "
      "and seed, and writes rows.jsonl, rows.csv and charts. Called again it goes on where it stopped.",
      "compression_curve");
  app.footer("Policies:\n" + policy_help() +
             "Examples:\n"
             "  compression_curve --task vowel_removal --targets 0,0.18 --budget quick --out curve\n"
             "  compression_curve --text book.txt --budget 20 --seeds 1,2,3 --out curve\n"
             "  compression_curve --text en=en.txt de=de.txt --valid en=v.en.txt de=v.de.txt --out curve");
  Arguments arguments;
  add_data(app, arguments);
  add_curve(app, arguments);
  byte_demo::add_sizes(app, arguments.options.train.model);
  byte_demo::add_start(app, arguments.options.train.model);
  byte_demo::add_gate_training(app, arguments.options.train);
  byte_demo::add_optimiser(app, arguments.options.train);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), usage_exit);
  }
  if (arguments.draw) return draw(arguments.options.out);
  return make_curve(understood(app, arguments), arguments.threads);
}

}  // namespace

}  // namespace compression_curve

int bench_program(int argc, char** argv) {
  using compression_curve::fail;
  try {
    const int result = compression_curve::parse_and_run(argc, argv);
    std::cout.flush();
    if (!std::cout && !byte_demo::reader_left())
      return fail("cannot write to standard output", compression_curve::failure_exit);
    return result;
  } catch (const std::bad_alloc&) {
    return fail("not enough memory for this model or text", compression_curve::failure_exit);
  } catch (const std::exception& error) {
    return fail(error.what(), compression_curve::failure_exit);
  }
}
