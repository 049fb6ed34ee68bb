#include <merganser/kernels/attention_rules.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/attention_head.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"

namespace attention_rules_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::kernels::detail;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

// The rules of a head, with the table they need.
template <Real Scalar>
struct Rules {
  HeadScores<Scalar> scores;
  std::vector<Scalar> table;
  AttentionRules<Scalar> rules;

  explicit Rules(const Head<Scalar>& head)
      : scores(head.scores()),
        table(static_cast<std::size_t>(DistanceTable<Scalar>::size(scores))),
        rules(scores, head.k.rows(), table.data()) {}
};

TEMPLATE_TEST_CASE("products become scores by the definition, in one pass and in two", "[attention_rules]", float,
                   double) {
  constexpr Index block = key_block<TestType>;
  std::uint64_t seed = 1;
  for (const Features& features : all_features()) {
    const Index keys = block + 9;
    const auto head = make_head<TestType>(4, keys, features, seed++);
    Rules<TestType> given(head);
    for (const Index first : {Index{0}, block}) {
      const Index count = std::min(block, keys - first);
      given.rules.enter(first, count);
      for (Index query = 0; query < 4; ++query) {
        std::vector<TestType> row(static_cast<std::size_t>(block), TestType{0}), slope = row;
        for (Index j = 0; j < count; ++j)
          row[static_cast<std::size_t>(j)] = head.q.row(query).dot(head.k.row(first + j));
        std::vector<TestType> at_once = row, sloped = row;
        const bool hides = given.rules.hides(query, 1, count);
        given.rules.score(query, row.data(), block, nullptr);
        bool any_hidden = false;
        INFO(describe(features));
        for (Index j = 0; j < count; ++j) {
          const double expected = plain_score(head, query, first + j);
          any_hidden = any_hidden || expected == hidden_score;
          REQUIRE(std::abs(static_cast<double>(row[static_cast<std::size_t>(j)]) - expected) <=
                  agreement<TestType> * std::max(1.0, std::abs(expected)));
        }
        REQUIRE((hides || !any_hidden));
        if (features.soft_cap > 0) {
          given.rules.score(query, sloped.data(), block, slope.data());
          for (Index j = 0; j < count; ++j) {
            const double x = static_cast<double>(head.q.row(query).dot(head.k.row(first + j)));
            const double tanh = std::tanh(x / features.soft_cap);
            REQUIRE_THAT(static_cast<double>(slope[static_cast<std::size_t>(j)]),
                         WithinAbs(1 - tanh * tanh, agreement<TestType>));
          }
        }
        const TestType largest = given.rules.weigh(row.data(), block);
        REQUIRE(largest == *std::max_element(row.begin(), row.end()));
        for (Index j = count; j < block; ++j) REQUIRE(row[static_cast<std::size_t>(j)] < TestType(-1e29));
        if (hides) continue;
        REQUIRE(given.rules.score_and_weigh(query, at_once.data(), block) == largest);
        REQUIRE(at_once == row);
      }
    }
  }
}

TEMPLATE_TEST_CASE("keys after the last that is seen do not matter", "[attention_rules]", float, double) {
  Features features;
  features.visibility = Visibility::causal;
  features.softmax = SoftmaxKind::softmax1;
  auto head = make_head<TestType>(20, 20, features, 1);
  {
    Rules<TestType> given(head);
    given.rules.enter(0, 20);
    REQUIRE(given.rules.visible_keys(0, 1) == 1);
    REQUIRE(given.rules.visible_keys(3, 4) == 7);
    REQUIRE(given.rules.hides(3, 4, 7));
    REQUIRE_FALSE(given.rules.hides(7, 4, 7));
    given.rules.enter(10, 10);
    REQUIRE(given.rules.visible_keys(0, 10) == 0);
    REQUIRE(given.rules.visible_keys(0, 11) == 1);
  }
  head.hidden.assign(20, 0);
  std::fill(head.hidden.begin() + 5, head.hidden.end(), std::uint8_t{1});
  {
    Rules<TestType> given(head);
    given.rules.enter(0, 20);
    REQUIRE(given.rules.visible_keys(10, 5) == 5);
  }
  std::fill(head.hidden.begin(), head.hidden.end(), std::uint8_t{1});
  {
    Rules<TestType> given(head);
    given.rules.enter(0, 20);
    REQUIRE(given.rules.visible_keys(10, 5) == 0);
  }
  head.softmax = SoftmaxKind::softmax;  // who sees nothing sees all alike
  {
    Rules<TestType> given(head);
    given.rules.enter(0, 20);
    REQUIRE(given.rules.visible_keys(10, 5) == 20);
  }
  head.hidden.clear();
  head.query_positions[4] = -1;
  {
    Rules<TestType> given(head);
    given.rules.enter(0, 20);
    REQUIRE(given.rules.visible_keys(0, 4) == 4);
    REQUIRE(given.rules.visible_keys(0, 5) == 20);
  }
}

TEMPLATE_TEST_CASE("hidden places are set and no others", "[attention_rules]", float, double) {
  for (const Places places : {Places::counting, Places::with_gaps, Places::with_ties}) {
    Features features;
    features.visibility = Visibility::causal;
    features.query_places = features.key_places = places;
    features.hidden = true;
    const auto head = make_head<TestType>(30, 30, features, 2);
    Rules<TestType> given(head);
    given.rules.enter(0, 30);
    std::vector<TestType> row(static_cast<std::size_t>(key_block<TestType>), TestType{1});
    given.rules.hide(8, row.data(), static_cast<Index>(row.size()), TestType{0});
    for (std::size_t k = 0; k < row.size(); ++k) {
      const bool hidden = k < 30 && (head.hidden[k] != 0 || head.key_positions[k] > head.query_positions[8]);
      REQUIRE(row[k] == TestType(hidden ? 0 : 1));
    }
  }
}

TEMPLATE_TEST_CASE("a soft cap far above the scores leaves them as they are", "[attention_rules]", float, double) {
  for (const double cap : {1e4, 1e6, 1e9, 1e30}) {
    Features features;
    features.soft_cap = cap;
    const auto head = make_head<TestType>(1, 40, features, 60);
    Rules<TestType> given(head);
    given.rules.enter(0, 40);
    std::vector<TestType> row(static_cast<std::size_t>(key_block<TestType>), TestType{0});
    for (std::size_t k = 0; k < 40; ++k) row[k] = static_cast<TestType>(std::ldexp(1.1, static_cast<int>(k) - 30));
    std::vector<TestType> capped = row;
    given.rules.score(0, capped.data(), key_block<TestType>, nullptr);
    for (std::size_t k = 0; k < 40; ++k) {
      CAPTURE(cap, row[k], capped[k]);
      const double expected = cap * std::tanh(static_cast<double>(row[k]) / cap);
      // Below the smallest normal number s / cap has no more digits than that: 1e-15 of a score under a cap of 1e30.
      const double unit = static_cast<double>(std::numeric_limits<TestType>::epsilon()),
                   smallest = static_cast<double>(std::numeric_limits<TestType>::denorm_min());
      REQUIRE(std::abs(static_cast<double>(capped[k]) - expected) <= 5 * unit * expected + cap * smallest);
    }
  }
}

}  // namespace attention_rules_test
