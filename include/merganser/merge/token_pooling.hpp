// A pooling of any kind on entry to one block: many tokens become few.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/boundary_predictor.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/reference_pooling.hpp>
#include <merganser/merge/segment_mean.hpp>
#include <merganser/merge/strided_convolution.hpp>
#include <merganser/merge/token_state.hpp>
#include <merganser/nn/rms_norm.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

enum class PoolingKind {
  boundaries,  ///< means of the segments that a BoundaryPredictor finds
  strided,     ///< StridedConvolution
};

/// Where a pooling stands and what it is.
struct PoolingConfig {
  Index block = 0;  ///< it acts on the input of this block, counted from 0
  PoolingKind kind = PoolingKind::boundaries;
  double prior = 0.2;        ///< of boundaries: share of tokens that are expected to end a segment, in (0, 1)
  double temperature = 0.5;  ///< of boundaries
  Index rate = 4;            ///< of the strided kind: tokens that become one

  bool operator==(const PoolingConfig&) const = default;
};

/// How a pooling is applied in a call.
struct PoolingInput {
  PooledPads pads = PooledPads::left_out;
  std::span<const double> noise = {};  ///< [T] uniform draws for a boundary predictor, or empty: its own way
};

/// What a pooling said and did.
template <Real Scalar>
struct PoolingReport {
  Index block = 0;
  SequenceOffsets offsets;        ///< of the T tokens that reached the pooling
  Vector<Index> lengths;          ///< [N] rows that each sequence became, without fillers
  Vector<Position> positions;     ///< [T'] of the rows that go on: of a segment or group the first
  Boundaries<Scalar> boundaries;  ///< [T]; like all below empty for the strided kind
  Vector<Index> trials;           ///< [N] tokens of each sequence for its prior loss (the reference: with pads)
  double prior = 0.0;             ///< see boundary_prior_loss
};

/// Boundaries: the means over segments of x, where the predictor reads norm(x). Strided: the convolution over groups of
/// norm(x). Neither has a shortcut around it.
///
/// The two baselines of Kallini et al. 2025, arXiv 2410.20771: BPT5 (Nawrot et al. 2023, arXiv 2211.09761) and CANINE
/// (Clark et al. 2022, arXiv 2103.06874). A sequence with a token that is no pad always keeps a row.
template <Real Scalar>
class TokenPooling {
 public:
  using ScalarType = Scalar;
  using Gradients = TokenPooling;
  using State = TokenState<Scalar>;

  struct Cache {
    typename nn::RmsNorm<Scalar>::Cache norm;
    typename BoundaryPredictor<Scalar>::Cache predictor;
    typename StridedConvolution<Scalar>::Cache convolution;
    Compaction<Scalar> groups;
  };

  struct Output {
    Matrix<Scalar> values;        ///< [T' x D]
    State state;                  ///< of the T' rows
    Vector<std::uint8_t> hidden;  ///< [T'] or empty: not 0 where no reader of the encoder may look
    PoolingReport<Scalar> report;
  };

  TokenPooling() = default;

  /// `width` is D, `hidden` the inner width of the boundary predictor.
  /// @throws std::invalid_argument if a setting is out of range
  TokenPooling(const PoolingConfig& config, Index width, Index hidden) : norm({width}), config_(config) {
    if (config.kind == PoolingKind::boundaries) {
      check_argument(config.prior > 0 && config.prior < 1, "PoolingConfig", "prior", config.prior, "in (0, 1)");
      predictor = BoundaryPredictor<Scalar>({width, hidden, config.temperature});
    } else {
      convolution = StridedConvolution<Scalar>({width, config.rate});
    }
  }

  void initialize(double factor, Rng& rng) {
    if (config_.kind == PoolingKind::boundaries)
      predictor.initialize(factor, rng);
    else
      convolution.initialize(factor, rng);
  }

  /// x [T x D] in the state `before`, whose hidden and forced tokens are pads. Boundaries are found without noise.
  Output forward(const Matrix<Scalar>& x, const State& before, const PoolingInput& input) const {
    Cache cache;
    return apply(x, before, input, cache);
  }

  /// For training: a boundary predictor draws its noise from `rng`.
  Output forward(const Matrix<Scalar>& x, const State& before, PoolingInput input, Rng& rng, Cache& cache) const {
    Vector<double> draws;
    if (config_.kind == PoolingKind::boundaries && input.noise.empty()) {
      draws = draw_boundary_noise(before.total(), rng);
      input.noise = draws;
    }
    return apply(x, before, input, cache);
  }

  /// grad_values [T' x D]; grad_boundaries [T] or empty: of the hard boundaries. Returns the gradient of x [T x D].
  Matrix<Scalar> backward(Matrix<Scalar> grad_values, std::span<const Scalar> grad_boundaries, const Cache& cache,
                          Gradients& gradients) const;

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (config_.kind == PoolingKind::boundaries)
      predictor.visit(visitor, prefix + "boundary_predictor.");
    else
      convolution.visit(visitor, prefix + "downsampling_module.conv.");
    norm.visit(visitor, prefix + "down_ln.");
  }

  const PoolingConfig& config() const { return config_; }

  nn::RmsNorm<Scalar> norm;
  BoundaryPredictor<Scalar> predictor;     ///< empty for the strided kind
  StridedConvolution<Scalar> convolution;  ///< empty for boundaries

 private:
  Output apply(const Matrix<Scalar>& x, const State& before, const PoolingInput& input, Cache& cache) const;

  static Vector<std::uint8_t> pads_of(const State& state) {
    Vector<std::uint8_t> pads = state.hidden;
    add_marks(state.forced, pads);
    return pads;
  }

  PoolingConfig config_;
};

template <Real Scalar>
// NOLINTNEXTLINE(readability-function-size): one function until each kind of pooling is a policy of its own
auto TokenPooling<Scalar>::apply(const Matrix<Scalar>& x, const State& before, const PoolingInput& input,
                                 Cache& cache) const -> Output {
  check_equal("TokenPooling::forward", "x.rows()", x.rows(), before.total());
  check_argument(before.key_bias.empty(), "TokenPooling::forward", "before.key_bias", "gate values", "none");
  const bool as_reference = input.pads == PooledPads::pooled;
  const Vector<std::uint8_t> marks = pads_of(before);
  const Marks pads = marks;
  Output output;
  PoolingReport<Scalar>& report = output.report;
  report.block = config_.block;
  report.offsets = before.offsets;
  const Matrix<Scalar> normed = norm.forward(x, cache.norm);
  Vector<MergePlan<Scalar>> plans;
  if (config_.kind == PoolingKind::boundaries) {
    report.boundaries = predictor.forward(normed, before.offsets, marks, input.noise, cache.predictor);
    report.prior = config_.prior;
    plans = segment_plans<Scalar>(report.boundaries.hard, before.offsets, marks);
  } else {
    plans = as_reference ? whole_group_plans<Scalar>(before.offsets, config_.rate)
                         : strided_plans<Scalar>(before.offsets, config_.rate, marks);
  }
  for (Index i = 0; i < before.offsets.count(); ++i) {
    report.lengths.push_back(plans[i].output_count());
    if (config_.kind != PoolingKind::boundaries) continue;
    Index trials = 0;
    for (Index row = before.offsets.begin(i); row < before.offsets.end(i); ++row)
      if (as_reference || !pads[row]) ++trials;
    report.trials.push_back(trials);
  }
  if (as_reference && config_.kind == PoolingKind::boundaries)
    output.hidden = fill_up_segments(plans, before.offsets, marks);
  cache.groups = Compaction<Scalar>(std::move(plans), before.offsets);
  const Compaction<Scalar>& groups = cache.groups;
  State& after = output.state;
  after = before.merged(groups);
  after.hidden.clear();  // no pad is in a row
  after.forced.clear();
  report.positions = after.positions;
  if (config_.kind == PoolingKind::boundaries) {
    output.values = groups.compact(x);
    return output;
  }
  output.values = convolution.forward(normed, groups, cache.convolution);
  if (!as_reference || marks.empty()) return output;
  // Self-attention looks at the first row of a group, readers at all of them.
  after.hidden = groups.pick(std::span<const std::uint8_t>(marks));
  output.hidden.assign(after.hidden.size(), 1);
  for (Index i = 0; i < before.offsets.count(); ++i)
    for (Index group = 0; group < groups.plan(i).output_count(); ++group)
      for (const Member<Scalar>& member : groups.plan(i).members(group))
        if (!pads[before.offsets.begin(i) + member.token]) output.hidden[after.offsets.begin(i) + group] = 0;
  return output;
}

template <Real Scalar>
Matrix<Scalar> TokenPooling<Scalar>::backward(Matrix<Scalar> grad_values, std::span<const Scalar> grad_boundaries,
                                              const Cache& cache, Gradients& gradients) const {
  if (config_.kind == PoolingKind::strided) {
    const Matrix<Scalar> grad_normed =
        convolution.backward(grad_values, cache.groups, cache.convolution, gradients.convolution);
    return norm.backward(grad_normed, cache.norm, gradients.norm);
  }
  Vector<Scalar> grad_hard = segment_boundary_gradient<Scalar>(cache.norm.input, cache.groups, grad_values);
  if (!grad_boundaries.empty())
    check_equal("TokenPooling::backward", "grad_boundaries.size()", std::ssize(grad_boundaries), grad_hard.size());
  for (Index t = 0; const Scalar more : grad_boundaries) grad_hard[t++] += more;
  const Matrix<Scalar> grad_normed = predictor.backward(grad_hard, cache.predictor, gradients.predictor);
  return cache.groups.compact_backward(grad_values) + norm.backward(grad_normed, cache.norm, gradients.norm);
}

}  // namespace merganser::merge
