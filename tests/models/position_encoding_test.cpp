#include <merganser/models/position_encoding.hpp>

#include <vector>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace position_encoding_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;

PositionEncoding<double> encoding(PositionScheme scheme, nn::Direction direction = nn::Direction::both) {
  StackConfig stack = tiny_stack();
  stack.positions = scheme;
  PositionEncoding<double> position(stack, direction);
  fill_model(position, 3);
  return position;
}

const Vector<Position> positions{0, 2, 5, 0, 1};

TEST_CASE("the relative scheme is a bias by distance and leaves the rows alone", "[PositionEncoding]") {
  for (const nn::Direction direction : {nn::Direction::both, nn::Direction::backward}) {
    const PositionEncoding<double> position = encoding(PositionScheme::relative, direction);
    Matrix<double> x = Matrix<double>::Ones(5, 6);
    PositionEncoding<double>::Cache cache;
    position.add(x, positions, &cache);
    REQUIRE((x.array() == 1.0).all());
    const nn::DistanceBias<double> bias = position.bias(positions);
    REQUIRE(bias.radius == 4);  // positions up to 5, but all distances from max_distance on are one
    REQUIRE(identical(bias.values, position.relative.by_distance(5).values));
    REQUIRE(identical(position.bias_up_to(5).values, bias.values));
    REQUIRE(position.bias({}).values.rows() == 2);
  }
  REQUIRE_FALSE(identical(encoding(PositionScheme::relative, nn::Direction::both).bias_up_to(5).values,
                          encoding(PositionScheme::relative, nn::Direction::backward).bias_up_to(5).values));
}

TEST_CASE("the absolute scheme adds the vector of each position and has no bias", "[PositionEncoding]") {
  const PositionEncoding<double> position = encoding(PositionScheme::absolute);
  Matrix<double> x = Matrix<double>::Ones(5, 6);
  PositionEncoding<double>::Cache cache;
  position.add(x, positions, &cache);
  REQUIRE(cache == positions);
  for (Index t = 0; t < 5; ++t)
    REQUIRE(identical(Matrix<double>(x.row(t)),
                      Matrix<double>(RowVector<double>::Ones(6) + position.absolute.weight.row(positions[t]))));
  REQUIRE(position.bias(positions).values.size() == 0);
  REQUIRE(position.bias_up_to(5).values.size() == 0);

  Matrix<double> past = Matrix<double>::Ones(1, 6);
  REQUIRE(argument_error([&] { position.add(past, Vector<Position>{7}, nullptr); }) ==
          "PositionEncoding::add: position: got 7, expected one in the table of 7, the tokens that a text may have");
  REQUIRE(identical(past, Matrix<double>(Matrix<double>::Ones(1, 6))));
}

TEST_CASE("the gradients of both schemes agree with finite differences", "[PositionEncoding]") {
  for (const PositionScheme scheme : {PositionScheme::relative, PositionScheme::absolute})
    for (const nn::Direction direction : {nn::Direction::both, nn::Direction::backward}) {
      PositionEncoding<double> position = encoding(scheme, direction), gradients = zeros_like(position);
      Rng rng(4);
      const Matrix<double> x = random_matrix<double>(5, 6, rng), probe = random_matrix<double>(5, 6, rng);
      const Matrix<double> bias_probe = random_matrix<double>(2, 9, rng);
      PositionEncoding<double>::Cache cache;
      const auto objective = [&] {
        Matrix<double> moved = x;
        position.add(moved, positions, &cache);
        const nn::DistanceBias<double> bias = position.bias(positions);
        return probe_sum(probe, moved) + (bias.values.size() > 0 ? probe_sum(bias_probe, bias.values) : 0.0);
      };
      objective();
      position.backward(probe, {bias_probe, 4}, cache, gradients);
      require_gradients(objective, parameter_views(position), parameter_views(gradients));
    }
}

TEST_CASE("only the parameters of the chosen scheme exist", "[PositionEncoding]") {
  PositionEncoding<double> relative = encoding(PositionScheme::relative), absolute = encoding(PositionScheme::absolute);
  const auto of_relative = parameter_views(relative, "encoder."), of_absolute = parameter_views(absolute, "decoder.");
  REQUIRE(of_relative.size() == 1);
  REQUIRE(of_relative[0].name == "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
  REQUIRE(of_relative[0].rows == 6);
  REQUIRE(of_relative[0].cols == 2);
  REQUIRE(of_absolute.size() == 1);
  REQUIRE(of_absolute[0].name == "decoder.absolute_pos_embed.weight");
  REQUIRE(of_absolute[0].rows == 7);
  REQUIRE(of_absolute[0].cols == 6);
}

TEST_CASE("position tables start with the deviations of T5", "[PositionEncoding]") {
  StackConfig stack = tiny_stack();
  stack.width = 100;
  stack.heads = 40;
  stack.buckets = 100;
  stack.max_distance = 200;
  stack.max_positions = 50;
  Rng rng(5);
  PositionEncoding<double> relative(stack, nn::Direction::both);
  relative.initialize(2.0, rng);
  REQUIRE_THAT(measured_deviation(relative.relative.weight), Catch::Matchers::WithinRel(0.2, 0.05));
  stack.positions = PositionScheme::absolute;
  PositionEncoding<double> absolute(stack, nn::Direction::both);
  absolute.initialize(2.0, rng);
  REQUIRE_THAT(measured_deviation(absolute.absolute.weight), Catch::Matchers::WithinRel(2.0, 0.05));
}

}  // namespace position_encoding_test
