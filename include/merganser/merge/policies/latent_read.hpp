// Learned queries read a group of tokens, and what they read goes on in its place.
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
#include <merganser/kernels/softmax.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/nn/linear.hpp>
#include <merganser/nn/rms_norm.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Groups of `rate` tokens become `latents` rows: row j is what query j reads of the whole group, by attention with the
/// keys and values of norm(x); no shortcut around it. Key biases count there.
///
/// FIT, Chen and Li 2023, arXiv 2305.12689, whose latents read one group each; with one group, that is the whole
/// sequence, a set of rows of one size. Row j stands for the j-th part of the group, and takes its place; a group of
/// fewer tokens than queries becomes as many rows as tokens. Pads are in no group. Parameters: the norm's scale [D],
/// queries [m x D], keys, values and output [D x D]. Cost: 3 n D^2, and 2 n m D for m queries.
template <Real Scalar>
class LatentRead {
 public:
  using ScalarType = Scalar;
  using Gradients = LatentRead;

  static constexpr PolicyTraits traits{.is_structural = true, .is_training_free = false};

  struct Config {
    Index width = 0;    ///< D
    Index rate = 16;    ///< tokens of a group; 0: the whole sequence
    Index latents = 4;  ///< m, rows that a group becomes
    Index heads = 1;    ///< H, a divisor of the width
  };

  /// Tokens [begin, begin + count) of a list become the rows from `out` on.
  struct Group {
    Index begin = 0, count = 0, out = 0, rows = 0;
  };

  struct Cache {
    typename nn::RmsNorm<Scalar>::Cache norm;
    Matrix<Scalar> normed, key_rows, value_rows;  ///< [T x D]
    Matrix<Scalar> read;                          ///< [T' x D]
    Vector<Scalar> weights;                       ///< of each row that is made, head by head, those of its group
    Vector<Index> tokens;                         ///< without pads
    Vector<Group> list;
    TokenState<Scalar> before;
    Compaction<Scalar> groups;
    SizeBias size_bias = SizeBias::none;
  };

  LatentRead() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit LatentRead(const Config& config) : norm({config.width}), config_(config) {
    check_argument(config.rate >= 0, "LatentRead", "rate", config.rate, "at least 0");
    check_argument(config.latents > 0, "LatentRead", "latents", config.latents, "at least 1");
    check_argument(config.heads > 0 && config.width % config.heads == 0, "LatentRead", "heads", config.heads,
                   "a divisor of the width");
    queries.setZero(config.latents, config.width);
    for (nn::Linear<Scalar>* map : {&keys, &values, &output}) *map = nn::Linear<Scalar>({config.width, config.width});
  }

  /// Queries normal with deviation `factor`, the other weights with factor * D^-0.5.
  void initialize(double factor, Rng& rng) {
    nn::fill_normal(queries, factor, rng);
    for (nn::Linear<Scalar>* map : {&keys, &values, &output})
      map->initialize(factor / std::sqrt(static_cast<double>(config_.width)), rng);
  }

  /// x [T x D].
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(x, context, cache);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(x, context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    const Matrix<Scalar> grad_read = output.backward(grad.x, cache.read, gradients.output);
    Matrix<Scalar> grad_keys = Matrix<Scalar>::Zero(cache.normed.rows(), config_.width), grad_values = grad_keys;
    Vector<Scalar> of_scores(cache.normed.rows(), Scalar{0});
    read_backward(grad_read, cache, grad_keys, grad_values, of_scores, gradients);
    Matrix<Scalar> grad_normed = keys.backward(grad_keys, cache.normed, gradients.keys);
    grad_normed += values.backward(grad_values, cache.normed, gradients.values);
    TokenGradient<Scalar> result;
    result.x = norm.backward(grad_normed, cache.norm, gradients.norm);
    result.key_bias = cache.before.merged_bias_backward(cache.groups, grad.key_bias, cache.size_bias);
    if (!cache.before.key_bias.empty()) add_gradient<Scalar>(of_scores, result.key_bias);
    return result;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    norm.visit(visitor, prefix + "latent_read.layer_norm.");
    visitor(prefix + "latent_read.queries", queries);
    keys.visit(visitor, prefix + "latent_read.k.");
    values.visit(visitor, prefix + "latent_read.v.");
    output.visit(visitor, prefix + "latent_read.o.");
  }

  const Config& config() const { return config_; }

  nn::RmsNorm<Scalar> norm;
  Matrix<Scalar> queries;
  nn::Linear<Scalar> keys, values, output;

 private:
  Reduction<Scalar> apply(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("LatentRead::forward", "x.rows()", x.rows(), state.total());
    cache.before = state;
    cache.size_bias = context.size_bias;
    group(state, cache);
    cache.normed = norm.forward(x, cache.norm);
    cache.key_rows = keys.forward(cache.normed);
    cache.value_rows = values.forward(cache.normed);
    read_groups(cache);
    Reduction<Scalar> result;
    result.x = output.forward(cache.read);
    result.state = state.merged(cache.groups, context.size_bias).without_pads();
    result.report = PolicyReport<Scalar>::of_merge(state, cache.groups);
    return result;
  }

  /// Who is read together, and which part of a group each row stands for.
  void group(const TokenState<Scalar>& state, Cache& cache) const {
    const Vector<std::uint8_t> pads = state.pads();
    cache.tokens.clear();
    cache.list.clear();
    Vector<MergePlan<Scalar>> plans;
    Index out = 0;
    for (const RowRange& range : state.offsets.ranges()) {
      MergePlan<Scalar>& plan = plans.emplace_back(range.length);
      const Index begin = cache.tokens.size();
      for (Index t = range.begin; t < range.end(); ++t)
        if (!Marks(pads)[t]) cache.tokens.push_back(t);
      const Index end = cache.tokens.size(), rate = config_.rate > 0 ? config_.rate : std::max<Index>(end - begin, 1);
      for (Index first = begin; first < end; first += std::min(rate, end - first)) {
        const Index count = std::min(rate, end - first), rows = std::min(config_.latents, count);
        for (Index i = 0, row = -1; i < count; ++i) {
          const Index token = cache.tokens[first + i] - range.begin;
          const Index part = ((i + 1) * rows - 1) / count;  // the last row whose part begins at i or in front of it
          if (part != row) plan.open(token);
          row = part;
          plan.add(token);
        }
        cache.list.push_back({first, count, std::exchange(out, out + rows), rows});
      }
    }
    cache.groups = Compaction<Scalar>(std::move(plans), state.offsets);
  }

  Index head_width() const { return config_.width / config_.heads; }

  Scalar scale() const { return Scalar{1} / std::sqrt(static_cast<Scalar>(head_width())); }

  /// Calls visit(group, query, first column of a head).
  template <class Visit>
  void for_each_read(const Cache& cache, Visit&& visit) const {
    for (const Group& group : cache.list)
      for (Index query = 0; query < group.rows; ++query)
        for (Index column = 0; column < config_.width; column += head_width()) visit(group, query, column);
  }

  void read_groups(Cache& cache) const {
    cache.read = Matrix<Scalar>::Zero(cache.groups.output_offsets().total(), config_.width);
    cache.weights.clear();
    for_each_read(cache, [&](const Group& group, Index query, Index column) {
      const Index first = cache.weights.size();
      for (Index i = group.begin; i < group.begin + group.count; ++i) {
        const Index t = cache.tokens[i];
        const Scalar bias = cache.before.key_bias.empty() ? Scalar{0} : cache.before.key_bias[t];
        cache.weights.push_back(scale() * kernels::dot(head_width(), queries.row(query).data() + column,
                                                       cache.key_rows.row(t).data() + column) +
                                bias);
      }
      kernels::softmax_row(group.count, cache.weights.data() + first, kernels::SoftmaxKind::softmax);
      for (Index i = 0; i < group.count; ++i)
        kernels::add_scaled<Scalar>(head_width(), cache.weights[first + i],
                                    cache.value_rows.row(cache.tokens[group.begin + i]).data() + column,
                                    cache.read.row(group.out + query).data() + column);
    });
  }

  /// grad_scores [T] is summed over queries and heads: the gradient of the key bias.
  void read_backward(const Matrix<Scalar>& grad_read, const Cache& cache, Matrix<Scalar>& grad_keys,
                     Matrix<Scalar>& grad_values, Vector<Scalar>& grad_scores, Gradients& gradients) const {
    const Index width = head_width();
    Index first = 0;
    for_each_read(cache, [&](const Group& group, Index query, Index column) {
      const Scalar* grad_row = grad_read.row(group.out + query).data() + column;
      const Scalar inner = kernels::dot(width, grad_row, cache.read.row(group.out + query).data() + column);
      for (Index i = 0; i < group.count; ++i) {
        const Index t = cache.tokens[group.begin + i];
        const Scalar weight = cache.weights[first + i];
        const Scalar of_score =
            weight * (kernels::dot(width, grad_row, cache.value_rows.row(t).data() + column) - inner);
        kernels::add_scaled(width, weight, grad_row, grad_values.row(t).data() + column);
        kernels::add_scaled<Scalar>(width, of_score * scale(), queries.row(query).data() + column,
                                    grad_keys.row(t).data() + column);
        kernels::add_scaled<Scalar>(width, of_score * scale(), cache.key_rows.row(t).data() + column,
                                    gradients.queries.row(query).data() + column);
        grad_scores[t] += of_score;
      }
      first += group.count;
    });
  }

  Config config_;
};

}  // namespace merganser::merge
