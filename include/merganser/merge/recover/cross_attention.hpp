// Tokens come back by looking at the rows: cross-attention.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/attention.hpp>
#include <merganser/kernels/attention_backward.hpp>
#include <merganser/merge/recovery.hpp>
#include <merganser/nn/attention_context.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// x + proj(concat_h(softmax(q_h k_h^T / sqrt(K)) v_h)): queries of the tokens that came into the policy, keys and
/// values of the rows y that come back, of the same sequence.
///
/// HoT: Li et al. 2024, arXiv 2311.12028, where the queries are a learned table of positions; and the decoder of BLT:
/// Pagnoni et al. 2024, arXiv 2412.09871. Cost: 4 n n' H K + 4 (n + n') D H K for n' rows.
template <Real Scalar>
class CrossAttention {
 public:
  using ScalarType = Scalar;
  using Gradients = CrossAttention;

  struct Config {
    Index width = 0;       ///< D, of the tokens
    Index back_width = 0;  ///< D', of the rows and of what comes back; 0: D
    Index heads = 1;       ///< H
    Index head_width = 0;  ///< K; 0: D / H, which then must be whole
    bool biases = true;    ///< of the four linear maps
    bool residual = true;  ///< x is added; then D = D'
    bool causal = false;   ///< a token sees the rows that stand at its place or in front of it; if none, proj(0)
  };

  struct Cache {
    Matrix<Scalar> x, y;                             ///< [T x D] without pads, [T' x D']
    Matrix<Scalar> queries, keys, values, attended;  ///< [.. x H K]; queries are scaled
    Matrix<Scalar> largest, factors;                 ///< [H x T] of the softmax
    SequenceOffsets tokens, rows;
    Vector<Position> token_positions, row_positions;
    Vector<std::uint8_t> hidden;  ///< [T'] or empty
    Vector<std::uint8_t> pads;    ///< [T] or empty
    Vector<std::uint8_t> blind;   ///< [T] not 0 where a token sees no row
  };

  CrossAttention() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit CrossAttention(Config config) {
    constexpr const char* here = "CrossAttention";
    check_argument(config.width > 0, here, "width", config.width, "at least 1");
    check_argument(config.back_width >= 0, here, "back_width", config.back_width, "at least 0");
    check_argument(config.heads > 0, here, "heads", config.heads, "at least 1");
    if (config.back_width == 0) config.back_width = config.width;
    if (config.head_width == 0) {
      check_argument(config.width % config.heads == 0, here, "heads", config.heads, "a part of the width");
      config.head_width = config.width / config.heads;
    }
    check_argument(config.head_width > 0 && config.head_width <= std::numeric_limits<Index>::max() / config.heads, here,
                   "head_width", config.head_width, "at least 1, and heads of a size that exists");
    if (config.residual) check_equal(here, "back_width", config.back_width, config.width);
    const Index inner = config.heads * config.head_width, biases = config.biases ? 1 : 0;
    q = nn::Linear<Scalar>({config.width, inner});
    k = v = nn::Linear<Scalar>({config.back_width, inner});
    proj = nn::Linear<Scalar>({inner, config.back_width});
    q_bias = k_bias = v_bias = RowVector<Scalar>::Zero(biases * inner);
    proj_bias = RowVector<Scalar>::Zero(biases * config.back_width);
    config_ = config;
  }

  /// Weights normal with deviation factor / sqrt(their inputs), biases 0.
  void initialize(double factor, Rng& rng) {
    for (nn::Linear<Scalar>* linear : {&q, &k, &v, &proj})
      linear->initialize(factor / std::sqrt(static_cast<double>(linear->in_features())), rng);
    for (RowVector<Scalar>* bias : {&q_bias, &k_bias, &v_bias, &proj_bias}) bias->setZero();
  }

  bool is_causal() const { return config_.causal; }

  /// y [T' x D'] to [T x D'].
  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced) const {
    Cache cache;
    return forward(y, reduced, cache);
  }

  Matrix<Scalar> forward(const Matrix<Scalar>& y, const Reduced<Scalar>& reduced, Cache& cache) const {
    reduced.check("CrossAttention::forward", y);
    cache.tokens = reduced.state.offsets;
    cache.rows = reduced.reduction.state.offsets;
    cache.token_positions = reduced.state.positions;
    cache.row_positions = reduced.reduction.state.positions;
    cache.hidden = reduced.reduction.state.hidden;
    cache.pads = reduced.state.pads();
    cache.x = without_pads(reduced.x, cache.pads);
    cache.y = y;
    find_blind(cache);
    cache.queries = with_bias(q.forward(cache.x), q_bias) * scale();
    cache.keys = with_bias(k.forward(y), k_bias);
    cache.values = with_bias(v.forward(y), v_bias);
    attend(cache);
    Matrix<Scalar> result = with_bias(proj.forward(cache.attended), proj_bias);
    if (config_.residual) result += cache.x;
    return without_pads(std::move(result), cache.pads);
  }

  /// grad [T x D'].
  RecoveryGradient<Scalar> backward(const Matrix<Scalar>& grad, const Cache& cache, Gradients& gradients) const {
    check_equal("CrossAttention::backward", "grad.rows()", grad.rows(), cache.x.rows());
    check_equal("CrossAttention::backward", "grad.cols()", grad.cols(), config_.back_width);
    const Matrix<Scalar> seen = without_pads(grad, cache.pads);
    add_bias_gradient(seen, gradients.proj_bias);
    const Matrix<Scalar> grad_attended = without_pads(proj.backward(seen, cache.attended, gradients.proj), cache.blind);
    Matrix<Scalar> grad_queries = Matrix<Scalar>::Zero(cache.queries.rows(), cache.queries.cols());
    Matrix<Scalar> grad_keys = Matrix<Scalar>::Zero(cache.keys.rows(), cache.keys.cols()), grad_values = grad_keys;
    const auto context = context_of(cache);
    context.for_each_head(config_.heads, config_.head_width, [&](const nn::HeadOfSequence& part, Index) {
      kernels::attend_backward<Scalar>(part.query_block(cache.queries), part.key_block(cache.keys),
                                       part.key_block(cache.values), context.head_scores(part),
                                       part.query_block(cache.attended),
                                       {cache.largest.row(part.head).data() + part.queries.begin,
                                        cache.factors.row(part.head).data() + part.queries.begin},
                                       part.query_block(grad_attended), part.query_block(grad_queries),
                                       part.key_block(grad_keys), part.key_block(grad_values), {});
    });
    grad_queries *= scale();
    add_bias_gradient(grad_queries, gradients.q_bias);
    add_bias_gradient(grad_keys, gradients.k_bias);
    add_bias_gradient(grad_values, gradients.v_bias);
    RecoveryGradient<Scalar> result{k.backward(grad_keys, cache.y, gradients.k)};
    result.y += v.backward(grad_values, cache.y, gradients.v);
    result.x = q.backward(grad_queries, cache.x, gradients.q);
    if (config_.residual) result.x += seen;
    result.x = without_pads(std::move(result.x), cache.pads);
    return result;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    const auto map = [&](nn::Linear<Scalar>& linear, RowVector<Scalar>& bias, const char* name) {
      linear.visit(visitor, prefix + name);
      if (bias.size() > 0) visitor(prefix + name + "bias", bias);
    };
    map(q, q_bias, "linear_q.");
    map(k, k_bias, "linear_k.");
    map(v, v_bias, "linear_v.");
    map(proj, proj_bias, "proj.");
  }

  /// With every extent as it is used.
  const Config& config() const { return config_; }

  nn::Linear<Scalar> q, k, v, proj;
  RowVector<Scalar> q_bias, k_bias, v_bias, proj_bias;  ///< or empty

 private:
  Scalar scale() const { return 1 / std::sqrt(static_cast<Scalar>(config_.head_width)); }

  static Matrix<Scalar> with_bias(Matrix<Scalar> y, const RowVector<Scalar>& bias) {
    if (bias.size() > 0) y.rowwise() += bias;
    return y;
  }

  static void add_bias_gradient(const Matrix<Scalar>& grad, RowVector<Scalar>& sum) {
    if (sum.size() > 0 && grad.rows() > 0) sum += grad.colwise().sum();
  }

  static Matrix<Scalar> without_pads(Matrix<Scalar> rows, Marks pads) {
    for (Index t = 0; t < rows.rows(); ++t)
      if (pads[t]) rows.row(t).setZero();
    return rows;
  }

  nn::AttentionContext<Scalar> context_of(const Cache& cache) const {
    nn::AttentionContext<Scalar> context;
    context.queries = cache.tokens.ranges();
    context.keys = cache.rows.ranges();
    context.hidden_keys = cache.hidden;
    if (!config_.causal) return context;
    context.visibility = nn::Visibility::causal;
    context.query_positions = cache.token_positions;
    context.key_positions = cache.row_positions;
    return context;
  }

  /// Which tokens see no row: attention would give them a mean of what is hidden.
  void find_blind(Cache& cache) const {
    cache.blind.assign(cache.tokens.total(), 0);
    for (Index i = 0; i < cache.tokens.count(); ++i) {
      Position earliest = std::numeric_limits<Position>::max();
      bool any = false;
      for (Index row = cache.rows.begin(i); row < cache.rows.end(i); ++row) {
        if (Marks(cache.hidden)[row]) continue;
        any = true;
        earliest = std::min(earliest, cache.row_positions[row]);
      }
      for (Index t = cache.tokens.begin(i); t < cache.tokens.end(i); ++t)
        cache.blind[t] = any && (!config_.causal || earliest <= cache.token_positions[t]) ? 0 : 1;
    }
  }

  void attend(Cache& cache) const {
    cache.attended = Matrix<Scalar>::Zero(cache.queries.rows(), cache.queries.cols());
    cache.largest = cache.factors = Matrix<Scalar>::Zero(config_.heads, cache.queries.rows());
    const auto context = context_of(cache);
    context.check("CrossAttention::forward", cache.queries.rows(), cache.keys.rows(), config_.heads);
    context.for_each_head(config_.heads, config_.head_width, [&](const nn::HeadOfSequence& part, Index) {
      kernels::attend<Scalar>(part.query_block(cache.queries), part.key_block(cache.keys), part.key_block(cache.values),
                              context.head_scores(part), part.query_block(cache.attended),
                              {cache.largest.row(part.head).data() + part.queries.begin,
                               cache.factors.row(part.head).data() + part.queries.begin});
    });
    cache.attended = without_pads(std::move(cache.attended), cache.blind);
  }

  Config config_;
};

}  // namespace merganser::merge
