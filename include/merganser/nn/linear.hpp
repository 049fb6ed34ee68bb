// A linear map of every row.
#pragma once

#include <cmath>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/nn/weight.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// Fills a tensor with normal numbers of the given standard deviation, row by row.
template <class Tensor>
void fill_normal(Tensor& tensor, double standard_deviation, Rng& rng) {
  using Scalar = typename Tensor::Scalar;
  for (Index i = 0; i < tensor.size(); ++i) tensor.data()[i] = static_cast<Scalar>(standard_deviation * rng.normal());
}

/// y = x W^T. T5 has no biases, so neither has this.
///
/// weight [out_features x in_features]. Thread-safe while nobody writes to the weight. Each product packs a matrix for
/// the kernel, as training needs it, which changes the weight every step; `prepare_for_inference` packs it once and for
/// all. The results have the same bits.
template <Real Scalar>
class Linear {
 public:
  using ScalarType = Scalar;
  using Gradients = Linear;
  /// What backward reads: the input [T x in_features].
  using Cache = Matrix<Scalar>;

  struct Config {
    Index in_features = 0;
    Index out_features = 0;
  };

  Linear() = default;

  /// A layer of zeros, or one that cannot run until it gets its weight.
  /// @throws std::invalid_argument if an extent is not positive
  explicit Linear(const Config& config, Weights weights = Weights::zeros) {
    check_argument(config.in_features > 0, "Linear", "in_features", config.in_features, "at least 1");
    check_argument(config.out_features > 0, "Linear", "out_features", config.out_features, "at least 1");
    weight = Weight<Scalar>(config.out_features, config.in_features, weights);
  }

  /// A layer with this weight.
  explicit Linear(Weight<Scalar> own) : weight(std::move(own)) {}

  void initialize(double standard_deviation, Rng& rng) { fill_normal(weight.matrix(), standard_deviation, rng); }

  Index in_features() const { return weight.in_features(); }
  Index out_features() const { return weight.out_features(); }

  /// Packs the weight and gives up the matrix: from here on the layer only knows how to run forward.
  void prepare_for_inference(kernels::Precision precision) { weight.pack(precision); }

  /// x [T x in_features] to [T x out_features].
  /// @throws std::invalid_argument if x has another width or the weight is absent
  Matrix<Scalar> forward(const MatrixRef<Scalar>& x) const {
    check_equal("Linear::forward", "x.cols()", x.cols(), in_features());
    Matrix<Scalar> y(x.rows(), out_features());
    weight.multiply(x, y);
    return y;
  }

  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, Cache& cache) const {
    cache = x;
    return forward(x);
  }

  /// grad_y [T x out_features] to the gradient of the input [T x in_features]; the weight's is added to `gradients`.
  /// @throws std::invalid_argument if the shapes do not fit or the weight is no matrix
  Matrix<Scalar> backward(const MatrixRef<Scalar>& grad_y, const Cache& cache, Gradients& gradients) const {
    check_equal("Linear::backward", "grad_y.rows()", grad_y.rows(), cache.rows());
    check_equal("Linear::backward", "grad_y.cols()", grad_y.cols(), out_features());
    const Matrix<Scalar>& matrix = weight.matrix();
    using kernels::Orientation;
    using kernels::PackedMatrix;
    kernels::multiply_transposed<Scalar>(grad_y, PackedMatrix<Scalar>(cache, Orientation::as_is),
                                         gradients.weight.matrix(), kernels::Store::add);
    Matrix<Scalar> grad_x(cache.rows(), cache.cols());
    kernels::multiply<Scalar>(grad_y, PackedMatrix<Scalar>(matrix, Orientation::as_is), grad_x);
    return grad_x;
  }

  /// As Weight::visit.
  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    weight.visit(visitor, prefix + "weight");
  }

  Weight<Scalar> weight;
};

}  // namespace merganser::nn
