// Root mean square normalisation of every row.
#pragma once

#include <cmath>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// y = scale * x / sqrt(mean(x^2) + epsilon): no mean is subtracted, no bias is added.
///
/// scale [width]. Zhang and Sennrich 2019, arXiv 1910.07467; the layer norm of T5.
template <Real Scalar>
class RmsNorm {
 public:
  using ScalarType = Scalar;
  using Gradients = RmsNorm;

  struct Config {
    Index width = 0;
    double epsilon = 1e-6;
  };

  struct Cache {
    Matrix<Scalar> input;        ///< [T x width]
    Vector<Scalar> inverse_rms;  ///< [T], 1 / sqrt(mean(x^2) + epsilon)
  };

  RmsNorm() = default;

  /// A layer whose scale is 1.
  /// @throws std::invalid_argument if the width or epsilon is not positive
  explicit RmsNorm(const Config& config) : epsilon_(static_cast<Scalar>(config.epsilon)) {
    check_argument(config.width > 0, "RmsNorm", "width", config.width, "at least 1");
    check_argument(config.epsilon > 0, "RmsNorm", "epsilon", config.epsilon, "a positive number");
    scale.setOnes(config.width);
  }

  /// x [T x width] to the same shape.
  Matrix<Scalar> forward(const MatrixRef<Scalar>& x) const {
    Matrix<Scalar> y(x.rows(), x.cols());
    normalise(x, y, nullptr);
    return y;
  }

  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, Cache& cache) const {
    cache.input = x;
    cache.inverse_rms.resize(x.rows());
    Matrix<Scalar> y(x.rows(), x.cols());
    normalise(x, y, cache.inverse_rms.data());
    return y;
  }

  /// With n = x / rms: grad_x = (g - n mean(g n)) / rms, where g = grad_y * scale; the scale's gradient is added.
  /// @throws std::invalid_argument if the shapes do not fit
  Matrix<Scalar> backward(const MatrixRef<Scalar>& grad_y, const Cache& cache, Gradients& gradients) const {
    namespace simd = kernels::simd;
    check_equal("RmsNorm::backward", "grad_y.rows()", grad_y.rows(), cache.input.rows());
    check_equal("RmsNorm::backward", "grad_y.cols()", grad_y.cols(), scale.size());
    check_same_shape("RmsNorm::backward", "cache.input", cache.input, grad_y);
    check_equal("RmsNorm::backward", "cache.inverse_rms.size()", cache.inverse_rms.size(), grad_y.rows());
    check_same_shape("RmsNorm::backward", "gradients.scale", gradients.scale, scale);
    const Index width = scale.size();
    Matrix<Scalar> grad_x(grad_y.rows(), width);
    kernels::for_each_row(grad_y.rows(), grad_y.cols(), [&](Index t) {
      const Scalar inverse = cache.inverse_rms[t];
      const Scalar* x = cache.input.row(t).data();
      const Scalar* g = grad_y.row(t).data();
      const Scalar inner = kernels::sum<Scalar>(
          width,
          [](const auto& total, const auto& a, const auto& b, const auto& c) {
            return kernels::multiply_add(simd::pmul(a, b), c, total);
          },
          g, scale.data(), x);
      const auto pull = kernels::broadcast(-inner * inverse * inverse / static_cast<Scalar>(width));
      const auto factor = kernels::broadcast(inverse);
      kernels::transform(
          width, grad_x.row(t).data(),
          [&](const auto& a, const auto& b, const auto& c) {
            return simd::pmul(factor, kernels::multiply_add(pull, c, simd::pmul(a, b)));
          },
          g, scale.data(), x);
    });
    add_scale_gradient(grad_y, cache, gradients.scale);
    return grad_x;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "weight", scale);
  }

  RowVector<Scalar> scale;

 private:
  void normalise(const MatrixRef<Scalar>& x, Matrix<Scalar>& y, Scalar* inverse_rms) const {
    namespace simd = kernels::simd;
    check_equal("RmsNorm::forward", "x.cols()", x.cols(), scale.size());
    const Index width = scale.size();
    kernels::for_each_row(x.rows(), x.cols(), [&](Index t) {
      const Scalar* row = x.row(t).data();
      const Scalar mean_square = kernels::dot(width, row, row) / static_cast<Scalar>(width);
      const Scalar inverse = Scalar{1} / std::sqrt(mean_square + epsilon_);
      if (inverse_rms != nullptr) inverse_rms[t] = inverse;
      const auto factor = kernels::broadcast(inverse);
      kernels::transform(
          width, y.row(t).data(), [&](const auto& a, const auto& b) { return simd::pmul(simd::pmul(a, factor), b); },
          row, scale.data());
    });
  }

  /// Row after row, in one order: sum += grad_y * x / rms.
  static void add_scale_gradient(const MatrixRef<Scalar>& grad_y, const Cache& cache, RowVector<Scalar>& sum) {
    namespace simd = kernels::simd;
    for (Index t = 0; t < grad_y.rows(); ++t) {
      const auto factor = kernels::broadcast(cache.inverse_rms[t]);
      kernels::transform(
          sum.size(), sum.data(),
          [&](const auto& before, const auto& g, const auto& x) {
            return kernels::multiply_add(simd::pmul(g, x), factor, before);
          },
          sum.data(), grad_y.row(t).data(), cache.input.row(t).data());
    }
  }

  Scalar epsilon_ = Scalar(1e-6);
};

}  // namespace merganser::nn
