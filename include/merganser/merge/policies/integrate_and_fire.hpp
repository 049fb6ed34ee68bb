// Tokens of learned weights add up to rows: continuous integrate-and-fire.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/policy_layer.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// What the weights of a sequence add up to.
template <Real Scalar>
struct Firing {
  MergePlan<Scalar> plan;
  double remainder = 0;  ///< weight of the last row, if that is what was left at the end; else 0
};

/// Weights [n] in [0, 1] are added up from the first token on; whenever they reach 1, a row fires: the sum of its
/// tokens by their weights, at the place of the token that made it fire. What that token has beyond 1 begins the next
/// row.
///
/// What is left at the end is a row too, scaled to weight 1, if it is at least `tail`; else it is dropped. A sequence
/// with a token that is no pad always gets a row. Pads and weights that are no number count as 0.
/// @throws std::invalid_argument if a weight is out of range or the pads [n] or [] have another length
template <Real Scalar>
Firing<Scalar> fire(std::span<const Scalar> weights, double tail, Marks pads = {}) {
  const Index n = std::ssize(weights);
  pads.check("fire", "pads", n);
  Firing<Scalar> result{MergePlan<Scalar>(n)};
  Vector<Member<Scalar>> open;
  double level = 0;
  const auto close = [&](double total) {
    result.plan.open(open.back().token);
    for (const Member<Scalar>& member : open)
      result.plan.add(member.token, static_cast<Scalar>(static_cast<double>(member.weight) / total));
    open.clear();
  };
  for (Index t = 0; t < n; ++t) {
    const auto weight = static_cast<double>(weights[static_cast<std::size_t>(t)]), room = 1 - level;
    check_argument(!(weight < 0 || weight > 1), "fire", "weights", weight, "weights in [0, 1]");
    if (pads[t] || !(weight > 0)) continue;
    open.push_back({t, static_cast<Scalar>(std::min(weight, room))});
    level += weight;
    if (weight < room) continue;
    close(1);
    level = weight - room;
    if (level > 0) open.push_back({t, static_cast<Scalar>(level)});
  }
  const bool needed = result.plan.output_count() == 0;
  if (!open.empty() && (needed || level >= tail)) {
    result.remainder = level;
    close(level);
  } else if (needed) {
    for (Index t = n; t-- > 0 && result.plan.output_count() == 0;)
      if (!pads[t]) result.plan.keep(t);
  }
  return result;
}

/// The gradient of the weights [n] that fired so; `grad(row, token)` is that of a member's weight in its row. Exact: a
/// token that weighs more makes its row fire earlier, and all that is behind it move.
template <Real Scalar, class Grad>
Vector<Scalar> fire_backward(const Firing<Scalar>& firing, const Grad& grad) {
  const MergePlan<Scalar>& plan = firing.plan;
  Vector<Scalar> result(plan.input_count(), Scalar{0});
  double behind = 0;  // gradient of the level behind the member at hand
  for (Index row = plan.output_count(); row-- > 0;) {
    const std::span<const Member<Scalar>> members = plan.members(row);
    const bool rest = firing.remainder > 0 && row + 1 == plan.output_count();
    const double scale = rest ? 1 / firing.remainder : 1.0;
    if (rest)
      for (const Member<Scalar>& member : members)
        behind -= static_cast<double>(grad(row, member.token) * member.weight) * scale;
    for (auto member = members.rbegin(); member != members.rend(); ++member) {
      const double own = static_cast<double>(grad(row, member->token)) * scale;
      const bool first = member + 1 == members.rend();
      if (!rest && member == members.rbegin()) {  // it fires: its part is what was missing, the rest is the next level
        result[member->token] += static_cast<Scalar>(behind);
        behind -= own;
      } else if (first && row > 0 && plan.members(row - 1).back().token == member->token) {
        behind += own;  // the rest of the token that fired the row before
      } else {
        result[member->token] += static_cast<Scalar>(own + behind);
      }
    }
  }
  return result;
}

/// Rows as `fire` makes them of the weights sigmoid(w . x + b); a row hangs on no token behind the one at whose place
/// it stands. A token's size is shared out among its rows by weight, and goes with the part of it that is dropped.
///
/// The auxiliary holds the sum of the weights at the wanted number of rows. CIF: Dong and Xu 2020, arXiv 1905.11235.
/// Cost: 2 n D.
template <Real Scalar>
class IntegrateAndFire {
 public:
  using ScalarType = Scalar;
  using Gradients = IntegrateAndFire;

  /// Of each sequence, with the mean over those that have tokens.
  enum class Quantity {
    wanted,   ///< |sum of weights - share n| / n
    steered,  ///< sum of weights / n, weighed by the controller
  };

  struct Config {
    Index width = 0;      ///< D
    double share = 0.25;  ///< rows a token that are wanted, in (0, 1); also where a new layer begins
    double tail = 0.5;    ///< least weight at the end that becomes a row, in [0, 1]
    Quantity quantity = Quantity::wanted;
  };

  static constexpr PolicyTraits traits{.is_structural = true, .is_causal = true, .is_training_free = false};

  struct Cache {
    TokenState<Scalar> before;
    Vector<double> remainders;  ///< [N]
    Compaction<Scalar> rows;
    SizeBias size_bias = SizeBias::none;
    Matrix<Scalar> x;              ///< [T x D]
    Vector<Scalar> weights;        ///< [T]
    Vector<Scalar> grad_quantity;  ///< [T]
  };

  IntegrateAndFire() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit IntegrateAndFire(const Config& config)
      : weight(Matrix<Scalar>::Zero(1, std::max<Index>(config.width, 0))),
        bias(RowVector<Scalar>::Zero(1)),
        config_(config) {
    check_argument(config.width > 0, "IntegrateAndFire", "width", config.width, "at least 1");
    check_argument(config.share > 0 && config.share < 1, "IntegrateAndFire", "share", config.share, "in (0, 1)");
    check_argument(config.tail >= 0 && config.tail <= 1, "IntegrateAndFire", "tail", config.tail, "in [0, 1]");
  }

  /// Weight normal with deviation factor * D^-0.5; the bias is that of the wanted share.
  void initialize(double factor, Rng& rng) {
    const double deviation = factor / std::sqrt(static_cast<double>(config_.width));
    for (Index i = 0; i < weight.size(); ++i) weight.data()[i] = static_cast<Scalar>(deviation * rng.normal());
    bias[0] = static_cast<Scalar>(std::log(config_.share) - std::log1p(-config_.share));
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(std::move(x), context, cache);
  }
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return apply(std::move(x), context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    Vector<Scalar> grad_weights = weight_gradient(grad.x, cache);
    add_gradient<Scalar>(grad.report.scores, grad_weights);
    if (!grad.report.auxiliaries.empty())
      for (Index t = 0; t < grad_weights.size(); ++t)
        grad_weights[t] += static_cast<Scalar>(grad.report.auxiliaries[0]) * cache.grad_quantity[t];
    const Vector<std::uint8_t> pads = cache.before.pads();
    Matrix<Scalar> grad_x = cache.rows.compact_backward(grad.x);
    for (Index t = 0; t < grad_x.rows(); ++t) {
      if (Marks(pads)[t]) continue;
      const Scalar slope = grad_weights[t] * cache.weights[t] * (1 - cache.weights[t]);
      kernels::add_scaled(weight.cols(), slope, weight.data(), grad_x.row(t).data());
      kernels::add_scaled(weight.cols(), slope, cache.x.row(t).data(), gradients.weight.data());
      gradients.bias[0] += slope;
    }
    return {std::move(grad_x), cache.before.merged_bias_backward(cache.rows, grad.key_bias, cache.size_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "firing.weight", weight);
    visitor(prefix + "firing.bias", bias);
  }

  const Config& config() const { return config_; }

  Matrix<Scalar> weight;   ///< [1 x D]
  RowVector<Scalar> bias;  ///< [1]

 private:
  Reduction<Scalar> apply(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("IntegrateAndFire::forward", "x.rows()", x.rows(), state.total());
    check_equal("IntegrateAndFire::forward", "x.cols()", x.cols(), weight.cols());
    const Vector<std::uint8_t> pads = state.pads();
    cache.before = state;
    cache.size_bias = context.size_bias;
    cache.remainders.clear();
    Reduction<Scalar> result;
    Vector<Scalar> logits(x.rows());
    cache.weights.resize(x.rows());
    for (Index t = 0; t < x.rows(); ++t) {
      logits[t] = kernels::dot(x.cols(), x.row(t).data(), weight.data()) + bias[0];
      cache.weights[t] = kernels::sigmoid(logits[t]);
    }
    Vector<MergePlan<Scalar>> plans;
    for (Index i = 0; i < state.offsets.count(); ++i) {
      const RowRange range = state.offsets.range(i);
      const std::span<const Scalar> weights = range.of(std::span<const Scalar>(cache.weights));
      Firing<Scalar> firing = fire<Scalar>(weights, config_.tail, Marks(pads).of(range));
      firing.plan.set_sizes(shared_sizes(firing, weights, state, range.begin));
      cache.remainders.push_back(firing.remainder);
      plans.push_back(std::move(firing.plan));
    }
    cache.rows = Compaction<Scalar>(std::move(plans), state.offsets);
    result.x = cache.rows.compact(x);
    result.state = state.merged(cache.rows, context.size_bias).without_pads();
    result.report = PolicyReport<Scalar>::of_merge(state, cache.rows);
    result.report.scores = cache.weights;
    result.report.logits = std::move(logits);
    const bool steered = config_.quantity == Quantity::steered;
    result.report.auxiliaries.push_back({"quantity", quantity(pads, cache), steered, MeanOver::sequences});
    cache.x = std::move(x);
    return result;
  }

  /// [n_out]. By the weights [n] as they were before the last row was scaled: what a row stands for hangs on no later
  /// one, and what is left of a token at the end and dropped is in none.
  static Vector<Scalar> shared_sizes(const Firing<Scalar>& firing, std::span<const Scalar> weights,
                                     const TokenState<Scalar>& state, Index first) {
    const MergePlan<Scalar>& plan = firing.plan;
    Vector<Scalar> sizes(plan.output_count(), Scalar{0});
    for (Index row = 0; row < plan.output_count(); ++row) {
      const bool rest = firing.remainder > 0 && row + 1 == plan.output_count();
      for (const Member<Scalar>& member : plan.members(row)) {
        const Scalar own = state.sizes.empty() ? Scalar{1} : state.sizes[first + member.token];
        const Scalar weight = weights[static_cast<std::size_t>(member.token)];
        const Scalar part = rest ? member.weight * static_cast<Scalar>(firing.remainder) : member.weight;
        sizes[row] += weight > 0 ? own * (part / weight) : own;
      }
    }
    return sizes;
  }

  /// The auxiliary, and its gradient to the cache.
  double quantity(Marks pads, Cache& cache) const {
    const SequenceOffsets& offsets = cache.before.offsets;
    Vector<double> counts;
    for (const RowRange& range : offsets.ranges())
      counts.push_back(static_cast<double>(range.length - (pads.list().empty() ? 0 : pads.of(range).count())));
    const auto sequences =
        static_cast<double>(std::count_if(counts.begin(), counts.end(), [](double n) { return n > 0; }));
    cache.grad_quantity.assign(offsets.total(), Scalar{0});
    double value = 0;
    for (Index i = 0; i < offsets.count(); ++i) {
      if (counts[i] == 0) continue;
      double sum = 0, slope = 1;
      for (Index t = offsets.begin(i); t < offsets.end(i); ++t)
        if (!pads[t]) sum += static_cast<double>(cache.weights[t]);
      if (config_.quantity == Quantity::wanted) {
        sum -= config_.share * counts[i];
        slope = sum < 0 ? -1 : 1;
      }
      value += slope * sum / (counts[i] * sequences);
      for (Index t = offsets.begin(i); t < offsets.end(i); ++t)
        if (!pads[t]) cache.grad_quantity[t] = static_cast<Scalar>(slope / (counts[i] * sequences));
    }
    return value;
  }

  /// [T], through the rows.
  static Vector<Scalar> weight_gradient(const Matrix<Scalar>& grad, const Cache& cache) {
    const SequenceOffsets &input = cache.rows.input_offsets(), &output = cache.rows.output_offsets();
    check_equal("IntegrateAndFire::backward", "grad.x.rows()", grad.rows(), output.total());
    Vector<Scalar> result;
    for (Index i = 0; i < input.count(); ++i) {
      const Vector<Scalar> part =
          fire_backward<Scalar>({cache.rows.plan(i), cache.remainders[i]}, [&](Index row, Index token) {
            return kernels::dot(grad.cols(), grad.row(output.begin(i) + row).data(),
                                cache.x.row(input.begin(i) + token).data());
          });
      result.append(part.begin(), part.end());
    }
    return result;
  }

  Config config_;
};

}  // namespace merganser::merge
