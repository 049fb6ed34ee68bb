#include <merganser/nn/relative_position_bias.hpp>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace relative_position_bias_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

template <Real Scalar>
using Config = typename RelativePositionBias<Scalar>::Config;

template <Real Scalar>
RelativePositionBias<Scalar> make_layer(Direction direction = Direction::both, Index max_distance = 6) {
  RelativePositionBias<Scalar> layer({8, max_distance, 3, direction});
  Rng rng(1);
  randomise(layer, rng);
  return layer;
}

template <Real Scalar>
DistanceBias<Scalar> random_probe(const RelativePositionBias<Scalar>& layer, Index largest_position) {
  DistanceBias<Scalar> probe = layer.no_bias(largest_position);
  Rng rng(2);
  fill_random(probe.values, rng);
  return probe;
}

TEST_CASE("distances fall into the golden buckets", "[RelativePositionBias]") {
  std::ifstream file(golden_dir() + "/relative_position_buckets.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  REQUIRE(golden.at("cases").size() == 6);
  for (const nlohmann::json& example : golden.at("cases")) {
    const Config<float> config{example.at("num_buckets").get<Index>(), example.at("max_distance").get<Index>(), 3,
                               example.at("bidirectional").get<bool>() ? Direction::both : Direction::backward};
    const auto first = example.at("first_distance").get<Index>();
    const auto expected = example.at("buckets").get<Vector<Index>>();
    REQUIRE(expected.size() == 641);
    Vector<Index> single, twice;
    for (Index i = 0; i < expected.size(); ++i) {
      const Index distance = first + i;
      single.push_back(RelativePositionBias<float>::bucket(distance, config));
      twice.push_back(
          RelativePositionBias<double>::bucket(distance, {config.buckets, config.max_distance, 3, config.direction}));
    }
    CAPTURE(config.buckets, config.max_distance, static_cast<int>(config.direction));
    REQUIRE(single == expected);
    REQUIRE(twice == expected);
  }
}

TEST_CASE("far distances share the last bucket of their side", "[RelativePositionBias]") {
  for (const Index max_distance : {5, 20, 128, 1000})
    for (const Index buckets : {4, 5, 8, 9}) {
      const Config<float> both{buckets, max_distance, 3, Direction::both},
          backward{buckets, max_distance, 3, Direction::backward};
      for (const Index distance : {max_distance, max_distance + 1, Index{1} << 30}) {
        CAPTURE(max_distance, buckets, distance);
        REQUIRE(RelativePositionBias<float>::bucket(-distance, both) == buckets / 2 - 1);
        REQUIRE(RelativePositionBias<float>::bucket(distance, both) == 2 * (buckets / 2) - 1);
        REQUIRE(RelativePositionBias<float>::bucket(-distance, backward) == buckets - 1);
        REQUIRE(RelativePositionBias<float>::bucket(distance, backward) == 0);
      }
      for (Index distance = -max_distance - 2; distance <= max_distance + 2; ++distance) {
        const Index bucket = RelativePositionBias<float>::bucket(distance, both);
        REQUIRE((bucket >= 0 && bucket < buckets));
      }
    }
}

TEMPLATE_TEST_CASE("the bias by distance is the weight of the bucket", "[RelativePositionBias]", float, double) {
  for (const Direction direction : {Direction::both, Direction::backward}) {
    const RelativePositionBias<TestType> layer = make_layer<TestType>(direction);
    for (const Index largest : {0, 1, 5, 6, 7, 1000}) {
      const DistanceBias<TestType> bias = layer.by_distance(largest);
      CAPTURE(largest);
      REQUIRE(bias.radius == std::min<Index>(largest, 6));  // farther distances are all in one bucket
      REQUIRE(bias.values.rows() == 3);
      REQUIRE(bias.values.cols() == 2 * bias.radius + 1);
      for (Index distance = -bias.radius; distance <= bias.radius; ++distance) {
        const Index bucket = RelativePositionBias<TestType>::bucket(distance, {8, 6, 3, direction});
        for (Index head = 0; head < 3; ++head)
          REQUIRE(bias.values(head, distance + bias.radius) == layer.weight(bucket, head));
      }
      const DistanceBias<TestType> nothing = layer.no_bias(largest);
      REQUIRE(nothing.radius == bias.radius);
      REQUIRE(nothing.values.cols() == bias.values.cols());
      REQUIRE((nothing.values.array() == TestType{0}).all());
    }
  }
}

TEST_CASE("the gradients of the position bias agree with finite differences", "[RelativePositionBias]") {
  for (const Direction direction : {Direction::both, Direction::backward})
    for (const Index largest : {0, 2, 30}) {
      RelativePositionBias<double> layer = make_layer<double>(direction), gradients = zeros_like(layer);
      const DistanceBias<double> probe = random_probe(layer, largest);
      layer.backward(probe, gradients);
      CAPTURE(static_cast<int>(direction), largest);
      require_gradients([&] { return probe_sum(probe.values, layer.by_distance(largest).values); },
                        parameter_views(layer), parameter_views(gradients));
    }
}

TEMPLATE_TEST_CASE("the position bias keeps the laws", "[RelativePositionBias]", float, double) {
  const RelativePositionBias<TestType> layer = make_layer<TestType>();
  const DistanceBias<TestType> probe = random_probe(layer, 30);
  require_backward_adds(layer, [&](RelativePositionBias<TestType>& gradients) { layer.backward(probe, gradients); });
  require_same_bits_with_threads([&] { return layer.by_distance(30).values; });
  REQUIRE(identical(layer.weight, make_layer<TestType>().weight));
}

TEST_CASE("the position bias in float follows the one in double", "[RelativePositionBias]") {
  const RelativePositionBias<float> single = make_layer<float>();
  const RelativePositionBias<double> twice = make_layer<double>();
  RelativePositionBias<float> single_gradients = zeros_like(single);
  RelativePositionBias<double> double_gradients = zeros_like(twice);
  single.backward(random_probe(single, 30), single_gradients);
  twice.backward(random_probe(twice, 30), double_gradients);
  require_float_follows_double([&] { return single.by_distance(30).values; },
                               [&] { return twice.by_distance(30).values; });
  require_float_follows_double([&] { return single_gradients.weight; }, [&] { return double_gradients.weight; });
}

TEST_CASE("the position bias is initialised with the deviation it is given", "[RelativePositionBias]") {
  RelativePositionBias<float> layer({32, 128, 200, Direction::both});
  Rng rng(1);
  layer.initialize(0.125, rng);
  REQUIRE_THAT(measured_deviation(layer.weight), WithinRel(0.125, 0.04));  // 6400 numbers: standard error 0.9 %
}

TEST_CASE("the position bias names its parameter", "[RelativePositionBias]") {
  RelativePositionBias<float> layer = make_layer<float>();
  const auto views = parameter_views(layer, "relative_attention_bias.");
  REQUIRE(views.size() == 1);
  REQUIRE(views[0].name == "relative_attention_bias.weight");
  REQUIRE(views[0].rows == 8);
  REQUIRE(views[0].cols == 3);
}

TEST_CASE("the position bias says what does not fit", "[RelativePositionBias]") {
  const auto error = [](Index buckets, Index max_distance, Index heads) {
    return argument_error([&] { RelativePositionBias<float>({buckets, max_distance, heads, Direction::both}); });
  };
  REQUIRE(error(3, 128, 2) == "RelativePositionBias: buckets: got 3, expected at least 4");
  REQUIRE(error(-8, 128, 2) == "RelativePositionBias: buckets: got -8, expected at least 4");
  REQUIRE(error(32, 128, 0) == "RelativePositionBias: heads: got 0, expected at least 1");
  REQUIRE(error(32, 128, -1) == "RelativePositionBias: heads: got -1, expected at least 1");
  REQUIRE(error(32, 16, 2) == "RelativePositionBias: max_distance: got 16, expected more than half of the buckets");
  REQUIRE(error(32, 17, 2) == "nothing thrown");
}

TEST_CASE("a position bias refuses what does not fit", "[RelativePositionBias]") {
  RelativePositionBias<float> layer({8, 6, 2, Direction::both});
  REQUIRE(argument_error([&] { layer.by_distance(-1); }) ==
          "RelativePositionBias: largest_position: got -1, expected at least 0");
  RelativePositionBias<float> gradients = layer;
  const auto error = [&](const DistanceBias<float>& grad) {
    return argument_error([&] { layer.backward(grad, gradients); });
  };
  REQUIRE(error({Matrix<float>::Zero(3, 5), 2}) ==
          "RelativePositionBias::backward: grad.values.rows(): got 3, expected 2");
  REQUIRE(error({Matrix<float>::Zero(2, 5), 3}) ==
          "RelativePositionBias::backward: radius of the position bias: got 3, expected (5 distances - 1) / 2");
  const RelativePositionBias<float> taken = std::move(gradients);
  REQUIRE(error({Matrix<float>::Zero(2, 5), 2}) ==
          "RelativePositionBias::backward: gradients.weight: got 0 x 0, expected 8 x 2");
  REQUIRE(argument_error([&] { gradients.by_distance(3); }) ==
          "RelativePositionBias: weight.rows(): got 0, expected 8");
}

}  // namespace relative_position_bias_test
