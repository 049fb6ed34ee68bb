#include <merganser/kernels/attention_backward.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/attention_head.hpp"
#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace attention_backward_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

ParameterView<double> list_view(const std::string& name, std::vector<double>& list) {
  return {name, list.data(), 1, static_cast<Index>(list.size()), true};
}

// A limit below some score, and none within 0.01 of it: more than ten times what a step of the check moves a score.
double limit_between(const Head<double>& head) {
  for (double limit = 0.2; limit > -6.0; limit -= 0.005) {
    bool above = false, clear = true;
    for (Index i = 0; i < head.q.rows(); ++i)
      for (Index j = 0; j < head.k.rows(); ++j) {
        const double score = plain_score(head, i, j);
        above = above || score > limit;
        clear = clear && std::abs(score - limit) > 0.01;
      }
    if (above && clear) return limit;
  }
  FAIL("no limit away from all scores");
  return 0;
}

void check_gradients_of(Head<double> head, std::uint64_t seed) {
  Rng rng(seed);
  const auto probe = random_matrix<double>(head.q.rows(), head_width, rng);
  const double weight = 0.3, limit = limit_between(head);
  AllGradients grad = gradients_of(head, probe, weight, limit);
  const auto f = [&] {
    const Attended<double> attended = run(head, &limit);
    return probe_sum(probe, attended.y) + weight * attended.excess;
  };
  require_gradients(f,
                    {tensor_view("q", head.q), tensor_view("k", head.k), tensor_view("v", head.v),
                     list_view("distance bias", head.distance_bias), list_view("key bias", head.key_bias)},
                    {tensor_view("q", grad.q), tensor_view("k", grad.k), tensor_view("v", grad.v),
                     list_view("distance bias", grad.distance_bias), list_view("key bias", grad.key_bias)});
}

// Largest difference of two lists, relative to the largest entry, at least 1.
double list_difference(const std::vector<double>& a, const std::vector<double>& b) {
  using Row = Eigen::Map<const PlainRowVector<double>>;
  return relative_difference(Row(a.data(), static_cast<Index>(a.size())), Row(b.data(), static_cast<Index>(b.size())));
}

void require_same(const AllGradients& a, const AllGradients& b, double tolerance) {
  REQUIRE(relative_difference(a.q, b.q) <= tolerance);
  REQUIRE(relative_difference(a.k, b.k) <= tolerance);
  REQUIRE(relative_difference(a.v, b.v) <= tolerance);
  REQUIRE(list_difference(a.distance_bias, b.distance_bias) <= tolerance);
  REQUIRE(list_difference(a.key_bias, b.key_bias) <= tolerance);
}

TEST_CASE("the gradients of attention agree with finite differences, for every combination of features",
          "[attention_backward]") {
  std::uint64_t seed = 1000;
  for (const Features& features : all_features()) {
    INFO(describe(features));
    check_gradients_of(make_head<double>(4, 7, features, seed), seed);
    ++seed;
  }
}

TEST_CASE("the gradients of attention agree with finite differences over more than one block", "[attention_backward]") {
  Features features{SoftmaxKind::softmax1, Visibility::causal, 2.0, 3, Places::counting, Places::with_gaps, true, true};
  check_gradients_of(make_head<double>(70, 7, features, 14), 15);
}

TEST_CASE("gradients of attention are added to what was there", "[attention_backward]") {
  const Features features{SoftmaxKind::softmax, Visibility::all,  2.0,  3,
                          Places::counting,     Places::counting, true, false};
  const Head<double> head = make_head<double>(4, 7, features, 16);
  Rng rng(17);
  const auto grad_y = random_matrix<double>(4, head_width, rng);
  const AllGradients from_zero = gradients_of(head, grad_y, 0.5, 0.2),
                     from_ten = gradients_of(head, grad_y, 0.5, 0.2, 10.0);
  const auto ten_more = [](const Matrix<double>& m) { return Matrix<double>(m.array() + 10.0); };
  REQUIRE(relative_difference(from_ten.q, ten_more(from_zero.q)) <= agreement<double>);
  REQUIRE(relative_difference(from_ten.k, ten_more(from_zero.k)) <= agreement<double>);
  REQUIRE(relative_difference(from_ten.v, ten_more(from_zero.v)) <= agreement<double>);
  for (std::size_t i = 0; i < from_ten.distance_bias.size(); ++i)
    REQUIRE_THAT(from_ten.distance_bias[i], WithinRel(from_zero.distance_bias[i] + 10.0, agreement<double>));
  for (std::size_t i = 0; i < from_ten.key_bias.size(); ++i)
    REQUIRE_THAT(from_ten.key_bias[i], WithinRel(from_zero.key_bias[i] + 10.0, agreement<double>));
}

TEMPLATE_TEST_CASE("the gradients of random shapes and features are those of whole matrices", "[attention_backward]",
                   float, double) {
  Rng rng(21);
  const std::vector<Features> features = all_features();
  for (int trial = 0; trial < 200; ++trial) {
    const auto [head, description] = random_head<TestType>(trial, 100, 300, features, rng);
    const auto grad_y = random_matrix<TestType>(head.q.rows(), head.q.cols(), rng);
    const auto limit = TestType(0.7), weight = trial % 2 == 0 ? TestType(0) : TestType(0.3);
    INFO(description);
    bool clear = true;  // no score so near to the limit that rounding decides on which side it is
    for (Index i = 0; i < head.q.rows(); ++i)
      for (Index j = 0; j < head.k.rows(); ++j) clear = clear && std::abs(plain_score(head, i, j) - limit) > 1e-4;
    const TestType used = clear ? weight : TestType(0);
    require_same(gradients_of(head, grad_y, used, limit), plain_gradients(head, grad_y, used, limit),
                 agreement<TestType>);
  }
}

TEMPLATE_TEST_CASE("the gradients of a sequence longer than a chunk of queries", "[attention_backward]", float,
                   double) {
  const Features features{SoftmaxKind::softmax1, Visibility::causal, 5.0,  20,
                          Places::counting,      Places::counting,   true, true};
  const auto head = make_head<TestType>(1030, 1030, features, 31);
  Rng rng(22);
  const auto grad_y = random_matrix<TestType>(1030, head_width, rng);
  require_same(gradients_of<TestType>(head, grad_y, 0, 0), plain_gradients(head, grad_y, 0.0, 0.0),
               agreement<TestType>);
}

TEMPLATE_TEST_CASE("nothing to attend to has no gradient", "[attention_backward]", float, double) {
  for (const auto& [queries, keys] : {std::pair<Index, Index>{4, 0}, {0, 4}}) {
    const auto head = make_head<TestType>(queries, keys, {}, 8);
    const AllGradients grad =
        gradients_of<TestType>(head, Matrix<TestType>::Ones(queries, head_width), TestType(1), TestType(0));
    REQUIRE((grad.q.array() == 0.0).all());
    REQUIRE((grad.k.array() == 0.0).all());
    REQUIRE((grad.v.array() == 0.0).all());
  }
}

TEMPLATE_TEST_CASE("when every key is hidden, only values have a gradient", "[attention_backward]", float, double) {
  Head<TestType> head = make_head<TestType>(3, 7, {}, 11);
  head.hidden.assign(7, 1);
  const AllGradients grad = gradients_of<TestType>(head, Matrix<TestType>::Ones(3, head_width), 0, 0);
  REQUIRE((grad.q.array() == 0.0).all());
  REQUIRE((grad.k.array() == 0.0).all());
  REQUIRE(relative_difference(grad.v, Matrix<double>::Constant(7, head_width, 3.0 / 7.0)) <= agreement<TestType>);
}

TEMPLATE_TEST_CASE("far from 0 the weights of backward are as good as those of forward", "[attention_backward]", float,
                   double) {
  for (const double size : {-1e4, 1e4}) {
    Head<TestType> head = make_head<TestType>(5, 200, {}, 33, 1);
    head.q.setConstant(static_cast<TestType>(size));
    for (Index j = 0; j < 200; ++j) head.k(j, 0) = static_cast<TestType>(0.25 + static_cast<double>(j % 4) / 4);
    const AllGradients grad = gradients_of<TestType>(head, Matrix<TestType>::Ones(5, 1), 0, 0);
    const AllGradients expected = plain_gradients<TestType>(head, Matrix<TestType>::Ones(5, 1), 0.0, 0.0);
    CAPTURE(size);
    REQUIRE(relative_difference(grad.v, expected.v) <= agreement<TestType>);
  }
}

TEMPLATE_TEST_CASE("softmax1 gives the golden values and gradients inside attention", "[attention_backward]", float,
                   double) {
  std::ifstream file(golden_dir() + "/softmax1.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  REQUIRE(golden.at("cases").size() == 11);
  const double tolerance = 8 * static_cast<double>(std::numeric_limits<TestType>::epsilon());
  for (const nlohmann::json& example : golden.at("cases")) {
    const auto x = example.at("x").get<std::vector<double>>();
    const auto expected = example.at("y").get<std::vector<double>>();
    const auto expected_gradient = example.at("grad_of_weighted_sum").get<std::vector<double>>();
    const auto count = static_cast<Index>(x.size());
    Head<TestType> head;  // keys are the scores, values one-hot: the result is the weights
    head.softmax = SoftmaxKind::softmax1;
    head.q = Matrix<TestType>::Ones(1, 1);
    head.k.resize(count, 1);
    head.v = Matrix<TestType>::Identity(count, count);
    Matrix<TestType> grad_y(1, count);
    for (Index j = 0; j < count; ++j) {  // the lowest float of the file is a little below it in decimal
      const double lowest = -static_cast<double>(std::numeric_limits<float>::max());
      head.k(j, 0) = static_cast<TestType>(std::max(x[static_cast<std::size_t>(j)], lowest));
      grad_y(0, j) = static_cast<TestType>(j + 1);
    }
    const Attended<TestType> attended = run(head);
    const AllGradients grad = gradients_of<TestType>(head, grad_y, 0, 0);
    CAPTURE(x);
    for (Index j = 0; j < count; ++j) {
      const auto i = static_cast<std::size_t>(j);
      REQUIRE_THAT(static_cast<double>(attended.y(0, j)), WithinAbs(expected[i], tolerance));
      REQUIRE_THAT(grad.k(j, 0), WithinAbs(expected_gradient[i], 6 * tolerance));
    }
  }
}

TEST_CASE("a hidden key that holds what is no number leaves all other gradients alone", "[attention_backward]") {
  constexpr double bad = std::numeric_limits<double>::quiet_NaN();
  for (const double cap : {0.0, 2.0}) {
    Features features{SoftmaxKind::softmax1, Visibility::all, cap, 4, Places::counting, Places::counting, true, false};
    Head<double> head = make_head<double>(60, 90, features, 50);
    head.hidden.assign(90, 0);
    head.hidden[3] = head.hidden[88] = 1;
    Rng rng(51);
    const auto grad_y = random_matrix<double>(60, head_width, rng);
    const AllGradients expected = gradients_of(head, grad_y, 0.3, 0.2);
    for (const Index key : {3, 88}) {
      head.k.row(key).setConstant(bad);
      head.v.row(key).setConstant(bad);
      head.key_bias[static_cast<std::size_t>(key)] = bad;
    }
    const AllGradients got = gradients_of(head, grad_y, 0.3, 0.2);
    CAPTURE(cap);
    REQUIRE(identical(got.q, expected.q));
    REQUIRE(identical(got.k, expected.k));
    REQUIRE(identical(got.v, expected.v));
    REQUIRE(got.distance_bias == expected.distance_bias);
    REQUIRE(got.key_bias == expected.key_bias);
  }
}

TEST_CASE("a later key that holds what is no number has no gradient from queries before it", "[attention_backward]") {
  const Features features{SoftmaxKind::softmax, Visibility::causal, 0.0,  4,
                          Places::counting,     Places::counting,   true, false};
  Head<double> head = make_head<double>(60, 60, features, 52);
  Rng rng(53);
  const auto grad_y = random_matrix<double>(60, head_width, rng);
  const AllGradients expected = gradients_of(head, grad_y, 0.0, 0.0);
  head.k(40, 0) = head.v(40, 2) = std::numeric_limits<double>::quiet_NaN();
  const AllGradients got = gradients_of(head, grad_y, 0.0, 0.0);
  REQUIRE(identical(Matrix<double>(got.q.topRows(40)), Matrix<double>(expected.q.topRows(40))));
  REQUIRE(got.q.row(40).hasNaN());
}

TEST_CASE("keys whose biases are all -infinity have no gradient", "[attention_backward]") {
  Features features;
  features.key_bias = true;
  Head<double> head = make_head<double>(4, 7, features, 54);
  std::fill(head.key_bias.begin(), head.key_bias.end(), -std::numeric_limits<double>::infinity());
  Rng rng(55);
  const AllGradients got = gradients_of(head, random_matrix<double>(4, head_width, rng), 0.0, 0.0);
  for (const Matrix<double>* grad : {&got.q, &got.k, &got.v}) REQUIRE(grad->isZero(0));
}

}  // namespace attention_backward_test
