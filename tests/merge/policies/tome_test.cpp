#include <merganser/merge/policies/tome.hpp>

#include <algorithm>
#include <cmath>
#include <optional>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace tome_test {

using namespace merganser;
using namespace merganser::testing;
using merge::MergePlan;
using merge::Tokens;
using merge::ToMe;

using Rows = Vector<Index>;

Tokens<double> tokens_of(const Matrix<double>& x, std::optional<Index> removals = std::nullopt) {
  Tokens<double> tokens{x, {}};
  tokens.removals = removals;
  return tokens;
}

/// The published algorithm, step by step, over a whole matrix of scores: who joins whom.
Rows published(const Matrix<double>& metric, Index removals, Index protected_rows) {
  const Index n = metric.rows(), even = (n + 1) / 2, odd = n / 2;
  const double none = -std::numeric_limits<double>::infinity();
  Matrix<double> scores(even, odd);
  for (Index i = 0; i < even; ++i)
    for (Index j = 0; j < odd; ++j) {
      const bool kept = 2 * i < protected_rows || 2 * j + 1 < protected_rows;
      scores(i, j) = kept ? none
                          : metric.row(2 * i).dot(metric.row(2 * j + 1)) /
                                (metric.row(2 * i).norm() * metric.row(2 * j + 1).norm());
    }
  Rows order, best(even, 0);
  for (Index i = 0; i < even; ++i) {
    order.push_back(i);
    if (odd > 0) scores.row(i).maxCoeff(&best[i]);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return scores(a, best[a]) > scores(b, best[b]); });
  Rows joins(n);
  for (Index i = 0; i < n; ++i) joins[i] = i;
  for (Index i = 0; i < std::min(removals, (n - protected_rows) / 2); ++i) joins[2 * order[i]] = 2 * best[order[i]] + 1;
  return joins;
}

TEST_CASE("alike tokens of even and odd number become one", "[ToMe]") {
  Matrix<double> x(6, 2);
  x << 1, 0, 0, 1, 0.1, 1, 1, 0.2, -1, 0, 0.5, -1;
  // 0 is most like 3, 2 most like 1, 4 most like 5; the first two pairs are the closest.
  REQUIRE(ToMe{}.plan(tokens_of(x, 1)).groups() == Rows{0, 1, 1, 2, 3, 4});
  REQUIRE(ToMe{}.plan(tokens_of(x, 2)).groups() == Rows{0, 1, 1, 0, 2, 3});
  REQUIRE(ToMe{.budget = {.tokens = 2}}.plan(tokens_of(x)).groups() == Rows{0, 1, 1, 0, 2, 3});
  REQUIRE(ToMe{}.plan(tokens_of(x)).output_count() == 6);
  REQUIRE(ToMe{}.plan(tokens_of(x, 5)).output_count() == 3);  // half at most
}

TEST_CASE("token merging joins whom the published algorithm joins", "[ToMe]") {
  for (const Index n : {1, 2, 3, 8, 31, 150})
    for (const Index protected_rows : {0, 1, 2})
      for (const Index removals : {Index{0}, Index{1}, n / 4, n / 2}) {
        if (protected_rows >= n || removals >= n) continue;
        Rng rng(static_cast<std::uint64_t>(n + 7));
        const Matrix<double> metric = random_matrix<double>(n, 5, rng), x = random_matrix<double>(n, 4, rng);
        const Vector<double> sizes(n, 2.0);
        const GivenAttention<double> attention({}, metric);
        Tokens<double> tokens = tokens_of(x, removals);
        tokens.sizes = sizes;
        tokens.attention = &attention;
        CAPTURE(n, protected_rows, removals);
        const MergePlan<double> expected =
            merge::plan_of_targets<double>(published(metric, removals, protected_rows), sizes);
        REQUIRE(ToMe{.protected_rows = protected_rows}.plan(tokens) == expected);
      }
}

TEST_CASE("protected tokens stay alone", "[ToMe]") {
  const Matrix<double> x = Matrix<double>::Ones(7, 3);
  for (const Index protected_rows : {0, 1, 2, 3, 7, 9}) {
    const MergePlan<double> plan = ToMe{.protected_rows = protected_rows}.plan(tokens_of(x, 6));
    for (Index row = 0; row < std::min<Index>(protected_rows, 7); ++row) {
      REQUIRE(plan.representatives()[row] == row);
      REQUIRE(plan.members(row).size() == 1);
    }
  }
  REQUIRE(error_text<std::invalid_argument>([&] { ToMe{.protected_rows = -1}.plan(tokens_of(x)); }) ==
          "ToMe: protected_rows: got -1, expected at least 0");
}

TEST_CASE("token merging keeps the laws of policies", "[ToMe]") {
  PolicyLaws laws;
  laws.at_most_half = true;
  for (const merge::SizeBias size_bias : {merge::SizeBias::none, merge::SizeBias::log_size}) {
    laws.size_bias = size_bias;
    for (const merge::Combine combine : {merge::Combine::weighted_sum, merge::Combine::largest})
      require_policy_laws([=]<Real>() { return ToMe{.budget = {.rate = 0.4}, .combine = combine}; }, laws);
  }
  require_protected_rows([](Index rows) { return ToMe{.budget = {.rate = 0.4}, .protected_rows = rows}; });
}

TEST_CASE("the gradients of token merging agree with finite differences", "[ToMe]") {
  for (const merge::Combine combine : {merge::Combine::weighted_sum, merge::Combine::largest})
    require_planner_gradients(ToMe{.budget = {.rate = 0.4}, .combine = combine});
}

TEST_CASE("every k-th token stays and the others join one of them", "[ToMeEveryKth]") {
  Rng rng(3);
  const Matrix<double> x = random_matrix<double>(11, 4, rng);
  const MergePlan<double> plan = merge::ToMeEveryKth{.k = 3}.plan(tokens_of(x));
  REQUIRE(plan.output_count() == 3 + 2);  // and the two behind the last whole group
  const Rows groups = plan.groups();
  for (Index t = 0; t < 9; ++t) {
    Index best = 2;
    for (const Index kept : {5, 8})
      if (merge::cosine<double>(x, t, kept) > merge::cosine<double>(x, t, best)) best = kept;
    REQUIRE(groups[t] == groups[t % 3 == 2 ? t : best]);
  }
  REQUIRE(merge::ToMeEveryKth{.k = 12}.plan(tokens_of(x)).output_count() == 11);
  REQUIRE(error_text<std::invalid_argument>([&] { merge::ToMeEveryKth{.k = 1}.plan(tokens_of(x)); }) ==
          "ToMeEveryKth: k: got 1, expected at least 2");
}

TEST_CASE("tokens that are drawn join the most alike of the others", "[ToMeRandom]") {
  Rng rng(3);
  const Matrix<double> x = random_matrix<double>(6, 4, rng);
  const Rows order = {4, 0, 2, 1, 5, 3};
  const Rows groups = merge::ToMeRandom{.budget = {.tokens = 2}}.plan_in_order(tokens_of(x), order).groups();
  for (const Index gone : {4, 0}) {
    Index best = 2;
    for (const Index kept : {1, 5, 3})
      if (merge::cosine<double>(x, gone, kept) > merge::cosine<double>(x, gone, best)) best = kept;
    REQUIRE(groups[gone] == groups[best]);
  }
  REQUIRE_THROWS_AS(merge::ToMeRandom{}.plan_in_order(tokens_of(x), Rows{0, 1}), std::invalid_argument);
  REQUIRE(error_text<std::invalid_argument>([&] { merge::ToMeRandom{}.plan(tokens_of(x)); }) ==
          "ToMeRandom: rng: got none, expected a generator");
  // All tokens are drawn alike.
  Rows gone(6, 0);
  const Matrix<double> unit = Matrix<double>::Identity(6, 6);
  for (Index draw = 0; draw < 3000; ++draw) {
    Tokens<double> tokens = tokens_of(unit, 3);
    tokens.rng = &rng;
    const MergePlan<double> plan = merge::ToMeRandom{}.plan(tokens);
    for (Index row = 0; row < plan.output_count(); ++row) gone[plan.representatives()[row]] += 1;
  }
  for (const Index times : gone) REQUIRE(times > 600);
}

TEST_CASE("the variants of token merging keep the laws of policies", "[ToMe]") {
  require_policy_laws([]<Real>() { return merge::ToMeEveryKth{.k = 3}; });
  require_planner_gradients(merge::ToMeEveryKth{.k = 3});
}

}  // namespace tome_test
