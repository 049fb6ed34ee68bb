// Every row of a group is a mixture of blocks of several sizes, and the group becomes their mean.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/block_mixture.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/strided_convolution.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Groups of `rate` rows become the mean of a soft mixture of blocks of several sizes; see BlockMixture. In front of it
/// stands a convolution over every channel, as long as the largest block and reaching forward, and a linear map.
///
/// GBST of Charformer, Tay et al. 2022, arXiv 2106.12672: a tokenizer that learns, for the rows that enter a model.
/// Pads are as if they were not there. The published score has a bias besides, which softmax cancels. Cost: 2 n D^2,
/// and that of the mixture.
template <Real Scalar>
class Gbst {
 public:
  using ScalarType = Scalar;
  using Gradients = Gbst;

  static constexpr PolicyTraits traits{.is_structural = true, .is_training_free = false};

  struct Config {
    Index width = 0;                                  ///< D
    Index rate = 2;                                   ///< rows of a group
    Vector<BlockSize> blocks = {{1}, {2}, {3}, {4}};  ///< at least one
    bool consensus = true;                            ///< the weights of a token hang on those of all
    Edges edges = Edges::real_rows;
  };

  struct Cache {
    TokenState<Scalar> before;
    Compaction<Scalar> real, groups;
    SizeBias size_bias = SizeBias::none;
    Matrix<Scalar> x, convolved;  ///< [R x D] without pads
    Vector<typename BlockMixture<Scalar>::Cache> mixtures;
  };

  Gbst() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit Gbst(const Config& config) : config_(config) {
    check_argument(config.width > 0, "Gbst", "width", config.width, "at least 1");
    check_argument(config.rate > 0, "Gbst", "rate", config.rate, "at least 1");
    check_argument(!config.blocks.empty(), "Gbst", "blocks", "none", "at least one");
    Index longest = 1;
    for (const BlockSize& block : config.blocks) {
      check_argument(block.size > 0 && block.size <= largest_block, "Gbst", "block size", block.size,
                     "from 1 to 4096 rows");
      check_argument(block.offset >= 0 && block.offset < block.size, "Gbst", "block offset", block.offset,
                     "at least 0 and below the size");
      longest = std::max(longest, block.size);
    }
    convolution.setZero(config.width, longest);
    convolution.taps = longest;
    convolution_bias.setZero(config.width);
    projection = nn::Linear<Scalar>({config.width, config.width});
    projection_bias.setZero(config.width);
    score.setZero(config.width);
  }

  static constexpr Index largest_block = 4096;

  /// Weights normal with deviation factor * inputs^-0.5, biases 0.
  void initialize(double factor, Rng& rng) {
    nn::fill_normal(convolution, factor / std::sqrt(static_cast<double>(convolution.taps)), rng);
    projection.initialize(factor / std::sqrt(static_cast<double>(config_.width)), rng);
    nn::fill_normal(score, factor / std::sqrt(static_cast<double>(config_.width)), rng);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(x, context, cache);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(x, context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    const SequenceOffsets& in = cache.real.output_offsets();
    const SequenceOffsets& out = cache.groups.output_offsets();
    check_equal("Gbst::backward", "grad.x.rows()", grad.x.rows(), out.total());
    Matrix<Scalar> grad_mixed(in.total(), config_.width);
    for (Index i = 0; i < in.count(); ++i)
      mixture().backward(grad.x.middleRows(out.begin(i), out.length(i)), score, cache.mixtures[i],
                         grad_mixed.middleRows(in.begin(i), in.length(i)), gradients.score);
    gradients.projection_bias += grad_mixed.colwise().sum();
    const Matrix<Scalar> grad_convolved = projection.backward(grad_mixed, cache.convolved, gradients.projection);
    return {cache.real.compact_backward(convolve_backward(grad_convolved, cache, gradients)),
            cache.before.merged_bias_backward(cache.groups, grad.key_bias, cache.size_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "gbst.convolution.weight", convolution);
    visitor(prefix + "gbst.convolution.bias", convolution_bias);
    projection.visit(visitor, prefix + "gbst.projection.");
    visitor(prefix + "gbst.projection.bias", projection_bias);
    visitor(prefix + "gbst.score.weight", score);
  }

  const Config& config() const { return config_; }

  ConvolutionWeight<Scalar> convolution;  ///< [D x taps], of each channel its own
  RowVector<Scalar> convolution_bias;
  nn::Linear<Scalar> projection;
  RowVector<Scalar> projection_bias;
  RowVector<Scalar> score;  ///< w [D]

 private:
  BlockMixture<Scalar> mixture() const { return {config_.blocks, config_.rate, config_.consensus, config_.edges}; }

  Reduction<Scalar> apply(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("Gbst::forward", "x.rows()", x.rows(), state.total());
    check_equal("Gbst::forward", "x.cols()", x.cols(), config_.width);
    const Vector<std::uint8_t> pads = state.pads();
    cache.before = state;
    cache.size_bias = context.size_bias;
    cache.real = Compaction<Scalar>(without(pads, state.offsets), state.offsets);
    cache.groups = Compaction<Scalar>(strided_plans<Scalar>(state.offsets, config_.rate, pads), state.offsets);
    cache.x = cache.real.compact(x);
    cache.convolved = convolve(cache.x, cache.real.output_offsets());
    const Matrix<Scalar> mixed = projection.forward(cache.convolved).rowwise() + projection_bias;
    const SequenceOffsets& in = cache.real.output_offsets();
    const SequenceOffsets& out = cache.groups.output_offsets();
    Reduction<Scalar> result;
    result.x.resize(out.total(), config_.width);
    cache.mixtures.resize(in.count());
    for (Index i = 0; i < in.count(); ++i)
      mixture().forward(mixed.middleRows(in.begin(i), in.length(i)), score,
                        result.x.middleRows(out.begin(i), out.length(i)), cache.mixtures[i]);
    result.state = state.merged(cache.groups, context.size_bias).without_pads();
    result.report = PolicyReport<Scalar>::of_merge(state, cache.groups);
    return result;
  }

  static Vector<MergePlan<Scalar>> without(Marks pads, const SequenceOffsets& offsets) {
    Vector<MergePlan<Scalar>> plans;
    for (const RowRange& range : offsets.ranges()) {
      MergePlan<Scalar>& plan = plans.emplace_back(range.length);
      for (Index t = 0; t < range.length; ++t)
        if (!pads[range.begin + t]) plan.keep(t);
    }
    return plans;
  }

  /// [taps x D]: a row a tap.
  Matrix<Scalar> taps() const { return convolution.transpose(); }

  /// z_tc = sum over taps k of W_ck x_(t+k)c + b_c, of rows up to the end of the sequence.
  Matrix<Scalar> convolve(const Matrix<Scalar>& x, const SequenceOffsets& offsets) const {
    Matrix<Scalar> y = convolution_bias.replicate(x.rows(), 1);
    const Matrix<Scalar> weights = taps();
    for_each_tap(offsets, [&](Index out, Index in, Index tap) {
      add_products(x.cols(), weights.row(tap).data(), x.row(in).data(), y.row(out).data());
    });
    return y;
  }

  Matrix<Scalar> convolve_backward(const Matrix<Scalar>& grad_y, const Cache& cache, Gradients& gradients) const {
    gradients.convolution_bias += grad_y.colwise().sum();
    Matrix<Scalar> grad_x = Matrix<Scalar>::Zero(grad_y.rows(), grad_y.cols());
    const Matrix<Scalar> weights = taps();
    Matrix<Scalar> grad_weights = Matrix<Scalar>::Zero(weights.rows(), weights.cols());
    for_each_tap(cache.real.output_offsets(), [&](Index out, Index in, Index tap) {
      add_products(grad_y.cols(), weights.row(tap).data(), grad_y.row(out).data(), grad_x.row(in).data());
      add_products(grad_y.cols(), cache.x.row(in).data(), grad_y.row(out).data(), grad_weights.row(tap).data());
    });
    gradients.convolution += grad_weights.transpose();
    return grad_x;
  }

  /// sum_c += a_c b_c
  static void add_products(Index count, const Scalar* a, const Scalar* b, Scalar* sum) {
    kernels::transform(
        count, sum, [](const auto& x, const auto& y, const auto& total) { return kernels::multiply_add(x, y, total); },
        a, b, static_cast<const Scalar*>(sum));
  }

  /// Calls visit(row out, row in, tap).
  template <class Visit>
  void for_each_tap(const SequenceOffsets& offsets, Visit&& visit) const {
    for (const RowRange& range : offsets.ranges())
      for (Index t = range.begin; t < range.end(); ++t)
        for (Index tap = 0; tap < convolution.taps && t + tap < range.end(); ++tap) visit(t, t + tap, tap);
  }

  Config config_;
};

}  // namespace merganser::merge
