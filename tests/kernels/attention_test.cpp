#include <merganser/kernels/attention.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/attention_head.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace attention_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

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
      REQUIRE(std::abs(attended.excess - expected.excess) <= agreement<TestType> * std::max(1.0, expected.excess));
      REQUIRE(run(head).excess == 0.0);  // not asked for
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
                   wide_v.block(2, 3, 5, head_width), head.scores(), wide_y.block(1, 3, 7, head_width));
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
    REQUIRE(nothing.excess == 0.0);
    REQUIRE(run(make_head<TestType>(0, 4, features, 9), &limit).y.rows() == 0);
  }
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

TEMPLATE_TEST_CASE("attention of random shapes and features is that of plain loops", "[attention]", float, double) {
  Rng rng(20);
  const std::vector<Features> features = all_features();
  for (int trial = 0; trial < 200; ++trial) {
    const auto [head, description] = random_head<TestType>(trial, 90, 400, features, rng);
    INFO(description);
    REQUIRE(relative_difference(run(head).y, plain_attend(head).y) <= agreement<TestType>);
  }
}

TEMPLATE_TEST_CASE("a query has the same bits alone and among any others", "[attention]", float, double) {
  const std::vector<Features> all = all_features();
  for (std::size_t i = 0; i < all.size(); i += 7) {
    const Features& features = all[i];
    const auto head = make_head<TestType>(53, 150, features, 30 + i);
    const Attended<TestType> together = run(head);
    for (const Index query : {0, 7, 30, 52}) {
      Head<TestType> alone = head;
      alone.q = head.q.middleRows(query, 1);
      alone.query_positions = {head.query_positions[static_cast<std::size_t>(query)]};
      INFO(describe(features) << ", query " << query);
      REQUIRE(identical(run(alone).y, Matrix<TestType>(together.y.middleRows(query, 1))));
    }
  }
}

TEMPLATE_TEST_CASE("a sequence longer than a chunk of queries", "[attention]", float, double) {
  const Features features{SoftmaxKind::softmax1, Visibility::causal, 0.0,  20,
                          Places::counting,      Places::counting,   true, true};
  const auto head = make_head<TestType>(1100, 1100, features, 31);
  const Attended<TestType> whole = run(head);
  REQUIRE(relative_difference(whole.y, plain_attend(head).y) <= agreement<TestType>);
  for (const Index query : {0, 511, 512, 1099}) {
    Head<TestType> alone = head;
    alone.q = head.q.middleRows(query, 1);
    alone.query_positions = {head.query_positions[static_cast<std::size_t>(query)]};
    REQUIRE(identical(run(alone).y, Matrix<TestType>(whole.y.middleRows(query, 1))));
  }
}

TEMPLATE_TEST_CASE("attention to later keys that are hidden changes no bit", "[attention]", float, double) {
  for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
    for (const Index more : {1, 40, 300}) {
      Features features;
      features.softmax = softmax;
      features.radius = 9;
      Head<TestType> head = make_head<TestType>(30, 70 + more, features, 32);
      head.hidden.assign(static_cast<std::size_t>(70 + more), 1);
      std::fill_n(head.hidden.begin(), 70, std::uint8_t{0});
      Head<TestType> shorter = head;
      shorter.k = head.k.topRows(70);
      shorter.v = head.v.topRows(70);
      shorter.key_positions.resize(70);
      shorter.hidden.clear();
      REQUIRE(identical(run(head).y, run(shorter).y));
    }
}

TEMPLATE_TEST_CASE("attention stands scores of ten thousand", "[attention]", float, double) {
  for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
    for (const double size : {-1e4, -200.0, 200.0, 1e4}) {
      Features features;
      features.softmax = softmax;
      Head<TestType> head = make_head<TestType>(5, 300, features, 33, 1);
      head.q.setConstant(static_cast<TestType>(size));
      for (Index j = 0; j < 300; ++j) head.k(j, 0) = static_cast<TestType>(0.25 + static_cast<double>(j % 4) / 4);
      CAPTURE(size);
      REQUIRE(relative_difference(run(head).y, plain_attend(head).y) <= agreement<TestType>);
    }
}

TEMPLATE_TEST_CASE("a query that sees no key takes the mean, beside one that sees some", "[attention]", float, double) {
  Features features;
  features.visibility = Visibility::causal;
  Head<TestType> head = make_head<TestType>(2, 280, features, 34);
  head.query_positions = {-1, 3};
  const Matrix<TestType> y = run(head).y;
  REQUIRE(relative_difference(y.row(0), head.v.colwise().mean()) <= agreement<TestType>);
  REQUIRE(relative_difference(y, plain_attend(head).y) <= agreement<TestType>);
  head.softmax = SoftmaxKind::softmax1;
  REQUIRE((run(head).y.row(0).array() == TestType{0}).all());
}

TEMPLATE_TEST_CASE("hidden keys may hold what is no number, and who sees one shows it", "[attention]", float, double) {
  constexpr TestType bad = std::numeric_limits<TestType>::quiet_NaN();
  std::uint64_t seed = 700;
  for (const Features& features : all_features()) {
    if (features.visibility == Visibility::all && !features.hidden) continue;
    const Head<TestType> head = make_head<TestType>(31, 300, features, seed++);
    const Matrix<TestType> before = run(head).y;
    for (const Index key : {1, 9, 30, 150, 299}) {
      Head<TestType> spoiled = head;
      spoiled.k.row(key).setConstant(bad);
      spoiled.v.row(key).setConstant(bad);
      if (!spoiled.key_bias.empty()) spoiled.key_bias[static_cast<std::size_t>(key)] = bad;
      const Matrix<TestType> after = run(spoiled).y;
      for (Index query = 0; query < head.q.rows(); ++query) {
        INFO(describe(features) << ", query " << query << ", key " << key);
        if (plain_score(head, query, key) == hidden_score)
          REQUIRE(identical(Matrix<TestType>(after.row(query)), Matrix<TestType>(before.row(query))));
        else
          REQUIRE(after.row(query).hasNaN());
      }
    }
  }
}

TEMPLATE_TEST_CASE("each of key, value and bias may hold what is no number where it is hidden", "[attention]", float,
                   double) {
  for (const TestType bad : {std::numeric_limits<TestType>::quiet_NaN(), std::numeric_limits<TestType>::infinity()})
    for (const int part : {0, 1, 2}) {
      const Features features{SoftmaxKind::softmax1, Visibility::causal, 2.0,  4,
                              Places::counting,      Places::counting,   true, false};
      const Head<TestType> head = make_head<TestType>(8, 8, features, 40);
      Head<TestType> spoiled = head;
      if (part == 0) spoiled.k(5, 1) = bad;
      if (part == 1) spoiled.v(5, 1) = bad;
      if (part == 2) spoiled.key_bias[5] = bad;
      const Matrix<TestType> before = run(head).y, after = run(spoiled).y;
      CAPTURE(bad, part);
      REQUIRE(identical(Matrix<TestType>(after.topRows(5)), Matrix<TestType>(before.topRows(5))));
      REQUIRE_FALSE(identical(Matrix<TestType>(after.row(5)), Matrix<TestType>(before.row(5))));
    }
}

TEMPLATE_TEST_CASE("keys whose biases are all -infinity weigh nothing", "[attention]", float, double) {
  for (const SoftmaxKind softmax : {SoftmaxKind::softmax, SoftmaxKind::softmax1})
    for (const Index keys : {5, 300}) {
      Features features;
      features.softmax = softmax;
      features.key_bias = true;
      Head<TestType> head = make_head<TestType>(4, keys, features, 41);
      std::fill(head.key_bias.begin(), head.key_bias.end(), -std::numeric_limits<TestType>::infinity());
      REQUIRE(run(head).y.isZero(0));
      head.key_bias.back() = -3;  // alone it has all of the weight, or its share beside the one
      REQUIRE(relative_difference(run(head).y, plain_attend(head).y) <= agreement<TestType>);
    }
}

}  // namespace attention_test
