// Options that several programs have in common.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include <choices.hpp>
#include <options.hpp>

namespace byte_demo {

inline constexpr double large = 1e9;

/// An option whose values have names.
template <class Place, class Value>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Place& value, const Choices<Value>& choices,
                        const std::string& help) {
  std::vector<std::string> names;
  for (const auto& choice : choices) names.push_back(choice.first);
  const auto assign = [&value, choices](const std::string& chosen) {
    for (const auto& [choice, meaning] : choices)
      if (choice == chosen) value = meaning;
  };
  return app.add_option_function<std::string>(name, assign, help)->check(CLI::IsMember(names))->option_text("NAME");
}

template <class Value>
CLI::Option* add_count(CLI::App& app, const std::string& name, Value& value, long least, long most,
                       const std::string& help) {
  return app.add_option(name, value, help)->check(CLI::Range(least, most))->option_text("N");
}

/// CLI::Range lets NaN pass.
template <class Value>
CLI::Option* add_number(CLI::App& app, const std::string& name, Value& value, double least, double most,
                        const std::string& help) {
  const auto in_range = [least, most](const std::string& text) -> std::string {
    double number = 0;
    if (CLI::detail::lexical_cast(text, number) && number >= least && number <= most) return {};
    std::ostringstream message;
    message << text << " is not a number from " << least << " to " << most;
    return message.str();
  };
  return app.add_option(name, value, help)->check(in_range)->option_text("X");
}

inline void add_threads(CLI::App& app, std::optional<int>& threads) {
  add_count(app, "--threads", threads, 1, 1024, "All cores unless given; never changes a result");
}

/// CLI11 makes -1 a large number, and one that is too large the largest.
inline std::string check_unsigned_number(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return text + " is not a whole number from 0 to " + std::to_string(std::numeric_limits<std::uint64_t>::max());
}

/// An option that names a file or a directory; an empty name, such as that of a variable that is not set, is none.
template <class Place>
CLI::Option* add_path(CLI::App& app, const std::string& name, Place& path, const std::string& kind,
                      const std::string& help) {
  const auto named = [](const std::string& text) { return text.empty() ? "the name is empty" : std::string(); };
  return app.add_option(name, path, help)->check(named)->option_text(kind);
}

inline void add_force(CLI::App& app, Overwrite& overwrite) {
  app.add_flag_function(
      "--force", [&overwrite](std::int64_t) { overwrite = Overwrite::yes; },
      "Save even where a model is that would be written over");
}

/// The command line with the options that stand before a subcommand behind it, where CLI11 looks for them.
/// @param valued the options, all with a value, that may stand there
inline std::vector<std::string> subcommand_first(std::vector<std::string> arguments, const std::set<std::string>& names,
                                                 const std::set<std::string>& valued) {
  std::size_t place = 0;
  while (place < arguments.size() && !names.contains(arguments[place])) {
    const std::string option = arguments[place].substr(0, arguments[place].find('='));
    if (!valued.contains(option)) return arguments;
    place += option == arguments[place] ? 2 : 1;
  }
  if (place < arguments.size()) {
    const auto begin = arguments.begin(), at = begin + static_cast<std::ptrdiff_t>(place);
    std::rotate(begin, at, at + 1);
  }
  return arguments;
}

inline void add_sizes(CLI::App& app, ModelOptions& model) {
  add_count(app, "--width", model.width, 1, 16384, "Model width, 96");
  add_count(app, "--heads", model.heads, 1, 1024, "Attention heads, 4");
  add_count(app, "--head-width", model.head_width, 1, 4096, "Width of a head, 24");
  add_count(app, "--feed-forward", model.feed_forward, 1, 65536, "Feed-forward width, 192");
  add_count(app, "--encoder-blocks", model.encoder_blocks, 1, 128, "4");
  add_count(app, "--decoder-blocks", model.decoder_blocks, 1, 128, "1");
}

inline void add_shortest_window(CLI::App& app, DataOptions& data) {
  add_count(
      app, "--shortest-window", data.shortest_window, 1, 1000000,
      "Train on texts of half the window too, of a quarter and so on down to this, as many bytes a step; 16, or a "
      "shorter window, unless given");
}

inline void add_start(CLI::App& app, ModelOptions& model) {
  add_path(app, "--from", model.start_from, "DIR",
           "Begin with this model, as its config.json has it: sizes, gates, score bound and all the rest, but for what "
           "other options name. A gate that it lacks begins anew, one that has no place stays behind");
}

/// Where gates stand and how they are trained; returns the option of the blocks.
inline CLI::Option* add_gate_training(CLI::App& app, TrainOptions& options) {
  ModelOptions& model = options.model;
  auto* blocks = app.add_option("--gate-block", model.gate_blocks,
                                "Encoder blocks, from 0, with a gate on entry, such as 1,3; 2 unless given")
                     ->delimiter(',')
                     ->check(CLI::Range(0, 127))
                     ->option_text("N,...");
  add_choice(app, "--gate-noise", model.gate_noise, gate_noise_choices,
             "On the gate's logits while it learns: none (the default) or gumbel");
  add_choice(app, "--score-bound", model.score_bound, score_bound_choices,
             "Keeps attention scores in the gate's reach: soft_cap (the default), normalised or none");
  add_number(app, "--score-bound-value", model.score_bound_value, 1e-6, large, "The bound, 8");
  add_number(app, "--score-penalty", options.recipe.score_penalty, 0, large,
             "Weight of the penalty on large scores, 0");
  add_number(app, "--open-probability", options.recipe.open_probability, 0, 1,
             "Share of the steps without the gate once it is in, 0.1");
  add_number(app, "--hard-probability", options.recipe.hard_probability, 0, 1,
             "Share of the steps with hard deletion, 0.5");
  auto* rates =
      app.add_option_function<std::vector<double>>(
             "--hard-rates",
             [&options](const std::vector<double>& ends) {
               const auto [lowest, highest] = std::minmax(ends.at(0), ends.at(1));
               options.recipe.hard_rates = training::RateRange{lowest, highest};
             },
             "Such steps delete a share drawn from this range, the bytes of the lowest gate values, at every gate; a "
             "tenth about the target unless given; with several gates or none but hard steps the threshold decides")
          ->delimiter(',')
          ->expected(2)
          ->check(CLI::Range(0.0, 1.0))
          ->option_text("X,X");
  app.add_flag("--hard-by-threshold", options.recipe.hard_by_threshold,
               "Such steps delete what the gate's threshold says")
      ->excludes(rates);
  add_choice(app, "--survivor-bias", options.recipe.survivor_bias, survivor_bias_choices,
             "Gate values of survivors in such steps: kept (the default) or dropped");
  add_count(app, "--gate-open-until", options.recipe.gate_open_until, 0, 1000000000,
            "Step at which the gate is first applied: 2000, or 40 % of a shorter run");
  add_count(app, "--regulariser-from", options.recipe.regulariser_from, 0, 1000000000,
            "Step at which the controller sets in; at once with the gate");
  add_count(app, "--target-ramp", options.recipe.target_ramp, 0, 1000000000,
            "Steps from there in which the target rises from 0; an eighth of all unless given");
  add_number(app, "--kp", options.recipe.proportional_gain, 0, large, "Proportional gain of the controller, 0.5");
  add_number(app, "--ki", options.recipe.integral_gain, 0, large, "Integral gain, 0.005");
  add_choice(app, "--controller", options.recipe.controller, controller_choices,
             "two-sided (the default) or non-negative");
  return blocks;
}

inline void add_optimiser(CLI::App& app, TrainOptions& options) {
  add_count(app, "--batch", options.recipe.batch_size, 1, 65536, "Sequences of a step, 32");
  add_number(app, "--learning-rate", options.recipe.learning_rate, 1e-12, large, "At its peak, 0.003");
  add_count(app, "--warmup", options.recipe.warmup_steps, 0, 1000000000, "Steps to the peak, 200");
  add_choice(app, "--schedule", options.recipe.decay, schedule_choices,
             "linear (the default), cosine, inverse_square_root or constant");
}

}  // namespace byte_demo
