// How many tokens stay, as a distribution that can be learned.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_math.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// How many of n ranked tokens stay, as a distribution over C candidates: all of them, (C - 1) / C of them, and so on
/// to 1 / C, rounded up. Its weights are the softmax of C logits. In double whatever the logits are, so that float and
/// double round to the same count. DiffRate (Chen et al. 2023, arXiv 2305.17997). Cost: n + C.
class RateProxy {
 public:
  RateProxy() = default;

  template <class Logits>
  explicit RateProxy(const Logits& logits) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (Index c = 0; c < logits.size(); ++c) largest = std::max(largest, static_cast<double>(logits[c]));
    for (Index c = 0; c < logits.size(); ++c) {
      weights_.push_back(std::exp(static_cast<double>(logits[c]) - largest));
      sum += weights_.back();
    }
    for (double& weight : weights_) weight /= sum;
  }

  /// [C].
  const Vector<double>& weights() const { return weights_; }

  /// The tokens that stay by a candidate, counted from 0.
  Index candidate(Index c, Index n) const {
    const Index count = weights_.size();
    return (n * (count - c) + count - 1) / count;
  }

  /// The mean of the candidates, as they are weighed.
  double expected(Index n) const {
    double sum = 0;
    for (Index c = 0; c < weights_.size(); ++c)
      sum = kernels::multiply_add(weights_[c], static_cast<double>(candidate(c, n)), sum);
    return sum;
  }

  /// The mean, rounded up: what stays at inference.
  Index kept(Index n) const {
    const double mean = expected(n);
    return mean < static_cast<double>(n) ? static_cast<Index>(std::ceil(mean)) : n;  // no number: all
  }

  /// [n] the probability that the token of each rank stays, falling from 1.
  Vector<double> token_probability(Index n) const {
    Vector<double> result(n, 0.0);
    double sum = 0;
    for (Index rank = n - 1, c = 0; rank >= 0; --rank) {
      for (; c < weights_.size() && candidate(c, n) > rank; ++c) sum += weights_[c];
      result[rank] = sum;
    }
    return result;
  }

  /// Adds to `grad_logits` [C] what the gradients of `expected` and of `token_probability` ([n] or empty) make of them.
  template <class Gradient>
  void backward(Index n, double grad_expected, std::span<const double> grad_probability, Gradient& grad_logits) const {
    if (!grad_probability.empty())
      check_equal("RateProxy::backward", "grad_probability.size()", std::ssize(grad_probability), n);
    Vector<double> grad(weights_.size(), 0.0);
    double mean = 0, sum = 0;
    for (Index c = weights_.size() - 1, rank = 0; c >= 0; --c) {
      const Index stays = candidate(c, n);
      for (; !grad_probability.empty() && rank < stays; ++rank) sum += grad_probability[static_cast<std::size_t>(rank)];
      grad[c] = kernels::multiply_add(grad_expected, static_cast<double>(stays), sum);
      mean = kernels::multiply_add(weights_[c], grad[c], mean);
    }
    using Scalar = std::decay_t<decltype(grad_logits[0])>;
    for (Index c = 0; c < grad.size(); ++c)
      grad_logits[c] += static_cast<Scalar>(kernels::rounded(weights_[c] * (grad[c] - mean)));
  }

 private:
  Vector<double> weights_;  ///< [C]
};

}  // namespace merganser::merge
