// A convolution over groups of the same size.
#pragma once

#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/strided_convolution.hpp>
#include <merganser/nn/rms_norm.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The convolution over groups of `rate` rows of norm(x), then the exact gelu; no shortcut around it. Pads are in no
/// group; the last group may be short.
///
/// CANINE (Clark et al. 2022, arXiv 2103.06874), a baseline of Kallini et al. 2025, arXiv 2410.20771. A kernel longer
/// than the rate reads on into the next groups, as T2T (Yuan et al. 2021, arXiv 2101.11986).
template <Real Scalar>
class StridedPooling {
 public:
  using ScalarType = Scalar;
  using Gradients = StridedPooling;
  using Config = typename StridedConvolution<Scalar>::Config;

  static constexpr PolicyTraits traits{.is_structural = true, .is_training_free = false};

  struct Cache {
    typename nn::RmsNorm<Scalar>::Cache norm;
    typename StridedConvolution<Scalar>::Cache convolution;
    TokenState<Scalar> before;
    Compaction<Scalar> groups;
    SizeBias size_bias = SizeBias::none;
  };

  StridedPooling() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit StridedPooling(const Config& config) : norm({config.width}), convolution(config), config_(config) {}

  void initialize(double factor, Rng& rng) { convolution.initialize(factor, rng); }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(x, context, cache);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(x, context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    const Matrix<Scalar> grad_normed =
        convolution.backward(grad.x, cache.groups, cache.convolution, gradients.convolution);
    return {norm.backward(grad_normed, cache.norm, gradients.norm),
            cache.before.merged_bias_backward(cache.groups, grad.key_bias, cache.size_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    convolution.visit(visitor, prefix + "downsampling_module.conv.");
    norm.visit(visitor, prefix + "down_ln.");
  }

  const Config& config() const { return config_; }

  nn::RmsNorm<Scalar> norm;
  StridedConvolution<Scalar> convolution;

 private:
  Reduction<Scalar> apply(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("StridedPooling::forward", "x.rows()", x.rows(), state.total());
    cache.before = state;
    cache.size_bias = context.size_bias;
    cache.groups = Compaction<Scalar>(strided_plans<Scalar>(state.offsets, config_.rate, state.pads()), state.offsets);
    Reduction<Scalar> result;
    result.x = convolution.forward(norm.forward(x, cache.norm), cache.groups, cache.convolution);
    result.state = state.merged(cache.groups, context.size_bias).without_pads();
    result.report = PolicyReport<Scalar>::of_merge(state, cache.groups);
    return result;
  }

  Config config_;
};

}  // namespace merganser::merge
