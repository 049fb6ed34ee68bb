// A linear map of every row.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/matmul.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// Fills a tensor with normal numbers of the given standard deviation, row by row.
template <class Tensor>
void fill_normal(Tensor& tensor, double standard_deviation, Rng& rng) {
  using Scalar = typename Tensor::Scalar;
  for (Index i = 0; i < tensor.size(); ++i) tensor.data()[i] = static_cast<Scalar>(standard_deviation * rng.normal());
}

/// What the matrices hold of a layer that will be prepared for inference.
enum class Weights {
  zeros,   ///< numbers, as of any layer
  absent,  ///< nothing: they come later, one after the other, and go straight into their packed form
};

/// y = x W^T. T5 has no biases, so neither has this.
///
/// weight [out_features x in_features]. Thread-safe while nobody writes to the weight. Each product packs the weight
/// for the kernel, as training needs it, which changes the weight every step; `prepare_for_inference` packs it once and
/// for all. The results have the same bits.
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
    if (weights == Weights::absent)
      absent_ = config;
    else
      weight.setZero(config.out_features, config.in_features);
  }

  void initialize(double standard_deviation, Rng& rng) { fill_normal(weight, standard_deviation, rng); }

  Index in_features() const { return is_prepared() ? packed_.depth() : weight.cols(); }
  Index out_features() const { return is_prepared() ? packed_.cols() : weight.rows(); }

  /// Packs the weight and gives up the matrix: from here on the layer only knows how to run forward.
  void prepare_for_inference(kernels::Precision precision) {
    if (is_prepared() || weight.size() == 0) return;
    packed_ = kernels::PackedMatrix<Scalar>(weight, kernels::Orientation::transposed, precision);
    weight.resize(0, 0);
  }

  /// The same for a weight that goes on living elsewhere: the table of a tied head.
  static Linear prepared_from(const MatrixRef<Scalar>& table, kernels::Precision precision) {
    Linear linear;
    linear.packed_ = kernels::PackedMatrix<Scalar>(table, kernels::Orientation::transposed, precision);
    return linear;
  }

  bool is_prepared() const { return packed_.depth() > 0; }

  /// The extents of a weight that is absent; otherwise 0.
  const Config& absent() const { return absent_; }
  bool lacks_weight() const { return absent_.in_features > 0; }

  /// Prepares a layer whose weight is absent: packs this one [out_features x in_features], which is not kept.
  /// @throws std::invalid_argument if the weight is not absent or has other extents
  void prepare_with(const MatrixRef<Scalar>& brought, kernels::Precision precision) {
    check_equal("Linear::prepare_with", "brought.rows()", brought.rows(), absent_.out_features);
    check_equal("Linear::prepare_with", "brought.cols()", brought.cols(), absent_.in_features);
    *this = prepared_from(brought, precision);
  }

  /// Memory that the weight takes, in whatever form.
  std::size_t weight_bytes() const {
    return static_cast<std::size_t>(weight.size()) * sizeof(Scalar) + packed_.bytes();
  }

  /// x [T x in_features] to [T x out_features].
  /// @throws std::invalid_argument if x has another width
  Matrix<Scalar> forward(const MatrixRef<Scalar>& x) const {
    check_equal("Linear::forward", "x.cols()", x.cols(), in_features());
    Matrix<Scalar> y(x.rows(), out_features());
    if (is_prepared())
      kernels::multiply<Scalar>(x, packed_, y);
    else
      kernels::multiply<Scalar>(x, kernels::PackedMatrix<Scalar>(weight, kernels::Orientation::transposed), y);
    return y;
  }

  Matrix<Scalar> forward(const MatrixRef<Scalar>& x, Cache& cache) const {
    cache = x;
    return forward(x);
  }

  /// grad_y [T x out_features] to the gradient of the input [T x in_features]; the weight's is added to `gradients`.
  Matrix<Scalar> backward(const MatrixRef<Scalar>& grad_y, const Cache& cache, Gradients& gradients) const {
    check_equal("Linear::backward", "grad_y.rows()", grad_y.rows(), cache.rows());
    check_equal("Linear::backward", "grad_y.cols()", grad_y.cols(), weight.rows());
    using kernels::Orientation;
    using kernels::PackedMatrix;
    kernels::multiply_transposed<Scalar>(grad_y, PackedMatrix<Scalar>(cache, Orientation::as_is), gradients.weight,
                                         kernels::Store::add);
    Matrix<Scalar> grad_x(cache.rows(), cache.cols());
    kernels::multiply<Scalar>(grad_y, PackedMatrix<Scalar>(weight, Orientation::as_is), grad_x);
    return grad_x;
  }

  /// A visitor that can bring absent weights has visitor.absent(layer, prefix), which is called in place of it.
  /// @throws std::invalid_argument if the layer was prepared for inference: its weight is no matrix any more; or if the
  /// weight is absent and the visitor does not bring it
  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    if (is_prepared())
      throw_invalid_argument("Linear::visit", (prefix + "weight").text(), "a model prepared for inference",
                             "one that can be trained or saved");
    if constexpr (requires { visitor.absent(*this, prefix); })
      if (lacks_weight()) return visitor.absent(*this, prefix);
    if (lacks_weight())
      throw_invalid_argument("Linear::visit", (prefix + "weight").text(), "an absent weight", "a weight");
    visitor(prefix + "weight", weight);
  }

  Matrix<Scalar> weight;  ///< empty when prepared for inference

 private:
  Config absent_;
  kernels::PackedMatrix<Scalar> packed_;
};

}  // namespace merganser::nn
