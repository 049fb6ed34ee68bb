// byte_demo: watch a transformer learn which bytes it can drop. This file is the command line.
#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <CLI/CLI.hpp>

#include <merganser/core/instruction_set.hpp>
#include <merganser/version.hpp>

#include <byte_demo.hpp>
#include <choices.hpp>
#include <command_line.hpp>
#include <options.hpp>
#include <signals.hpp>
#include <text_view.hpp>
#include <train_settings.hpp>

namespace byte_demo {

namespace {

constexpr int failure_exit = 1, usage_exit = 2;

void add_common(CLI::App& app, std::optional<int>& threads, std::uint64_t& seed) {
  add_threads(app, threads);
  app.add_option("--seed", seed, "Of everything random; 1 unless given")
      ->check(check_unsigned_number)
      ->option_text("N");
}

void add_color(CLI::App& app, ColorChoice& color) {
  add_choice(app, "--color", color,
             Choices<ColorChoice>{
                 {"auto", ColorChoice::automatic}, {"always", ColorChoice::always}, {"never", ColorChoice::never}},
             "auto (the default: on terminals, unless NO_COLOR is set), always or never");
}

enum class Bundled { refused, taken };

/// @param bundled whether the model that comes with the demo is taken where none is named
void add_model_directory(CLI::App& app, ModelSource& model, Bundled bundled = Bundled::refused) {
  const std::string help =
      "A directory of a T5, ByT5, mT5 or MrT5, ours or not: config.json and model.safetensors or its shards";
  if (bundled == Bundled::taken) model.directory = MERGANSER_DEMO_MODEL;
  add_path(app, "--model", model.directory, "DIR",
           bundled == Bundled::taken ? help + "; the one that comes with the demo unless given" : help)
      ->required(bundled == Bundled::refused);
  const std::vector<CLI::Option*> missing = {
      add_count(app, "--delete-gate-layer", model.delete_gate_layer, 0, 127, "Encoder block, from 0, with the gate"),
      add_number(app, "--sigmoid-mask-scale", model.sigmoid_mask_scale, -large, -1e-9, "Gate value that deletes"),
      add_number(app, "--deletion-threshold", model.deletion_threshold, -large, large, "Gate values above it keep"),
      app.add_option("--deletion-type", model.deletion_type, "scaled_sigmoid, log_sigmoid, fixed or random")
          ->check(CLI::IsMember({"scaled_sigmoid", "log_sigmoid", "fixed", "random"}))
          ->option_text("NAME")};
  for (CLI::Option* option : missing) option->group("For a MrT5 whose config.json lacks the key");
  app.add_flag("--any-tokenizer", model.any_tokenizer,
               "Read bytes although the directory has the files of another tokenizer");
}

void add_rate(CLI::App& app, RateOptions& rate) {
  const std::vector<CLI::Option*> options = {
      add_number(app, "--target", rate.target, 0, 1, "Delete this share of every sequence"),
      add_number(app, "--threshold", rate.threshold, -large, 0,
                 "Keep bytes with a gate value above this; values are below 0: near 0 keeps, -30 deletes"),
      add_number(app, "--rate", rate.rate, 0, 1,
                 "Delete this share on average, more of a text with more to spare; needs byte_demo calibrate"),
      add_number(app, "--milliseconds-per-kilobyte", rate.milliseconds, 1e-9, large,
                 "Delete as little as takes at most so long a 1,000 bytes, reading a text whose answer is given on the "
                 "threads of byte_demo calibrate, which it needs; writing answers takes longer")};
  for (std::size_t i = 0; i < options.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) options[i]->excludes(options[j]);
}

void add_json(CLI::App& app, OutputFormat& format) {
  app.add_flag_function(
      "--json", [&format](std::int64_t) { format = OutputFormat::json; }, "One JSON object instead");
}

void add_data(CLI::App& app, DataOptions& options) {
  add_path(app, "--text", options.text, "FILE", "A text of any bytes");
  add_path(app, "--tsv", options.tsv, "FILE", "Lines of a source and a target with a tab between them");
  app.add_option("--task", options.task,
                 "On --text: denoise (the default) or span_corruption. On letters of its own: copy, vowel_removal, "
                 "contextual_vowel_removal or sequence_merge")
      ->check(CLI::IsMember(
          {"denoise", "span_corruption", "copy", "vowel_removal", "contextual_vowel_removal", "sequence_merge"}))
      ->option_text("NAME");
  add_count(app, "--window", options.window, 1, 1000000, "Bytes of a sequence: 64 of a text, 32 letters of a task");
  add_number(app, "--noise", options.noise, 0, 1, "Share of the bytes that denoising masks, 0.1");
}

void add_gate(CLI::App& app, TrainOptions& options) {
  ModelOptions& model = options.model;
  add_number(app, "--target", options.recipe.target, 0, 1, "Share of the bytes to delete, 0.3");
  auto* gate = add_choice(app, "--gate", model.gate, gate_choices,
                          "learned (the default); random or fixed are baselines that delete the target rate");
  auto* blocks = add_gate_training(app, options);
  app.add_flag_function(
         "--no-gate", [&model](std::int64_t) { model.gate = GateChoice::none; }, "The twin that deletes nothing")
      ->excludes(gate)
      ->excludes(blocks);
}

void add_optimisation(CLI::App& app, TrainOptions& options) {
  auto* steps = add_count(app, "--steps", options.steps, 1, 1000000000, "Training steps, 2500");
  add_number(app, "--minutes", options.minutes, 0.001, 1e6, "As many steps as fit; prints their number")
      ->excludes(steps);
  add_optimiser(app, options);
}

void add_checkpoints(CLI::App& app, TrainOptions& options) {
  auto* checkpoints = add_path(app, "--checkpoints", options.checkpoints, "DIR",
                               "Where the run is saved while it goes, so that --resume can go on with it");
  add_path(app, "--resume", options.resume, "DIR",
           "Go on with the run whose checkpoints are there, with its options, to the same bits")
      ->excludes(checkpoints);
  add_count(app, "--checkpoint-every", options.checkpoint_every, 1, 1000000000, "Steps between checkpoints, 500");
  add_count(app, "--keep", options.keep, 1, 1000000, "Checkpoints to keep besides the best one, 3");
}

using Job = std::function<void()>;

TrainOptions resume_options(const CLI::App& command_line, const TrainOptions& asked);

void add_verbatim(CLI::App& app, TextReading& reading) {
  app.add_flag_function(
      "--verbatim", [&reading](std::int64_t) { reading = TextReading::verbatim; },
      "Bytes in, bytes out: <mask> and <extra_id_0> are only their characters, and nothing is masked");
}

Job add_train(CLI::App& app, TrainOptions& options) {
  CLI::App* train = app.add_subcommand("train", "Train a model on a text, on pairs of texts, or on a task");
  train->footer("Example: byte_demo train --text book.txt --target 0.3 --minutes 20 --save my_model");
  add_data(*train, options.data);
  add_path(
      *train, "--valid", options.data.valid, "FILE",
      "Evaluate on this instead of a tenth of the file: the end of a text; of lines those with the smallest hashes");
  add_shortest_window(*train, options.data);
  add_sizes(*train, options.model);
  add_start(*train, options.model);
  add_gate(*train, options);
  add_optimisation(*train, options);
  add_common(*train, options.threads, options.seed);
  add_count(*train, "--windows", options.windows, 1, 1000000000, "Most sequences to evaluate on, 512");
  add_path(*train, "--save", options.save, "DIR", "Where the model goes; made at the end");
  add_force(*train, options.overwrite);
  add_checkpoints(*train, options);
  add_path(*train, "--log", options.log, "FILE", "JSON lines: the steps and the evaluation");
  add_count(*train, "--log-every", options.log_every, 1, 1000000000, "Steps between lines of the log, 1");
  return [train, &options] { byte_demo::train(options.resume.empty() ? options : resume_options(*train, options)); };
}

/// The options of the stored run, and those of the new command line that may differ.
TrainOptions resume_options(const CLI::App& command_line, const TrainOptions& asked) {
  std::set<std::string> given;
  for (const CLI::Option* option : command_line.get_options())
    if (option->count() > 0 && option->get_name() != "--resume") given.insert(option->get_name());
  const StoredRun stored = stored_run(asked.resume);
  std::vector<std::string> arguments = resumed_arguments(stored.settings, settings_of(asked), given, asked.resume);
  arguments.insert(arguments.begin(), "train");
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  CLI::App app;
  TrainOptions options;
  add_train(app, options);
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    throw std::invalid_argument("--resume " + asked.resume + ": settings of another program: " + error.what());
  }
  options.resume = asked.resume;
  options.checkpoint = stored.checkpoint;
  const auto saved = stored.settings.find("--save");
  const bool own = saved != stored.settings.end() && saved->second == options.save;  // of an earlier end of this run
  options.overwrite = own ? Overwrite::yes : asked.overwrite;
  options.threads = asked.threads;
  return options;
}

Job add_vowels(CLI::App& app, VowelOptions& options) {
  CLI::App* vowels = app.add_subcommand("vowels", "A small model learns, within minutes, which letters it can drop");
  vowels->footer("Example: byte_demo vowels --save my_model");
  add_common(*vowels, options.threads, options.seed);
  add_count(*vowels, "--steps", options.steps, 1, 1000000000, "Training steps, 2500");
  add_color(*vowels, options.color);
  add_path(*vowels, "--save", options.save, "DIR", "Where the model goes");
  add_force(*vowels, options.overwrite);
  return [&options] { byte_demo::vowels(options); };
}

Job add_evaluate(CLI::App& app, EvaluateOptions& options) {
  CLI::App* evaluate = app.add_subcommand("evaluate", "Compare no, soft and hard deletion of a trained model");
  evaluate->footer("Example: byte_demo evaluate --model my_model --text other.txt --target 0.5 --json");
  add_model_directory(*evaluate, options.model);
  add_data(*evaluate, options.data);
  add_rate(*evaluate, options.rate);
  add_count(*evaluate, "--windows", options.windows, 1, 1000000000, "Most sequences, spread over the file, 512");
  add_common(*evaluate, options.threads, options.seed);
  add_json(*evaluate, options.format);
  return [&options] { byte_demo::evaluate(options); };
}

Job add_show(CLI::App& app, ShowOptions& options) {
  CLI::App* show =
      app.add_subcommand("show", "Show which bytes of a text a model deletes: [-deleted-], [~deleted in part~]");
  show->footer("Example: byte_demo show --model my_model 'Which of these can go?'");
  add_model_directory(*show, options.model, Bundled::taken);
  auto* text = show->add_option("TEXT", options.text, "The text; else --input-file or standard input");
  add_path(*show, "--input-file", options.input_file, "FILE", "A file of any bytes")->excludes(text);
  add_verbatim(*show, options.reading);
  add_count(*show, "--window", options.window, 1, 1000000, "Longer texts are cut into sequences of so many bytes, 64");
  add_rate(*show, options.rate);
  add_common(*show, options.threads, options.seed);
  add_color(*show, options.color);
  show->add_flag_function(
      "--hex", [&options](std::int64_t) { options.bytes = ByteView::hexadecimal; },
      "The bytes of characters that are deleted in part, each by itself");
  add_path(*show, "--svg", options.picture, "FILE", "Draw the text with its deleted characters dimmed");
  add_json(*show, options.format);
  return [&options] { byte_demo::show(options); };
}

/// How answers are written: greedily, drawn, or searched with beams.
void add_writing(CLI::App& app, GenerateOptions& options) {
  auto* greedy = app.add_flag_function(
      "--greedy", [&options](std::int64_t) { options.request.sampling = models::Sampling::greedy; },
      "Take the best byte each time; the default without the next four");
  auto* temperature =
      add_number(app, "--temperature", options.request.temperature, 1e-6, large, "Draw bytes; low is cautious, 1");
  auto* top_k = add_count(app, "--top-k", options.request.top_k, 0, 1000000, "Draw among so many of the best; 0: all");
  auto* top_p = add_number(app, "--top-p", options.request.top_p, 1e-9, 1,
                           "Draw among the fewest of the best that hold this share of the probability");
  auto* beams = add_count(app, "--beams", options.request.beams, 1, 1024, "Search with so many beams, print the best");
  auto* penalty = add_number(app, "--length-penalty", options.request.length_penalty, -100, 100,
                             "Beams score log probability / length^X; 1");
  for (CLI::Option* drawing : {temperature, top_k, top_p}) drawing->excludes(beams)->excludes(penalty);
  for (CLI::Option* other : {temperature, top_k, top_p, beams, penalty}) greedy->excludes(other);
  add_count(app, "--max-length", options.request.max_length, 2, 1000000,
            "Most tokens, with the start and the end, 256, or as many as the text where the model puts it right");
}

Job add_generate(CLI::App& app, GenerateOptions& options) {
  CLI::App* generate =
      app.add_subcommand("generate",
                         "Print what a model answers to a text. Masks and sentinels are typed and shown as <mask>, "
                         "<extra_id_0>, ... A model that was trained to put back what is masked gets masks if the "
                         "text has none. Where the model has a generation_config.json, that gives the defaults of "
                         "--greedy to --max-length");
  generate->footer("Example: byte_demo generate 'The d<mask>cks swim across the quiet lake.'");
  add_model_directory(*generate, options.model, Bundled::taken);
  auto* text = generate->add_option("TEXT", options.text, "The text; else --input-file or standard input");
  add_path(*generate, "--input-file", options.input_file, "FILE",
           "A text a line; each answer ends with a line break, and may hold others")
      ->excludes(text);
  add_verbatim(*generate, options.reading);
  add_rate(*generate, options.rate);
  add_writing(*generate, options);
  const auto add_stream_choice = [&](const std::string& name, StreamChoice choice, const std::string& help) {
    return generate->add_flag_function(
        name, [&options, choice](std::int64_t) { options.stream = choice; }, help);
  };
  auto* stream =
      add_stream_choice("--stream", StreamChoice::always, "Print each character as it comes; the default on terminals");
  add_stream_choice("--no-stream", StreamChoice::never, "Print whole answers")->excludes(stream);
  add_common(*generate, options.threads, options.request.seed);
  return [&options] { byte_demo::generate(options); };
}

Job add_calibrate(CLI::App& app, CalibrateOptions& options) {
  CLI::App* calibrate = app.add_subcommand("calibrate",
                                           "Measure how much, how well and how fast a model deletes at each threshold, "
                                           "for --rate and --milliseconds-per-kilobyte");
  calibrate->footer("Example: byte_demo calibrate --model my_model --text like_what_will_come.txt");
  add_model_directory(*calibrate, options.model);
  add_data(*calibrate, options.data);
  add_count(*calibrate, "--points", options.points, 2, 1000, "Thresholds, at evenly spaced rates from 0, 10");
  add_number(*calibrate, "--highest-rate", options.highest_rate, 0.001, 1, "The last of these rates, 0.9");
  add_count(*calibrate, "--windows", options.windows, 1, 1000000000, "Most sequences, spread over the file, 512");
  add_common(*calibrate, options.threads, options.seed);
  add_json(*calibrate, options.format);
  return [&options] { byte_demo::calibrate(options); };
}

Job add_selftest(CLI::App& app, SelftestOptions& options) {
  CLI::App* selftest = app.add_subcommand("selftest", "Check that a saved model answers as it did when it was saved");
  selftest->footer("Example: byte_demo selftest --model my_model");
  add_model_directory(*selftest, options.model);
  selftest->add_flag_function(
      "--write", [&options](std::int64_t) { options.write = WriteSelftest::yes; },
      "Write selftest.json into DIR instead, from what the model answers now");
  add_threads(*selftest, options.threads);
  return [&options] { byte_demo::selftest(options); };
}

Job add_convert(CLI::App& app, ConvertOptions& options) {
  CLI::App* convert = app.add_subcommand("convert", "Save a model with weights in another precision");
  convert->footer("Example: byte_demo convert --model my_model --save small_model --weights bf16");
  add_model_directory(*convert, options.model);
  add_path(*convert, "--save", options.save, "DIR", "Where it goes")->required();
  add_force(*convert, options.overwrite);
  add_choice(*convert, "--weights", options.weights, weight_choices, "bf16 (the default), f16 or f32");
  return [&options] { byte_demo::convert(options); };
}

/// One line on stderr, whatever the message holds.
int fail(std::string_view message, int exit_code) {
  std::cerr << "byte_demo: " << one_line(message) << std::endl;
  return exit_code;
}

std::string listed(const std::vector<std::pair<std::string, Job>>& jobs) {
  std::string names;
  for (const auto& [name, job] : jobs) names += (names.empty() ? "" : ", ") + name;
  return names;
}

int run(int argc, char** argv) {
  CLI::App app(
      "byte_demo: a small transformer learns which bytes it no longer needs, and drops them.\n"
      "Without a subcommand: a model that comes with it reads sentences in several scripts and drops what it can.",
      "byte_demo");
  app.footer("byte_demo SUBCOMMAND --help says more, with an example.");
  app.set_version_flag("--version", "merganser " MERGANSER_VERSION ", for " + std::string(merganser::instruction_set),
                       "The version, and the instruction set in use");
  app.require_subcommand(0, 1);
  FirstRunOptions first_run_options;
  VowelOptions vowel_options;
  TrainOptions train_options;
  EvaluateOptions evaluate_options;
  ShowOptions show_options;
  GenerateOptions generate_options;
  CalibrateOptions calibrate_options;
  SelftestOptions selftest_options;
  ConvertOptions convert_options;
  first_run_options.model = MERGANSER_DEMO_MODEL;
  add_path(app, "--model", first_run_options.model, "DIR",
           "Another model in place of the one that comes with the demo");
  add_threads(app, first_run_options.threads);
  add_color(app, first_run_options.color);
  const std::vector<std::pair<std::string, Job>> jobs = {
      {"vowels", add_vowels(app, vowel_options)},        {"train", add_train(app, train_options)},
      {"evaluate", add_evaluate(app, evaluate_options)}, {"show", add_show(app, show_options)},
      {"generate", add_generate(app, generate_options)}, {"calibrate", add_calibrate(app, calibrate_options)},
      {"selftest", add_selftest(app, selftest_options)}, {"convert", add_convert(app, convert_options)}};
  std::set<std::string> names;
  for (const auto& [name, job] : jobs) names.insert(name);
  std::vector<std::string> arguments =
      subcommand_first({argv + 1, argv + argc}, names, {"--model", "--threads", "--color"});
  if (!arguments.empty() && !arguments.front().starts_with("-") && !names.contains(arguments.front()))
    return fail(
        "there is no subcommand " + arguments.front() + "; there are " + listed(jobs) + ", and without one a first run",
        usage_exit);
  for (const std::string& argument : arguments)  // CLI11 would take the next argument for the value
    if (argument.starts_with("--") && argument.ends_with("=")) return fail(argument + " has no value", usage_exit);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), usage_exit);
  }
  Job job = [&] { first_run(first_run_options); };
  for (const auto& [name, subcommand] : jobs)
    if (app.got_subcommand(name)) job = subcommand;
  job();
  return 0;
}

}  // namespace

}  // namespace byte_demo

/// Memory that a step frees is the memory of the next: the system would take it back and clear it every time.
static void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

int byte_demo_program(int argc, char** argv) {
  keep_freed_memory();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that leaves early must not keep a model from being saved
  try {
    const int result = byte_demo::run(argc, argv);
    std::cout.flush();
    if (!std::cout && !byte_demo::reader_left()) return byte_demo::fail("cannot write to standard output", 1);
    return result;
  } catch (const byte_demo::Interrupted& interrupted) {
    return interrupted.exit_code();
  } catch (const std::bad_alloc&) {
    return byte_demo::fail("not enough memory for this model or text", byte_demo::failure_exit);
  } catch (const std::exception& error) {
    return byte_demo::fail(error.what(), byte_demo::failure_exit);
  }
}
