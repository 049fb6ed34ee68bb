// Neighbours stand side by side in the channels of one row.
#pragma once

#include <cmath>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/strided_convolution.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// y = W [z_1, ..., z_k] + b over groups of k = `rate` rows, where z = V x has `compressed` numbers a token, or z = x.
/// What a short last group lacks is 0. Pads are in no group.
///
/// With z = x the patches of MEGABYTE, Yu et al. 2023, arXiv 2305.07185; with D / k numbers a token the shuffle of
/// Token-Shuffle, Ma et al. 2025, arXiv 2504.17789, whose layers on the folded rows are those of the model here.
/// Parameters: V [C x D] if there is one, W [D x k C], b [D]. Cost: n D^2, compressed to D / k as much again over k.
template <Real Scalar>
class ChannelFold {
 public:
  using ScalarType = Scalar;
  using Gradients = ChannelFold;

  static constexpr PolicyTraits traits{.is_structural = true, .is_causal = true, .is_training_free = false};

  struct Config {
    Index width = 0;       ///< D
    Index rate = 4;        ///< k, rows of a group
    Index compressed = 0;  ///< C, numbers that are left of each token; 0: all, as they are
  };

  struct Cache {
    Matrix<Scalar> x;       ///< [T x D], where it is compressed
    Matrix<Scalar> folded;  ///< [T' x k C]
    TokenState<Scalar> before;
    Compaction<Scalar> groups;
    SizeBias size_bias = SizeBias::none;
  };

  ChannelFold() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit ChannelFold(const Config& config) : config_(config) {
    check_argument(config.width > 0, "ChannelFold", "width", config.width, "at least 1");
    check_argument(config.rate > 0 && config.rate <= largest_rate, "ChannelFold", "rate", config.rate,
                   "from 1 to 65536 rows of a group");
    check_argument(config.compressed >= 0, "ChannelFold", "compressed", config.compressed, "at least 0");
    if (compresses()) compression = nn::Linear<Scalar>({config.width, config.compressed});
    projection = nn::Linear<Scalar>({config.rate * channels(), config.width});
    bias.setZero(config.width);
  }

  static constexpr Index largest_rate = Index{1} << 16;

  /// Weights normal with deviation factor * inputs^-0.5, bias 0.
  void initialize(double factor, Rng& rng) {
    if (compresses()) compression.initialize(factor / std::sqrt(static_cast<double>(config_.width)), rng);
    projection.initialize(factor / std::sqrt(static_cast<double>(projection.in_features())), rng);
  }

  /// x [T x D].
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(std::move(x), context, cache);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(std::move(x), context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    gradients.bias += grad.x.colwise().sum();
    const Matrix<Scalar> grad_folded = projection.backward(grad.x, cache.folded, gradients.projection);
    Matrix<Scalar> grad_z = Matrix<Scalar>::Zero(cache.before.total(), channels());
    for_each_slot(cache.groups, [&](Index in, Index out, Index slot) {
      grad_z.row(in) = grad_folded.row(out).segment(slot * channels(), channels());
    });
    return {compresses() ? compression.backward(grad_z, cache.x, gradients.compression) : std::move(grad_z),
            cache.before.merged_bias_backward(cache.groups, grad.key_bias, cache.size_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (compresses()) compression.visit(visitor, prefix + "channel_fold.compression.");
    projection.visit(visitor, prefix + "channel_fold.projection.");
    visitor(prefix + "channel_fold.projection.bias", bias);
  }

  const Config& config() const { return config_; }

  nn::Linear<Scalar> compression;  ///< V, if there is one
  nn::Linear<Scalar> projection;   ///< W
  RowVector<Scalar> bias;

 private:
  bool compresses() const { return config_.compressed > 0; }

  Index channels() const { return compresses() ? config_.compressed : config_.width; }

  Reduction<Scalar> apply(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("ChannelFold::forward", "x.rows()", x.rows(), state.total());
    check_equal("ChannelFold::forward", "x.cols()", x.cols(), config_.width);
    cache.before = state;
    cache.size_bias = context.size_bias;
    cache.groups = Compaction<Scalar>(strided_plans<Scalar>(state.offsets, config_.rate, state.pads()), state.offsets);
    if (compresses()) cache.x = x;
    const Matrix<Scalar> z = compresses() ? compression.forward(x) : std::move(x);
    cache.folded = Matrix<Scalar>::Zero(cache.groups.output_offsets().total(), projection.in_features());
    for_each_slot(cache.groups, [&](Index in, Index out, Index slot) {
      cache.folded.row(out).segment(slot * channels(), channels()) = z.row(in);
    });
    Reduction<Scalar> result;
    result.x = projection.forward(cache.folded).rowwise() + bias;
    result.state = state.merged(cache.groups, context.size_bias).without_pads();
    result.report = PolicyReport<Scalar>::of_merge(state, cache.groups);
    return result;
  }

  /// Calls visit(row in, row out, its place in the group).
  template <class Visit>
  static void for_each_slot(const Compaction<Scalar>& groups, Visit&& visit) {
    groups.for_each_row([&](Index first, Index out, std::span<const Member<Scalar>> members) {
      for (Index slot = 0; const Member<Scalar>& member : members) visit(first + member.token, out, slot++);
    });
  }

  Config config_;
};

}  // namespace merganser::merge
