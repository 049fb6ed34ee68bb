#include <merganser/kernels/gradient_block.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/attention_head.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"

namespace gradient_block_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::kernels::detail;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

// A block of gradients of a head's first keys, and the rules that it needs.
template <Real Scalar>
struct Given {
  static constexpr Index stride = GradientBlock<Scalar>::stride, numbers = GradientBlock<Scalar>::numbers;

  Head<Scalar> head;
  HeadScores<Scalar> scores = head.scores();
  std::vector<Scalar> table;
  AttentionRules<Scalar> rules;
  CallMemory<Scalar> memory{numbers, numbers, numbers, numbers};
  GradientBlock<Scalar> block;
  QueryGroup group;

  Given(const Features& features, const HeadGradients<Scalar>& gradients, Index queries, Index keys)
      : head(make_head<Scalar>(queries, keys, features, 3)),
        table(static_cast<std::size_t>(DistanceTable<Scalar>::size(scores))),
        rules(scores, keys, table.data()),
        block(scores, gradients, memory) {
    rules.enter(0, keys);
    group = QueryGroup::of(rules, keys, 0, queries);
    Rng rng(9);
    for (Scalar* array : {block.weights, block.grad}) {
      const auto values = random_values<Scalar, std::vector<Scalar>>(numbers, rng);
      std::copy(values.begin(), values.end(), array);
    }
  }

  std::vector<Scalar> copy_of(const Scalar* array) const { return {array, array + numbers}; }
};

TEMPLATE_TEST_CASE("products become the weights that softmax left", "[gradient_block]", float, double) {
  const HeadGradients<TestType> gradients{.excess_weight = TestType(0.5), .excess_limit = TestType(0.25)};
  Given<TestType> s({.soft_cap = 2.0, .key_bias = true}, gradients, 3, 20);
  const auto attended = run(s.head);
  for (Index q = 0; q < 3; ++q)
    for (Index k = 0; k < 20; ++k) s.block.weights[q * s.stride + k] = s.head.q.row(q).dot(s.head.k.row(k));
  const auto products = s.copy_of(s.block.weights);
  s.block.to_weights(s.rules, gradients, s.group, {attended.largest.data(), attended.factors.data()});
  for (Index q = 0; q < 3; ++q) {
    double sum = 0;
    for (Index k = 0; k < 20; ++k) sum += static_cast<double>(s.block.weights[q * s.stride + k]);
    REQUIRE_THAT(sum, WithinAbs(1, agreement<TestType>));
    for (Index d = 0; d < s.head.v.cols(); ++d) {
      double y = 0;
      for (Index k = 0; k < 20; ++k)
        y += static_cast<double>(s.block.weights[q * s.stride + k]) * static_cast<double>(s.head.v(k, d));
      REQUIRE_THAT(static_cast<double>(attended.y(q, d)), WithinAbs(y, agreement<TestType>));
    }
  }

  // Then the gradient of scores becomes that of products: with the excess, times the slope of the cap.
  const auto grad = s.copy_of(s.block.grad);
  s.block.to_products(s.rules, s.group, nullptr);
  for (Index q = 0; q < 3; ++q)
    for (Index k = 0; k < 20; ++k) {
      const auto i = static_cast<std::size_t>(q * s.stride + k);
      const double tanh = std::tanh(static_cast<double>(products[i]) / 2);
      const double excess = 2 * tanh > 0.25 ? 0.5 : 0.0;
      REQUIRE_THAT(static_cast<double>(s.block.grad[i]),
                   WithinAbs((static_cast<double>(grad[i]) + excess) * (1 - tanh * tanh), agreement<TestType>));
    }
}

TEMPLATE_TEST_CASE("the gradient of weights becomes that of scores, and its columns are summed", "[gradient_block]",
                   float, double) {
  Given<TestType> s({}, {}, 5, 13);
  const auto weights = s.copy_of(s.block.weights), grad = s.copy_of(s.block.grad);
  const std::vector<TestType> inner{1, -2, 0, 3, TestType(0.5)};
  s.block.to_scores(s.group, inner.data());
  std::vector<TestType> sums(13, TestType{1});
  s.block.add_column_sums(s.group, sums.data());
  for (Index k = 0; k < 13; ++k) {
    double sum = 1;
    for (Index q = 0; q < 5; ++q) {
      const auto i = static_cast<std::size_t>(q * s.stride + k);
      const TestType expected = weights[i] * (grad[i] - inner[static_cast<std::size_t>(q)]);
      REQUIRE_THAT(static_cast<double>(s.block.grad[i]), WithinAbs(static_cast<double>(expected), agreement<TestType>));
      sum += static_cast<double>(expected);
    }
    REQUIRE_THAT(static_cast<double>(sums[static_cast<std::size_t>(k)]), WithinAbs(sum, agreement<TestType>));
  }
}

TEMPLATE_TEST_CASE("hidden pairs add nothing, whatever the hidden keys hold", "[gradient_block]", float, double) {
  Given<TestType> s({.hidden = true}, {}, 4, 17);
  const auto nan = std::numeric_limits<TestType>::quiet_NaN();
  for (Index k = 0; k < 17; ++k) {
    if (s.head.hidden[static_cast<std::size_t>(k)] == 0) continue;
    s.head.k.row(k).setConstant(nan);
    for (Index q = 0; q < 4; ++q) {
      s.block.weights[q * s.stride + k] = 0;
      s.block.grad[q * s.stride + k] = nan;
    }
  }
  s.block.clear_hidden(s.rules, s.group);
  s.block.to_products(s.rules, s.group, nullptr);
  const MatrixRef<TestType> q(s.head.q), k(s.head.k), v(s.head.v);
  Rng rng(4);
  const Matrix<TestType> grad_y = random_matrix<TestType>(4, s.head.v.cols(), rng);
  Matrix<TestType> sum_q = Matrix<TestType>::Zero(4, q.cols()), sum_k = Matrix<TestType>::Zero(17, q.cols()),
                   sum_v = Matrix<TestType>::Zero(17, v.cols());
  const MatrixRef<TestType> given(grad_y);
  MutableMatrixRef<TestType> grad_q(sum_q), grad_k(sum_k), grad_v(sum_v);
  s.block.add_by_pairs(s.rules, s.group, 0, {q, k, v, given, grad_q, grad_k, grad_v});
  Matrix<TestType> expected_q = Matrix<TestType>::Zero(4, q.cols()), expected_k = Matrix<TestType>::Zero(17, q.cols()),
                   expected_v = Matrix<TestType>::Zero(17, v.cols());
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 17; ++j) {
      if (s.head.hidden[static_cast<std::size_t>(j)] != 0) continue;
      const TestType slope = s.block.grad[i * s.stride + j], weight = s.block.weights[i * s.stride + j];
      expected_q.row(i) += slope * s.head.k.row(j);
      expected_k.row(j) += slope * s.head.q.row(i);
      expected_v.row(j) += weight * grad_y.row(i);
    }
  REQUIRE((sum_q - expected_q).norm() <= agreement<TestType> * expected_q.norm());
  REQUIRE((sum_k - expected_k).norm() <= agreement<TestType> * expected_k.norm());
  REQUIRE((sum_v - expected_v).norm() <= agreement<TestType> * expected_v.norm());
}

}  // namespace gradient_block_test
