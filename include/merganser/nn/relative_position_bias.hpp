// The bucketed relative position bias of T5.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/nn/linear.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// Whether keys after the query exist.
enum class Direction {
  both,      ///< encoder: half of the buckets for keys after the query
  backward,  ///< decoder: all buckets for keys at or before the query
};

/// A bias for every head and every distance (key position - query position) from -radius to radius.
///
/// Distances outside are taken as the nearest one inside: there all lie in one bucket.
template <Real Scalar>
struct DistanceBias {
  Matrix<Scalar> values;  ///< [H x (2 radius + 1)]
  Index radius = 0;

  /// @throws std::invalid_argument if the radius does not fit the values, naming `where`
  void check(const char* where) const {
    if (radius < 0 || values.cols() / 2 != radius || values.cols() % 2 != 1)
      throw_invalid_argument(where, "radius of the position bias", radius,
                             std::string("(").append(to_text(values.cols())).append(" distances - 1) / 2"));
  }
};

/// A learned bias for each head and bucket of distances, added to the attention scores of every block of a stack.
///
/// weight [buckets x heads]. Raffel et al. 2020, arXiv 1910.10683, section 2.1; buckets as in the published code: exact
/// up to half of them, then logarithmic up to max_distance.
template <Real Scalar>
class RelativePositionBias {
 public:
  using ScalarType = Scalar;
  using Gradients = RelativePositionBias;

  struct Config {
    Index buckets = 32;
    Index max_distance = 128;
    Index heads = 0;
    Direction direction = Direction::both;
  };

  RelativePositionBias() = default;

  /// @throws std::invalid_argument if an extent is too small
  explicit RelativePositionBias(const Config& config) : config_(config) {
    check_argument(config.buckets >= 4, "RelativePositionBias", "buckets", config.buckets, "at least 4");
    check_argument(config.heads > 0, "RelativePositionBias", "heads", config.heads, "at least 1");
    check_argument(config.max_distance > config.buckets / 2, "RelativePositionBias", "max_distance",
                   config.max_distance, "more than half of the buckets");
    weight.setZero(config.buckets, config.heads);
  }

  void initialize(double standard_deviation, Rng& rng) { fill_normal(weight, standard_deviation, rng); }

  /// The bucket of a distance = key position - query position.
  static Index bucket(Index distance, const Config& config) {
    Index buckets = config.buckets;
    Index first = 0;
    if (config.direction == Direction::both) {
      buckets /= 2;
      if (distance > 0) first = buckets;
      distance = std::abs(distance);
    } else {
      distance = std::max<Index>(-distance, 0);
    }
    const Index exact = buckets / 2;
    if (distance < exact) return first + distance;
    // Single precision, as in the published code: bucket edges depend on it.
    const float ratio = std::log(static_cast<float>(distance) / static_cast<float>(exact));
    const float range =
        static_cast<float>(std::log(static_cast<double>(config.max_distance) / static_cast<double>(exact)));
    const auto step = static_cast<Index>(ratio / range * static_cast<float>(buckets - exact));
    return first + std::min(exact + step, buckets - 1);
  }

  /// The bias by distance, wide enough for positions up to `largest_position`.
  /// @throws std::invalid_argument if that is negative
  DistanceBias<Scalar> by_distance(Index largest_position) const {
    check_equal("RelativePositionBias", "weight.rows()", weight.rows(), config_.buckets);
    check_equal("RelativePositionBias", "weight.cols()", weight.cols(), config_.heads);
    DistanceBias<Scalar> bias = no_bias(largest_position);
    for (Index d = -bias.radius; d <= bias.radius; ++d)
      bias.values.col(d + bias.radius) = weight.row(bucket(d, config_)).transpose();
    return bias;
  }

  /// The same shape, all 0: where attention layers add the gradient.
  DistanceBias<Scalar> no_bias(Index largest_position) const {
    check_argument(largest_position >= 0, "RelativePositionBias", "largest_position", largest_position, "at least 0");
    const Index radius = std::min(largest_position, config_.max_distance);
    return {Matrix<Scalar>::Zero(config_.heads, 2 * radius + 1), radius};
  }

  /// Adds the gradient by distance to the gradient of the buckets.
  /// @throws std::invalid_argument if the shapes do not fit
  void backward(const DistanceBias<Scalar>& grad, Gradients& gradients) const {
    check_equal("RelativePositionBias::backward", "grad.values.rows()", grad.values.rows(), config_.heads);
    grad.check("RelativePositionBias::backward");
    check_same_shape("RelativePositionBias::backward", "gradients.weight", gradients.weight, weight);
    for (Index d = -grad.radius; d <= grad.radius; ++d)
      gradients.weight.row(bucket(d, config_)) += grad.values.col(d + grad.radius).transpose();
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    visitor(prefix + "weight", weight);
  }

  Matrix<Scalar> weight;

 private:
  Config config_;
};

}  // namespace merganser::nn
