// What a forward pass costs in floating-point operations, from sizes and lengths alone.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/policy_layer.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// Matrices of a feed-forward layer.
enum class FeedForwardKind {
  plain,  ///< two: in and out
  gated,  ///< three: in, gate and out
};

/// The sizes of a model that its cost depends on.
struct CostShape {
  Index width = 0;               ///< D
  Index heads = 0;               ///< H
  Index head_width = 0;          ///< K
  Index feed_forward_width = 0;  ///< F
  Index blocks = 0;              ///< of the encoder
  FeedForwardKind feed_forward = FeedForwardKind::gated;
  /// Where a policy shortens the sequences of the encoder.
  struct Place {
    Index block = 0;  ///< counted from 0
    merge::Site site = merge::Site::before_block;
    bool operator==(const Place&) const = default;
    bool operator<(const Place& other) const { return block != other.block ? block < other.block : site < other.site; }
  };
  std::vector<Place> policies = {};  ///< in the order in which tokens meet them
  Index decoder_blocks = 0;
};

/// The shape of a model from its Config: one with `encoder` (a stack's sizes) and perhaps `decoder_blocks`.
template <class ModelConfig>
CostShape cost_shape(const ModelConfig& config) {
  const auto& stack = config.encoder;
  using Activation = decltype(stack.activation);
  CostShape shape;
  shape.width = stack.width;
  shape.heads = stack.heads;
  shape.head_width = stack.head_width;
  shape.feed_forward_width = stack.feed_forward_width;
  shape.blocks = stack.blocks;
  shape.feed_forward = stack.activation == Activation::gated_gelu ? FeedForwardKind::gated : FeedForwardKind::plain;
  if constexpr (requires { config.decoder_blocks; }) shape.decoder_blocks = config.decoder_blocks;
  return shape;
}

/// The same with policies at their placements.
template <class ModelConfig, class Placements>
CostShape cost_shape(const ModelConfig& config, const Placements& placements) {
  CostShape shape = cost_shape(config);
  for (const auto& placement : placements) shape.policies.push_back({placement.block, placement.site});
  std::stable_sort(shape.policies.begin(), shape.policies.end());
  return shape;
}

/// Products of a matrix [rows x inner] with one [inner x columns]; a multiplication with its addition counts as 2.
inline double product_flops(Index rows, Index inner, Index columns) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(inner) * static_cast<double>(columns);
}

/// Scores and weighted values of attention over so many pairs of a query and a key: 2 products of H K each.
inline double attention_flops(const CostShape& shape, double pairs) {
  return 2.0 * 2.0 * pairs * static_cast<double>(shape.heads * shape.head_width);
}

/// The feed-forward layer of `tokens` tokens.
inline double feed_forward_flops(const CostShape& shape, Index tokens) {
  const double matrices = shape.feed_forward == FeedForwardKind::gated ? 3.0 : 2.0;
  return matrices * product_flops(tokens, shape.width, shape.feed_forward_width);
}

/// The attention of an encoder block over one sequence: 4 projections, every token to every token.
inline double attention_block_flops(const CostShape& shape, Index length) {
  const double tokens = static_cast<double>(length);
  return 4.0 * product_flops(length, shape.width, shape.heads * shape.head_width) +
         attention_flops(shape, tokens * tokens);
}

/// One encoder block over one sequence: attention and feed-forward.
inline double encoder_block_flops(const CostShape& shape, Index length) {
  return attention_block_flops(shape, length) + feed_forward_flops(shape, length);
}

/// An encoder pass over N sequences of the given lengths [N].
///
/// kept_lengths: one vector [N] for each policy of the shape, what it leaves of each sequence; a policy costs one
/// product of its input with a vector. Empty: none acts. For soft deletion every gate leaves the full length.
/// Counted are matrix products only: norms, softmax, activations and additions are linear in tokens or pairs with small
/// factors.
/// @throws std::invalid_argument if a length is negative or grows at a policy, if the numbers of policies or sequences
/// differ, or if the places of policies fall or lie beyond the encoder
inline double encoder_flops(const CostShape& shape, std::span<const Index> lengths,
                            std::span<const std::vector<Index>> kept_lengths = {}) {
  for (std::size_t p = 0; p < shape.policies.size(); ++p) {
    const CostShape::Place& place = shape.policies[p];
    const bool inside =
        place.block >= 0 && place.block < shape.blocks + (place.site == merge::Site::before_block ? 1 : 0);
    check_argument(inside && (p == 0 || !(place < shape.policies[p - 1])), "encoder_flops", "shape.policies: block",
                   place.block, "rising block numbers of the encoder, of " + std::to_string(shape.blocks) + " blocks");
  }
  if (!kept_lengths.empty())
    check_equal("encoder_flops", "kept_lengths.size()", kept_lengths.size(), shape.policies.size());
  for (const std::vector<Index>& kept : kept_lengths)
    check_equal("encoder_flops", "kept_lengths[policy].size()", kept.size(), lengths.size());
  double flops = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Index length = lengths[i];
    check_argument(length >= 0, "encoder_flops", "lengths[" + std::to_string(i) + "]", length, "at least 0");
    std::size_t next = 0;
    const auto shorten = [&](Index block, merge::Site site) {
      while (next < kept_lengths.size() && shape.policies[next] == CostShape::Place{block, site}) {
        flops += product_flops(length, shape.width, 1);
        const Index kept = kept_lengths[next++][i];
        check_argument(kept >= 0 && kept <= length, "encoder_flops",
                       "kept_lengths[" + std::to_string(next - 1) + "][" + std::to_string(i) + "]", kept,
                       "from 0 to the length at this policy, " + std::to_string(length));
        length = kept;
      }
    };
    for (Index block = 0; block < shape.blocks; ++block) {
      shorten(block, merge::Site::before_block);
      flops += attention_block_flops(shape, length);
      shorten(block, merge::Site::after_attention);
      flops += feed_forward_flops(shape, length);
    }
    shorten(shape.blocks, merge::Site::before_block);
  }
  return flops;
}

/// The same with one policy: kept_lengths [N].
inline double encoder_flops(const CostShape& shape, std::span<const Index> lengths,
                            std::span<const Index> kept_lengths) {
  const std::vector<Index> kept(kept_lengths.begin(), kept_lengths.end());
  return encoder_flops(shape, lengths, std::span<const std::vector<Index>>(&kept, 1));
}

/// A decoder pass over N targets of lengths [N] that read memories of lengths [N], and the head over the vocabulary.
///
/// A token attends to itself and those before it, so that a pass over a target costs as much as generating it token by
/// token with stored keys and values. Projecting the memory is part of it.
/// @throws std::invalid_argument if a length is negative or the numbers of sequences differ
inline double decoder_flops(const CostShape& shape, std::span<const Index> target_lengths,
                            std::span<const Index> memory_lengths, Index vocabulary) {
  check_equal("decoder_flops", "memory_lengths.size()", memory_lengths.size(), target_lengths.size());
  const Index inner = shape.heads * shape.head_width;
  double flops = 0;
  for (std::size_t i = 0; i < target_lengths.size(); ++i) {
    const Index target = target_lengths[i], memory = memory_lengths[i];
    check_argument(target >= 0, "decoder_flops", "target_lengths[" + std::to_string(i) + "]", target, "at least 0");
    check_argument(memory >= 0, "decoder_flops", "memory_lengths[" + std::to_string(i) + "]", memory, "at least 0");
    const double tokens = static_cast<double>(target);
    const double self =
        4.0 * product_flops(target, shape.width, inner) + attention_flops(shape, tokens * (tokens + 1) / 2);
    const double cross = 2.0 * product_flops(target, shape.width, inner) +
                         2.0 * product_flops(memory, shape.width, inner) +
                         attention_flops(shape, tokens * static_cast<double>(memory));
    flops += static_cast<double>(shape.decoder_blocks) * (self + cross + feed_forward_flops(shape, target)) +
             product_flops(target, shape.width, vocabulary);
  }
  return flops;
}

/// The part of `decoder_flops` that projects memories of lengths [N] to keys and values, once a sequence.
inline double memory_projection_flops(const CostShape& shape, std::span<const Index> memory_lengths) {
  double flops = 0;
  for (const Index memory : memory_lengths)
    flops += 2.0 * product_flops(memory, shape.width, shape.heads * shape.head_width);
  return static_cast<double>(shape.decoder_blocks) * flops;
}

/// Weights that the decoder and the head read for every token they generate; all but those that project the memory.
inline double generation_step_weights(const CostShape& shape, Index vocabulary) {
  const auto width = static_cast<double>(shape.width);
  const auto inner = static_cast<double>(shape.heads * shape.head_width);
  return static_cast<double>(shape.decoder_blocks) * (6.0 * width * inner + feed_forward_flops(shape, 1) / 2) +
         width * static_cast<double>(vocabulary);
}

/// Stored keys and values, as numbers, that are read while one sequence of `target` tokens is generated over a memory.
inline double generation_cached_numbers(const CostShape& shape, Index target, Index memory) {
  const auto tokens = static_cast<double>(target);
  const double pairs = tokens * (tokens + 1) / 2 + tokens * static_cast<double>(memory);
  return static_cast<double>(shape.decoder_blocks) * attention_flops(shape, pairs) / 2;
}

/// A training step over N sources and targets: a forward pass without deletion of rows, and backward, which has two
/// products for each one of forward. The optimizer is linear in the parameters and not counted.
/// @throws std::invalid_argument if a length is negative or the numbers of sequences differ
inline double training_step_flops(const CostShape& shape, std::span<const Index> lengths,
                                  std::span<const Index> target_lengths, Index vocabulary) {
  return 3.0 * (encoder_flops(shape, lengths) + decoder_flops(shape, target_lengths, lengths, vocabulary));
}

}  // namespace merganser::evaluation
