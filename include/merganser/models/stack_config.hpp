// The sizes and choices that encoder and decoder share.
#pragma once

#include <limits>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/nn/feed_forward.hpp>
#include <merganser/nn/multi_head_attention.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// How a token knows where it stands.
enum class PositionScheme {
  relative,  ///< bucketed bias on the scores, shared by all blocks of a stack (T5)
  absolute,  ///< a learned vector a position, added to the embedding
};

/// A stack of pre-norm transformer blocks as in T5 1.1, with the bound on attention scores that a gate needs
/// (docs/training.md): without one a model learns to read what is deleted.
struct StackConfig {
  Index width = 64;                ///< D
  Index heads = 4;                 ///< H
  Index head_width = 16;           ///< K; H K may differ from D
  Index feed_forward_width = 128;  ///< F
  Index blocks = 2;
  nn::Activation activation = nn::Activation::gated_gelu;
  nn::SoftmaxKind softmax = nn::SoftmaxKind::softmax1;
  nn::ScoreBound score_bound = nn::ScoreBound::soft_cap(8);  ///< of published checkpoints none
  double dropout = 0.0;                                      ///< in [0, 1), while training
  double norm_epsilon = 1e-6;
  PositionScheme positions = PositionScheme::relative;
  Index buckets = 32;         ///< of the relative scheme
  Index max_distance = 128;   ///< of the relative scheme
  Index max_positions = 512;  ///< of the absolute scheme

  /// Of a sequence: a table of positions ends somewhere, distances do not.
  Index most_tokens() const {
    return positions == PositionScheme::absolute ? max_positions : std::numeric_limits<Index>::max();
  }
};

}  // namespace merganser::models
