// A learned row for every id.
#pragma once

#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// y_t = weight[id_t].
///
/// weight [count x width]. Serves token ids and, as learned absolute positions, position numbers alike.
template <Real Scalar>
class Embedding {
 public:
  using ScalarType = Scalar;
  using Gradients = Embedding;
  /// What backward reads: the ids [T].
  using Cache = Vector<TokenId>;

  struct Config {
    Index count = 0;
    Index width = 0;
  };

  Embedding() = default;

  /// @throws std::invalid_argument if an extent is not positive
  explicit Embedding(const Config& config) {
    check_argument(config.count > 0, "Embedding", "count", config.count, "at least 1");
    check_argument(config.width > 0, "Embedding", "width", config.width, "at least 1");
    weight.setZero(config.count, config.width);
  }

  void initialize(double standard_deviation, Rng& rng) { fill_normal(weight, standard_deviation, rng); }

  /// ids [T] to rows [T x width].
  /// @throws std::invalid_argument if an id is negative or not below `count`
  Matrix<Scalar> forward(std::span<const TokenId> ids) const {
    check_ids("Embedding::forward", ids);
    Matrix<Scalar> y(std::ssize(ids), weight.cols());
    for (Index t = 0; const TokenId id : ids) y.row(t++) = weight.row(id);
    return y;
  }

  Matrix<Scalar> forward(std::span<const TokenId> ids, Cache& cache) const {
    cache.assign(ids.begin(), ids.end());
    return forward(ids);
  }

  /// Adds grad_y [T x width] to the rows of the ids. Ids have no gradient.
  /// @throws std::invalid_argument if the shapes do not fit or an id is not one of this layer
  void backward(const MatrixRef<Scalar>& grad_y, const Cache& cache, Gradients& gradients) const {
    check_equal("Embedding::backward", "grad_y.rows()", grad_y.rows(), cache.size());
    check_equal("Embedding::backward", "grad_y.cols()", grad_y.cols(), weight.cols());
    check_same_shape("Embedding::backward", "gradients.weight", gradients.weight, weight);
    check_ids("Embedding::backward", cache);
    for (Index t = 0; t < cache.size(); ++t) gradients.weight.row(cache[t]) += grad_y.row(t);
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "weight", weight);
  }

  Matrix<Scalar> weight;

 private:
  void check_ids(const char* function, std::span<const TokenId> ids) const {
    for (std::size_t t = 0; t < ids.size(); ++t)
      if (ids[t] < 0 || ids[t] >= weight.rows())
        throw_invalid_argument(function, "ids[" + std::to_string(t) + "]", ids[t],
                               "an id in [0, " + std::to_string(weight.rows()) + ")");
  }
};

}  // namespace merganser::nn
