#include <merganser/kernels/attention.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

namespace {

enum class Places {
  counting,   // 0, 1, 2, ...: keys in stretches
  with_gaps,  // rising with gaps, as after deletion
  with_ties,  // neither rising nor falling by one each time, yet as many as their range
};

std::vector<Position> places(Places kind, Index count) {
  std::vector<Position> result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), 0);
  if (kind == Places::with_gaps)
    for (std::size_t i = 0; i < result.size(); ++i) result[i] += static_cast<Position>(i * i / 2 + 2);
  if (kind == Places::with_ties && count > 2) result[1] = 0;
  return result;
}

// One head's inputs, owned: everything that HeadScores points to.
template <Real Scalar>
struct Head {
  Matrix<Scalar> q, k, v;
  SoftmaxKind softmax = SoftmaxKind::softmax;
  Visibility visibility = Visibility::all;
  Scalar soft_cap = 0;
  std::vector<Scalar> distance_bias;
  Index radius = 0;
  std::vector<Position> query_positions, key_positions;
  std::vector<Scalar> key_bias;
  std::vector<std::uint8_t> hidden;

  HeadScores<Scalar> scores() const {
    HeadScores<Scalar> result;
    result.softmax = softmax;
    result.visibility = visibility;
    result.soft_cap = soft_cap;
    result.distance_bias = distance_bias.empty() ? nullptr : distance_bias.data();
    result.radius = radius;
    result.query_positions = query_positions;
    result.key_positions = key_positions;
    result.key_bias = key_bias;
    result.hidden_keys = hidden;
    return result;
  }
};

// What a head may use beside q, k and v.
struct Features {
  SoftmaxKind softmax = SoftmaxKind::softmax;
  Visibility visibility = Visibility::all;
  double soft_cap = 0;
  Index radius = -1;  // -1: no distance bias
  Places query_places = Places::counting, key_places = Places::counting;
  bool key_bias = false, hidden = false;
};

constexpr Index head_width = 5;

template <Real Scalar>
Head<Scalar> make_head(Index queries, Index keys, const Features& features, std::uint64_t seed) {
  Rng rng(seed);
  Head<Scalar> head;
  head.q = random_matrix<Scalar>(queries, head_width, rng);
  head.k = random_matrix<Scalar>(keys, head_width, rng);
  head.v = random_matrix<Scalar>(keys, head_width, rng);
  head.softmax = features.softmax;
  head.visibility = features.visibility;
  head.soft_cap = static_cast<Scalar>(features.soft_cap);
  if (features.radius >= 0) {
    head.radius = features.radius;
    head.distance_bias = random_values<Scalar>(2 * features.radius + 1, rng);
  }
  head.query_positions = places(features.query_places, queries);
  head.key_positions = places(features.key_places, keys);
  if (features.key_bias) head.key_bias = random_values<Scalar>(keys, rng, 2.0);
  if (features.hidden)  // but never the first key: every query sees something
    for (Index k = 0; k < keys; ++k) head.hidden.push_back(k > 0 && rng.bernoulli(0.4) ? 1 : 0);
  return head;
}

template <Real Scalar>
struct Attended {
  Matrix<Scalar> y;
  std::vector<Scalar> log_denominators;
  Scalar excess = 0;
};

template <Real Scalar>
Attended<Scalar> run(const Head<Scalar>& head, const Scalar* excess_limit = nullptr) {
  Attended<Scalar> result{Matrix<Scalar>::Constant(head.q.rows(), head_width, Scalar(99)),
                          std::vector<Scalar>(static_cast<std::size_t>(head.q.rows())), Scalar{0}};
  result.excess =
      attend<Scalar>(head.q, head.k, head.v, head.scores(), result.y, result.log_denominators.data(), excess_limit);
  return result;
}

// Score without key bias of one pair, by the definition; hidden pairs get -1e9.
template <Real Scalar>
double plain_score(const Head<Scalar>& head, Index i, Index j) {
  const auto qi = static_cast<std::size_t>(i), kj = static_cast<std::size_t>(j);
  if (!head.hidden.empty() && head.hidden[kj] != 0) return -1e9;
  if (head.visibility == Visibility::causal && head.key_positions[kj] > head.query_positions[qi]) return -1e9;
  double score = 0;
  for (Index d = 0; d < head_width; ++d) score += static_cast<double>(head.q(i, d)) * static_cast<double>(head.k(j, d));
  const auto cap = static_cast<double>(head.soft_cap);
  if (cap > 0) score = cap * std::tanh(score / cap);
  if (!head.distance_bias.empty()) {
    const Index distance = head.key_positions[kj] - head.query_positions[qi];
    const Index place = std::clamp(distance, -head.radius, head.radius) + head.radius;
    score += static_cast<double>(head.distance_bias[static_cast<std::size_t>(place)]);
  }
  return score;
}

template <Real Scalar>
Attended<double> plain_attend(const Head<Scalar>& head, double limit = 0) {
  Attended<double> result{Matrix<double>::Zero(head.q.rows(), head_width), {}, 0.0};
  for (Index i = 0; i < head.q.rows(); ++i) {
    std::vector<double> scores;
    double largest = head.softmax == SoftmaxKind::softmax1 ? 0.0 : -std::numeric_limits<double>::infinity();
    for (Index j = 0; j < head.k.rows(); ++j) {
      scores.push_back(plain_score(head, i, j));
      result.excess += std::max(scores.back() - limit, 0.0);
      if (!head.key_bias.empty()) scores.back() += static_cast<double>(head.key_bias[static_cast<std::size_t>(j)]);
      largest = std::max(largest, scores.back());
    }
    double total = head.softmax == SoftmaxKind::softmax1 ? std::exp(-largest) : 0.0;
    for (const double score : scores) total += std::exp(score - largest);
    for (Index j = 0; j < head.k.rows(); ++j)
      for (Index d = 0; d < head_width; ++d)
        result.y(i, d) +=
            std::exp(scores[static_cast<std::size_t>(j)] - largest) / total * static_cast<double>(head.v(j, d));
  }
  return result;
}

// Every combination of the features, with and without each.
std::vector<Features> all_features() {
  std::vector<Features> result;
  for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
    for (const Visibility visibility : {Visibility::all, Visibility::causal})
      for (const double soft_cap : {0.0, 2.0})
        for (const Index radius : {Index{-1}, Index{0}, Index{4}, Index{40}})
          for (const Places key_places : {Places::counting, Places::with_gaps, Places::with_ties})
            for (const bool key_bias : {false, true})
              for (const bool hidden : {false, true})
                result.push_back({softmax, visibility, soft_cap, radius,
                                  key_places == Places::with_gaps ? Places::with_gaps : Places::counting, key_places,
                                  key_bias, hidden});
  return result;
}

std::string describe(const Features& f) {
  return (f.softmax == SoftmaxKind::softmax1 ? "softmax1" : "softmax") +
         std::string(f.visibility == Visibility::causal ? ", causal" : "") + ", cap " + std::to_string(f.soft_cap) +
         ", radius " + std::to_string(f.radius) + ", places " + std::to_string(static_cast<int>(f.key_places)) +
         (f.key_bias ? ", key bias" : "") + (f.hidden ? ", hidden keys" : "");
}

struct AllGradients {
  Matrix<double> q, k, v;
  std::vector<double> distance_bias, key_bias;
};

AllGradients gradients_of(const Head<double>& head, const Matrix<double>& grad_y, double excess_weight, double limit,
                          double start = 0.0) {
  AllGradients grad{Matrix<double>::Constant(head.q.rows(), head_width, start),
                    Matrix<double>::Constant(head.k.rows(), head_width, start),
                    Matrix<double>::Constant(head.v.rows(), head_width, start),
                    std::vector<double>(head.distance_bias.size(), start),
                    std::vector<double>(head.key_bias.size(), start)};
  const Attended<double> forward = run(head);
  HeadGradients<double> extra;
  if (!grad.distance_bias.empty()) extra.distance_bias = grad.distance_bias.data();
  if (!grad.key_bias.empty()) extra.key_bias = grad.key_bias.data();
  extra.excess_weight = excess_weight;
  extra.excess_limit = limit;
  attend_backward<double>(head.q, head.k, head.v, head.scores(), forward.log_denominators.data(), grad_y, grad.q,
                          grad.k, grad.v, extra);
  return grad;
}

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

}  // namespace

TEMPLATE_TEST_CASE("attention is that of plain loops, for every combination of features", "[attention]", float,
                   double) {
  std::uint64_t seed = 1;
  for (const Features& features : all_features())
    for (const auto& [queries, keys] : {std::pair<Index, Index>{11, 11}, {3, 13}, {1, 1}}) {
      const auto head = make_head<TestType>(queries, keys, features, seed++);
      const TestType limit = TestType(0.5);
      const Attended<TestType> attended = run(head, &limit);
      const Attended<double> expected = plain_attend(head, 0.5);
      INFO(describe(features) << ", " << queries << " queries, " << keys << " keys");
      REQUIRE(relative_difference(attended.y, expected.y) <= agreement<TestType>);
      REQUIRE(std::abs(static_cast<double>(attended.excess) - expected.excess) <=
              agreement<TestType> * std::max(1.0, expected.excess));
      REQUIRE(run(head).excess == TestType{0});  // not asked for
    }
}

TEMPLATE_TEST_CASE("attention over more queries than one block holds", "[attention]", float, double) {
  const Features features{SoftmaxKind::softmax1, Visibility::causal, 3.0,  20,
                          Places::counting,      Places::counting,   true, true};
  for (const Index length : {63, 64, 65, 128, 150}) {
    const auto head = make_head<TestType>(length, length, features, 5);
    CAPTURE(length);
    REQUIRE(relative_difference(run(head).y, plain_attend(head).y) <= agreement<TestType>);
    Head<TestType> alone = head;  // the last query by itself
    alone.q = head.q.bottomRows(1);
    alone.query_positions = {head.query_positions.back()};
    REQUIRE(identical(run(alone).y, Matrix<TestType>(run(head).y.bottomRows(1))));
  }
}

TEMPLATE_TEST_CASE("attention works on blocks of wider matrices and writes nothing beside them", "[attention]", float,
                   double) {
  Rng rng(6);
  const auto wide_q = random_matrix<TestType>(9, 17, rng), wide_k = random_matrix<TestType>(8, 17, rng),
             wide_v = random_matrix<TestType>(8, 17, rng);
  Head<TestType> head = make_head<TestType>(7, 5, {}, 7);
  head.q = wide_q.block(1, 3, 7, head_width);
  head.k = wide_k.block(2, 3, 5, head_width);
  head.v = wide_v.block(2, 3, 5, head_width);
  Matrix<TestType> wide_y = Matrix<TestType>::Constant(9, 17, 42);
  attend<TestType>(wide_q.block(1, 3, 7, head_width), wide_k.block(2, 3, 5, head_width),
                   wide_v.block(2, 3, 5, head_width), head.scores(), wide_y.block(1, 3, 7, head_width), nullptr);
  REQUIRE(identical(Matrix<TestType>(wide_y.block(1, 3, 7, head_width)), run(head).y));
  wide_y.block(1, 3, 7, head_width).setConstant(42);
  REQUIRE((wide_y.array() == TestType{42}).all());
}

TEMPLATE_TEST_CASE("nothing to attend to gives 0, and no queries give nothing", "[attention]", float, double) {
  for (const Features& features : all_features()) {
    const TestType limit = TestType(-5);
    const auto without_keys = make_head<TestType>(4, 0, features, 8);
    const Attended<TestType> nothing = run(without_keys, &limit);
    REQUIRE((nothing.y.array() == TestType{0}).all());
    REQUIRE(nothing.excess == TestType{0});
    REQUIRE(run(make_head<TestType>(0, 4, features, 9), &limit).y.rows() == 0);
  }
  const AllGradients grad = gradients_of(make_head<double>(4, 0, {}, 8), Matrix<double>::Ones(4, head_width), 1.0, 0.0);
  REQUIRE((grad.q.array() == 0.0).all());
}

TEMPLATE_TEST_CASE("hidden and later keys cannot be seen, whatever they hold", "[attention]", float, double) {
  for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1}) {
    Features features{softmax, Visibility::causal, 0.0, 4, Places::counting, Places::counting, true, false};
    Head<TestType> head = make_head<TestType>(6, 6, features, 10);
    head.hidden = {0, 0, 1, 0, 0, 0};
    const Matrix<TestType> before = run(head).y;
    head.k.row(2).setConstant(50);
    head.v.row(2).setConstant(TestType(1e6));
    head.k.row(4).setConstant(50);
    head.v.row(4).setConstant(TestType(1e6));
    head.key_bias[4] = 40;
    const Matrix<TestType> after = run(head).y;
    REQUIRE(identical(Matrix<TestType>(after.topRows(4)), Matrix<TestType>(before.topRows(4))));
    REQUIRE_FALSE(identical(Matrix<TestType>(after.bottomRows(2)), Matrix<TestType>(before.bottomRows(2))));
  }
}

TEMPLATE_TEST_CASE("when every key is hidden, softmax takes the mean and softmax1 takes nothing", "[attention]", float,
                   double) {
  Head<TestType> head = make_head<TestType>(3, 7, {}, 11);
  head.hidden.assign(7, 1);
  const Matrix<TestType> mean = head.v.colwise().mean().replicate(3, 1);
  REQUIRE(relative_difference(run(head).y, mean) <= agreement<TestType>);

  Matrix<TestType> grad_q = Matrix<TestType>::Zero(3, head_width), grad_k = Matrix<TestType>::Zero(7, head_width),
                   grad_v = Matrix<TestType>::Zero(7, head_width);
  attend_backward<TestType>(head.q, head.k, head.v, head.scores(), run(head).log_denominators.data(),
                            Matrix<TestType>::Ones(3, head_width), grad_q, grad_k, grad_v, {});
  REQUIRE((grad_q.array() == TestType{0}).all());
  REQUIRE((grad_k.array() == TestType{0}).all());
  const Matrix<TestType> shares = Matrix<TestType>::Constant(7, head_width, TestType(3) / 7);
  REQUIRE(relative_difference(grad_v, shares) <= agreement<TestType>);

  head.softmax = SoftmaxKind::softmax1;
  REQUIRE((run(head).y.array() == TestType{0}).all());
}

TEST_CASE("a key bias of -30 all but removes a key, and 0 leaves it alone", "[attention]") {
  Head<double> head = make_head<double>(4, 6, {}, 12);
  const Matrix<double> plain = run(head).y;
  head.key_bias.assign(6, 0.0);
  REQUIRE(identical(run(head).y, plain));
  head.key_bias[2] = -30;
  const Matrix<double> weakened = run(head).y;
  head.key_bias.clear();
  head.hidden = {0, 0, 1, 0, 0, 0};
  REQUIRE(relative_difference(weakened, run(head).y) < 1e-8);
  REQUIRE_FALSE(identical(weakened, run(head).y));
}

TEST_CASE("excess counts scores before the key bias and no hidden pair", "[attention]") {
  Head<double> head = make_head<double>(2, 3, {}, 13);
  head.q.setZero();
  head.q.col(0).setOnes();
  head.k.setZero();
  head.k.col(0) << 4, 7, 9;
  head.key_bias = {100, 100, 100};
  const double limit = 5;
  REQUIRE_THAT(run(head, &limit).excess, WithinRel(2 * (2.0 + 4.0), 1e-12));
  head.hidden = {0, 0, 1};
  REQUIRE_THAT(run(head, &limit).excess, WithinRel(2 * 2.0, 1e-12));
}

TEST_CASE("the gradients of attention agree with finite differences, for every combination of features",
          "[attention]") {
  std::uint64_t seed = 1000;
  for (const Features& features : all_features()) {
    INFO(describe(features));
    check_gradients_of(make_head<double>(4, 7, features, seed), seed);
    ++seed;
  }
}

TEST_CASE("the gradients of attention agree with finite differences over more than one block", "[attention]") {
  Features features{SoftmaxKind::softmax1, Visibility::causal, 2.0, 3, Places::counting, Places::with_gaps, true, true};
  check_gradients_of(make_head<double>(70, 7, features, 14), 15);
}

TEST_CASE("gradients of attention are added to what was there", "[attention]") {
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

TEMPLATE_TEST_CASE("a score that is not a number reaches the result", "[attention]", float, double) {
  for (const double cap : {0.0, 2.0}) {
    Features features;
    features.soft_cap = cap;
    Head<TestType> head = make_head<TestType>(3, 5, features, 18);
    head.q(1, 0) = std::numeric_limits<TestType>::quiet_NaN();
    const Matrix<TestType> y = run(head).y;
    REQUIRE(y.row(0).allFinite());
    REQUIRE(y.row(1).hasNaN());
  }
}
