// compression_curve: how much can be dropped, and what does it cost? Trains models over policies, target rates and
// seeds, and writes a row a run. This file is the command line over merganser/runs/.
#include <cmath>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <merganser/runs/curve.hpp>
#include <merganser/runs/curve_option_table.hpp>
#include <merganser/runs/curve_options.hpp>
#include <merganser/runs/curve_policies.hpp>
#include <merganser/runs/curve_result_files.hpp>
#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/policy_catalogue.hpp>

#include <command_line/option_parser.hpp>

#include "../measure/program.hpp"
#include "curve_report.hpp"

namespace compression_curve {

namespace {

using merganser::Index;

/// Charts beside the rows, and tables.
void report(const runs::ResultFiles& results, const std::vector<runs::RunRow>& rows, runs::AnswerKind kind) {
  write_charts(results.directory(), rows, kind, results.directory() / "runs");
  print_table(std::cout, rows, kind);
  print_languages(std::cout, rows);
}

int make_curve(const runs::CurveOptions& options) {
  const runs::Curve curve = runs::make_curve(options, std::cerr);
  report(curve.results, curve.rows, curve.kind);
  return curve.exit_code;
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

/// A policy in the twin removes as much as the target says; one that is trained with, what its settings say.
void check_amounts(const runs::CurveOptions& options) {
  for (const std::string& name : options.named) {
    const runs::CurvePolicy policy(name);
    if (!policy.is_of_twin && policy.trained == nullptr) runs::check_amount(policy.named, runs::policy_catalogue());
  }
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
  check_amounts(options);
  return make_curve(options);
}

}  // namespace

}  // namespace compression_curve

int bench_program(int argc, char** argv) {
  return command_line::run_program("compression_curve", [&] { return compression_curve::parse_and_run(argc, argv); });
}
