#include <merganser/nn/cross_entropy.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace cross_entropy_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

using Labels = Vector<TokenId>;

const Labels some_labels = {3, ignored_label, 0, 4, ignored_label, 1, 3};  // of 5

template <Real Scalar>
Matrix<Scalar> some_logits(Index tokens = 7, Index vocabulary = 5) {
  Rng rng(1);
  return random_matrix<Scalar>(tokens, vocabulary, rng, 2.0);
}

template <Real Scalar>
Matrix<Scalar> gradient(const Matrix<Scalar>& logits, const Labels& labels, double factor = 1.0) {
  const CrossEntropy<Scalar> loss;
  typename CrossEntropy<Scalar>::Cache cache;
  loss.forward(logits, labels, cache);
  return loss.backward(factor, cache);
}

TEMPLATE_TEST_CASE("cross entropy is the mean of -log softmax over the labels", "[CrossEntropy]", float, double) {
  const Matrix<TestType> logits = some_logits<TestType>();
  const auto result = CrossEntropy<TestType>().forward(logits, some_labels);
  const double tolerance = 20 * static_cast<double>(std::numeric_limits<TestType>::epsilon());
  double sum = 0;
  for (Index t = 0; t < 7; ++t) {
    if (some_labels[t] == ignored_label) {
      REQUIRE(result.per_label[t] == TestType{0});
      continue;
    }
    double total = 0;
    for (Index v = 0; v < 5; ++v) total += std::exp(static_cast<double>(logits(t, v)));
    const double nats = std::log(total) - static_cast<double>(logits(t, some_labels[t]));
    REQUIRE_THAT(static_cast<double>(result.per_label[t]), WithinAbs(nats, tolerance));
    sum += nats;
  }
  REQUIRE(result.counted == 5);
  REQUIRE(result.per_label.size() == 7);
  REQUIRE_THAT(result.mean, WithinAbs(sum / 5, tolerance));
}

TEMPLATE_TEST_CASE("equal logits cost the logarithm of the vocabulary", "[CrossEntropy]", float, double) {
  const auto result = CrossEntropy<TestType>().forward(Matrix<TestType>::Constant(1, 384, 3), Labels{17});
  REQUIRE_THAT(result.mean, WithinRel(std::log(384.0), 1e-6));
}

TEST_CASE("the gradient of cross entropy agrees with finite differences", "[CrossEntropy]") {
  for (const double factor : {1.0, -0.37})
    for (const Labels& labels : {some_labels, Labels{0, 1, 2, 3, 4, 0, 1}}) {
      Matrix<double> logits = some_logits<double>();
      Matrix<double> grad = gradient(logits, labels, factor);
      require_gradients([&] { return factor * CrossEntropy<double>().forward(logits, labels).mean; },
                        {tensor_view("logits", logits)}, {tensor_view("logits", grad)});
    }
}

TEMPLATE_TEST_CASE("ignored labels have no gradient, and the others sum to 0", "[CrossEntropy]", float, double) {
  const Matrix<TestType> grad = gradient(some_logits<TestType>(), some_labels);
  for (const Index t : {1, 4}) REQUIRE((grad.row(t).array() == TestType{0}).all());
  for (const Index t : {0, 2, 3, 5, 6}) {
    REQUIRE(grad(t, some_labels[t]) < TestType{0});
    REQUIRE_THAT(static_cast<double>(grad.row(t).sum()), WithinAbs(0.0, 1e-6));
  }
}

TEMPLATE_TEST_CASE("with every label ignored, loss and gradient are 0", "[CrossEntropy]", float, double) {
  const Labels ignored(7, ignored_label);
  const auto result = CrossEntropy<TestType>().forward(some_logits<TestType>(), ignored);
  REQUIRE(result.mean == 0.0);
  REQUIRE(result.counted == 0);
  REQUIRE(result.per_label == Vector<TestType>(7, TestType{0}));
  const Matrix<TestType> grad = gradient(some_logits<TestType>(), ignored);
  REQUIRE(grad.rows() == 7);
  REQUIRE(grad.cols() == 5);
  REQUIRE((grad.array() == TestType{0}).all());
}

TEMPLATE_TEST_CASE("no tokens at all", "[CrossEntropy]", float, double) {
  const auto result = CrossEntropy<TestType>().forward(Matrix<TestType>(0, 5), Labels{});
  REQUIRE(result.mean == 0.0);
  REQUIRE(result.counted == 0);
  REQUIRE(result.per_label.empty());
  REQUIRE(gradient(Matrix<TestType>(0, 5), Labels{}).rows() == 0);
}

TEMPLATE_TEST_CASE("large logits do not overflow", "[CrossEntropy]", float, double) {
  Matrix<TestType> logits(2, 3);
  logits << 10000, 0, -10000, 10000, 0, -10000;
  const auto result = CrossEntropy<TestType>().forward(logits, Labels{0, 2});
  REQUIRE(result.per_label[0] == TestType{0});
  REQUIRE(result.per_label[1] == TestType{20000});
  Matrix<TestType> expected(2, 3);
  expected << 0, 0, 0, TestType(0.5), 0, TestType(-0.5);
  REQUIRE(identical(gradient(logits, Labels{0, 2}), expected));
}

TEMPLATE_TEST_CASE("a logit that is not a number reaches the loss", "[CrossEntropy]", float, double) {
  Matrix<TestType> logits = some_logits<TestType>();
  logits(3, 2) = std::numeric_limits<TestType>::quiet_NaN();
  REQUIRE(std::isnan(CrossEntropy<TestType>().forward(logits, some_labels).mean));
}

TEMPLATE_TEST_CASE("cross entropy keeps the laws", "[CrossEntropy]", float, double) {
  const CrossEntropy<TestType> loss;
  const Matrix<TestType> logits = some_logits<TestType>();
  typename CrossEntropy<TestType>::Cache cache;
  const auto inference = loss.forward(logits, some_labels), training = loss.forward(logits, some_labels, cache);
  REQUIRE(training.mean == inference.mean);
  REQUIRE(training.per_label == inference.per_label);
  REQUIRE(identical(logits, some_logits<TestType>()));

  // a cache used before for a larger batch
  const Labels fewer(some_labels.begin(), some_labels.begin() + 3);
  loss.forward(Matrix<TestType>(logits.topRows(3)), fewer, cache);
  REQUIRE(identical(loss.backward(1.0, cache), gradient(Matrix<TestType>(logits.topRows(3)), fewer)));
}

TEST_CASE("cross entropy in float follows the one in double", "[CrossEntropy]") {
  require_float_follows_double([] { return gradient(some_logits<float>(), some_labels); },
                               [] { return gradient(some_logits<double>(), some_labels); });
}

TEMPLATE_TEST_CASE("cross entropy has the same bits in any batch and with any number of threads", "[CrossEntropy]",
                   float, double) {
  const Matrix<TestType> logits = some_logits<TestType>(200, 37);
  Labels labels(200);
  for (Index t = 0; t < labels.size(); ++t) labels[t] = static_cast<TokenId>(t % 37);
  const CrossEntropy<TestType> loss;
  const auto nats = [&] {
    const auto result = loss.forward(logits, labels);
    return Matrix<TestType>(Eigen::Map<const PlainRowVector<TestType>>(result.per_label.data(), 200));
  };
  require_same_bits_with_threads(nats);
  require_same_bits_with_threads([&] { return gradient(logits, labels); });
  for (const Index t : {0, 63, 64, 199}) {
    const auto alone = loss.forward(Matrix<TestType>(logits.row(t)), Labels{labels[t]});
    REQUIRE(alone.per_label[0] == nats()(0, t));
  }
}

TEST_CASE("cross entropy says which label is wrong", "[CrossEntropy]") {
  const CrossEntropy<float> loss;
  const Matrix<float> logits = some_logits<float>(2);
  REQUIRE(argument_error([&] {
            loss.forward(logits, Labels{1, 5});
          }) == "CrossEntropy::forward: labels[1]: got 5, expected -100 or an id in [0, 5)");
  REQUIRE(argument_error([&] {
            loss.forward(logits, Labels{-1, 2});
          }) == "CrossEntropy::forward: labels[0]: got -1, expected -100 or an id in [0, 5)");
  REQUIRE(argument_error([&] { loss.forward(logits, Labels{1}); }) ==
          "CrossEntropy::forward: labels.size(): got 1, expected 2");
}

}  // namespace cross_entropy_test
