// The boundary predictor: learns where a segment of tokens ends.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Uniform draws strictly between 0 and 1, one a token.
inline Vector<double> draw_boundary_noise(Index tokens, Rng& rng) {
  Vector<double> draws(tokens);
  for (double& draw : draws) draw = (static_cast<double>(rng.next() >> 12) + 0.5) * 0x1.0p-52;
  return draws;
}

/// Whether the last token of a sequence that is no pad ends a segment.
enum class LastToken {
  ends,  ///< always
  free,  ///< where the predictor says so
};

/// What a boundary predictor says of T tokens.
template <Real Scalar>
struct Boundaries {
  Vector<Scalar> logits;         ///< [T], without noise; high ends a segment
  Vector<Scalar> soft;           ///< [T], in [0, 1]
  Vector<std::uint8_t> hard;     ///< [T], 1 where a segment ends
  Vector<std::uint8_t> settled;  ///< [T], 1 where that was not the predictor's choice: no gradient
};

/// logit = w2 . gelu(W1 x + b1) + b2; soft = sigmoid((logit + log(u) - log(1 - u)) / temperature), hard = soft > 1/2.
///
/// u is uniform noise while training and 1/2, which adds nothing, otherwise. Of each sequence the last token that is no
/// pad always ends a segment, unless it is free, and a pad never does. Backward passes the gradient of the hard
/// boundary straight through to the soft one. Parameters: W1 [F x D], b1 [F], w2 [1 x F], b2 [1]; gelu in the exact
/// form. Nawrot et al. 2023, arXiv 2211.09761 (the boundaries of "gumbel" kind).
template <Real Scalar>
class BoundaryPredictor {
 public:
  using ScalarType = Scalar;
  using Gradients = BoundaryPredictor;

  struct Config {
    Index width = 0;           ///< D
    Index hidden = 0;          ///< F
    double temperature = 0.5;  ///< positive; low makes soft boundaries hard
    LastToken last_token = LastToken::ends;
  };

  struct Cache {
    Matrix<Scalar> input;      ///< [T x D]
    Matrix<Scalar> inner;      ///< [T x F], before the activation
    Matrix<Scalar> activated;  ///< [T x F]
    Boundaries<Scalar> boundaries;
  };

  BoundaryPredictor() = default;

  /// @throws std::invalid_argument if an extent or the temperature is not positive
  explicit BoundaryPredictor(const Config& config)
      : inner({config.width, config.hidden}),
        inner_bias(RowVector<Scalar>::Zero(config.hidden)),
        outer({config.hidden, 1}),
        outer_bias(RowVector<Scalar>::Zero(1)),
        temperature_(static_cast<Scalar>(config.temperature)),
        last_token_(config.last_token) {
    check_argument(config.temperature > 0 && std::isfinite(config.temperature), "BoundaryPredictor", "temperature",
                   config.temperature, "a positive number");
  }

  /// Weights normal with deviation factor * D^-0.5 and factor * F^-0.5, biases 0.
  void initialize(double factor, Rng& rng) {
    inner.initialize(factor / std::sqrt(static_cast<double>(inner.in_features())), rng);
    outer.initialize(factor / std::sqrt(static_cast<double>(outer.in_features())), rng);
  }

  /// x [T x D]; pads [T] or empty: not 0 at a pad; uniform [T] in (0, 1), or empty: no noise.
  /// @throws std::invalid_argument if a length or width differs or a draw is outside (0, 1)
  Boundaries<Scalar> forward(const MatrixRef<Scalar>& x, const SequenceOffsets& offsets, Marks pads = {},
                             std::span<const double> uniform = {}) const {
    Cache cache;
    return forward(x, offsets, pads, uniform, cache);
  }

  Boundaries<Scalar> forward(const MatrixRef<Scalar>& x, const SequenceOffsets& offsets, Marks pads,
                             std::span<const double> uniform, Cache& cache) const {
    check_equal("BoundaryPredictor::forward", "x.rows()", x.rows(), offsets.total());
    pads.check("BoundaryPredictor::forward", "pads", x.rows());
    if (!uniform.empty()) check_equal("BoundaryPredictor::forward", "uniform.size()", std::ssize(uniform), x.rows());
    cache.input = x;
    cache.inner = inner.forward(x).rowwise() + inner_bias;
    cache.activated = cache.inner.unaryExpr([](Scalar value) { return kernels::exact_gelu(value); });
    const Matrix<Scalar> logits = outer.forward(cache.activated);
    Boundaries<Scalar>& result = cache.boundaries;
    result = {};
    for (Index t = 0; t < x.rows(); ++t) {
      const Scalar logit = logits(t, 0) + outer_bias[0];
      Scalar noise = 0;
      if (!uniform.empty()) {
        const double draw = uniform[static_cast<std::size_t>(t)];
        check_argument(draw > 0 && draw < 1, "BoundaryPredictor::forward", "uniform", draw, "draws in (0, 1)");
        noise = static_cast<Scalar>(std::log(draw) - std::log1p(-draw));
      }
      result.logits.push_back(logit);
      result.soft.push_back(kernels::sigmoid((logit + noise) / temperature_));
      result.hard.push_back(result.soft.back() > Scalar{0.5} ? 1 : 0);
    }
    settle(result, offsets, pads);
    return result;
  }

  /// grad_hard [T], the gradient of the hard boundaries, to that of x [T x D].
  Matrix<Scalar> backward(std::span<const Scalar> grad_hard, const Cache& cache, Gradients& gradients) const {
    const Boundaries<Scalar>& boundaries = cache.boundaries;
    check_equal("BoundaryPredictor::backward", "grad_hard.size()", std::ssize(grad_hard), boundaries.soft.size());
    Matrix<Scalar> grad_logits(cache.input.rows(), 1);
    for (Index t = 0; const Scalar grad : grad_hard) {
      const Scalar soft = boundaries.soft[t];
      const Scalar slope = boundaries.settled[t] != 0 ? Scalar{0} : soft * (1 - soft) / temperature_;
      grad_logits(t++, 0) = grad * slope;
    }
    gradients.outer_bias += grad_logits.colwise().sum();
    Matrix<Scalar> grad_inner = outer.backward(grad_logits, cache.activated, gradients.outer);
    grad_inner.array() *=
        cache.inner.unaryExpr([](Scalar value) { return kernels::exact_gelu_derivative(value); }).array();
    gradients.inner_bias += grad_inner.colwise().sum();
    return inner.backward(grad_inner, cache.input, gradients.inner);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    inner.visit(visitor, prefix + "boundary_predictor.0.");
    visitor(prefix + "boundary_predictor.0.bias", inner_bias);
    outer.visit(visitor, prefix + "boundary_predictor.2.");
    visitor(prefix + "boundary_predictor.2.bias", outer_bias);
  }

  nn::Linear<Scalar> inner;  ///< W1
  RowVector<Scalar> inner_bias;
  nn::Linear<Scalar> outer;  ///< w2
  RowVector<Scalar> outer_bias;

 private:
  void settle(Boundaries<Scalar>& result, const SequenceOffsets& offsets, Marks pads) const {
    result.settled.assign(result.hard.size(), 0);
    for (Index i = 0; i < offsets.count(); ++i) {
      bool last_found = last_token_ == LastToken::free;
      for (Index t = offsets.end(i); t-- > offsets.begin(i);) {
        const bool pad = pads[t];
        if (!pad && last_found) continue;
        result.hard[t] = pad ? 0 : 1;
        result.settled[t] = 1;
        last_found = last_found || !pad;
      }
    }
  }

  Scalar temperature_ = Scalar(0.5);
  LastToken last_token_ = LastToken::ends;
};

}  // namespace merganser::merge
