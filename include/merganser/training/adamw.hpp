// The AdamW optimizer.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/training/gradient_clipping.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p = p - rate (m^ / (sqrt(v^) + eps) + decay p), with m^, v^ corrected
/// for their start at 0.
///
/// Weight decay acts on matrices only, not on norms and biases, and not on a matrix with `bias` in its name, as the
/// relative_attention_bias of T5 (Hugging Face's trainer goes by such names, too). Kingma and Ba 2015, arXiv 1412.6980;
/// Loshchilov and Hutter 2019, arXiv 1711.05101. The moments have the type of the model, so that they are stored like
/// one.
template <class Model>
class AdamW {
 public:
  using Scalar = typename Model::ScalarType;

  struct Config {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0.0;
  };

  AdamW(const Model& model, const Config& config)
      : first_moment(zeros_like(model)), second_moment(zeros_like(model)), config_(config) {
    const auto check = [](bool holds, const char* name, double got, const char* expected) {
      check_argument(holds && std::isfinite(got), "AdamW", name, got, expected);
    };
    check(config.beta1 >= 0 && config.beta1 < 1, "beta1", config.beta1, "in [0, 1)");
    check(config.beta2 >= 0 && config.beta2 < 1, "beta2", config.beta2, "in [0, 1)");
    check(static_cast<Scalar>(config.epsilon) > 0, "epsilon", config.epsilon, "a positive number");
    check(config.weight_decay >= 0, "weight_decay", config.weight_decay, "at least 0");
    for (const auto& view : parameter_views(first_moment))
      decays_.push_back(!view.is_vector && view.name.find("bias") == std::string::npos);
  }

  /// One update of the model's parameters; gradients are read only. False where it would leave a number in the model or
  /// the moments that is not finite: then nothing has changed.
  bool step(Model& model, Model& gradients, double learning_rate) {
    return step(model, gradients, learning_rate, gradient_norm(gradients));
  }

  /// The same for gradients whose norm is known; a little too much does no harm.
  bool step(Model& model, Model& gradients, double learning_rate, double norm) {
    const double largest_before = largest_moment_;
    largest_moment_ = std::max(norm, largest_moment_);
    if (stays_finite(learning_rate, norm)) {
      update(model, gradients, learning_rate);
      return true;
    }
    Model model_before = model, first_before = first_moment, second_before = second_moment;
    update(model, gradients, learning_rate);
    if (all_finite(model) && all_finite(first_moment) && all_finite(second_moment)) return true;
    copy_parameters(model_before, model);
    copy_parameters(first_before, first_moment);
    copy_parameters(second_before, second_moment);
    largest_moment_ = largest_before;
    --steps;
    return false;
  }

  /// Goes on from other moments, behind so many updates.
  void restore(Model first, Model second, Index updates) {
    first_moment = std::move(first);
    second_moment = std::move(second);
    steps = updates;
    largest_moment_ = gradient_norm(first_moment);
  }

  const Config& config() const { return config_; }

  Model first_moment, second_moment;
  Index steps = 0;  ///< updates so far

 private:
  /// Whether an update makes finite numbers of all finite ones, whatever they are. Moments are means of what is finite;
  /// a parameter does not grow by decay, and what is added is less than the largest number can feel.
  bool stays_finite(double learning_rate, double norm) const {
    const auto largest = static_cast<double>(std::numeric_limits<Scalar>::max());
    const double decay = learning_rate * config_.weight_decay;
    const double first = std::abs(learning_rate) / (1 - config_.beta1) * largest_moment_;
    const double added = first * std::max(1.0, 1 / config_.epsilon);
    return norm <= std::sqrt(largest) / 4 && decay >= 0 && decay <= 1 &&
           added <= largest * static_cast<double>(std::numeric_limits<Scalar>::epsilon()) / 8;
  }

  void update(Model& model, Model& gradients, double learning_rate) {
    const auto p = parameter_views(model, ParameterName::unread());
    const auto g = parameter_views(gradients, ParameterName::unread());
    const auto m = parameter_views(first_moment, ParameterName::unread());
    const auto v = parameter_views(second_moment, ParameterName::unread());
    check_equal("AdamW::step", "tensors of the model", p.size(), m.size());
    check_equal("AdamW::step", "tensors of the gradients", g.size(), p.size());
    ++steps;
    const double correction1 = 1 - std::pow(config_.beta1, static_cast<double>(steps));
    const double correction2 = 1 - std::pow(config_.beta2, static_cast<double>(steps));
    namespace simd = kernels::simd;
    using kernels::broadcast, kernels::multiply_add, kernels::transform;
    const auto beta1 = static_cast<Scalar>(config_.beta1), beta2 = static_cast<Scalar>(config_.beta2);
    const auto b1 = broadcast(beta1), rest1 = broadcast(Scalar{1} - beta1);
    const auto b2 = broadcast(beta2), rest2 = broadcast(Scalar{1} - beta2);
    const auto minus_rate = broadcast(static_cast<Scalar>(-learning_rate / correction1));
    const auto root = broadcast(static_cast<Scalar>(1 / std::sqrt(correction2)));
    const auto epsilon = broadcast(static_cast<Scalar>(config_.epsilon));
    constexpr Index operations = 12;  // of one parameter, about
    parallel_for(p.size(), parameter_count(model) * operations, [&](Index i) {
      const Index size = p[i].size();
      const Scalar *parameter = p[i].data, *gradient = g[i].data, *first = m[i].data, *second = v[i].data;
      transform(
          size, m[i].data,
          [&](const auto& mean, const auto& x) { return multiply_add(b1, mean, simd::pmul(rest1, x)); }, first,
          gradient);
      transform(
          size, v[i].data,
          [&](const auto& mean, const auto& x) { return multiply_add(b2, mean, simd::pmul(rest2, simd::pmul(x, x))); },
          second, gradient);
      const auto shrink = broadcast(static_cast<Scalar>(decays_[i] ? 1 - learning_rate * config_.weight_decay : 1));
      transform(
          size, p[i].data,
          [&](const auto& x, const auto& mean, const auto& mean_square) {
            const auto scale = multiply_add(simd::psqrt(mean_square), root, epsilon);
            return multiply_add(x, shrink, simd::pdiv(simd::pmul(minus_rate, mean), scale));
          },
          parameter, first, second);
    });
  }

  Config config_;
  Vector<bool> decays_;
  double largest_moment_ = 0.0;  ///< no number in the first moment is larger
};

}  // namespace merganser::training
