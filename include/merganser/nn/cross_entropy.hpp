// Cross entropy between logits and labels.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/softmax.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// The mean of -log softmax(logits)[label] over the labels that are not ignored, in nats.
///
/// 0 when every label is ignored. It has no parameters.
template <Real Scalar>
class CrossEntropy {
 public:
  struct Cache {
    Matrix<Scalar> probabilities;  ///< [T x V]
    Vector<TokenId> labels;        ///< [T]
    Index counted = 0;             ///< labels that are not ignored
  };

  struct Result {
    double mean = 0.0;         ///< nats a counted label
    Index counted = 0;         ///< labels that are not ignored
    Vector<Scalar> per_label;  ///< [T], nats; 0 where ignored
  };

  /// logits [T x V], labels [T].
  /// @throws std::invalid_argument if the sizes differ or a label is neither ignored nor in [0, V)
  Result forward(const Matrix<Scalar>& logits, std::span<const TokenId> labels) const {
    Cache cache;
    return forward(logits, labels, cache);
  }

  Result forward(const Matrix<Scalar>& logits, std::span<const TokenId> labels, Cache& cache) const {
    check_equal("CrossEntropy::forward", "labels.size()", std::ssize(labels), logits.rows());
    for (std::size_t t = 0; t < labels.size(); ++t)
      if (labels[t] != ignored_label && (labels[t] < 0 || labels[t] >= logits.cols()))
        throw_invalid_argument("CrossEntropy::forward", "labels[" + std::to_string(t) + "]", labels[t],
                               "-100 or an id in [0, " + std::to_string(logits.cols()) + ")");
    cache.probabilities = logits;
    cache.labels.assign(labels.begin(), labels.end());
    Result result;
    result.per_label.assign(cache.labels.size(), Scalar{0});
    kernels::for_each_row(logits.rows(), logits.cols(), [&](Index t) {
      const Scalar log_sum =
          kernels::softmax_row(logits.cols(), cache.probabilities.row(t).data(), kernels::SoftmaxKind::softmax);
      const TokenId label = cache.labels[t];
      if (label != ignored_label) result.per_label[t] = log_sum - logits(t, label);
    });
    double sum = 0;
    for (Index t = 0; t < logits.rows(); ++t) {
      sum += static_cast<double>(result.per_label[t]);
      if (cache.labels[t] != ignored_label) ++result.counted;
    }
    cache.counted = result.counted;
    if (result.counted > 0) result.mean = sum / static_cast<double>(result.counted);
    return result;
  }

  /// The gradient of factor * mean with respect to the logits: factor (softmax - one_hot) / counted; 0 where ignored.
  Matrix<Scalar> backward(double factor, const Cache& cache) const {
    check_equal("CrossEntropy::backward", "cache.labels.size()", cache.labels.size(), cache.probabilities.rows());
    Matrix<Scalar> grad = Matrix<Scalar>::Zero(cache.probabilities.rows(), cache.probabilities.cols());
    if (cache.counted == 0) return grad;
    const Scalar weight = static_cast<Scalar>(factor / static_cast<double>(cache.counted));
    kernels::for_each_row(grad.rows(), grad.cols(), [&](Index t) {
      const TokenId label = cache.labels[t];
      if (label == ignored_label) return;
      grad.row(t) = weight * cache.probabilities.row(t);
      grad(t, label) -= weight;
    });
    return grad;
  }
};

}  // namespace merganser::nn
