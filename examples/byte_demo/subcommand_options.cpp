// The options of the subcommands of byte_demo but `train`.
#include <subcommand_options.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <merganser/runs/list_option.hpp>
#include <merganser/runs/train_option_table.hpp>

namespace byte_demo {

namespace {

using runs::choice_option;
using runs::count_option;
using runs::flag_option;
using runs::number_option;
using runs::Option;
using runs::OptionRole;
using runs::OptionTable;
using runs::path_option;

constexpr OptionRole here = OptionRole::process;  // no run to go on with
constexpr double large = runs::largest_number;
constexpr Index most = runs::most_steps;

const runs::Choices<runs::ColorChoice> color_choices = {
    {"auto", runs::ColorChoice::automatic}, {"always", runs::ColorChoice::always}, {"never", runs::ColorChoice::never}};

const runs::Choices<io::HfConfig::DeletionType> deletion_type_choices = {
    {"scaled_sigmoid", io::HfConfig::DeletionType::scaled_sigmoid},
    {"log_sigmoid", io::HfConfig::DeletionType::log_sigmoid},
    {"fixed", io::HfConfig::DeletionType::fixed},
    {"random", io::HfConfig::DeletionType::random}};

const runs::Choices<io::DataType> weight_choices = {
    {"bf16", io::DataType::bf16}, {"f16", io::DataType::f16}, {"f32", io::DataType::f32}};

void add(OptionTable& table, OptionTable more) {
  for (Option& option : more) table.push_back(std::move(option));
}

OptionTable excluding_each_other(OptionTable table) {
  std::set<std::string> before;
  for (Option& option : table) {
    option.excludes.insert(before.begin(), before.end());
    before.insert(option.name);
  }
  return table;
}

Option threads_option(std::optional<int>& threads) {
  return count_option("--threads", "All cores unless given; never changes a result", here, threads, 1, 1024);
}

OptionTable program_options(std::optional<int>& threads, std::uint64_t& seed) {
  return {threads_option(threads),
          count_option("--seed", "Of everything random", here, seed, 0, std::numeric_limits<std::uint64_t>::max())};
}

OptionTable program_options(ProgramOptions& options) { return program_options(options.threads, options.seed); }

Option color_option(runs::ColorChoice& color) {
  return choice_option("--color", "auto (the default: on terminals, unless NO_COLOR is set), always or never", here,
                       color, color_choices);
}

Option json_option(OutputFormat& format) {
  return flag_option("--json", "One JSON object instead", here, format, OutputFormat::json);
}

Option force_option(runs::Overwrite& overwrite) {
  return flag_option("--force", "Save even where a model is that would be written over", here, overwrite,
                     runs::Overwrite::yes);
}

Option input_option(std::string& file, const std::string& help) {
  return path_option("--input-file", "FILE", help, here, file);
}

Option verbatim_option(runs::TextReading& reading) {
  return flag_option("--verbatim",
                     "Bytes in, bytes out: <mask> and <extra_id_0> are only their characters, and nothing is masked",
                     here, reading, runs::TextReading::verbatim);
}

Option windows_option(Index& windows) {
  return count_option("--windows", "Most sequences, spread over the file", here, windows, 1, most);
}

OptionTable model_options(ModelSource& model) {
  const std::string bundled = model.directory.empty() ? "" : "; the one that comes with the demo unless given";
  OptionTable table = {path_option(
      "--model", "DIR",
      "A directory of a T5, ByT5, mT5 or MrT5, ours or not: config.json and model.safetensors or its shards" + bundled,
      here, model.directory)};
  table.push_back(flag_option("--any-tokenizer", "Read bytes although the directory has the files of another tokenizer",
                              here, model.any_tokenizer, true));
  OptionTable missing = {
      count_option("--delete-gate-layer", "Encoder block, from 0, with the gate", here, model.delete_gate_layer, 0,
                   127),
      number_option("--sigmoid-mask-scale", "Gate value that deletes", here, model.sigmoid_mask_scale, -large, -1e-9),
      number_option("--deletion-threshold", "Gate values above it keep", here, model.deletion_threshold, -large, large),
      choice_option("--deletion-type", "scaled_sigmoid, log_sigmoid, fixed or random", here, model.deletion_type,
                    deletion_type_choices)};
  for (Option& option : missing) option.group = "For a MrT5 whose config.json lacks the key";
  add(table, std::move(missing));
  return table;
}

/// Its names are read where they are known: runs/policy_catalogue.hpp.
Option policy_option(ModelSource& model) {
  Option option =
      runs::texts_option("--policy", "NAME[:KEY=VALUE,...]",
                         "What shortens the text in place of the model's own policies, such as "
                         "local_merging:block=2,rate=0.5; given again, both act, at one place in this order, "
                         "and own is the model's. Most need a rate, of their own or by --target. A wrong name "
                         "prints the list",
                         here, model.policies);
  option.group = "How much is deleted";
  option.excludes = {"--rate", "--milliseconds-per-kilobyte"};  // measured for the model's own
  return option;
}

OptionTable rate_options(runs::RateOptions& rate) {
  OptionTable table = excluding_each_other(
      {number_option("--target", "Delete this share of every sequence", here, rate.target, 0, 1),
       number_option("--threshold",
                     "Keep bytes with a gate value above this; values are below 0: near 0 keeps, -30 deletes", here,
                     rate.threshold, -large, 0),
       number_option("--rate",
                     "Delete this share on average, more of a text with more to spare; needs byte_demo calibrate", here,
                     rate.rate, 0, 1),
       number_option("--milliseconds-per-kilobyte",
                     "Delete as little as takes at most so long a 1,000 bytes, reading a text whose answer is given on "
                     "the threads of byte_demo calibrate, which it needs; writing answers takes longer",
                     here, rate.milliseconds, 1e-9, large)});
  for (Option& option : table) option.group = "How much is deleted";
  return table;
}

/// What there is to read, from the table of `train`.
OptionTable data_options(runs::DataOptions& options) {
  runs::detail::TableBuilder table;
  table.group("Data");
  table.add(runs::detail::file_option("--text", "A text of any bytes", here, options.texts));
  runs::detail::add_data_options(table, options);
  OptionTable all = table.take();
  std::erase_if(all, [](const Option& o) { return o.name == "--valid" || o.name == "--shortest-window"; });
  for (Option& option : all) option.group = "Data";
  return all;
}

/// How answers are written: greedily, drawn, or searched with beams.
OptionTable writing_options(io::GenerationRequest& request) {
  OptionTable table = {
      flag_option("--greedy", "Take the best byte each time; the default without the next five", here, request.sampling,
                  models::Sampling::greedy),
      number_option("--temperature", "Draw bytes; low is cautious, 1", here, request.temperature, 1e-6, large),
      count_option("--top-k", "Draw among so many of the best; 0: all", here, request.top_k, 0, 1000000),
      number_option("--top-p", "Draw among the fewest of the best that hold this share of the probability", here,
                    request.top_p, 1e-9, 1),
      count_option("--beams", "Search with so many beams, print the best", here, request.beams, 1, 1024),
      number_option("--length-penalty", "Beams score log probability / length^X; 1", here, request.length_penalty, -100,
                    100)};
  for (const std::size_t i : {1U, 2U, 3U}) table[i].excludes = {"--beams", "--length-penalty"};
  table[0].excludes = {"--temperature", "--top-k", "--top-p", "--beams", "--length-penalty"};
  table.push_back(
      count_option("--max-length",
                   "Most tokens, with the start and the end, 256, or as many as the text where the model puts it right",
                   here, request.max_length, 2, 1000000));
  for (Option& option : table) option.group = "How it writes";
  return table;
}

}  // namespace

OptionTable option_table(FirstRunOptions& options) {
  return {
      path_option("--model", "DIR", "Another model in place of the one that comes with the demo", here, options.model),
      count_option("--threads", "All cores unless given; never changes a result", here, options.threads, 1, 1024),
      color_option(options.color)};
}

OptionTable option_table(VowelOptions& options) {
  OptionTable table = {count_option("--steps", "Training steps", here, options.steps, 1, most),
                       path_option("--save", "DIR", "Where the model goes", here, options.save),
                       force_option(options.overwrite), color_option(options.color)};
  add(table, program_options(options.program));
  return table;
}

OptionTable option_table(EvaluateOptions& options) {
  OptionTable table = model_options(options.model);
  add(table, {windows_option(options.windows), json_option(options.format)});
  add(table, program_options(options.program));
  add(table, data_options(options.data));
  table.push_back(policy_option(options.model));
  add(table, rate_options(options.rate));
  return table;
}

OptionTable option_table(ShowOptions& options) {
  OptionTable table = model_options(options.model);
  add(table, {input_option(options.input_file, "A file of any bytes"), verbatim_option(options.reading),
              count_option("--window", "Longer texts are cut into sequences of so many bytes, 64", here, options.window,
                           1, runs::longest_window),
              color_option(options.color),
              flag_option("--hex", "The bytes of characters that are deleted in part, each by itself", here,
                          options.bytes, ByteView::hexadecimal),
              path_option("--svg", "FILE", "Draw the text with its deleted characters dimmed", here, options.picture),
              json_option(options.format)});
  add(table, program_options(options.program));
  table.push_back(policy_option(options.model));
  add(table, rate_options(options.rate));
  return table;
}

OptionTable option_table(GenerateOptions& options) {
  OptionTable table = model_options(options.model);
  add(table,
      {input_option(options.input_file, "A text a line; each answer ends with a line break, and may hold others"),
       verbatim_option(options.reading)});
  add(table, excluding_each_other(
                 {flag_option("--stream", "Print each character as it comes; the default on terminals", here,
                              options.stream, StreamChoice::always),
                  flag_option("--no-stream", "Print whole answers", here, options.stream, StreamChoice::never)}));
  add(table, program_options(options.threads, options.request.seed));
  add(table, writing_options(options.request));
  table.push_back(policy_option(options.model));
  add(table, rate_options(options.rate));
  return table;
}

OptionTable option_table(CalibrateOptions& options) {
  OptionTable table = model_options(options.model);
  add(table, {count_option("--points", "Thresholds, at evenly spaced rates from 0", here, options.points, 2, 1000),
              number_option("--highest-rate", "The last of these rates", here, options.highest_rate, 0.001, 1),
              windows_option(options.windows), json_option(options.format)});
  add(table, program_options(options.program));
  add(table, data_options(options.data));
  return table;
}

OptionTable option_table(SelftestOptions& options) {
  OptionTable table = model_options(options.model);
  table.push_back(flag_option("--write", "Write selftest.json into DIR instead, from what the model answers now", here,
                              options.write, WriteSelftest::yes));
  table.push_back(threads_option(options.program.threads));
  return table;
}

OptionTable option_table(ConvertOptions& options) {
  OptionTable table = model_options(options.model);
  add(table, {path_option("--save", "DIR", "Where it goes", here, options.save), force_option(options.overwrite),
              choice_option("--weights", "bf16 (the default), f16 or f32", here, options.weights, weight_choices)});
  return table;
}

}  // namespace byte_demo
