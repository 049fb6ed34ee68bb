// What a model to train is to be: that of a directory, or a small one of its own, with what the options say.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/warm_start.hpp>
#include <merganser/runs/policy_design.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/runs/train_option_table.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// The model of runs: it reads bytes and writes bytes.
using TextModel = models::EncoderDecoder<float>;

struct ModelDesign {
  TextModel::Config config;
  io::EncoderPolicies policies;
  io::NamedPolicies named_policies;      ///< makes those that have a name
  std::optional<TextModel> start;        ///< the model to start from
  std::string directory;                 ///< of that model
  std::vector<std::string> differences;  ///< from that model, as the options want it: a line each
};

/// @throws IoError if the vocabulary has no place for all bytes and a mask
inline void check_reads_bytes(const TextModel::Config& config, const std::string& directory) {
  constexpr Index needed = data::ByteTokenizer::first_extra_id + 1;
  if (config.vocabulary < needed)
    throw IoError(directory, "vocabulary", config.vocabulary,
                  "at least " + std::to_string(needed) + " ids: the bytes and one mask");
}

namespace detail {

// ---- Sizes and scores ----

inline models::StackConfig default_stack(const ModelOptions& options) {
  models::StackConfig stack;
  stack.width = options.width.value_or(default_sizes.width);
  stack.heads = options.heads.value_or(default_sizes.heads);
  stack.head_width = options.head_width.value_or(default_sizes.head_width);
  stack.feed_forward_width = options.feed_forward.value_or(default_sizes.feed_forward);
  stack.blocks = options.encoder_blocks.value_or(default_sizes.encoder_blocks);
  return stack;
}

/// The weights of another model have the sizes that they have.
inline void check_sizes(const ModelOptions& options, const TextModel::Config& config, const std::string& directory) {
  const models::StackConfig& stack = config.encoder;
  const auto check = [&](const char* option, const std::optional<Index>& asked, Index size) {
    if (asked && *asked != size)
      throw std::invalid_argument(std::string(option) + ": got " + std::to_string(*asked) + ", expected " +
                                  std::to_string(size) + " or nothing, as the model of --from " + directory + " has");
  };
  check("--width", options.width, stack.width);
  check("--heads", options.heads, stack.heads);
  check("--head-width", options.head_width, stack.head_width);
  check("--feed-forward", options.feed_forward, stack.feed_forward_width);
  check("--encoder-blocks", options.encoder_blocks, stack.blocks);
  check("--decoder-blocks", options.decoder_blocks, config.decoder_blocks);
}

inline nn::ScoreBound bounded(const ModelOptions& options, const nn::ScoreBound& bound) {
  const nn::ScoreBoundKind kind = options.score_bound.value_or(bound.kind);
  if (kind == nn::ScoreBoundKind::none) {
    if (options.score_bound_value)
      throw std::invalid_argument(
          "--score-bound-value has no effect: there is no bound; --score-bound soft_cap is one");
    return nn::ScoreBound::none();
  }
  const double usual = models::StackConfig().score_bound.value;
  return {kind, options.score_bound_value.value_or(bound.value > 0 ? bound.value : usual)};
}

/// An option about gates where there are none would be passed over.
inline void check_gate_options(const ModelOptions& options, std::optional<double> target, const ModelDesign& design) {
  if (options.gate || options.pooling || !design.policies.gates.empty()) return;
  const auto refuse = [&](const char* option) {
    throw std::invalid_argument(std::string(option) + ": the model of --from " + design.directory +
                                (design.policies.pooling ? " has a pooling and no gate" : " has no gate") +
                                "; --gate learned gives it one");
  };
  if (!options.gate_blocks.empty()) refuse("--gate-block");
  if (options.gate_noise) refuse("--gate-noise");
  if (target) refuse("--target");
}

// ---- Differences ----

inline std::string bound_words(const nn::ScoreBound& bound) {
  std::string text = word_of(bound.kind, score_bound_choices);
  if (bound.kind != nn::ScoreBoundKind::none) text.append(" ").append(to_text(bound.value));
  return text;
}

inline std::vector<std::string> differences(const ModelDesign& design) {
  const TextModel& start = *design.start;
  const io::EncoderPolicies &now = design.policies, before = io::describe_policies(start.encoder.policies);
  const std::string& directory = design.directory;
  std::vector<std::string> lines;
  const auto compare = [&](const std::string& what, const std::string& asked, const std::string& had) {
    if (asked != had) lines.push_back(what + ": " + asked + ", where " + directory + " has " + had);
  };
  compare("score bound", bound_words(design.config.encoder.score_bound),
          bound_words(start.config().encoder.score_bound));
  compare("gate", shortening_words(now), shortening_words(before));
  if (now.gates.empty() || before.gates.empty()) return lines;
  const io::GateConfig &gate = now.gates.front(), &other = before.gates.front();
  compare("gate noise", word_of(gate.noise, gate_noise_choices), word_of(other.noise, gate_noise_choices));
  if (gate.kind == other.kind && gate.kind != io::GateKind::learned)
    compare("rate of the gate", to_text(gate.rate), to_text(other.rate));
  return lines;
}

}  // namespace detail

/// The whole configuration of the model to start from, whatever it is; what an option names is as the option says.
/// Without such a model: the defaults.
/// @param target the rate of a gate that does not learn; empty: not given
/// @throws IoError if the model to start from is not there or reads no bytes
/// @throws std::invalid_argument if an option names another size than its weights have, or blocks that there are not
inline ModelDesign design_model(const ModelOptions& options, std::optional<double> target,
                                const io::LoadModelOptions& loading = {}) {
  ModelDesign design;
  design.named_policies = loading.named_policies;
  TextModel::Config& config = design.config;
  if (options.start_from.empty()) {
    config.vocabulary = data::ByteTokenizer::vocab_size;
    config.encoder = detail::default_stack(options);
    config.decoder_blocks = options.decoder_blocks.value_or(default_sizes.decoder_blocks);
    design.policies.gates = {detail::fresh_gate(io::GateKind::learned)};
    design.policies.gates.front().block = std::min(detail::default_gate_block, config.encoder.blocks - 1);
  } else {
    design.directory = options.start_from;
    design.start = io::load_model<float>(design.directory, loading);
    config = design.start->config();
    design.policies = io::describe_policies(design.start->encoder.policies);
    check_reads_bytes(config, design.directory);
    detail::check_sizes(options, config, design.directory);
    detail::check_gate_options(options, target, design);
  }
  config.encoder.score_bound = detail::bounded(options, config.encoder.score_bound);
  detail::choose_policies(options, target, config.encoder.blocks, design.policies);
  if (design.start) design.differences = detail::differences(design);
  return design;
}

/// @throws std::invalid_argument if an option that somebody has given steers gates that the model does not have
inline void check_option_effects(const TrainOptions& options, const io::EncoderPolicies& policies) {
  const bool gated = !policies.gates.empty(), learned = gated && policies.gates.front().kind == io::GateKind::learned;
  TrainOptions copy = options;
  for (const Option& option : train_option_table(copy)) {
    const bool idle =
        (option.role == OptionRole::gate && !gated) || (option.role == OptionRole::learned_gate && !learned);
    if (idle && options.given.contains(option.name))
      throw std::invalid_argument(option.name + " has no effect: the model has no gate" +
                                  (gated ? " that learns" : ""));
  }
}

/// The weights of the model to start from, if there is one; of a model of another kind, embedding and encoder.
/// @throws IoError if it has other sizes
template <class Trained>
void start_model(Trained& model, ModelDesign design) {
  if (!design.start) return;
  try {
    models::warm_start(model, *std::move(design.start));
  } catch (const std::invalid_argument& error) {
    throw IoError(design.directory, "model", error.what(), "one of the same sizes");
  }
}

/// The model as it begins: random weights, and all that the model to start from has a tensor for.
inline TextModel make_model(ModelDesign design, std::uint64_t seed) {
  TextModel model(design.config,
                  io::placements_of<float>(design.policies, design.config.encoder, design.named_policies));
  Rng rng(seed);
  model.initialize(rng);
  start_model(model, std::move(design));
  return model;
}

/// @throws std::invalid_argument if the model has no positions for so many tokens; `what` names their sequence
inline void check_length(const TextModel& model, Index tokens, const std::string& what) {
  const Index most = model.config().encoder.most_tokens();
  if (tokens > most)
    throw std::invalid_argument(what + ": got " + std::to_string(tokens) + " tokens, expected at most " +
                                std::to_string(most) + ", the positions of this model");
}

/// The same of both sides of every example.
inline void check_lengths(const TextModel& model, const std::vector<data::Example>& examples) {
  for (const data::Example& example : examples)
    for (const auto& ids : {example.source, example.target}) check_length(model, std::ssize(ids), "example");
}

}  // namespace merganser::runs
