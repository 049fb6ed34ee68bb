// Tokens that are unlike the one in front of them begin a chunk and stay.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// p = (1 - cosine(W_q x_before, W_k x)) / 2; a token stays if p is above 1/2, and the first always, with p = 1.
///
/// The router gets no gradient through the choice: it learns through p, which the way back reads (`Smoothing`), and
/// through the auxiliary "ratio", N / (N - 1) ((N - 1) F G + (1 - F) (1 - G)) with the share F of tokens that stay and
/// the mean G of p, as F is a constant. H-Net: Hwang et al. 2025, arXiv 2507.07955. Cost: 4 n D^2.
template <Real Scalar>
class HNetRouting {
 public:
  using ScalarType = Scalar;
  using Gradients = HNetRouting;

  struct Config {
    Index width = 0;     ///< D
    double ratio = 5.0;  ///< N: tokens a chunk that are wanted, above 1
    /// A token is compared with the one behind it, and stays if it ends a chunk: p = (1 - cosine(W_q x, W_k x_behind))
    /// / 2, of the last token 1. Not causal. Bolmo: Minixhofer et al. 2025, arXiv 2512.15586.
    bool lookahead = false;
  };

  struct Cache {
    TokenState<Scalar> before;
    Compaction<Scalar> rows;
    SizeBias size_bias = SizeBias::none;
    Matrix<Scalar> x, queries, keys;  ///< [T x D]
    Vector<Index> other;              ///< [T] the token that each is compared with, or -1: settled, or a pad
    Vector<Scalar> grad_ratio;        ///< [T]
  };

  HNetRouting() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit HNetRouting(const Config& config)
      : q({config.width, config.width}), k({config.width, config.width}), config_(config) {
    check_argument(config.ratio > 1 && std::isfinite(config.ratio), "HNetRouting", "ratio", config.ratio, "above 1");
  }

  PolicyTraits traits() const {
    return {.is_structural = true, .is_causal = !config_.lookahead, .is_training_free = false};
  }

  /// As published, W_q = W_k = 1: it begins with the cosines of the tokens themselves.
  void initialize(double, Rng&) {
    for (Matrix<Scalar>* matrix : {&q.weight.matrix(), &k.weight.matrix()}) {
      matrix->setZero();
      for (Index i = 0; i < matrix->rows(); ++i) (*matrix)(i, i) = Scalar{1};
    }
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(std::move(x), context, cache);
  }
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(std::move(x), context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    Vector<Scalar> grad_p(cache.x.rows(), Scalar{0});
    add_gradient<Scalar>(grad.report.scores, grad_p);
    if (!grad.report.auxiliaries.empty())
      for (Index t = 0; t < grad_p.size(); ++t)
        grad_p[t] += static_cast<Scalar>(grad.report.auxiliaries[0]) * cache.grad_ratio[t];
    Matrix<Scalar> grad_queries = Matrix<Scalar>::Zero(cache.x.rows(), cache.x.cols());
    Matrix<Scalar> grad_keys = grad_queries;
    for (Index t = 0; t < grad_p.size(); ++t)
      if (cache.other[t] >= 0) pair_backward(grad_p[t], pair(t, cache.other[t]), cache, grad_queries, grad_keys);
    Matrix<Scalar> grad_x = cache.rows.compact_backward(grad.x);
    grad_x += q.backward(grad_queries, cache.x, gradients.q);
    grad_x += k.backward(grad_keys, cache.x, gradients.k);
    return {std::move(grad_x), cache.before.merged_bias_backward(cache.rows, grad.key_bias, cache.size_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    q.visit(visitor, prefix + "q_proj_layer.");
    k.visit(visitor, prefix + "k_proj_layer.");
  }

  const Config& config() const { return config_; }

  nn::Linear<Scalar> q, k;

 private:
  /// Which query is compared with which key.
  struct Pair {
    Index query, key;
  };

  Pair pair(Index token, Index other) const { return config_.lookahead ? Pair{token, other} : Pair{other, token}; }

  Reduction<Scalar> apply(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("HNetRouting::forward", "x.rows()", x.rows(), state.total());
    const Vector<std::uint8_t> pads = state.pads();
    cache.before = state;
    cache.size_bias = context.size_bias;
    cache.queries = q.forward(x);
    cache.keys = k.forward(x);
    cache.x = std::move(x);
    cache.other.assign(state.total(), -1);
    cache.grad_ratio.assign(state.total(), Scalar{0});
    Vector<Scalar> p(state.total(), Scalar{0});
    Vector<MergePlan<Scalar>> plans;
    for (const RowRange& range : state.offsets.ranges()) plans.push_back(route(range, pads, p, cache));
    cache.rows = Compaction<Scalar>(std::move(plans), state.offsets);
    Reduction<Scalar> result;
    result.x = cache.rows.compact(cache.x);
    result.state = state.merged(cache.rows, context.size_bias).without_pads();
    result.report = PolicyReport<Scalar>::of_merge(state, cache.rows);
    result.report.auxiliaries.push_back({"ratio", ratio_loss(p, pads, cache), false, MeanOver::sequences});
    result.report.scores = std::move(p);
    return result;
  }

  /// Of one sequence: p, whom each token is compared with, and who stays.
  MergePlan<Scalar> route(const RowRange& range, Marks pads, Vector<Scalar>& p, Cache& cache) const {
    Vector<Index> tokens, kept;
    for (Index t = range.begin; t < range.end(); ++t)
      if (!pads[t]) tokens.push_back(t);
    for (Index i = 0; i < tokens.size(); ++i) {
      const Index t = tokens[i], other = i + (config_.lookahead ? 1 : -1);
      const bool settled = i == 0 || other == tokens.size();
      if (!settled) cache.other[t] = tokens[other];
      p[t] = settled ? Scalar{1} : (1 - cosine_of(pair(t, cache.other[t]), cache)) / 2;
      if (p[t] > Scalar{0.5} || settled) kept.push_back(t - range.begin);
    }
    return MergePlan<Scalar>::keeping(kept, range.length);
  }

  static Scalar length(const Matrix<Scalar>& m, Index row) {
    return std::sqrt(kernels::dot(m.cols(), m.row(row).data(), m.row(row).data()));
  }

  /// 0 where one is zero.
  static Scalar cosine_of(const Pair& at, const Cache& cache) {
    const Scalar lengths = length(cache.queries, at.query) * length(cache.keys, at.key);
    if (!(lengths > 0)) return Scalar{0};
    const Scalar product =
        kernels::dot(cache.x.cols(), cache.queries.row(at.query).data(), cache.keys.row(at.key).data());
    return std::clamp(product / lengths, Scalar{-1}, Scalar{1});
  }

  static void pair_backward(Scalar grad_p, const Pair& at, const Cache& cache, Matrix<Scalar>& grad_queries,
                            Matrix<Scalar>& grad_keys) {
    const Scalar a = length(cache.queries, at.query), b = length(cache.keys, at.key), slope = -grad_p / 2;
    if (!(a * b > 0)) return;
    const Scalar cosine = cosine_of(at, cache);
    const Index width = cache.x.cols();
    const Scalar *const query = cache.queries.row(at.query).data(), *const key = cache.keys.row(at.key).data();
    kernels::add_scaled(width, slope / (a * b), key, grad_queries.row(at.query).data());
    kernels::add_scaled(width, -slope * cosine / (a * a), query, grad_queries.row(at.query).data());
    kernels::add_scaled(width, slope / (a * b), query, grad_keys.row(at.key).data());
    kernels::add_scaled(width, -slope * cosine / (b * b), key, grad_keys.row(at.key).data());
  }

  /// The mean over sequences that have tokens, and its gradient to the cache.
  double ratio_loss(const Vector<Scalar>& p, Marks pads, Cache& cache) const {
    const SequenceOffsets &input = cache.rows.input_offsets(), &output = cache.rows.output_offsets();
    Index sequences = 0;
    for (Index i = 0; i < output.count(); ++i) sequences += output.length(i) > 0 ? 1 : 0;
    const double wanted = config_.ratio, scale = wanted / (wanted - 1) / static_cast<double>(sequences);
    double value = 0;
    for (Index i = 0; i < input.count(); ++i) {
      if (output.length(i) == 0) continue;
      double tokens = 0, sum = 0;
      for (Index t = input.begin(i); t < input.end(i); ++t) {
        tokens += pads[t] ? 0 : 1;
        sum += static_cast<double>(p[t]);
      }
      const double stay = static_cast<double>(output.length(i)) / tokens, mean = sum / tokens;
      value += scale * ((wanted - 1) * stay * mean + (1 - stay) * (1 - mean));
      for (Index t = input.begin(i); t < input.end(i); ++t)
        if (cache.other[t] >= 0)
          cache.grad_ratio[t] = static_cast<Scalar>(scale * ((wanted - 1) * stay - (1 - stay)) / tokens);
    }
    return value;
  }

  Config config_;
};

}  // namespace merganser::merge
