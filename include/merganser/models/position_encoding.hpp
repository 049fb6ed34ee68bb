// Where tokens stand: a bias on the scores or a vector on the embedding, by configuration.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/models/stack_config.hpp>
#include <merganser/nn/embedding.hpp>
#include <merganser/nn/relative_position_bias.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// The position scheme of one stack. Only the parameters of the chosen scheme exist.
template <Real Scalar>
class PositionEncoding {
 public:
  using ScalarType = Scalar;
  using Gradients = PositionEncoding;
  using Cache = typename nn::Embedding<Scalar>::Cache;

  PositionEncoding() = default;

  PositionEncoding(const StackConfig& stack, nn::Direction direction) : scheme_(stack.positions), width_(stack.width) {
    if (scheme_ == PositionScheme::relative)
      relative = nn::RelativePositionBias<Scalar>({stack.buckets, stack.max_distance, stack.heads, direction});
    else
      absolute = nn::Embedding<Scalar>({stack.max_positions, stack.width});
  }

  /// T5: the relative table normal with deviation D^-0.5; the absolute one with 1, like token embeddings.
  void initialize(double factor, Rng& rng) {
    if (scheme_ == PositionScheme::relative)
      relative.initialize(factor / std::sqrt(static_cast<double>(width_)), rng);
    else
      absolute.initialize(factor, rng);
  }

  /// Adds the vectors of the absolute scheme to x [T x D]; nothing otherwise.
  /// @throws std::invalid_argument if a position is past the table
  void add(Matrix<Scalar>& x, std::span<const Position> positions, Cache* cache) const {
    if (scheme_ != PositionScheme::absolute) return;
    for (const Position position : positions)
      if (position < 0 || position >= absolute.weight.rows())
        throw_invalid_argument(
            "PositionEncoding::add", "position", position,
            "one in the table of " + std::to_string(absolute.weight.rows()) + ", the tokens that a text may have");
    x += absolute.forward(positions);
    if (cache != nullptr) cache->assign(positions.begin(), positions.end());
  }

  /// The bias of the relative scheme, wide enough for the positions; empty otherwise.
  /// @throws std::invalid_argument if a position is negative
  nn::DistanceBias<Scalar> bias(std::span<const Position> positions) const {
    if (positions.empty()) return bias_up_to(0);
    const auto [smallest, largest] = std::minmax_element(positions.begin(), positions.end());
    check_argument(*smallest >= 0, "PositionEncoding::bias", "positions", *smallest, "positions from 0");
    return bias_up_to(*largest);
  }

  nn::DistanceBias<Scalar> bias_up_to(Index largest_position) const {
    if (scheme_ != PositionScheme::relative) return {};
    return relative.by_distance(largest_position);
  }

  /// grad_x [T x D] is the gradient of the sum that `add` made, grad_bias that of `bias`.
  void backward(const Matrix<Scalar>& grad_x, const nn::DistanceBias<Scalar>& grad_bias, const Cache& cache,
                Gradients& gradients) const {
    if (scheme_ == PositionScheme::relative)
      relative.backward(grad_bias, gradients.relative);
    else
      absolute.backward(grad_x, cache, gradients.absolute);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (scheme_ == PositionScheme::relative)
      relative.visit(visitor, prefix + "block.0.layer.0.SelfAttention.relative_attention_bias.");
    else
      absolute.visit(visitor, prefix + "absolute_pos_embed.");
  }

  nn::RelativePositionBias<Scalar> relative;
  nn::Embedding<Scalar> absolute;

 private:
  PositionScheme scheme_ = PositionScheme::relative;
  Index width_ = 1;
};

}  // namespace merganser::models
