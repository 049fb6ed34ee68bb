// A block of a vision transformer, whose parameters stand in a case: attention that can be asked, and feed-forward.
#pragma once

#include <cmath>
#include <string>
#include <utility>

#include <merganser/core/types.hpp>

#include "golden_merge/golden_merge.hpp"
#include "support/given_attention.hpp"

namespace merganser::testing {

/// Norms in front of attention and of the feed-forward layer, width D, H heads; shortcuts are the caller's.
template <Real Scalar>
class VitBlock {
 public:
  struct Attended {
    Matrix<Scalar> output;        ///< [n x D], to be added to x
    GivenAttention<Scalar> taps;  ///< weights, mean keys, and values [n x D]
  };

  /// Tensors "<prefix>qkv_w" and so on.
  VitBlock(const MergeCase<Scalar>& c, const std::string& prefix, Index heads)
      : heads_(heads),
        norm1_{c.matrix(prefix + "norm1_w"), c.matrix(prefix + "norm1_b")},
        norm2_{c.matrix(prefix + "norm2_w"), c.matrix(prefix + "norm2_b")},
        qkv_{c.matrix(prefix + "qkv_w"), c.matrix(prefix + "qkv_b")},
        projection_{c.matrix(prefix + "proj_w"), c.matrix(prefix + "proj_b")},
        fc1_{c.matrix(prefix + "fc1_w"), c.matrix(prefix + "fc1_b")},
        fc2_{c.matrix(prefix + "fc2_w"), c.matrix(prefix + "fc2_b")} {}

  /// `sizes` [n] or empty: the logarithm of each is added to the scores of its key.
  Attended attend(const Matrix<Scalar>& x, const Vector<Scalar>& sizes) const {
    const Index n = x.rows(), width = x.cols(), head_width = width / heads_;
    const Matrix<Scalar> qkv = qkv_.of(norm1_.of(x));
    Vector<Matrix<Scalar>> weights;
    Matrix<Scalar> mixed(n, width), keys = Matrix<Scalar>::Zero(n, head_width);
    for (Index head = 0; head < heads_; ++head) {
      const Matrix<Scalar> q = qkv.middleCols(head * head_width, head_width),
                           k = qkv.middleCols(width + head * head_width, head_width),
                           v = qkv.middleCols(2 * width + head * head_width, head_width);
      Matrix<Scalar> scores = q * k.transpose() / std::sqrt(static_cast<Scalar>(head_width));
      for (Index key = 0; key < sizes.size(); ++key) scores.col(key).array() += std::log(sizes[key]);
      for (Index query = 0; query < n; ++query) {
        scores.row(query) = (scores.row(query).array() - scores.row(query).maxCoeff()).exp();
        scores.row(query) /= scores.row(query).sum();
      }
      mixed.middleCols(head * head_width, head_width) = scores * v;
      keys += k / static_cast<Scalar>(heads_);
      weights.push_back(std::move(scores));
    }
    return {projection_.of(mixed), GivenAttention<Scalar>(std::move(weights), keys, qkv.rightCols(width))};
  }

  /// The feed-forward layer, to be added to x.
  Matrix<Scalar> feed(const Matrix<Scalar>& x) const {
    Matrix<Scalar> inner = fc1_.of(norm2_.of(x));
    for (Index i = 0; i < inner.size(); ++i) {
      Scalar& value = inner.data()[i];
      value *= Scalar{0.5} * (1 + std::erf(value / std::sqrt(Scalar{2})));
    }
    return fc2_.of(inner);
  }

 private:
  struct Norm {
    Matrix<Scalar> weight, bias;  ///< D numbers each

    Matrix<Scalar> of(const Matrix<Scalar>& x) const {
      Matrix<Scalar> y(x.rows(), x.cols());
      for (Index i = 0; i < x.rows(); ++i) {
        const Scalar mean = x.row(i).mean();
        const Scalar variance = (x.row(i).array() - mean).square().mean();
        for (Index j = 0; j < x.cols(); ++j)
          y(i, j) = (x(i, j) - mean) / std::sqrt(variance + Scalar(1e-6)) * weight.data()[j] + bias.data()[j];
      }
      return y;
    }
  };

  struct Linear {
    Matrix<Scalar> weight, bias;  ///< [out x in], out numbers

    Matrix<Scalar> of(const Matrix<Scalar>& x) const {
      Matrix<Scalar> y = x * weight.transpose();
      for (Index i = 0; i < y.rows(); ++i)
        for (Index j = 0; j < y.cols(); ++j) y(i, j) += bias.data()[j];
      return y;
    }
  };

  Index heads_;
  Norm norm1_, norm2_;
  Linear qkv_, projection_, fc1_, fc2_;
};

}  // namespace merganser::testing
