// Tokens that stop by themselves: what they have added up when they do.
#pragma once

#include <cmath>
#include <cstdint>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Adds up the outputs of layers, each token by its own halting probabilities, for as long as it is alive.
///
/// The first number of a token's vector says the probability h = sigmoid(scale x_0 - centre); in the last layer it
/// is 1. A token halts with the layer in which its h add up to 1 - epsilon; that layer gets what is left of 1, so that
/// the output is a mean of layers. A-ViT: Yin et al. 2022, arXiv 2112.07658. A plain value without gradients, for
/// whoever writes such a loop: an encoder of this library does not add up its layers. Cost: n D a layer.
template <Real Scalar>
class Halting {
 public:
  struct Config {
    double scale = 5.0;
    double centre = 10.0;
    double epsilon = 0.01;  ///< in (0, 1)
  };

  /// @throws std::invalid_argument if a setting is out of range
  Halting(Index tokens, Index width, const Config& config)
      : output_(Matrix<Scalar>::Zero(tokens, width)),
        sums_(tokens, Scalar{0}),
        left_(tokens, Scalar{1}),
        cost_(tokens, Scalar{0}),
        alive_(tokens, 1),
        config_(config) {
    check_argument(width > 0, "Halting", "width", width, "at least 1");
    check_argument(config.epsilon > 0 && config.epsilon < 1, "Halting", "epsilon", config.epsilon, "in (0, 1)");
    check_argument(std::isfinite(config.scale) && std::isfinite(config.centre), "Halting", "scale and centre",
                   config.scale, "finite numbers");
  }

  /// x [n x D], what a layer made; rows of tokens that have halted are not read. A probability that is no number halts.
  /// @throws std::invalid_argument if x has another shape
  void add(const MatrixRef<Scalar>& x, bool is_last) {
    check_equal("Halting::add", "x.rows()", x.rows(), output_.rows());
    check_equal("Halting::add", "x.cols()", x.cols(), output_.cols());
    const auto enough = static_cast<Scalar>(1 - config_.epsilon);
    for (Index t = 0; t < x.rows(); ++t) {
      if (alive_[t] == 0) continue;
      const Scalar halts =
          is_last
              ? Scalar{1}
              : kernels::sigmoid(static_cast<Scalar>(config_.scale) * x(t, 0) - static_cast<Scalar>(config_.centre));
      sums_[t] += halts;
      alive_[t] = sums_[t] < enough ? 1 : 0;
      const Scalar weight = alive_[t] != 0 ? halts : left_[t];
      kernels::add_scaled(x.cols(), weight, x.row(t).data(), output_.row(t).data());
      cost_[t] += alive_[t] != 0 ? Scalar{1} : 1 + left_[t];
      left_[t] -= halts;
    }
  }

  /// [n x D] the mean of layers so far; whole once the last one is in.
  const Matrix<Scalar>& output() const { return output_; }

  /// [n] not 0 for tokens that go on.
  const Vector<std::uint8_t>& alive() const { return alive_; }

  /// [n] the layers that each token took part in and what the last of them got; their mean is the ponder loss.
  const Vector<Scalar>& cost() const { return cost_; }

  double ponder_loss() const {
    double sum = 0;
    for (const Scalar cost : cost_) sum += static_cast<double>(cost);
    return cost_.empty() ? 0 : sum / static_cast<double>(cost_.size());
  }

 private:
  Matrix<Scalar> output_;
  Vector<Scalar> sums_;  ///< [n] of the probabilities
  Vector<Scalar> left_;  ///< [n] 1 - the same, while alive
  Vector<Scalar> cost_;
  Vector<std::uint8_t> alive_;
  Config config_;
};

}  // namespace merganser::merge
