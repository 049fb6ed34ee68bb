#include <merganser/kernels/attention_weights.hpp>

#include <cmath>
#include <vector>

#include <merganser/kernels/attention.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace attention_weights_test {

using namespace merganser;
using namespace merganser::testing;
using kernels::HeadScores;
using kernels::SoftmaxKind;
using kernels::SoftmaxRows;
using kernels::Visibility;

/// A head with everything that changes a score.
template <Real Scalar>
struct Head {
  Matrix<Scalar> q, k, v, y;
  Vector<Position> positions;
  Vector<Scalar> key_bias, distances, largest, factor;
  Vector<std::uint8_t> hidden;
  HeadScores<Scalar> scores;

  Head(Index tokens, SoftmaxKind softmax, Visibility visibility, Scalar soft_cap) {
    Rng rng(3);
    q = random_matrix<Scalar>(tokens, 5, rng);
    k = random_matrix<Scalar>(tokens, 5, rng);
    v = random_matrix<Scalar>(tokens, 4, rng);
    constexpr Index radius = 9;
    distances = random_values<Scalar>(2 * radius + 1, rng);
    key_bias = random_values<Scalar>(tokens, rng);
    for (Index t = 0; t < tokens; ++t) {
      positions.push_back(static_cast<Position>(t + t / 3));
      hidden.push_back(t % 7 == 4 ? 1 : 0);
    }
    scores.softmax = softmax;
    scores.visibility = visibility;
    scores.soft_cap = soft_cap;
    scores.distance_bias = distances.data();
    scores.radius = radius;
    scores.query_positions = scores.key_positions = positions;
    scores.key_bias = key_bias;
    scores.hidden_keys = hidden;
    y = Matrix<Scalar>::Zero(tokens, 4);
    largest.resize(tokens);
    factor.resize(tokens);
    kernels::attend<Scalar>(q, k, v, scores, y, {largest.data(), factor.data()}, nullptr, {});
  }

  Matrix<Scalar> weights() const {
    Matrix<Scalar> result = Matrix<Scalar>::Zero(q.rows(), k.rows());
    kernels::visit_weights<Scalar>(q, k, scores, {largest.data(), factor.data()},
                                   [&](Index query, Index first, Index keys, const Scalar* run) {
                                     for (Index key = 0; key < keys; ++key) result(query, first + key) += run[key];
                                   });
    return result;
  }

  /// By the definition, in double.
  Matrix<double> expected() const {
    Matrix<double> result = Matrix<double>::Zero(q.rows(), k.rows());
    for (Index i = 0; i < q.rows(); ++i) {
      double sum = scores.softmax == SoftmaxKind::softmax1 ? 1 : 0;
      for (Index j = 0; j < k.rows(); ++j) {
        double score = 0;
        for (Index c = 0; c < q.cols(); ++c) score += static_cast<double>(q(i, c)) * static_cast<double>(k(j, c));
        const auto cap = static_cast<double>(scores.soft_cap);
        if (cap != 0) score = cap * std::tanh(score / cap);
        const Index distance = std::clamp<Index>(positions[j] - positions[i], -scores.radius, scores.radius);
        score += static_cast<double>(distances[distance + scores.radius]);
        const bool later = scores.visibility == Visibility::causal && positions[j] > positions[i];
        if (hidden[j] != 0 || later) score = kernels::hidden_score;
        result(i, j) = std::exp(score + static_cast<double>(key_bias[j]));
        sum += result(i, j);
      }
      result.row(i) /= sum;
    }
    return result;
  }
};

TEMPLATE_TEST_CASE("the weights of attention come out again", "[attention_weights]", float, double) {
  for (const Index tokens : {1, 3, 47, 49, 300})
    for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
      for (const Visibility visibility : {Visibility::all, Visibility::causal})
        for (const TestType cap : {TestType{0}, TestType{2}}) {
          const Head<TestType> head(tokens, softmax, visibility, cap);
          CAPTURE(tokens, static_cast<int>(softmax), static_cast<int>(visibility), cap);
          const Matrix<TestType> weights = head.weights();
          const double tolerance = sizeof(TestType) == 4 ? 2e-5 : 1e-13;
          REQUIRE((weights.template cast<double>() - head.expected()).cwiseAbs().maxCoeff() < tolerance);
          REQUIRE((Matrix<TestType>(weights * head.v) - head.y).cwiseAbs().maxCoeff() <
                  static_cast<TestType>(tolerance));
        }
}

TEST_CASE("no keys have no weights, and what does not fit is refused", "[attention_weights]") {
  const Matrix<float> q(2, 3), none(0, 3), other(2, 4);
  const auto visit = [](Index, Index, Index, const float*) { FAIL("a weight"); };
  kernels::visit_weights<float>(q, none, {}, {}, visit);
  REQUIRE_THROWS_AS(kernels::visit_weights<float>(q, other, {}, {}, visit), std::invalid_argument);
}

}  // namespace attention_weights_test
