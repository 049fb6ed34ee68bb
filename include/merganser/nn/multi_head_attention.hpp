// Multi-head attention over ragged batches: self, causal and cross.
#pragma once

#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/attention.hpp>
#include <merganser/kernels/attention_backward.hpp>
#include <merganser/nn/attention_context.hpp>
#include <merganser/nn/linear.hpp>
#include <merganser/nn/relative_position_bias.hpp>
#include <merganser/nn/score_bound.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

using kernels::SoftmaxKind;

/// y = concat_h(softmax(bound(q_h k_h^T) + position bias + key bias) v_h) W_o^T, with q = x W_q^T and k, v from
/// `memory`.
///
/// Weights: q, k, v [H K x D], o [D x H K], without biases. Scores are not divided by sqrt(K) (T5: Raffel et al. 2020,
/// arXiv 1910.10683; the factor is in the initialisation). Knows nothing of deletion: the gate comes in as key bias.
template <Real Scalar>
class MultiHeadAttention {
 public:
  using ScalarType = Scalar;
  using Gradients = MultiHeadAttention;
  using Context = AttentionContext<Scalar>;

  struct Config {
    Index width = 0;       ///< D
    Index heads = 0;       ///< H
    Index head_width = 0;  ///< K; H K may differ from D
    SoftmaxKind softmax = SoftmaxKind::softmax;
    ScoreBound score_bound;
  };

  struct Cache {
    Matrix<Scalar> query_input;                 ///< [T_q x D]
    Matrix<Scalar> memory;                      ///< [T_k x D]
    Matrix<Scalar> queries;                     ///< [T_q x H K], after normalisation
    KeyValues<Scalar> key_values;               ///< keys after normalisation
    Vector<RowRange> query_ranges, key_ranges;  ///< of the context
    Matrix<Scalar> attended;                    ///< [T_q x H K], the input of o
    Matrix<Scalar> largest_scores;              ///< [H x T_q], with key bias
    Matrix<Scalar> softmax_factors;             ///< [H x T_q]
    Matrix<Scalar> query_factors, key_factors;  ///< of the normalisation
    double excess = 0.0;                        ///< sum of max(score - limit, 0), if asked for
    double pairs = 0.0;                         ///< scores in that sum, over all heads
  };

  struct InputGradients {
    Matrix<Scalar> query_input;  ///< [T_q x D]
    Matrix<Scalar> memory;       ///< [T_k x D]
    Vector<Scalar> key_bias;     ///< [T_k]; empty when there was no key bias
  };

  MultiHeadAttention() = default;

  /// @throws std::invalid_argument if an extent is not positive or the bound has no value
  explicit MultiHeadAttention(const Config& config, Weights weights = Weights::zeros) : config_(config) {
    check_argument(config.width > 0, "MultiHeadAttention", "width", config.width, "at least 1");
    check_argument(config.heads > 0, "MultiHeadAttention", "heads", config.heads, "at least 1");
    check_argument(config.head_width > 0, "MultiHeadAttention", "head_width", config.head_width, "at least 1");
    check_argument(config.head_width <= std::numeric_limits<Index>::max() / config.heads, "MultiHeadAttention",
                   "head_width", config.head_width, "heads of a size that exists");
    const Index inner = config.heads * config.head_width;
    q = k = v = Linear<Scalar>({config.width, inner}, weights);
    o = Linear<Scalar>({inner, config.width}, weights);
    config.score_bound.check("MultiHeadAttention");
  }

  /// T5: q with deviation (D K)^-0.5, k and v with D^-0.5, o with (H K)^-0.5.
  void initialize(double factor, Rng& rng) {
    const auto width = static_cast<double>(config_.width);
    const auto head_width = static_cast<double>(config_.head_width);
    q.initialize(factor / std::sqrt(width * head_width), rng);
    k.initialize(factor / std::sqrt(width), rng);
    v.initialize(factor / std::sqrt(width), rng);
    o.initialize(factor / std::sqrt(static_cast<double>(config_.heads) * head_width), rng);
  }

  /// As Linear::prepare_for_inference.
  void prepare_for_inference(kernels::Precision precision) {
    for (Linear<Scalar>* linear : {&q, &k, &v, &o}) linear->prepare_for_inference(precision);
  }

  /// x [T_q x D] attends to memory [T_k x D] (the same rows for self-attention); result [T_q x D].
  /// Cost grows with the sum over sequences of t_q t_k.
  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, const MatrixRef<Scalar>& memory, const Context& context) const {
    return attend(x, project(memory), context);
  }

  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, const MatrixRef<Scalar>& memory, const Context& context,
                         Cache& cache) const {
    cache.query_input = x;
    cache.memory = memory;
    cache.key_values = project(memory, &cache.key_factors);
    return attend(x, cache.key_values, context, &cache);
  }

  /// Keys and values of memory [T_k x D].
  KeyValues<Scalar> project(const MatrixRef<Scalar>& memory, Matrix<Scalar>* key_factors = nullptr) const {
    KeyValues<Scalar> result{k.forward(memory), v.forward(memory), {}};
    if (normalised()) {
      Matrix<Scalar> factors = normalise_heads(result.keys, config_.heads, 1.0);
      if (key_factors != nullptr) *key_factors = std::move(factors);
    }
    return result;
  }

  /// x [T_q x D] attends to keys and values projected before. Fills all of `cache` but memory, keys and values.
  Matrix<Scalar> attend(const MatrixRef<Scalar>& x, const KeyValues<Scalar>& key_values, const Context& context,
                        Cache* cache = nullptr) const;

  /// Self-attention at inference that leaves in `cache` what RecordedAttention reads.
  Matrix<Scalar> record(const MatrixRef<Scalar>& x, const Context& context, Cache& cache) const {
    cache.key_values = project(x);
    return attend(x, cache.key_values, context, &cache);
  }

  /// What a head of a sequence adds to its products.
  kernels::HeadScores<Scalar> head_scores(const Context& context, const HeadOfSequence& part) const {
    kernels::HeadScores<Scalar> scores = context.head_scores(part);
    scores.softmax = config_.softmax;
    if (config_.score_bound.kind == ScoreBoundKind::soft_cap)
      scores.soft_cap = static_cast<Scalar>(config_.score_bound.value);
    return scores;
  }

  /// grad_y [T_q x D]. Parameter gradients are added to `gradients`; the position bias gradient is added to
  /// `grad_position_bias` unless null; `excess_weight` is the gradient of the loss with respect to `Cache::excess`.
  /// @throws std::invalid_argument if the context is not the one of forward, sequences share keys or a shape is wrong
  InputGradients backward(const MatrixRef<Scalar>& grad_y, const Context& context, const Cache& cache,
                          Gradients& gradients, DistanceBias<Scalar>* grad_position_bias = nullptr,
                          double excess_weight = 0.0) const;

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    q.visit(visitor, prefix + "q.");
    k.visit(visitor, prefix + "k.");
    v.visit(visitor, prefix + "v.");
    o.visit(visitor, prefix + "o.");
  }

  const Config& config() const { return config_; }

  Linear<Scalar> q, k, v, o;

 private:
  /// Requires keys and values of this layer.
  void check_key_values(const KeyValues<Scalar>& key_values) const {
    check_equal("MultiHeadAttention", "keys.cols()", key_values.keys.cols(), config_.heads * config_.head_width);
    check_same_shape("MultiHeadAttention", "values", key_values.values, key_values.keys);
    check_argument(key_values.packed.fits(config_.heads, config_.head_width), "MultiHeadAttention", "packed keys",
                   "heads of another layer", "heads of this one");
  }

  /// Requires what forward left, and gradients of keys that one sequence alone adds to.
  void check_backward(const Context& context, const Cache& cache, const DistanceBias<Scalar>* grad) const {
    constexpr const char* here = "MultiHeadAttention::backward";
    check_key_values(cache.key_values);
    context.check(here, cache.queries.rows(), cache.key_values.keys.rows(), config_.heads);
    check_argument(context.queries == cache.query_ranges && context.keys == cache.key_ranges, here, "context",
                   "other sequences", "those of forward");
    check_argument(are_disjoint(context.keys), here, "context.keys", "rows of two sequences", "rows of one each");
    check_equal(here, "cache.queries.cols()", cache.queries.cols(), config_.heads * config_.head_width);
    check_same_shape(here, "cache.attended", cache.attended, cache.queries);
    for (const Matrix<Scalar>* row : {&cache.largest_scores, &cache.softmax_factors}) {
      check_equal(here, "cache: heads of the softmax", row->rows(), config_.heads);
      check_equal(here, "cache: queries of the softmax", row->cols(), cache.queries.rows());
    }
    if (grad != nullptr && context.position_bias != nullptr)
      check_same_shape(here, "grad_position_bias", grad->values, context.position_bias->values);
  }

  bool normalised() const { return config_.score_bound.kind == ScoreBoundKind::normalised; }

  /// Gradients of what the products of the layer gave.
  struct ProjectedGradients {
    Matrix<Scalar> queries;       ///< [T_q x H K]
    Matrix<Scalar> keys, values;  ///< [T_k x H K]
    Matrix<Scalar> key_bias;      ///< [H x T_k], without rows when there was no key bias
  };

  /// `grad_attended` [T_q x H K] through all heads; the position bias gradient is added to `grad_position_bias`.
  ProjectedGradients backward_heads(const Matrix<Scalar>& grad_attended, const Context& context, const Cache& cache,
                                    DistanceBias<Scalar>* grad_position_bias, double excess_weight) const;

  Config config_;
};

template <Real Scalar>
Matrix<Scalar> MultiHeadAttention<Scalar>::attend(const MatrixRef<Scalar>& x, const KeyValues<Scalar>& key_values,
                                                  const Context& context, Cache* cache) const {
  context.check("MultiHeadAttention", x.rows(), key_values.keys.rows(), config_.heads);
  check_key_values(key_values);
  Matrix<Scalar> queries = q.forward(x);
  Matrix<Scalar> query_factors;
  if (normalised()) query_factors = normalise_heads(queries, config_.heads, config_.score_bound.value);
  Matrix<Scalar> attended = Matrix<Scalar>::Zero(queries.rows(), queries.cols());  // 0 where there is nothing to read
  if (cache != nullptr) {
    cache->query_ranges = context.queries;
    cache->key_ranges = context.keys;
    cache->largest_scores.resize(config_.heads, queries.rows());
    cache->softmax_factors.resize(config_.heads, queries.rows());
  }
  const Scalar limit = context.excess_limit != nullptr ? static_cast<Scalar>(*context.excess_limit) : Scalar{0};
  Vector<double> excess(context.queries.size() * config_.heads, 0.0);
  context.for_each_head(config_.heads, config_.head_width, [&](const HeadOfSequence& part, Index task) {
    kernels::SoftmaxRows<Scalar> softmax;
    if (cache != nullptr)
      softmax = {cache->largest_scores.row(part.head).data() + part.queries.begin,
                 cache->softmax_factors.row(part.head).data() + part.queries.begin};
    excess[task] = kernels::attend<Scalar>(
        part.query_block(queries), part.key_block(key_values.keys), part.key_block(key_values.values),
        head_scores(context, part), part.query_block(attended), softmax,
        context.excess_limit != nullptr ? &limit : nullptr, key_values.packed.find(part.keys, part.head));
  });
  if (cache == nullptr) return o.forward(attended);
  cache->excess = std::accumulate(excess.begin(), excess.end(), 0.0);
  cache->pairs = static_cast<double>(config_.heads * context.pairs());
  cache->queries = std::move(queries);
  cache->query_factors = std::move(query_factors);
  cache->attended = std::move(attended);
  return o.forward(cache->attended);
}

template <Real Scalar>
auto MultiHeadAttention<Scalar>::backward_heads(const Matrix<Scalar>& grad_attended, const Context& context,
                                                const Cache& cache, DistanceBias<Scalar>* grad_position_bias,
                                                double excess_weight) const -> ProjectedGradients {
  const Index heads = config_.heads;
  const KeyValues<Scalar>& kv = cache.key_values;
  const bool biased = !context.key_bias.empty();
  ProjectedGradients grad{Matrix<Scalar>::Zero(cache.queries.rows(), cache.queries.cols()),
                          Matrix<Scalar>::Zero(kv.keys.rows(), kv.keys.cols()),
                          Matrix<Scalar>::Zero(kv.values.rows(), kv.values.cols()),
                          Matrix<Scalar>::Zero(biased ? heads : 0, kv.keys.rows())};
  const bool positioned = grad_position_bias != nullptr && context.position_bias != nullptr;
  // One row a task, summed afterwards in a fixed order.
  Matrix<Scalar> grad_distance = Matrix<Scalar>::Zero(positioned ? context.queries.size() * heads : 0,
                                                      positioned ? context.position_bias->values.cols() : 0);
  context.for_each_head(heads, config_.head_width, [&](const HeadOfSequence& part, Index task) {
    kernels::HeadGradients<Scalar> head_gradients;
    if (positioned) head_gradients.distance_bias = grad_distance.row(task).data();
    if (biased) head_gradients.key_bias = grad.key_bias.row(part.head).data() + part.keys.begin;
    head_gradients.excess_weight = static_cast<Scalar>(excess_weight);
    if (context.excess_limit != nullptr) head_gradients.excess_limit = static_cast<Scalar>(*context.excess_limit);
    kernels::attend_backward<Scalar>(part.query_block(cache.queries), part.key_block(kv.keys),
                                     part.key_block(kv.values), head_scores(context, part),
                                     part.query_block(cache.attended),
                                     {cache.largest_scores.row(part.head).data() + part.queries.begin,
                                      cache.softmax_factors.row(part.head).data() + part.queries.begin},
                                     part.query_block(grad_attended), part.query_block(grad.queries),
                                     part.key_block(grad.keys), part.key_block(grad.values), head_gradients);
  });
  for (Index task = 0; task < grad_distance.rows(); ++task)
    grad_position_bias->values.row(task % heads) += grad_distance.row(task);
  return grad;
}

template <Real Scalar>
auto MultiHeadAttention<Scalar>::backward(const MatrixRef<Scalar>& grad_y, const Context& context, const Cache& cache,
                                          Gradients& gradients, DistanceBias<Scalar>* grad_position_bias,
                                          double excess_weight) const -> InputGradients {
  check_backward(context, cache, grad_position_bias);
  const Matrix<Scalar> grad_attended = o.backward(grad_y, cache.attended, gradients.o);
  ProjectedGradients grad = backward_heads(grad_attended, context, cache, grad_position_bias, excess_weight);
  if (normalised()) {
    normalise_heads_backward(cache.queries, cache.query_factors, config_.score_bound.value, grad.queries);
    normalise_heads_backward(cache.key_values.keys, cache.key_factors, 1.0, grad.keys);
  }
  InputGradients result;
  result.query_input = q.backward(grad.queries, cache.query_input, gradients.q);
  result.memory = k.backward(grad.keys, cache.memory, gradients.k);
  result.memory += v.backward(grad.values, cache.memory, gradients.v);
  if (context.key_bias.empty()) return result;
  result.key_bias.assign(cache.key_values.keys.rows(), Scalar{0});
  for (Index head = 0; head < config_.heads; ++head)
    for (Index key = 0; key < result.key_bias.size(); ++key) result.key_bias[key] += grad.key_bias(head, key);
  return result;
}

}  // namespace merganser::nn
