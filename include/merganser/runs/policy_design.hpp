// Which policies a model to train is to have: those of the one it starts from, with what the options say.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/runs/train_option_table.hpp>
#include <merganser/training/recipe.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

inline constexpr Index default_gate_block = 2;

inline std::vector<Index> gate_blocks(const ModelOptions& options, Index blocks, const io::EncoderPolicies& policies) {
  if (!options.gate_blocks.empty()) {
    Index last = -1;
    for (const Index block : options.gate_blocks) {
      check_argument(block > last && block < blocks, "train", "--gate-block", block,
                     "rising block numbers below " + std::to_string(blocks));
      last = block;
    }
    return options.gate_blocks;
  }
  std::vector<Index> present;
  for (const io::GateConfig& gate : policies.gates) present.push_back(gate.block);
  if (present.empty() && policies.pooling) present.push_back(policies.pooling->block);
  if (present.empty()) present.push_back(std::min(default_gate_block, blocks - 1));
  return present;
}

inline io::GateKind kind_of(GateChoice choice) {
  if (choice == GateChoice::random) return io::GateKind::random;
  return choice == GateChoice::fixed ? io::GateKind::fixed : io::GateKind::learned;
}

inline io::GateConfig fresh_gate(io::GateKind kind) {
  io::GateConfig gate;
  gate.kind = kind;
  gate.rate = training::default_target;
  if (kind == io::GateKind::fixed) gate.separators = data::ByteTokenizer::separator_ids();
  return gate;
}

/// Gates of that kind, like those that are there if these are of that kind.
inline void put_gates(io::GateKind kind, const ModelOptions& options, std::optional<double> target, Index blocks,
                      io::EncoderPolicies& policies) {
  const bool same = !policies.gates.empty() && policies.gates.front().kind == kind;
  io::GateConfig gate = same ? policies.gates.front() : fresh_gate(kind);
  if (target) gate.rate = *target;
  if (options.gate_noise) gate.noise = *options.gate_noise;
  const std::vector<Index> places = gate_blocks(options, blocks, policies);
  policies.pooling.reset();
  policies.gates.clear();
  for (const Index block : places) {
    gate.block = block;
    policies.gates.push_back(gate);
  }
}

inline void put_pooling(const ModelOptions& options, Index blocks, io::EncoderPolicies& policies) {
  io::PoolingConfig pooling = *options.pooling;
  if (policies.pooling && policies.pooling->kind == pooling.kind) pooling.temperature = policies.pooling->temperature;
  pooling.block = gate_blocks(options, blocks, policies).front();
  policies.pooling = pooling;
  policies.gates.clear();
}

/// What the options say of gates and poolings; where they say nothing, the configuration stays.
inline void choose_policies(const ModelOptions& options, std::optional<double> target, Index blocks,
                            io::EncoderPolicies& policies) {
  if (!options.policies.empty()) policies.named = options.policies;
  if (options.pooling) return put_pooling(options, blocks, policies);
  if (options.gate == GateChoice::none) {
    policies.gates.clear();
    policies.pooling.reset();
  } else if (options.gate) {
    put_gates(kind_of(*options.gate), options, target, blocks, policies);
  } else if (!policies.gates.empty()) {
    put_gates(policies.gates.front().kind, options, target, blocks, policies);
  }
}

}  // namespace detail

/// "learned", "random", "fixed" or "none".
inline std::string gate_word(const io::EncoderPolicies& policies) {
  if (policies.gates.empty()) return "none";
  const io::GateKind kind = policies.gates.front().kind;
  for (const auto& [word, choice] : gate_choices)
    if (detail::kind_of(choice) == kind) return word;
  return "";
}

/// "learned at block 1,3", "boundary pooling at block 2", "local_merging:block=1, learned at block 2", "none".
inline std::string shortening_words(const io::EncoderPolicies& policies) {
  if (!policies.named.empty()) {
    io::EncoderPolicies others = policies;
    others.named.clear();
    const std::string rest = shortening_words(others);
    return joined(policies.named, ", ") + (rest == "none" ? "" : ", " + rest);
  }
  if (policies.pooling)
    return std::string(policies.pooling->kind == io::PoolingKind::strided ? "strided pooling" : "boundary pooling") +
           " at block " + std::to_string(policies.pooling->block);
  if (policies.gates.empty()) return "none";
  std::vector<std::string> blocks;
  for (const io::GateConfig& gate : policies.gates) blocks.push_back(std::to_string(gate.block));
  return gate_word(policies) + " at block " + joined(blocks);
}

}  // namespace merganser::runs
