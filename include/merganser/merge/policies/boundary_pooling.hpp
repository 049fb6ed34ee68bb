// Means of the segments that a boundary predictor finds.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/boundary_predictor.hpp>
#include <merganser/merge/boundary_prior.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/gate_regulariser.hpp>
#include <merganser/merge/interval_budget.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/segments.hpp>
#include <merganser/nn/linear.hpp>
#include <merganser/nn/rms_norm.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// The means over segments of x, where the predictor reads norm(x); no shortcut around it. Pads are in no segment. The
/// prior loss is an auxiliary, "boundary_prior"; with intervals that of these is, "boundary_interval".
///
/// BPT5, a baseline of Kallini et al. 2025, arXiv 2410.20771; dynamic pooling of Nawrot et al. 2023, arXiv 2211.09761,
/// in whose published form there is a null group, the last token is free, and an open group is dropped. The null group
/// is a learned row in front of every sequence: what tokens take on the way back while no segment has ended. It is a
/// row without members and of size 1. A sequence with a token that is no pad always keeps a row.
template <Real Scalar>
class BoundaryPooling {
 public:
  using ScalarType = Scalar;
  using Gradients = BoundaryPooling;

  static constexpr PolicyTraits traits{.is_structural = true, .is_training_free = false};

  struct Config {
    Index width = 0;           ///< D
    Index hidden = 0;          ///< F, the inner width of the predictor
    double prior = 0.2;        ///< share of tokens that are expected to end a segment, in (0, 1)
    double temperature = 0.5;  ///< positive
    LastToken last_token = LastToken::ends;
    OpenGroup open_group = OpenGroup::kept;
    bool null_group = false;
    Vector<RateInterval> intervals = {};  ///< in place of the prior: of the share of boundaries, one a label of a call
  };

  struct Cache {
    typename nn::RmsNorm<Scalar>::Cache norm;
    typename BoundaryPredictor<Scalar>::Cache predictor;
    TokenState<Scalar> before;
    Compaction<Scalar> groups;
    SizeBias size_bias = SizeBias::none;
    BoundaryPriorResult<Scalar> prior;
  };

  BoundaryPooling() = default;

  /// @throws std::invalid_argument if a setting is out of range
  explicit BoundaryPooling(const Config& config)
      : norm({config.width}),
        predictor({config.width, config.hidden, config.temperature, config.last_token}),
        config_(config) {
    check_argument(config.prior > 0 && config.prior < 1, "BoundaryPooling", "prior", config.prior, "in (0, 1)");
    for (const RateInterval& interval : config.intervals) interval.check("BoundaryPooling");
    if (config.null_group) null_group.setZero(config.width);
  }

  /// The predictor as itself, the null group normal with deviation `factor`.
  void initialize(double factor, Rng& rng) {
    predictor.initialize(factor, rng);
    nn::fill_normal(null_group, factor, rng);
  }

  /// x [T x D]. Boundaries are found without noise.
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return apply(x, context, {}, cache);
  }

  /// For training: with noise from `rng`.
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    const Vector<double> noise = draw_boundary_noise(context.state.total(), rng);
    return apply(x, context, noise, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    Vector<Scalar> grad_hard = segment_boundary_gradient<Scalar>(cache.norm.input, cache.groups, grad.x);
    const auto add = [&](std::span<const Scalar> more) {
      check_equal("BoundaryPooling::backward", "gradient of boundaries", std::ssize(more), grad_hard.size());
      std::transform(grad_hard.begin(), grad_hard.end(), more.begin(), grad_hard.begin(), std::plus<>());
    };
    if (!grad.report.scores.empty()) add(grad.report.scores);
    if (!grad.report.auxiliaries.empty())
      add(scaled(cache.prior.grad_boundaries, static_cast<Scalar>(grad.report.auxiliaries[0])));
    const Matrix<Scalar> grad_normed = predictor.backward(grad_hard, cache.predictor, gradients.predictor);
    for_each_null_row(cache.groups, [&](Index row) { gradients.null_group += grad.x.row(row); });
    return {cache.groups.compact_backward(grad.x) + norm.backward(grad_normed, cache.norm, gradients.norm),
            cache.before.merged_bias_backward(cache.groups, grad.key_bias, cache.size_bias)};
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    predictor.visit(visitor, prefix + "boundary_predictor.");
    norm.visit(visitor, prefix + "down_ln.");
    if (config_.null_group) visitor(prefix + "null_group", null_group);
  }

  const Config& config() const { return config_; }

  nn::RmsNorm<Scalar> norm;
  BoundaryPredictor<Scalar> predictor;
  RowVector<Scalar> null_group;  ///< [D], or empty: none

 private:
  template <class Visit>
  void for_each_null_row(const Compaction<Scalar>& groups, Visit&& visit) const {
    const SequenceOffsets& rows = groups.output_offsets();
    for (Index i = 0; config_.null_group && i < rows.count(); ++i)
      if (rows.length(i) > 0) visit(rows.begin(i));
  }

  Reduction<Scalar> apply(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, std::span<const double> noise,
                          Cache& cache) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("BoundaryPooling::forward", "x.rows()", x.rows(), state.total());
    const Vector<std::uint8_t> pads = state.pads();
    const Matrix<Scalar> normed = norm.forward(x, cache.norm);
    const Boundaries<Scalar> boundaries = predictor.forward(normed, state.offsets, pads, noise, cache.predictor);
    cache.before = state;
    cache.size_bias = context.size_bias;
    const SegmentSettings segments{config_.open_group, config_.null_group};
    cache.groups =
        Compaction<Scalar>(segment_plans<Scalar>(boundaries.hard, state.offsets, pads, segments), state.offsets);
    Vector<Index> tokens;
    for (const RowRange& range : state.offsets.ranges())
      tokens.push_back(range.length - (pads.empty() ? 0 : Marks(pads).of(range).count()));
    const bool prior = config_.intervals.empty();
    cache.prior = prior ? boundary_prior_loss<Scalar>(boundaries.hard, state.offsets, tokens, config_.prior)
                        : interval_loss<Scalar>(boundaries.hard, state.offsets, tokens, config_.intervals,
                                                context.options.labels);
    Reduction<Scalar> result;
    result.x = cache.groups.compact(x);
    result.state = state.merged(cache.groups, context.size_bias).without_pads();
    for_each_null_row(cache.groups, [&](Index row) {
      result.x.row(row) = null_group;
      result.state.sizes[row] = Scalar{1};
    });
    result.report = PolicyReport<Scalar>::of_merge(state, cache.groups);
    result.report.scores = boundaries.soft;
    result.report.logits = boundaries.logits;
    result.report.auxiliaries.push_back(
        {prior ? "boundary_prior" : "boundary_interval", cache.prior.value, false, MeanOver::sequences});
    return result;
  }

  Config config_;
};

}  // namespace merganser::merge
