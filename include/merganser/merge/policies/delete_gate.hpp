// The delete gate: learns which tokens the later layers can do without.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/tokens.hpp>
#include <merganser/nn/linear.hpp>
#include <merganser/nn/rms_norm.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// How a logit becomes a gate value. A high logit keeps.
enum class GateActivation {
  scaled_sigmoid,  ///< scale * sigmoid(-logit): between scale (deletes) and 0 (keeps)
  log_sigmoid,     ///< log(sigmoid(logit)): unbounded below, 0 keeps
};

enum class GateNorm { none, rms };

/// Noise on the logits while training.
enum class GateNoise {
  none,
  gumbel,  ///< a standard Gumbel number is added to each logit
};

/// logit = w . norm(h) + b, gate value = scale * sigmoid(-logit) with scale = -30, for every token.
///
/// Added to attention scores the value weakens a token's key by e^value; compared with a threshold it decides who is
/// removed. A router of tokens, in other words. Kallini et al. 2025, arXiv 2410.20771, section 3. Parameters: the
/// norm's scale [D], weight [1 x D], bias [1], which starts at `initial_bias`: wide open, where the paper's code has 1.
template <Real Scalar>
class DeleteGate {
 public:
  using ScalarType = Scalar;
  using Gradients = DeleteGate;

  static constexpr PolicyTraits traits{
      .is_gate = true, .is_causal = true, .is_training_free = false, .has_budget = true};

  struct Config {
    Index width = 0;
    GateActivation activation = GateActivation::scaled_sigmoid;
    double scale = -30.0;  ///< the value of a deleted token, negative
    GateNorm norm = GateNorm::rms;
    GateNoise noise = GateNoise::none;
    double initial_bias = 3.0;
  };

  struct Cache {
    Matrix<Scalar> normalised;  ///< [T x D], the input of the linear map
    typename nn::RmsNorm<Scalar>::Cache norm;
    Vector<Scalar> logits;        ///< [T], with noise
    Vector<std::uint8_t> forced;  ///< [T] or empty
  };

  DeleteGate() = default;

  /// @throws std::invalid_argument if the width is not positive, the scale not negative or a number not finite
  explicit DeleteGate(const Config& config)
      : norm({config.width}),
        weight(Matrix<Scalar>::Zero(1, config.width)),
        bias(RowVector<Scalar>::Constant(1, static_cast<Scalar>(config.initial_bias))),
        config_(config) {
    check_argument(config.scale < 0 && std::isfinite(config.scale), "DeleteGate", "scale", config.scale,
                   "a negative number");
    check_argument(std::isfinite(config.initial_bias), "DeleteGate", "initial_bias", config.initial_bias,
                   "a finite number");
  }

  /// Weight normal with deviation factor * D^-0.5.
  void initialize(double factor, Rng& rng) {
    nn::fill_normal(weight, factor / std::sqrt(static_cast<double>(config_.width)), rng);
  }

  /// The threshold halfway: scale / 2, or log(1/2) for the log sigmoid. Tokens above it are kept.
  double default_threshold() const {
    return config_.activation == GateActivation::scaled_sigmoid ? config_.scale / 2 : -std::log(2.0);
  }

  /// Reads x alone. Forced tokens get the value `scale` whatever their logit.
  /// @throws std::invalid_argument if x has another width or the marks another length
  GateValues<Scalar> forward(const GateInput<Scalar>& input) const {
    return activate(logits_of(normalises() ? norm.forward(input.x) : Matrix<Scalar>(input.x)), input.forced);
  }

  /// For training: draws noise if the gate has any.
  GateValues<Scalar> forward(const GateInput<Scalar>& input, Rng& rng, Cache& cache) const {
    cache.normalised = normalises() ? norm.forward(input.x, cache.norm) : Matrix<Scalar>(input.x);
    cache.logits = logits_of(cache.normalised);
    if (config_.noise == GateNoise::gumbel)
      for (Scalar& logit : cache.logits) logit += static_cast<Scalar>(rng.gumbel());
    cache.forced.assign(input.forced.list().begin(), input.forced.list().end());
    return activate(cache.logits, input.forced);
  }

  /// grad_values [T] and grad_logits [T] (either may be empty: 0) to the gradient of x [T x D]. Forced tokens have a
  /// constant value, so only their logit carries gradient.
  Matrix<Scalar> backward(std::span<const Scalar> grad_values, std::span<const Scalar> grad_logits, const Cache& cache,
                          Gradients& gradients) const {
    const Index tokens = cache.normalised.rows();
    if (!grad_values.empty())
      check_equal("DeleteGate::backward", "grad_values.size()", std::ssize(grad_values), tokens);
    if (!grad_logits.empty())
      check_equal("DeleteGate::backward", "grad_logits.size()", std::ssize(grad_logits), tokens);
    const Marks forced = cache.forced;
    RowVector<Scalar> grad = RowVector<Scalar>::Zero(tokens);
    for (Index t = 0; t < tokens; ++t) {
      const auto i = static_cast<std::size_t>(t);
      if (!grad_values.empty() && !forced[t])
        grad[t] = kernels::multiply_add(grad_values[i], slope(cache.logits[t]), grad[t]);
      if (!grad_logits.empty()) grad[t] += grad_logits[i];
    }
    for (Index t = 0; t < tokens; ++t)
      kernels::add_scaled(weight.cols(), grad[t], cache.normalised.row(t).data(), gradients.weight.data());
    gradients.bias[0] += kernels::sum(tokens, grad.data());
    Matrix<Scalar> grad_normalised(tokens, weight.cols());
    for (Index t = 0; t < tokens; ++t) grad_normalised.row(t) = grad[t] * weight.row(0);
    if (normalises()) return norm.backward(grad_normalised, cache.norm, gradients.norm);
    return grad_normalised;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (normalises()) norm.visit(visitor, prefix + "layer_norm.");
    visitor(prefix + "feed_forward.weight", weight);
    visitor(prefix + "feed_forward.bias", bias);
  }

  const Config& config() const { return config_; }

  nn::RmsNorm<Scalar> norm;
  Matrix<Scalar> weight;
  RowVector<Scalar> bias;

 private:
  bool normalises() const { return config_.norm == GateNorm::rms; }

  Vector<Scalar> logits_of(const Matrix<Scalar>& x) const {
    check_equal("DeleteGate::forward", "x.cols()", x.cols(), weight.cols());
    Vector<Scalar> logits(x.rows());
    for (Index t = 0; t < x.rows(); ++t) logits[t] = kernels::dot(x.cols(), x.row(t).data(), weight.data()) + bias[0];
    return logits;
  }

  GateValues<Scalar> activate(Vector<Scalar> logits, Marks forced) const {
    forced.check("DeleteGate::forward", "forced", logits.size());
    GateValues<Scalar> result;
    const auto scale = static_cast<Scalar>(config_.scale);
    for (Index t = 0; t < logits.size(); ++t) {
      const bool scaled = config_.activation == GateActivation::scaled_sigmoid;
      const Scalar value = scaled ? scale * kernels::sigmoid(-logits[t]) : kernels::log_sigmoid(logits[t]);
      result.values.push_back(forced[t] ? scale : value);
    }
    result.logits = std::move(logits);
    return result;
  }

  /// d value / d logit: -scale s(logit) s(-logit), or s(-logit).
  Scalar slope(Scalar logit) const {
    const Scalar down = kernels::sigmoid(-logit);
    if (config_.activation == GateActivation::log_sigmoid) return down;
    return -static_cast<Scalar>(config_.scale) * down * kernels::sigmoid(logit);
  }

  Config config_;
};

}  // namespace merganser::merge

#if MERGANSER_COMPILED
#include <merganser/merge/policy.hpp>

namespace merganser::inline MERGANSER_ISA::merge {
extern template class DeleteGate<float>;
extern template class GatedDeletion<float, DeleteGate<float>>;
extern template struct Policy<float>::RunningLayer<GatedDeletion<float, DeleteGate<float>>>;
extern template struct Policy<float>::TrainableLayer<GatedDeletion<float, DeleteGate<float>>>;
}  // namespace merganser::merge
#endif
