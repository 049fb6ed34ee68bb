// What a model to train is to be.
#include <design.hpp>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>

#include <choices.hpp>

namespace byte_demo {

using merganser::IoError;
using Tokenizer = merganser::data::ByteTokenizer;

namespace {

constexpr Index default_gate_block = 2;

// ---- Sizes and scores ----

models::StackConfig default_stack(const ModelOptions& options) {
  models::StackConfig stack;
  stack.width = options.width.value_or(default_sizes.width);
  stack.heads = options.heads.value_or(default_sizes.heads);
  stack.head_width = options.head_width.value_or(default_sizes.head_width);
  stack.feed_forward_width = options.feed_forward.value_or(default_sizes.feed_forward);
  stack.blocks = options.encoder_blocks.value_or(default_sizes.encoder_blocks);
  stack.score_bound = nn::ScoreBound::soft_cap(default_score_bound);
  return stack;
}

/// The weights of another model have the sizes that they have.
void check_sizes(const ModelOptions& options, const Model::Config& config, const std::string& directory) {
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

nn::ScoreBound bounded(const ModelOptions& options, const nn::ScoreBound& bound) {
  const nn::ScoreBoundKind kind = options.score_bound.value_or(bound.kind);
  if (kind == nn::ScoreBoundKind::none) return nn::ScoreBound::none();
  return {kind, options.score_bound_value.value_or(bound.value > 0 ? bound.value : default_score_bound)};
}

// ---- Gates and poolings ----

std::vector<Index> gate_blocks(const ModelOptions& options, const Model::Config& config) {
  const Index blocks = config.encoder.blocks;
  if (!options.gate_blocks.empty()) {
    Index last = -1;
    for (const Index block : options.gate_blocks) {
      merganser::check_argument(block > last && block < blocks, "train", "--gate-block", block,
                                "rising block numbers below " + std::to_string(blocks));
      last = block;
    }
    return options.gate_blocks;
  }
  std::vector<Index> present;
  for (const merge::GateConfig& gate : config.gates) present.push_back(gate.block);
  if (present.empty() && config.pooling) present.push_back(config.pooling->block);
  if (present.empty()) present.push_back(std::min(default_gate_block, blocks - 1));
  return present;
}

merge::GateKind kind_of(GateChoice choice) {
  if (choice == GateChoice::random) return merge::GateKind::random;
  return choice == GateChoice::fixed ? merge::GateKind::fixed : merge::GateKind::learned;
}

merge::GateConfig fresh_gate(const ModelOptions& options, merge::GateKind kind) {
  merge::GateConfig gate;
  gate.kind = kind;
  gate.initial_bias = options.gate_bias;
  gate.rate = training::default_target;
  if (kind == merge::GateKind::fixed) gate.separators = Tokenizer::separator_ids();
  return gate;
}

/// Gates of that kind, like those that are there if these are of that kind.
void put_gates(merge::GateKind kind, const ModelOptions& options, std::optional<double> target, Model::Config& config) {
  const bool same = !config.gates.empty() && config.gates.front().kind == kind;
  merge::GateConfig gate = same ? config.gates.front() : fresh_gate(options, kind);
  if (target) gate.rate = *target;
  if (options.gate_noise) gate.noise = *options.gate_noise;
  const std::vector<Index> blocks = gate_blocks(options, config);
  config.pooling.reset();
  config.gates.clear();
  for (const Index block : blocks) {
    gate.block = block;
    config.gates.push_back(gate);
  }
}

void put_pooling(const ModelOptions& options, Model::Config& config) {
  merge::PoolingConfig pooling = *options.pooling;
  if (config.pooling && config.pooling->kind == pooling.kind) pooling.temperature = config.pooling->temperature;
  pooling.block = gate_blocks(options, config).front();
  config.pooling = pooling;
  config.gates.clear();
}

/// What the options say of gates and poolings; where they say nothing, the configuration stays.
void choose_deletion(const ModelOptions& options, std::optional<double> target, Model::Config& config) {
  if (options.pooling) return put_pooling(options, config);
  if (options.gate == GateChoice::none) {
    config.gates.clear();
    config.pooling.reset();
  } else if (options.gate) {
    put_gates(kind_of(*options.gate), options, target, config);
  } else if (!config.gates.empty()) {
    put_gates(config.gates.front().kind, options, target, config);
  }
}

/// An option about gates where there are none would be passed over.
void check_gate_options(const ModelOptions& options, std::optional<double> target, const Design& design) {
  if (options.gate || options.pooling || !design.config.gates.empty()) return;
  const auto refuse = [&](const char* option) {
    throw std::invalid_argument(std::string(option) + ": the model of --from " + design.directory +
                                (design.config.pooling ? " has a pooling and no gate" : " has no gate") +
                                "; --gate learned gives it one");
  };
  if (!options.gate_blocks.empty()) refuse("--gate-block");
  if (options.gate_noise) refuse("--gate-noise");
  if (target) refuse("--target");
}

// ---- Differences ----

std::string words(const nn::ScoreBound& bound) {
  std::string text = word_of(bound.kind, score_bound_choices);
  if (bound.kind != nn::ScoreBoundKind::none) text.append(" ").append(merganser::to_text(bound.value));
  return text;
}

/// "learned on entry to block 1,3", "boundaries at block 2", "none".
std::string shortening_words(const Model::Config& config) {
  if (config.pooling)
    return std::string(config.pooling->kind == merge::PoolingKind::strided ? "strided pooling" : "boundary pooling") +
           " at block " + std::to_string(config.pooling->block);
  if (config.gates.empty()) return "none";
  std::string text = word_of(config.gates.front().kind, gate_kind_choices) + " at block ";
  for (const merge::GateConfig& gate : config.gates)
    text.append(&gate == &config.gates.front() ? "" : ",").append(std::to_string(gate.block));
  return text;
}

std::vector<std::string> differences(const Model::Config& now, const Model::Config& before,
                                     const std::string& directory) {
  std::vector<std::string> lines;
  const auto compare = [&](const std::string& what, const std::string& asked, const std::string& had) {
    if (asked != had) lines.push_back(what + ": " + asked + ", where " + directory + " has " + had);
  };
  compare("score bound", words(now.encoder.score_bound), words(before.encoder.score_bound));
  compare("gate", shortening_words(now), shortening_words(before));
  if (now.gates.empty() || before.gates.empty()) return lines;
  const merge::GateConfig &gate = now.gates.front(), &other = before.gates.front();
  compare("gate noise", word_of(gate.noise, gate_noise_choices), word_of(other.noise, gate_noise_choices));
  if (gate.kind == other.kind && gate.kind != merge::GateKind::learned)
    compare("rate of the gate", merganser::to_text(gate.rate), merganser::to_text(other.rate));
  return lines;
}

}  // namespace

std::optional<merge::GateKind> Design::gate() const {
  return config.gates.empty() ? std::nullopt : std::optional(config.gates.front().kind);
}

Design design_model(const ModelOptions& options, std::optional<double> target) {
  Design design;
  design.embedding_deviation = options.embedding_deviation;
  Model::Config& config = design.config;
  if (options.start_from.empty()) {
    config.vocabulary = Tokenizer::vocab_size;
    config.encoder = default_stack(options);
    config.decoder_blocks = options.decoder_blocks.value_or(default_sizes.decoder_blocks);
    config.gates = {fresh_gate(options, merge::GateKind::learned)};
    config.gates.front().block = std::min(default_gate_block, config.encoder.blocks - 1);
  } else {
    ModelSource source;
    source.directory = design.directory = options.start_from;
    design.start = load_whole_model(source);
    check_reads_bytes(*design.start, source.directory);
    config = design.start->config();
    check_sizes(options, config, design.directory);
    check_gate_options(options, target, design);
    if (options.score_bound_value && bounded(options, config.encoder.score_bound).kind == nn::ScoreBoundKind::none)
      throw std::invalid_argument("--score-bound-value: the model of --from " + design.directory +
                                  " has no bound; --score-bound soft_cap gives it one");
  }
  config.encoder.score_bound = bounded(options, config.encoder.score_bound);
  choose_deletion(options, target, config);
  if (design.start) design.differences = differences(config, design.start->config(), design.directory);
  return design;
}

Model make_model(Design design, std::uint64_t seed) {
  Model model(design.config);
  merganser::Rng rng(seed);
  model.initialize(rng, 1.0, design.embedding_deviation);
  start(model, std::move(design));
  return model;
}

}  // namespace byte_demo
