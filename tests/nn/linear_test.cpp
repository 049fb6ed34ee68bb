#include <merganser/nn/linear.hpp>

#include <cmath>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace linear_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

template <Real Scalar>
struct Setup {
  Linear<Scalar> layer;
  Matrix<Scalar> x, probe;

  explicit Setup(Index tokens, Index in = 5, Index out = 3, std::uint64_t seed = 1) : layer({in, out}) {
    Rng rng(seed);
    randomise(layer, rng);
    x = random_matrix<Scalar>(tokens, in, rng);
    probe = random_matrix<Scalar>(tokens, out, rng);
  }

  Matrix<Scalar> trained() const {
    typename Linear<Scalar>::Cache cache;
    return layer.forward(x, cache);
  }

  Matrix<Scalar> backward(Linear<Scalar>& gradients) const {
    typename Linear<Scalar>::Cache cache;
    layer.forward(x, cache);
    return layer.backward(probe, cache, gradients);
  }
};

TEMPLATE_TEST_CASE("a linear layer multiplies every row by its weight", "[Linear]", float, double) {
  Linear<TestType> layer({3, 2});
  REQUIRE((layer.weight.matrix().array() == TestType{0}).all());
  layer.weight.matrix() << 1, 2, 3, -1, 0, TestType(0.5);
  Matrix<TestType> x(2, 3), expected(2, 2);
  x << 1, 1, 1, 2, 0, -4;
  expected << 6, TestType(-0.5), -10, -4;
  REQUIRE(identical(layer.forward(x), expected));
  REQUIRE(layer.forward(Matrix<TestType>(0, 3)).rows() == 0);
  REQUIRE(layer.forward(Matrix<TestType>(0, 3)).cols() == 2);
}

TEST_CASE("the gradients of a linear layer agree with finite differences", "[Linear]") {
  for (const Index tokens : {1, 11}) {
    Setup<double> s(tokens);
    Linear<double> gradients = zeros_like(s.layer);
    Matrix<double> grad_x = s.backward(gradients);
    auto parameters = parameter_views(s.layer), analytic = parameter_views(gradients);
    parameters.push_back(tensor_view("x", s.x));
    analytic.push_back(tensor_view("x", grad_x));
    require_gradients([&] { return probe_sum(s.probe, s.layer.forward(s.x)); }, parameters, analytic);
  }
}

TEMPLATE_TEST_CASE("a linear layer keeps the laws", "[Linear]", float, double) {
  const Setup<TestType> s(11);
  require_forward_agrees([&] { return s.layer.forward(s.x); }, [&] { return s.trained(); });
  require_backward_adds(s.layer, [&](Linear<TestType>& gradients) { s.backward(gradients); });

  const Setup<TestType> same(11);
  Linear<TestType> gradients = zeros_like(s.layer);
  s.backward(gradients);
  REQUIRE(identical(s.x, same.x));
  REQUIRE(identical(s.layer.weight.matrix(), same.layer.weight.matrix()));
}

TEST_CASE("a linear layer in float follows the one in double", "[Linear]") {
  const Setup<float> single(11, 29, 17);
  const Setup<double> twice(11, 29, 17);
  Linear<float> single_gradients = zeros_like(single.layer);
  Linear<double> double_gradients = zeros_like(twice.layer);
  require_float_follows_double([&] { return single.layer.forward(single.x); },
                               [&] { return twice.layer.forward(twice.x); });
  require_float_follows_double([&] { return single.backward(single_gradients); },
                               [&] { return twice.backward(double_gradients); });
  require_float_follows_double([&] { return single_gradients.weight.matrix(); },
                               [&] { return double_gradients.weight.matrix(); });
}

TEMPLATE_TEST_CASE("a linear layer gives a row the same bits in any batch, with any number of threads", "[Linear]",
                   float, double) {
  const Setup<TestType> s(150, 37, 29);  // large enough for several tasks in every product
  Linear<TestType> gradients = zeros_like(s.layer);
  const Matrix<TestType> y = s.layer.forward(s.x), grad_x = s.backward(gradients);
  for (const Index first : {0, 1, 63, 149}) {
    Setup<TestType> alone = s;
    alone.x = s.x.row(first);
    alone.probe = s.probe.row(first);
    Linear<TestType> own = zeros_like(s.layer);
    REQUIRE(identical(s.layer.forward(alone.x), Matrix<TestType>(y.row(first))));
    REQUIRE(identical(alone.backward(own), Matrix<TestType>(grad_x.row(first))));
  }
  require_same_bits_with_threads([&] { return s.layer.forward(s.x); });
  require_same_bits_with_threads([&] {
    Linear<TestType> own = zeros_like(s.layer);
    return s.backward(own);
  });
  require_same_bits_with_threads([&] {
    Linear<TestType> own = zeros_like(s.layer);
    s.backward(own);
    return own.weight.matrix();
  });
}

TEMPLATE_TEST_CASE("the weight gradient of a batch is the sum over its rows", "[Linear]", float, double) {
  const Setup<TestType> s(11);
  Linear<TestType> together = zeros_like(s.layer), one_by_one = zeros_like(s.layer);
  s.backward(together);
  for (Index row = 0; row < 11; ++row) {
    Setup<TestType> alone = s;
    alone.x = s.x.row(row);
    alone.probe = s.probe.row(row);
    alone.backward(one_by_one);
  }
  REQUIRE(relative_difference(one_by_one.weight.matrix(), together.weight.matrix()) <= agreement<TestType>);

  const Setup<TestType> nothing(0);
  Linear<TestType> empty = zeros_like(s.layer);
  REQUIRE(nothing.backward(empty).rows() == 0);
  REQUIRE((empty.weight.matrix().array() == TestType{0}).all());
}

TEST_CASE("a linear layer is initialised with the deviation it is given", "[Linear]") {
  Linear<float> layer({90, 70}), same({90, 70});
  Rng rng(1), twin(1);
  layer.initialize(0.25, rng);
  same.initialize(0.25, twin);
  REQUIRE(identical(layer.weight.matrix(), same.weight.matrix()));
  // 6300 numbers: the standard errors of deviation and mean are 0.9 % and 1.3 % of the deviation
  REQUIRE_THAT(measured_deviation(layer.weight.matrix()), WithinRel(0.25, 0.04));
  REQUIRE_THAT(static_cast<double>(layer.weight.matrix().mean()), WithinAbs(0.0, 0.013));
}

TEST_CASE("a linear layer names its parameter", "[Linear]") {
  Linear<float> layer({5, 3});
  const auto views = parameter_views(layer, "lm_head.");
  REQUIRE(views.size() == 1);
  REQUIRE(views[0].name == "lm_head.weight");
  REQUIRE(views[0].rows == 3);
  REQUIRE(views[0].cols == 5);
  REQUIRE_FALSE(views[0].is_vector);
}

TEST_CASE("a linear layer says what does not fit", "[Linear]") {
  REQUIRE(argument_error([] { Linear<float>({0, 3}); }) == "Linear: in_features: got 0, expected at least 1");
  REQUIRE(argument_error([] { Linear<float>({5, -1}); }) == "Linear: out_features: got -1, expected at least 1");
  const Setup<float> s(11);
  Linear<float> gradients = zeros_like(s.layer);
  REQUIRE(argument_error([&] { s.layer.forward(Matrix<float>::Zero(2, 4)); }) ==
          "Linear::forward: x.cols(): got 4, expected 5");
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(2, 3), s.x, gradients); }) ==
          "Linear::backward: grad_y.rows(): got 2, expected 11");
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(11, 4), s.x, gradients); }) ==
          "Linear::backward: grad_y.cols(): got 4, expected 3");
}

TEMPLATE_TEST_CASE("a linear layer prepared for inference gives the same bits and is no longer a parameter", "[Linear]",
                   float, double) {
  Setup<TestType> s(9, 21, 35);
  const Matrix<TestType> before = s.layer.forward(s.x);
  Linear<TestType> prepared = s.layer;
  REQUIRE_FALSE(prepared.weight.is_packed());
  prepared.prepare_for_inference(kernels::Precision::full);
  prepared.prepare_for_inference(kernels::Precision::full);  // twice is once
  REQUIRE(prepared.weight.is_packed());
  REQUIRE(prepared.in_features() == 21);
  REQUIRE(prepared.out_features() == 35);
  REQUIRE(identical(prepared.forward(s.x), before));
  const Linear<TestType> of_table(Weight<TestType>::packed_from(s.layer.weight.matrix(), kernels::Precision::full));
  REQUIRE(identical(of_table.forward(s.x), before));
  REQUIRE(argument_error([&] { prepared.visit([](const std::string&, auto&) {}, "block.0."); }) ==
          "Weight::visit: block.0.weight: got a model prepared for inference, expected one that can be trained or "
          "saved");
  REQUIRE_THROWS_AS(prepared.forward(Matrix<TestType>::Zero(2, 20)), std::invalid_argument);
  Linear<TestType> gradients = zeros_like(s.layer);
  REQUIRE(argument_error([&] { prepared.backward(s.probe, s.x, gradients); }) ==
          "Weight::matrix: weight: got a model prepared for inference, expected one that can be trained or saved");
  REQUIRE((gradients.weight.matrix().array() == TestType{0}).all());
}

TEST_CASE("a linear layer in bfloat16 is near the one in float", "[Linear]") {
  Setup<float> s(9, 300, 35);
  const Matrix<float> before = s.layer.forward(s.x);
  s.layer.prepare_for_inference(kernels::Precision::bfloat16);
  const Matrix<float> after = s.layer.forward(s.x);
  REQUIRE_FALSE(identical(after, before));
  REQUIRE((after - before).norm() <= before.norm() / 256);
}

TEST_CASE("a linear layer made without its weight waits for it", "[Linear]") {
  const Setup<float> s(9, 21, 35);
  Linear<float> layer({21, 35}, Weights::absent);
  REQUIRE(layer.weight.is_absent());
  REQUIRE(layer.in_features() == 21);
  REQUIRE(layer.out_features() == 35);
  REQUIRE(argument_error([&] { layer.visit([](const std::string&, auto&) {}, "o."); }) ==
          "Weight::visit: o.weight: got an absent weight, expected a weight");
  REQUIRE(argument_error([&] { layer.forward(s.x); }) ==
          "Weight::matrix: weight: got an absent weight, expected a weight");
  layer.prepare_for_inference(kernels::Precision::full);
  REQUIRE(layer.weight.is_absent());

  layer.weight.bring(s.layer.weight.matrix(), kernels::Precision::full);
  Linear<float> prepared = s.layer;
  prepared.prepare_for_inference(kernels::Precision::full);
  REQUIRE(layer.weight.bytes() == prepared.weight.bytes());
  REQUIRE(identical(layer.forward(s.x), s.layer.forward(s.x)));
  REQUIRE_THROWS_AS(Linear<float>({0, 35}, Weights::absent), std::invalid_argument);
}

}  // namespace linear_test
