// Predicts which tokens stay, by their own features and the mean features of the sequence.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// logit = log p(stays) - log p(goes) of every token, by its own features and the mean features of the tokens that are
/// there.
///
/// h = gelu(W1 norm(x) + b1); the second half of h is replaced by its mean over the sequence; then gelu(W2 . + b2)
/// [D/2], gelu(W3 . + b3) [D/4] and W4 . + b4 [2]. The norm subtracts the mean (epsilon 1e-5); gelu in the exact form.
/// Rao et al. 2021, arXiv 2106.02034. Cost: 2 n D^2.
template <Real Scalar>
class KeepPredictor {
 public:
  using ScalarType = Scalar;
  using Gradients = KeepPredictor;

  static constexpr Index layers = 4;

  struct Cache {
    Matrix<Scalar> normalised;                   ///< [T x D], before scale and shift
    Vector<Scalar> inverse_deviations;           ///< [T]
    std::array<Matrix<Scalar>, layers> in, out;  ///< of each linear map, before the activation
    SequenceOffsets offsets;
    Vector<std::uint8_t> gone;  ///< [T] or empty
  };

  KeepPredictor() = default;

  /// @throws std::invalid_argument if the width is odd or below 4
  explicit KeepPredictor(Index width) {
    check_argument(width >= 4 && width % 2 == 0, "KeepPredictor", "width", width, "an even number from 4 on");
    scale.setOnes(width);
    shift.setZero(width);
    const std::array<Index, layers + 1> widths = {width, width, width / 2, width / 4, 2};
    for (std::size_t i = 0; i < layers; ++i) {
      maps[i] = nn::Linear<Scalar>({widths[i], widths[i + 1]});
      biases[i].setZero(widths[i + 1]);
    }
  }

  /// Weights normal with deviation factor * inputs^-0.5, biases 0.
  void initialize(double factor, Rng& rng) {
    for (nn::Linear<Scalar>& map : maps)
      map.initialize(factor / std::sqrt(static_cast<double>(map.in_features())), rng);
  }

  /// x [T x D] to logits [T]. `gone` [T] or empty: not 0 for tokens that are not in the mean.
  Vector<Scalar> forward(const MatrixRef<Scalar>& x, const SequenceOffsets& offsets, Marks gone, Cache& cache) const {
    check_equal("KeepPredictor::forward", "x.rows()", x.rows(), offsets.total());
    check_equal("KeepPredictor::forward", "x.cols()", x.cols(), scale.size());
    gone.check("KeepPredictor::forward", "gone", x.rows());
    cache.offsets = offsets;
    cache.gone.assign(gone.list().begin(), gone.list().end());
    cache.in[0] = normalise(x, cache);
    for (std::size_t i = 0; i < layers; ++i) {
      cache.out[i] = maps[i].forward(cache.in[i]).rowwise() + biases[i];
      if (i + 1 == layers) break;
      cache.in[i + 1] = cache.out[i].unaryExpr([](Scalar value) { return kernels::exact_gelu(value); });
      if (i == 0) share_means(cache.in[1], cache);
    }
    Vector<Scalar> logits;
    for (Index t = 0; t < x.rows(); ++t) logits.push_back(cache.out[layers - 1](t, 0) - cache.out[layers - 1](t, 1));
    return logits;
  }

  /// grad_logits [T] to the gradient of x [T x D].
  Matrix<Scalar> backward(std::span<const Scalar> grad_logits, const Cache& cache, Gradients& gradients) const {
    check_equal("KeepPredictor::backward", "grad_logits.size()", std::ssize(grad_logits), cache.normalised.rows());
    Matrix<Scalar> grad(cache.normalised.rows(), 2);
    for (Index t = 0; t < grad.rows(); ++t) {
      grad(t, 0) = grad_logits[static_cast<std::size_t>(t)];
      grad(t, 1) = -grad(t, 0);
    }
    for (std::size_t i = layers; i-- > 0;) {
      gradients.biases[i] += grad.colwise().sum();
      grad = maps[i].backward(grad, cache.in[i], gradients.maps[i]);
      if (i == 0) break;
      if (i == 1) share_means_backward(grad, cache);
      grad.array() *=
          cache.out[i - 1].unaryExpr([](Scalar value) { return kernels::exact_gelu_derivative(value); }).array();
    }
    return normalise_backward(grad, cache, gradients);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "in_conv.0.weight", scale);
    visitor(prefix + "in_conv.0.bias", shift);
    constexpr std::array<const char*, layers> names = {"in_conv.1.", "out_conv.0.", "out_conv.2.", "out_conv.4."};
    for (std::size_t i = 0; i < layers; ++i) {
      maps[i].visit(visitor, prefix + names[i]);
      visitor(prefix + names[i] + "bias", biases[i]);
    }
  }

  RowVector<Scalar> scale, shift;  ///< [D] of the norm
  std::array<nn::Linear<Scalar>, layers> maps;
  std::array<RowVector<Scalar>, layers> biases;

 private:
  Matrix<Scalar> normalise(const MatrixRef<Scalar>& x, Cache& cache) const {
    const Index width = x.cols();
    cache.normalised = x;
    cache.inverse_deviations.resize(x.rows());
    Matrix<Scalar> y(x.rows(), width);
    for (Index t = 0; t < x.rows(); ++t) {
      Scalar* row = cache.normalised.row(t).data();
      const Scalar mean = kernels::sum(width, static_cast<const Scalar*>(row)) / static_cast<Scalar>(width);
      for (Index c = 0; c < width; ++c) row[c] -= mean;
      const Scalar variance = kernels::dot<Scalar>(width, row, row) / static_cast<Scalar>(width);
      cache.inverse_deviations[t] = Scalar{1} / std::sqrt(variance + Scalar(1e-5));
      for (Index c = 0; c < width; ++c) row[c] *= cache.inverse_deviations[t];
      for (Index c = 0; c < width; ++c) y(t, c) = kernels::multiply_add(row[c], scale[c], shift[c]);
    }
    return y;
  }

  Matrix<Scalar> normalise_backward(const Matrix<Scalar>& grad, const Cache& cache, Gradients& gradients) const {
    const Index width = grad.cols();
    Matrix<Scalar> grad_x(grad.rows(), width);
    RowVector<Scalar> scaled_grad(width);
    for (Index t = 0; t < grad.rows(); ++t) {
      const Scalar* z = cache.normalised.row(t).data();
      for (Index c = 0; c < width; ++c) {
        gradients.scale[c] += grad(t, c) * z[c];
        gradients.shift[c] += grad(t, c);
        scaled_grad[c] = grad(t, c) * scale[c];
      }
      const Scalar mean = kernels::sum<Scalar>(width, scaled_grad.data()) / static_cast<Scalar>(width);
      const Scalar pull = kernels::dot<Scalar>(width, scaled_grad.data(), z) / static_cast<Scalar>(width);
      for (Index c = 0; c < width; ++c)
        grad_x(t, c) = cache.inverse_deviations[t] * (scaled_grad[c] - mean - z[c] * pull);
    }
    return grad_x;
  }

  /// Calls act(rows of a sequence, how many of them are there).
  template <class Act>
  static void for_each_sequence(const Cache& cache, Act&& act) {
    for (const RowRange& range : cache.offsets.ranges()) {
      const Marks gone = Marks(cache.gone).of(range);
      act(range, range.length - (gone.any() ? gone.count() : 0));
    }
  }

  /// The second half of every row becomes the mean over the sequence.
  void share_means(Matrix<Scalar>& h, const Cache& cache) const {
    const Index first = h.cols() / 2, width = h.cols() - first;
    for_each_sequence(cache, [&](const RowRange& range, Index count) {
      RowVector<Scalar> mean = RowVector<Scalar>::Zero(width);
      const Scalar share = count > 0 ? Scalar{1} / static_cast<Scalar>(count) : Scalar{0};
      for (Index t = range.begin; t < range.end(); ++t)
        if (!Marks(cache.gone)[t]) kernels::add_scaled<Scalar>(width, share, h.row(t).data() + first, mean.data());
      for (Index t = range.begin; t < range.end(); ++t) h.row(t).tail(width) = mean;
    });
  }

  void share_means_backward(Matrix<Scalar>& grad, const Cache& cache) const {
    const Index first = grad.cols() / 2, width = grad.cols() - first;
    for_each_sequence(cache, [&](const RowRange& range, Index count) {
      RowVector<Scalar> sum = RowVector<Scalar>::Zero(width);
      const Scalar share = count > 0 ? Scalar{1} / static_cast<Scalar>(count) : Scalar{0};
      for (Index t = range.begin; t < range.end(); ++t)
        kernels::add_scaled<Scalar>(width, share, grad.row(t).data() + first, sum.data());
      for (Index t = range.begin; t < range.end(); ++t) {
        if (Marks(cache.gone)[t])
          grad.row(t).tail(width).setZero();
        else
          grad.row(t).tail(width) = sum;
      }
    });
  }
};

}  // namespace merganser::merge
