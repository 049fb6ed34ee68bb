// The options of a training run: the one place where each of them is named.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/models/stack_config.hpp>
#include <merganser/runs/list_option.hpp>
#include <merganser/runs/option.hpp>
#include <merganser/runs/run_options.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

inline constexpr double largest_number = 1e9;
inline constexpr Index most_steps = 1000000000, longest_window = 1000000;

inline const Choices<GateChoice> gate_choices = {
    {"learned", GateChoice::learned}, {"random", GateChoice::random}, {"fixed", GateChoice::fixed}};

inline const Choices<nn::ScoreBoundKind> score_bound_choices = {{"none", nn::ScoreBoundKind::none},
                                                                {"soft_cap", nn::ScoreBoundKind::soft_cap},
                                                                {"normalised", nn::ScoreBoundKind::normalised}};

inline const Choices<merge::GateNoise> gate_noise_choices = {{"none", merge::GateNoise::none},
                                                             {"gumbel", merge::GateNoise::gumbel}};

inline const Choices<merge::SurvivorBias> survivor_bias_choices = {{"kept", merge::SurvivorBias::kept},
                                                                   {"dropped", merge::SurvivorBias::dropped}};

inline const Choices<merge::ControllerRange> controller_choices = {
    {"two-sided", merge::ControllerRange::two_sided}, {"non-negative", merge::ControllerRange::non_negative}};

inline const Choices<training::Decay> schedule_choices = {
    {"constant", training::Decay::constant},
    {"linear", training::Decay::linear},
    {"cosine", training::Decay::cosine},
    {"inverse_square_root", training::Decay::inverse_square_root}};

inline const std::vector<std::string> text_tasks = {"denoise", "span_corruption"},
                                      all_tasks = {"denoise",       "span_corruption",          "copy",
                                                   "vowel_removal", "contextual_vowel_removal", "sequence_merge"};

namespace detail {

/// One file without a language; in settings by its absolute path.
inline Option file_option(std::string name, std::string help, OptionRole role, std::vector<TextFile>& place) {
  Option option = blank_option(std::move(name), "FILE", std::move(help), role);
  option.read = [&place](const std::string& text) {
    if (text.empty()) throw std::invalid_argument("the name is empty");
    place = {{"", text}};
  };
  option.text = [&place]() -> std::optional<std::string> {
    if (place.empty()) return std::nullopt;
    return absolute_path(place.front().path);
  };
  return option;
}

/// "0.2,0.4", in any order.
inline Option rates_option(std::string name, std::string help, OptionRole role,
                           std::optional<training::RateRange>& place) {
  Option option = blank_option(std::move(name), "X,X", std::move(help), role);
  option.read = [&place](const std::string& text) {
    const std::vector<std::string> parts = split(text, ',');
    if (parts.size() != 2) refuse_value(text, "two rates with a comma between them");
    const double first = read_real(parts[0], 0, 1), second = read_real(parts[1], 0, 1);
    place = training::RateRange{std::min(first, second), std::max(first, second)};
  };
  option.text = [&place]() -> std::optional<std::string> {
    if (!place) return std::nullopt;
    return exact_text(place->lowest) + "," + exact_text(place->highest);
  };
  return option;
}

/// Puts options into groups of the help as they come.
class TableBuilder {
 public:
  void group(std::string name) { group_ = std::move(name); }
  void add(Option option, std::set<std::string> excludes = {}) {
    option.group = group_;
    option.excludes = std::move(excludes);
    table_.push_back(std::move(option));
  }
  OptionTable take() { return std::move(table_); }

 private:
  std::string group_;
  OptionTable table_;
};

inline void add_data_options(TableBuilder& table, DataOptions& options) {
  using enum OptionRole;
  table.group("Other data");
  table.add(file_option("--tsv", "Lines of a source and a target with a tab between them", input, options.pairs));
  table.add(file_option("--valid",
                        "Evaluate on this instead of a tenth of the file: the end of a text; of lines those with the "
                        "smallest hashes",
                        input, options.valid));
  table.add(word_option("--task",
                        "On --text: denoise (the default) or span_corruption. On letters of its own: copy, "
                        "vowel_removal, contextual_vowel_removal or sequence_merge",
                        data, options.task, all_tasks));
  table.add(count_option("--window", "Bytes of a sequence: 64 of a text, 32 letters of a task", data, options.window, 1,
                         longest_window));
  table.add(count_option("--shortest-window",
                         "Train on texts of half the window too, of a quarter and so on down to this, as many bytes a "
                         "step; 16, or a shorter window, unless given",
                         data, options.shortest_window, 1, longest_window));
  table.add(number_option("--noise", "Share of the bytes that denoising masks; 0.1", data, options.noise, 0, 1));
}

inline void add_model_options(TableBuilder& table, ModelOptions& options) {
  using enum OptionRole;
  table.group("Model");
  table.add(path_option("--from", "DIR",
                        "Begin with this model, as its config.json has it: sizes, gates, score bound and all the rest, "
                        "but for what other options name. A gate that it lacks begins anew, one that has no place "
                        "stays behind",
                        start, options.start_from));
  table.add(count_option("--width", "Model width; 96", model, options.width, 1, 16384));
  table.add(count_option("--heads", "Attention heads; 4", model, options.heads, 1, 1024));
  table.add(count_option("--head-width", "Width of a head; 24", model, options.head_width, 1, 4096));
  table.add(count_option("--feed-forward", "Feed-forward width; 192", model, options.feed_forward, 1, 65536));
  table.add(count_option("--encoder-blocks", "Encoder blocks; 4", model, options.encoder_blocks, 1, 128));
  table.add(count_option("--decoder-blocks", "Decoder blocks; 1", model, options.decoder_blocks, 1, 128));
  table.add(choice_option("--score-bound",
                          "Keeps attention scores in the gate's reach: soft_cap (the default), normalised or none",
                          model, options.score_bound, score_bound_choices));
  table.add(
      number_option("--score-bound-value", "The bound; 8", model, options.score_bound_value, 1e-6, largest_number));
}

inline void add_gate_options(TableBuilder& table, ModelOptions& options) {
  using enum OptionRole;
  table.group("What deletes");
  table.add(choice_option("--gate", "learned (the default); random or fixed are baselines that delete the target rate",
                          policy, options.gate, gate_choices));
  table.add(counts_option("--gate-block", "Encoder blocks, from 0, with a gate on entry, such as 1,3; 2 unless given",
                          model, options.gate_blocks, 0, 127));
  table.add(flag_option("--no-gate", "The twin that deletes nothing", policy, options.gate, GateChoice::none),
            {"--gate", "--gate-block"});
  table.add(texts_option("--policy", "NAME[:KEY=VALUE,...]",
                         "A policy by name besides, such as local_merging:block=1,rate=0.25, which the model then has; "
                         "given again, both act in this order. A wrong name prints the list",
                         policy, options.policies));
  table.add(choice_option("--gate-noise", "On the gate's logits while it learns: none (the default) or gumbel",
                          learned_gate, options.gate_noise, gate_noise_choices));
}

inline void add_recipe_options(TableBuilder& table, training::Recipe& recipe) {
  using enum OptionRole;
  table.group("How it is trained");
  table.add(count_option("--batch", "Sequences of a step", training, recipe.batch_size, 1, 65536));
  table.add(number_option("--learning-rate", "At its peak", training, recipe.learning_rate, 1e-12, largest_number));
  table.add(count_option("--warmup", "Steps to the peak", training, recipe.warmup_steps, 0, most_steps));
  table.add(choice_option("--schedule", "linear (the default), cosine, inverse_square_root or constant", training,
                          recipe.decay, schedule_choices));
  table.add(number_option("--score-penalty", "Weight of the penalty on large scores", training, recipe.score_penalty, 0,
                          largest_number));
  table.add(number_option("--open-probability", "Share of the steps without the gate once it is in", gate,
                          recipe.open_probability, 0, 1));
  table.add(number_option("--hard-probability", "Share of the steps with hard deletion", gate, recipe.hard_probability,
                          0, 1));
  table.add(
      rates_option("--hard-rates",
                   "Such steps delete a share drawn from this range, the bytes of the lowest gate values, with all "
                   "gates together; a tenth about the target unless given; with several gates or none but hard steps "
                   "the threshold decides",
                   learned_gate, recipe.hard_rates));
  table.add(flag_option("--hard-by-threshold", "Such steps delete what the gate's threshold says", learned_gate,
                        recipe.hard_by_threshold, true),
            {"--hard-rates"});
  table.add(choice_option("--survivor-bias", "Gate values of survivors in such steps: kept (the default) or dropped",
                          gate, recipe.survivor_bias, survivor_bias_choices));
  table.add(count_option("--gate-open-until", "Step at which the gate is first applied: 2000, or 40 % of a shorter run",
                         gate, recipe.gate_open_until, 0, most_steps));
  table.add(count_option("--regulariser-from", "Step at which the controller sets in; at once with the gate",
                         learned_gate, recipe.regulariser_from, 0, most_steps));
  table.add(count_option("--target-ramp",
                         "Steps from there in which the target rises from 0; an eighth of all unless given",
                         learned_gate, recipe.target_ramp, 0, most_steps));
  table.add(number_option("--kp", "Proportional gain of the controller", learned_gate, recipe.proportional_gain, 0,
                          largest_number));
  table.add(number_option("--ki", "Integral gain", learned_gate, recipe.integral_gain, 0, largest_number));
  table.add(choice_option("--controller", "two-sided (the default) or non-negative", learned_gate, recipe.controller,
                          controller_choices));
}

inline void add_run_options(TableBuilder& table, TrainOptions& options) {
  using enum OptionRole;
  table.group("Saving, and going on");
  table.add(flag_option("--force", "Save even where a model is that would be written over", process, options.overwrite,
                        Overwrite::yes));
  table.add(path_option("--checkpoints", "DIR",
                        "Where the run is saved while it goes, so that --resume can go on with it", process,
                        options.checkpoints));
  table.add(path_option("--resume", "DIR",
                        "Go on with the run whose checkpoints are there, with its options, to the same bits", process,
                        options.resume),
            {"--checkpoints"});
  table.add(
      count_option("--checkpoint-every", "Steps between checkpoints", saving, options.checkpoint_every, 1, most_steps));
  table.add(count_option("--keep", "Checkpoints to keep besides the best one", saving, options.keep, 1, 1000000));
  table.add(path_option("--log", "FILE", "JSON lines: the steps and the evaluation", output, options.log));
  table.add(count_option("--log-every", "Steps between lines of the log", saving, options.log_every, 1, most_steps));
  table.group("Running");
  table.add(
      count_option("--threads", "All cores unless given; never changes a result", process, options.threads, 1, 1024));
  table.add(count_option("--seed", "Of everything random", length, options.seed, 0,
                         std::numeric_limits<std::uint64_t>::max()));
  table.add(count_option("--windows", "Most sequences to evaluate on", evaluation, options.windows, 1, most_steps));
}

}  // namespace detail

/// Every option of a training run, in the order of the help. It writes into `options`, which outlives it.
inline OptionTable train_option_table(TrainOptions& options) {
  using enum OptionRole;
  detail::TableBuilder table;
  table.group("To begin with");
  table.add(detail::file_option("--text", "A text of any bytes", input, options.data.texts));
  table.add(
      number_option("--minutes", "As many steps as fit; prints their number", length, options.minutes, 0.001, 1e6));
  table.add(path_option("--save", "DIR", "Where the model goes; made at the end", output, options.save));
  table.add(number_option("--target", "Share of the bytes to delete; 0.3", policy, options.recipe.target, 0, 1));
  table.add(count_option("--steps", "Training steps; 2500", length, options.steps, 1, most_steps), {"--minutes"});
  detail::add_data_options(table, options.data);
  detail::add_model_options(table, options.model);
  detail::add_gate_options(table, options.model);
  detail::add_recipe_options(table, options.recipe);
  detail::add_run_options(table, options);
  return table.take();
}

/// The options with the defaults that a model without a start has in place of what was not given.
inline TrainOptions with_defaults(TrainOptions options) {
  ModelOptions& model = options.model;
  const bool denoises = !options.data.texts.empty() && options.data.task != "span_corruption";
  if (denoises && !options.data.noise) options.data.noise = default_noise;
  if (!model.start_from.empty()) return options;
  const auto set = [](auto& place, const auto& value) {
    if (!place) place = value;
  };
  set(model.width, default_sizes.width);
  set(model.heads, default_sizes.heads);
  set(model.head_width, default_sizes.head_width);
  set(model.feed_forward, default_sizes.feed_forward);
  set(model.encoder_blocks, default_sizes.encoder_blocks);
  set(model.decoder_blocks, default_sizes.decoder_blocks);
  set(model.gate, GateChoice::learned);
  set(model.score_bound, models::StackConfig().score_bound.kind);
  set(model.score_bound_value, models::StackConfig().score_bound.value);
  if (model.gate_noise == merge::GateNoise::none) model.gate_noise.reset();
  set(options.recipe.target, training::default_target);
  return options;
}

/// Everything that decides what a run comes to, and where it writes: the options in force, files by their absolute
/// paths.
inline Settings settings_of(const TrainOptions& options) {
  TrainOptions all = with_defaults(options);
  return settings_of(train_option_table(all));
}

}  // namespace merganser::runs
