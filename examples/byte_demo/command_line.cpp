// byte_demo: watch a transformer learn which bytes it can drop. This file is the command line.
#include <algorithm>
#include <csignal>
#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <CLI/CLI.hpp>

#include <merganser/core/instruction_set.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/runs/signals.hpp>
#include <merganser/runs/train_option_table.hpp>
#include <merganser/version.hpp>

#include <byte_demo.hpp>
#include <command_line/option_parser.hpp>
#include <options.hpp>
#include <subcommand_options.hpp>

namespace byte_demo {

namespace {

/// Everything that the command line can ask for.
struct AllOptions {
  FirstRunOptions first_run;
  VowelOptions vowels;
  runs::TrainOptions train;
  EvaluateOptions evaluate;
  ShowOptions show;
  GenerateOptions generate;
  CalibrateOptions calibrate;
  SelftestOptions selftest;
  ConvertOptions convert;
};

struct Subcommand {
  std::string name, description, example;
  runs::OptionTable options;
  std::function<void()> run;
};

std::vector<Subcommand> subcommands(AllOptions& all) {
  const std::string model = "--model my_model";
  return {
      {"vowels", "A small model learns, within minutes, which letters it can drop", "--save my_model",
       option_table(all.vowels), [&all] { vowels(all.vowels); }},
      {"train", "Train a model on a text, on pairs of texts, or on a task",
       "--text book.txt --target 0.3 --minutes 20 --save my_model", runs::train_option_table(all.train),
       [&all] { train(all.train); }},
      {"evaluate", "Compare no, soft and hard deletion of a trained model",
       model + " --text other.txt --target 0.5 --json", option_table(all.evaluate), [&all] { evaluate(all.evaluate); }},
      {"show", "Show which bytes of a text a model deletes: [-deleted-], [~deleted in part~]",
       model + " 'Which of these can go?'", option_table(all.show), [&all] { show(all.show); }},
      {"generate",
       "Print what a model answers to a text. Masks and sentinels are typed and shown as <mask>, <extra_id_0>, ... A "
       "model that was trained to put back what is masked gets masks if the text has none. Where the model has a "
       "generation_config.json, that gives the defaults of --greedy to --max-length",
       "'The d<mask>cks swim across the quiet lake.'", option_table(all.generate), [&all] { generate(all.generate); }},
      {"calibrate",
       "Measure how much, how well and how fast a model deletes at each threshold, for --rate and "
       "--milliseconds-per-kilobyte",
       model + " --text like_what_will_come.txt", option_table(all.calibrate), [&all] { calibrate(all.calibrate); }},
      {"selftest", "Check that a saved model answers as it did when it was saved", model, option_table(all.selftest),
       [&all] { selftest(all.selftest); }},
      {"convert", "Save a model with weights in another precision", model + " --save small_model --weights bf16",
       option_table(all.convert), [&all] { convert(all.convert); }}};
}

/// Puts the subcommands on the command line, and the texts that stand there without the name of an option.
void add_subcommands(CLI::App& app, const std::vector<Subcommand>& all, AllOptions& options) {
  for (const Subcommand& subcommand : all) {
    CLI::App* const added = app.add_subcommand(subcommand.name, subcommand.description);
    added->footer("Example: byte_demo " + subcommand.name + " " + subcommand.example);
    std::set<std::string>* const given = subcommand.name == "train" ? &options.train.given : nullptr;
    command_line::add_options(*added, subcommand.options, given);
  }
  for (const auto& [name, text] : {std::pair{"show", &options.show.text}, {"generate", &options.generate.text}}) {
    CLI::App* const added = app.get_subcommand(name);
    added->add_option("TEXT", *text, "The text; else --input-file or standard input")
        ->excludes(added->get_option("--input-file"));
  }
  for (const char* name : {"evaluate", "calibrate", "selftest", "convert"})
    app.get_subcommand(name)->get_option("--model")->required();
  app.get_subcommand("convert")->get_option("--save")->required();
}

/// The command line with the options that stand before a subcommand behind it, where CLI11 looks for them.
/// @param valued the options, all with a value, that may stand there
std::vector<std::string> subcommand_first(std::vector<std::string> arguments, const std::set<std::string>& names,
                                          const std::set<std::string>& valued) {
  std::ptrdiff_t place = 0;
  const std::ptrdiff_t count = std::ssize(arguments);
  const auto argument = [&](std::ptrdiff_t i) -> const std::string& { return arguments[static_cast<std::size_t>(i)]; };
  while (place < count && !names.contains(argument(place))) {
    const std::string option = argument(place).substr(0, argument(place).find('='));
    if (!valued.contains(option)) return arguments;
    place += option == argument(place) ? 2 : 1;
  }
  if (place < count) std::rotate(arguments.begin(), arguments.begin() + place, arguments.begin() + place + 1);
  return arguments;
}

int run(int argc, char** argv) {
  AllOptions options;
  options.first_run.model = options.show.model.directory = options.generate.model.directory = MERGANSER_DEMO_MODEL;
  const runs::OptionTable first_options = option_table(options.first_run);
  const std::vector<Subcommand> all = subcommands(options);
  CLI::App app(
      "byte_demo: a small transformer learns which bytes it no longer needs, and drops them.\n"
      "Without a subcommand: a model that comes with it reads sentences in several scripts and drops what it can.",
      "byte_demo");
  command_line::wrap_help(app);
  app.footer("byte_demo SUBCOMMAND --help says more, with an example.");
  app.set_version_flag("--version", "merganser " MERGANSER_VERSION ", for " + std::string(merganser::instruction_set),
                       "The version, and the instruction set in use");
  app.require_subcommand(0, 1);
  command_line::add_options(app, first_options);
  add_subcommands(app, all, options);

  std::set<std::string> names, first_names;
  for (const Subcommand& subcommand : all) names.insert(subcommand.name);
  for (const runs::Option& option : first_options) first_names.insert(option.name);
  std::vector<std::string> arguments = subcommand_first({argv + 1, argv + argc}, names, first_names);
  if (!arguments.empty() && !arguments.front().starts_with("-") && !names.contains(arguments.front())) {
    std::vector<std::string> listed;
    for (const Subcommand& subcommand : all) listed.push_back(subcommand.name);
    throw CLI::ParseError("there is no subcommand " + arguments.front() + "; there are " +
                              merganser::joined(listed, ", ") + ", and without one a first run",
                          command_line::usage_exit);
  }
  for (const std::string& argument : arguments)  // CLI11 would take the next argument for the value
    if (argument.starts_with("--") && argument.ends_with("="))
      throw CLI::ParseError(argument + " has no value", command_line::usage_exit);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::Success& help) {
    return app.exit(help);
  }
  for (const Subcommand& subcommand : all)
    if (app.got_subcommand(subcommand.name)) return subcommand.run(), 0;
  first_run(options.first_run);
  return 0;
}

/// Memory that a step frees is the memory of the next: the system would take it back and clear it every time.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace

}  // namespace byte_demo

int byte_demo_program(int argc, char** argv) {
  byte_demo::keep_freed_memory();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that leaves early must not keep a model from being saved
  return command_line::run_program("byte_demo", [&] {
    try {
      return byte_demo::run(argc, argv);
    } catch (const merganser::runs::Interrupted& interrupted) {
      return interrupted.exit_code();
    }
  });
}
