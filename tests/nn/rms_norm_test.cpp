#include <merganser/nn/rms_norm.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace rms_norm_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;

template <Real Scalar>
struct Setup {
  RmsNorm<Scalar> layer;
  Matrix<Scalar> x, probe;

  explicit Setup(Index tokens, Index width = 5, double epsilon = 1e-6) : layer({width, epsilon}) {
    Rng rng(1);
    randomise(layer, rng);
    x = random_matrix<Scalar>(tokens, width, rng);
    probe = random_matrix<Scalar>(tokens, width, rng);
  }

  Matrix<Scalar> trained() const {
    typename RmsNorm<Scalar>::Cache cache;
    return layer.forward(x, cache);
  }

  Matrix<Scalar> backward(RmsNorm<Scalar>& gradients) const {
    typename RmsNorm<Scalar>::Cache cache;
    layer.forward(x, cache);
    return layer.backward(probe, cache, gradients);
  }
};

TEMPLATE_TEST_CASE("a norm divides each row by its root mean square", "[RmsNorm]", float, double) {
  for (const Index width : {1, 5, 16, 37})
    for (const double epsilon : {1e-6, 0.5}) {
      const Setup<TestType> s(11, width, epsilon);
      Matrix<double> expected(11, width);
      for (Index t = 0; t < 11; ++t) {
        double square = 0;
        for (Index d = 0; d < width; ++d) square += std::pow(static_cast<double>(s.x(t, d)), 2);
        for (Index d = 0; d < width; ++d)
          expected(t, d) = static_cast<double>(s.layer.scale(d)) * static_cast<double>(s.x(t, d)) /
                           std::sqrt(square / static_cast<double>(width) + epsilon);
      }
      CAPTURE(width, epsilon);
      REQUIRE(relative_difference(s.layer.forward(s.x), expected) <= agreement<TestType>);
    }
}

TEMPLATE_TEST_CASE("a new norm has scale 1, and rows of zeros stay zeros", "[RmsNorm]", float, double) {
  const RmsNorm<TestType> layer({4});
  REQUIRE((layer.scale.array() == TestType{1}).all());
  REQUIRE((layer.forward(Matrix<TestType>::Zero(2, 4)).array() == TestType{0}).all());
  REQUIRE(layer.forward(Matrix<TestType>(0, 4)).rows() == 0);

  typename RmsNorm<TestType>::Cache cache;
  RmsNorm<TestType> gradients = zeros_like(layer);
  layer.forward(Matrix<TestType>::Zero(2, 4), cache);
  REQUIRE(layer.backward(Matrix<TestType>::Ones(2, 4), cache, gradients).allFinite());
}

TEST_CASE("the gradients of a norm agree with finite differences", "[RmsNorm]") {
  for (const Index tokens : {1, 11})
    for (const double epsilon : {1e-6, 0.5}) {  // the larger one makes the term of epsilon visible
      Setup<double> s(tokens, 5, epsilon);
      RmsNorm<double> gradients = zeros_like(s.layer);
      Matrix<double> grad_x = s.backward(gradients);
      auto parameters = parameter_views(s.layer), analytic = parameter_views(gradients);
      parameters.push_back(tensor_view("x", s.x));
      analytic.push_back(tensor_view("x", grad_x));
      CAPTURE(tokens, epsilon);
      require_gradients([&] { return probe_sum(s.probe, s.layer.forward(s.x)); }, parameters, analytic);
    }
}

TEMPLATE_TEST_CASE("a norm keeps the laws", "[RmsNorm]", float, double) {
  const Setup<TestType> s(11), same(11);
  require_forward_agrees([&] { return s.layer.forward(s.x); }, [&] { return s.trained(); });
  require_backward_adds(s.layer, [&](RmsNorm<TestType>& gradients) { s.backward(gradients); });
  REQUIRE(identical(s.x, same.x));
  REQUIRE(identical(s.layer.scale, same.layer.scale));
}

TEST_CASE("a norm in float follows the one in double", "[RmsNorm]") {
  const Setup<float> single(11, 37);
  const Setup<double> twice(11, 37);
  RmsNorm<float> single_gradients = zeros_like(single.layer);
  RmsNorm<double> double_gradients = zeros_like(twice.layer);
  require_float_follows_double([&] { return single.trained(); }, [&] { return twice.trained(); });
  require_float_follows_double([&] { return single.backward(single_gradients); },
                               [&] { return twice.backward(double_gradients); });
  require_float_follows_double([&] { return single_gradients.scale; }, [&] { return double_gradients.scale; });
}

TEMPLATE_TEST_CASE("a norm gives a row the same bits in any batch, with any number of threads", "[RmsNorm]", float,
                   double) {
  const Setup<TestType> s(200, 37);
  RmsNorm<TestType> gradients = zeros_like(s.layer);
  const Matrix<TestType> y = s.layer.forward(s.x), grad_x = s.backward(gradients);
  for (const Index row : {0, 63, 64, 199}) {
    Setup<TestType> alone = s;
    alone.x = s.x.row(row);
    alone.probe = s.probe.row(row);
    RmsNorm<TestType> own = zeros_like(s.layer);
    REQUIRE(identical(alone.trained(), Matrix<TestType>(y.row(row))));
    REQUIRE(identical(alone.backward(own), Matrix<TestType>(grad_x.row(row))));
  }
  require_same_bits_with_threads([&] { return s.layer.forward(s.x); });
  require_same_bits_with_threads([&] {
    RmsNorm<TestType> own = zeros_like(s.layer);
    return s.backward(own);
  });
  require_same_bits_with_threads([&] {
    RmsNorm<TestType> own = zeros_like(s.layer);
    s.backward(own);
    return own.scale;
  });
}

TEST_CASE("a norm names its parameter", "[RmsNorm]") {
  RmsNorm<float> layer({5});
  const auto views = parameter_views(layer, "encoder.final_layer_norm.");
  REQUIRE(views.size() == 1);
  REQUIRE(views[0].name == "encoder.final_layer_norm.weight");
  REQUIRE(views[0].is_vector);
  REQUIRE(views[0].size() == 5);
}

TEST_CASE("a norm says what does not fit", "[RmsNorm]") {
  REQUIRE(argument_error([] { RmsNorm<float>({-3}); }) == "RmsNorm: width: got -3, expected at least 1");
  REQUIRE(argument_error([] { RmsNorm<float>({5, 0.0}); }) == "RmsNorm: epsilon: got 0, expected a positive number");
  REQUIRE(argument_error([] {
            RmsNorm<float>({5, std::nan("")});
          }) == "RmsNorm: epsilon: got nan, expected a positive number");
  const Setup<float> s(11);
  RmsNorm<float> gradients = zeros_like(s.layer);
  RmsNorm<float>::Cache cache;
  s.layer.forward(s.x, cache);
  REQUIRE(argument_error([&] { s.layer.forward(Matrix<float>::Zero(2, 4)); }) ==
          "RmsNorm::forward: x.cols(): got 4, expected 5");
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(2, 5), cache, gradients); }) ==
          "RmsNorm::backward: grad_y.rows(): got 2, expected 11");
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(11, 4), cache, gradients); }) ==
          "RmsNorm::backward: grad_y.cols(): got 4, expected 5");
}

TEST_CASE("normalisation backward refuses what does not fit", "[RmsNorm]") {
  const RmsNorm<float> layer({3}), wider({4});
  RmsNorm<float>::Cache cache;
  layer.forward(Matrix<float>::Ones(2, 3), cache);
  RmsNorm<float> gradients = layer, other = wider;
  const Matrix<float> grad = Matrix<float>::Ones(2, 3);
  REQUIRE(argument_error([&] { layer.backward(grad, cache, other); }) ==
          "RmsNorm::backward: gradients.scale: got 1 x 4, expected 1 x 3");
  REQUIRE(argument_error([&] { wider.backward(Matrix<float>::Ones(2, 4), cache, other); }) ==
          "RmsNorm::backward: cache.input: got 2 x 3, expected 2 x 4");
  cache.inverse_rms.pop_back();
  REQUIRE(argument_error([&] { layer.backward(grad, cache, gradients); }) ==
          "RmsNorm::backward: cache.inverse_rms.size(): got 1, expected 2");
}

}  // namespace rms_norm_test
