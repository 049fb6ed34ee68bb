// The AdamW optimizer.
#pragma once

#include <cmath>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p = p - rate (m^ / (sqrt(v^) + eps) + decay p), with m^, v^ corrected
/// for their start at 0.
///
/// Weight decay acts on matrices only, not on norms and biases. Kingma and Ba 2015, arXiv 1412.6980; Loshchilov and
/// Hutter 2019, arXiv 1711.05101. The moments have the type of the model, so that they are stored like one.
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
    check_argument(config.beta1 >= 0 && config.beta1 < 1, "AdamW", "beta1", config.beta1, "in [0, 1)");
    check_argument(config.beta2 >= 0 && config.beta2 < 1, "AdamW", "beta2", config.beta2, "in [0, 1)");
    check_argument(config.epsilon > 0, "AdamW", "epsilon", config.epsilon, "a positive number");
    check_argument(config.weight_decay >= 0, "AdamW", "weight_decay", config.weight_decay, "at least 0");
  }

  /// One update of the model's parameters; gradients are read only.
  void step(Model& model, Model& gradients, double learning_rate) {
    ++steps;
    const double correction1 = 1 - std::pow(config_.beta1, static_cast<double>(steps));
    const double correction2 = 1 - std::pow(config_.beta2, static_cast<double>(steps));
    const auto p = parameter_views(model, ParameterName::unread());
    const auto g = parameter_views(gradients, ParameterName::unread());
    const auto m = parameter_views(first_moment, ParameterName::unread());
    const auto v = parameter_views(second_moment, ParameterName::unread());
    check_equal("AdamW::step", "tensors of the gradients", g.size(), p.size());
    const auto b1 = static_cast<Scalar>(config_.beta1), b2 = static_cast<Scalar>(config_.beta2);
    const auto one = Scalar{1};
    const auto rate = static_cast<Scalar>(learning_rate / correction1);
    const auto root = static_cast<Scalar>(1 / std::sqrt(correction2));
    const auto epsilon = static_cast<Scalar>(config_.epsilon);
    constexpr Index operations = 12;  // of one parameter, about
    parallel_for(static_cast<Index>(p.size()), parameter_count(model) * operations, [&](Index task) {
      const auto i = static_cast<std::size_t>(task);
      auto parameter = p[i].array();
      const auto gradient = g[i].array();
      auto first = m[i].array();
      auto second = v[i].array();
      first = b1 * first + (one - b1) * gradient;
      second = b2 * second + (one - b2) * gradient.square();
      if (!p[i].is_vector) parameter *= static_cast<Scalar>(1 - learning_rate * config_.weight_decay);
      parameter -= rate * first / (second.sqrt() * root + epsilon);
    });
  }

  const Config& config() const { return config_; }

  Model first_moment, second_moment;
  Index steps = 0;  ///< updates so far

 private:
  Config config_;
};

}  // namespace merganser::training
