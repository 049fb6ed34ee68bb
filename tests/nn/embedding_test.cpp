#include <merganser/nn/embedding.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace embedding_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

using Ids = Vector<TokenId>;

const Ids some_ids = {4, 0, 4, 6, 1, 4, 2};  // one three times, some never

template <Real Scalar>
struct Setup {
  Embedding<Scalar> layer;
  Matrix<Scalar> probe;

  Setup() : layer({7, 5}) {
    Rng rng(1);
    randomise(layer, rng);
    probe = random_matrix<Scalar>(some_ids.size(), 5, rng);
  }

  Matrix<Scalar> trained() const {
    typename Embedding<Scalar>::Cache cache;
    return layer.forward(some_ids, cache);
  }

  void backward(Embedding<Scalar>& gradients) const {
    typename Embedding<Scalar>::Cache cache;
    layer.forward(some_ids, cache);
    layer.backward(probe, cache, gradients);
  }
};

TEMPLATE_TEST_CASE("an embedding gives every id its row", "[Embedding]", float, double) {
  const Setup<TestType> s;
  const Matrix<TestType> y = s.layer.forward(some_ids);
  REQUIRE(y.rows() == 7);
  for (Index t = 0; t < some_ids.size(); ++t) REQUIRE(y.row(t) == s.layer.weight.row(some_ids[t]));
  REQUIRE(s.layer.forward(Ids{}).rows() == 0);
  REQUIRE(s.layer.forward(Ids{}).cols() == 5);
  REQUIRE(identical(s.layer.forward(Ids{6}), Matrix<TestType>(s.layer.weight.row(6))));
}

TEST_CASE("the gradients of an embedding agree with finite differences", "[Embedding]") {
  Setup<double> s;
  Embedding<double> gradients = zeros_like(s.layer);
  s.backward(gradients);
  require_gradients([&] { return probe_sum(s.probe, s.layer.forward(some_ids)); }, parameter_views(s.layer),
                    parameter_views(gradients));
}

TEMPLATE_TEST_CASE("repeated ids add up, missing ids get nothing", "[Embedding]", float, double) {
  const Setup<TestType> s;
  Embedding<TestType> gradients = zeros_like(s.layer);
  s.backward(gradients);
  const Matrix<TestType> thrice = s.probe.row(0) + s.probe.row(2) + s.probe.row(5);
  REQUIRE(relative_difference(Matrix<TestType>(gradients.weight.row(4)), thrice) <= agreement<TestType>);
  REQUIRE((gradients.weight.row(3).array() == TestType{0}).all());
  REQUIRE((gradients.weight.row(5).array() == TestType{0}).all());
}

TEMPLATE_TEST_CASE("an embedding keeps the laws", "[Embedding]", float, double) {
  const Setup<TestType> s, same;
  require_forward_agrees([&] { return s.layer.forward(some_ids); }, [&] { return s.trained(); });
  require_backward_adds(s.layer, [&](Embedding<TestType>& gradients) { s.backward(gradients); });
  require_same_bits_with_threads([&] { return s.layer.forward(some_ids); });
  REQUIRE(identical(s.layer.weight, same.layer.weight));
}

TEST_CASE("an embedding in float follows the one in double", "[Embedding]") {
  const Setup<float> single;
  const Setup<double> twice;
  Embedding<float> single_gradients = zeros_like(single.layer);
  Embedding<double> double_gradients = zeros_like(twice.layer);
  single.backward(single_gradients);
  twice.backward(double_gradients);
  require_float_follows_double([&] { return single.layer.forward(some_ids); },
                               [&] { return twice.layer.forward(some_ids); });
  require_float_follows_double([&] { return single_gradients.weight; }, [&] { return double_gradients.weight; });
}

TEST_CASE("an embedding is initialised with the deviation it is given", "[Embedding]") {
  Embedding<float> layer({90, 70});
  Rng rng(1);
  layer.initialize(1.5, rng);
  REQUIRE_THAT(measured_deviation(layer.weight), WithinRel(1.5, 0.04));  // standard error 0.9 %
}

TEST_CASE("an embedding names its parameter", "[Embedding]") {
  Embedding<float> layer({7, 5});
  const auto views = parameter_views(layer, "shared.");
  REQUIRE(views.size() == 1);
  REQUIRE(views[0].name == "shared.weight");
  REQUIRE(views[0].rows == 7);
  REQUIRE(views[0].cols == 5);
}

TEST_CASE("an embedding says what does not fit", "[Embedding]") {
  REQUIRE(argument_error([] { Embedding<float>({-2, 5}); }) == "Embedding: count: got -2, expected at least 1");
  REQUIRE(argument_error([] { Embedding<float>({7, 0}); }) == "Embedding: width: got 0, expected at least 1");
  const Setup<float> s;
  Embedding<float> gradients = zeros_like(s.layer);
  REQUIRE(argument_error([&] {
            s.layer.forward(Ids{1, 7});
          }) == "Embedding::forward: ids[1]: got 7, expected an id in [0, 7)");
  REQUIRE(argument_error([&] { s.layer.forward(Ids{-1}); }) ==
          "Embedding::forward: ids[0]: got -1, expected an id in [0, 7)");
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(3, 5), some_ids, gradients); }) ==
          "Embedding::backward: grad_y.rows(): got 3, expected 7");
  REQUIRE(argument_error([&] { s.layer.backward(Matrix<float>::Zero(7, 4), some_ids, gradients); }) ==
          "Embedding::backward: grad_y.cols(): got 4, expected 5");
}

TEST_CASE("an embedding goes backward only over its own ids", "[Embedding]") {
  const Embedding<float> layer({4, 3});
  Embedding<float> gradients({4, 3}), smaller({2, 3});
  const Matrix<float> grad = Matrix<float>::Ones(1, 3);
  REQUIRE(argument_error([&] { layer.backward(grad, {4}, gradients); }) ==
          "Embedding::backward: ids[0]: got 4, expected an id in [0, 4)");
  REQUIRE(argument_error([&] { layer.backward(grad, {3}, smaller); }) ==
          "Embedding::backward: gradients.weight: got 2 x 3, expected 4 x 3");
}

}  // namespace embedding_test
