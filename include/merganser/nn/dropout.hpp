// Dropout: zeroes numbers at random while training.
#pragma once

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// y = x * mask, where each mask entry is 0 with probability `rate` and 1 / (1 - rate) otherwise.
///
/// Srivastava et al. 2014. At inference it does nothing, so there is no forward without a generator. At rate 0 no
/// random number is drawn. It has no parameters.
template <Real Scalar>
class Dropout {
 public:
  struct Config {
    double rate = 0.0;  ///< in [0, 1)
  };

  /// The mask [T x D]; empty at rate 0.
  using Cache = Matrix<Scalar>;

  Dropout() = default;

  /// @throws std::invalid_argument if the rate is outside [0, 1)
  explicit Dropout(const Config& config) : rate_(config.rate) {
    check_argument(config.rate >= 0 && config.rate < 1, "Dropout", "rate", config.rate, "a rate in [0, 1)");
  }

  /// Draws one mask entry for each number of x, row by row.
  void apply(Matrix<Scalar>& x, Rng& rng, Cache& cache) const {
    cache.resize(0, 0);
    if (rate_ == 0) return;
    cache.resize(x.rows(), x.cols());
    const Scalar kept = static_cast<Scalar>(1 / (1 - rate_));
    for (Index i = 0; i < x.size(); ++i) cache.data()[i] = rng.bernoulli(rate_) ? Scalar{0} : kept;
    x.array() *= cache.array();
  }

  /// The gradient of the input, in place of the gradient of the output.
  void backward(Matrix<Scalar>& grad, const Cache& cache) const {
    if (cache.size() == 0) return;
    check_same_shape("Dropout::backward", "grad", grad, cache);
    grad.array() *= cache.array();
  }

 private:
  double rate_ = 0.0;
};

}  // namespace merganser::nn
