// The options of `train` as texts.
#include <train_settings.hpp>

#include <array>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>

#include <merganser/core/io_error.hpp>

#include <choices.hpp>

namespace byte_demo {

namespace {

constexpr const char* content_prefix = "content of ";

/// Options that never change a result.
const std::set<std::string> free_options = {"--save", "--log", "--log-every", "--threads", "--checkpoint-every",
                                            "--keep"};

/// Where the run was to write. A checkpoint may come from somebody else: only the command line says where to write.
const std::set<std::string> output_options = {"--save", "--log"};

/// A file may have moved: what it holds is compared.
const std::set<std::string> file_options = {"--text", "--valid", "--tsv"};

/// The shortest text that is read as the same number.
std::string text_of(double value) {
  std::array<char, 64> digits{};
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

std::string absolute(const std::string& path) { return std::filesystem::absolute(path).lexically_normal().string(); }

std::string value_in(const Settings& settings, const std::string& name) {
  const auto place = settings.find(name);
  if (place == settings.end()) return "no such option";
  return place->second.empty() ? "given" : place->second;
}

[[noreturn]] void fail(const std::string& name, const Settings& asked, const Settings& stored,
                       const std::string& directory) {
  throw std::invalid_argument(name + ": got " + value_in(asked, name) + ", expected " + value_in(stored, name) +
                              ", as the run in " + directory + " has");
}

}  // namespace

Settings settings_of(const TrainOptions& options) {
  Settings settings;
  const auto add_text = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) settings[name] = value;
  };
  const auto add_path = [&](const std::string& name, const std::string& path) {
    if (!path.empty()) settings[name] = absolute(path);
  };
  const auto add_count = [&](const std::string& name, auto value) { settings[name] = std::to_string(value); };
  const auto add_number = [&](const std::string& name, double value) { settings[name] = text_of(value); };

  const DataOptions& data = options.data;
  add_path("--text", data.text);
  add_path("--valid", data.valid);
  add_path("--tsv", data.tsv);
  add_text("--task", data.task);
  if (data.window) add_count("--window", *data.window);
  if (data.shortest_window) add_count("--shortest-window", *data.shortest_window);
  add_number("--noise", data.noise);

  const ModelOptions& model = options.model;
  const bool fresh = model.start_from.empty();  // else what is not given is as in that model
  const auto add_size = [&](const std::string& name, const std::optional<Index>& given, Index otherwise) {
    if (given || fresh) add_count(name, given.value_or(otherwise));
  };
  add_size("--width", model.width, default_sizes.width);
  add_size("--heads", model.heads, default_sizes.heads);
  add_size("--head-width", model.head_width, default_sizes.head_width);
  add_size("--feed-forward", model.feed_forward, default_sizes.feed_forward);
  add_size("--encoder-blocks", model.encoder_blocks, default_sizes.encoder_blocks);
  add_size("--decoder-blocks", model.decoder_blocks, default_sizes.decoder_blocks);
  std::string blocks;
  for (const Index block : model.gate_blocks) {
    if (!blocks.empty()) blocks += ',';
    blocks += std::to_string(block);
  }
  add_text("--gate-block", blocks);
  if (model.gate == GateChoice::none)
    settings["--no-gate"] = "";
  else if (model.gate || fresh)
    settings["--gate"] = word_of(model.gate.value_or(GateChoice::learned), gate_choices);
  if (model.gate_noise.value_or(merge::GateNoise::none) != merge::GateNoise::none || (model.gate_noise && !fresh))
    settings["--gate-noise"] = word_of(*model.gate_noise, gate_noise_choices);
  add_path("--from", model.start_from);
  if (model.score_bound || fresh)
    settings["--score-bound"] = word_of(model.score_bound.value_or(nn::ScoreBoundKind::soft_cap), score_bound_choices);
  if (model.score_bound_value || fresh)
    add_number("--score-bound-value", model.score_bound_value.value_or(default_score_bound));

  if (options.recipe.target || fresh) add_number("--target", options.recipe.target.value_or(training::default_target));
  add_count("--batch", options.recipe.batch_size);
  if (options.steps) add_count("--steps", *options.steps);
  if (options.minutes) add_number("--minutes", *options.minutes);
  add_count("--seed", options.seed);
  add_number("--learning-rate", options.recipe.learning_rate);
  add_count("--warmup", options.recipe.warmup_steps);
  settings["--schedule"] = word_of(options.recipe.decay, schedule_choices);
  if (options.recipe.gate_open_until) add_count("--gate-open-until", *options.recipe.gate_open_until);
  if (options.recipe.regulariser_from) add_count("--regulariser-from", *options.recipe.regulariser_from);
  if (options.recipe.target_ramp) add_count("--target-ramp", *options.recipe.target_ramp);
  add_number("--kp", options.recipe.proportional_gain);
  add_number("--ki", options.recipe.integral_gain);
  settings["--controller"] = word_of(options.recipe.controller, controller_choices);
  add_number("--score-penalty", options.recipe.score_penalty);
  add_number("--open-probability", options.recipe.open_probability);
  add_number("--hard-probability", options.recipe.hard_probability);
  if (const auto& rates = options.recipe.hard_rates)
    add_text("--hard-rates", text_of(rates->lowest) + "," + text_of(rates->highest));
  if (options.recipe.hard_by_threshold) settings["--hard-by-threshold"] = "";
  settings["--survivor-bias"] = word_of(options.recipe.survivor_bias, survivor_bias_choices);
  add_count("--windows", options.windows);
  add_path("--save", options.save);
  add_path("--log", options.log);
  add_count("--log-every", options.log_every);
  add_count("--checkpoint-every", options.checkpoint_every);
  add_count("--keep", options.keep);
  return settings;
}

std::vector<std::string> resumed_arguments(const Settings& stored, const Settings& asked,
                                           const std::set<std::string>& given, const std::string& directory) {
  Settings resumed;
  for (const auto& [name, value] : stored) {
    if (!name.starts_with("--") || name == "--minutes") continue;  // its steps are planned
    if (!output_options.contains(name))
      resumed[name] = value;
    else if (!given.contains(name))
      std::cerr << name << " " << merganser::printable(value)
                << " of the run is passed over: give it again to write there\n";
  }
  for (const std::string& name : given) {
    if (free_options.contains(name)) {
      if (asked.contains(name)) resumed[name] = asked.at(name);
    } else if (file_options.contains(name)) {
      if (!stored.contains(name)) fail(name, asked, stored, directory);
      resumed[name] = asked.at(name);
    } else if (name == "--steps" && asked.at(name) != value_in(stored, name)) {
      throw std::invalid_argument("--steps: got " + asked.at(name) + ", expected " + value_in(stored, name) +
                                  ", as the run in " + directory +
                                  " has: its learning rate ends there. To go on from its model: train --from the last "
                                  "step in that directory, --steps for those to come");
    } else if (value_in(asked, name) != value_in(stored, name)) {
      fail(name, asked, stored, directory);
    }
  }
  std::vector<std::string> arguments;
  for (const auto& [name, value] : resumed) arguments.push_back(value.empty() ? name : name + "=" + value);
  return arguments;
}

void require_same_contents(const Settings& stored, const Settings& now, const std::string& directory) {
  for (const Settings* side : {&stored, &now})
    for (const auto& [name, value] : *side)
      if (name.starts_with(content_prefix) && value_in(stored, name) != value_in(now, name))
        fail(name, now, stored, directory);
}

}  // namespace byte_demo
