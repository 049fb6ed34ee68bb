#include <merganser/merge/policies/diffrate.hpp>

#include <algorithm>
#include <numeric>
#include <optional>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace diffrate_test {

using namespace merganser;
using namespace merganser::testing;
using merge::DiffRate;
using merge::Importance;
using merge::MergePlan;
using merge::Tokens;

using Rows = Vector<Index>;

/// Random tokens and attention of two heads.
struct Scene {
  Matrix<double> x;
  Vector<Matrix<double>> heads;
  GivenAttention<double> attention;
  Tokens<double> tokens;

  explicit Scene(Index n, std::optional<Index> removals = std::nullopt)
      : x(random(n, 4, 1)),
        heads{random(n, n, 2).cwiseAbs(), random(n, n, 3).cwiseAbs()},
        attention(heads),
        tokens{x, {}} {
    tokens.removals = removals;
    tokens.attention = &attention;
  }

  static Matrix<double> random(Index rows, Index cols, std::uint64_t seed) {
    Rng rng(seed + static_cast<std::uint64_t>(100 * rows));
    return random_matrix<double>(rows, cols, rng);
  }
};

/// The published algorithm, step by step, in which the order of tokens changes: who is in the row of whom, and sizes.
struct Published {
  Rows joins;
  Vector<double> sizes;

  Published(const Scene& s, bool by_class, Index unpruned, Index kept) : joins(s.x.rows(), -1), sizes(s.x.rows(), 1.0) {
    const Index n = s.x.rows(), first = by_class ? 1 : 0;
    Rows order(n);
    std::iota(order.begin(), order.end(), Index{0});
    Vector<double> scores(n, 0.0);
    for (const Matrix<double>& head : s.heads)
      for (Index query = 0; query < (by_class ? 1 : n); ++query)
        for (Index key = 0; key < n; ++key) scores[key] += head(query, key);
    std::stable_sort(order.begin() + first, order.end(), [&](Index a, Index b) { return scores[a] > scores[b]; });
    for (Index rank = 0; rank < kept; ++rank) joins[order[rank]] = order[rank];
    for (Index rank = kept; rank < unpruned; ++rank) {
      double best = -2;
      const auto source = s.x.row(order[rank]);
      for (Index other = first; other < kept; ++other) {
        const double cosine = source.dot(s.x.row(order[other])) / (source.norm() * s.x.row(order[other]).norm());
        if (cosine > best) {
          best = cosine;
          joins[order[rank]] = order[other];
        }
      }
      if (best > 0) sizes[joins[order[rank]]] += best;
    }
  }
};

TEST_CASE("DiffRate drops and merges whom the published algorithm does", "[DiffRate]") {
  for (const Index n : {1, 2, 3, 9, 31, 100})
    for (const bool by_class : {false, true})
      for (const double share : {0.0, 0.3, 1.0})
        for (const Index going : {Index{0}, Index{1}, n / 2, n - 2}) {
          if (going >= n || going < 0) continue;
          const Scene s(n, going);
          const auto pruned = static_cast<Index>(std::lround(share * static_cast<double>(going)));
          const Published expected(s, by_class, n - pruned, n - going);
          const MergePlan<double> plan =
              DiffRate{.pruned_share = share, .importance = by_class ? Importance::class_token : Importance::received}
                  .plan(s.tokens);
          const Rows groups = plan.groups();
          CAPTURE(n, by_class, share, going);
          REQUIRE(plan.output_count() == n - going);
          for (Index token = 0; token < n; ++token) {
            const Index target = expected.joins[token];
            REQUIRE((groups[token] < 0) == (target < 0));
            if (target < 0) continue;
            REQUIRE(groups[token] == groups[target]);
            for (const merge::Member<double>& member : plan.members(groups[token]))
              REQUIRE(member.weight == 1.0 / static_cast<double>(plan.members(groups[token]).size()));
            if (target == token && !plan.sizes().empty())
              REQUIRE_THAT(plan.sizes()[groups[token]], Catch::Matchers::WithinRel(expected.sizes[token], 1e-12));
          }
        }
}

TEST_CASE("the settings of DiffRate say who goes, and errors name them", "[DiffRate]") {
  REQUIRE(DiffRate{.budget = {.tokens = 3}}.plan(Scene(9).tokens).output_count() == 6);
  REQUIRE(DiffRate{}.plan(Scene(9).tokens).output_count() == 9);
  for (const Index protected_rows : {0, 2, 9, 12}) {
    const MergePlan<double> plan = DiffRate{.protected_rows = protected_rows}.plan(Scene(9, 8).tokens);
    REQUIRE(plan.output_count() == std::clamp<Index>(protected_rows, 1, 9));
    for (Index row = 0; row < std::min<Index>(protected_rows, 9); ++row) {
      REQUIRE(plan.representatives()[row] == row);
      REQUIRE(plan.members(row).size() == 1);
    }
  }
  REQUIRE(DiffRate{.importance = Importance::class_token}.traits().needs_class_token);
  REQUIRE_FALSE(DiffRate{}.traits().needs_class_token);
  const auto error = [](const DiffRate& policy) { return argument_error([&] { policy.plan(Scene(4, 1).tokens); }); };
  REQUIRE(error({.pruned_share = 1.5}) == "DiffRate: pruned_share: got 1.5, expected in [0, 1]");
  REQUIRE(error({.protected_rows = -1}) == "DiffRate: protected_rows: got -1, expected at least 0");
  Scene apart(4, 1);
  apart.tokens.attention = nullptr;
  REQUIRE_THROWS_AS(DiffRate{}.plan(apart.tokens), std::invalid_argument);
}

TEST_CASE("DiffRate keeps the laws of policies", "[DiffRate]") {
  PolicyLaws laws;
  for (const merge::SizeBias size_bias : {merge::SizeBias::none, merge::SizeBias::log_size})
    for (const Importance importance : {Importance::received, Importance::class_token})
      for (const double share : {0.0, 0.5, 1.0}) {
        laws.size_bias = size_bias;
        laws.copies = share == 1.0;
        laws.sizes = RowSizes::own;  // weighed by how alike the members are
        CAPTURE(share, static_cast<int>(importance));
        require_policy_laws(
            [=]<Real>() { return DiffRate{.budget = {.rate = 0.5}, .pruned_share = share, .importance = importance}; },
            laws);
      }
  for (const double share : {0.0, 0.5, 1.0})
    require_protected_rows(
        [=](Index rows) { return DiffRate{.budget = {.rate = 0.5}, .pruned_share = share, .protected_rows = rows}; });
}

TEST_CASE("the gradients of DiffRate agree with finite differences", "[DiffRate]") {
  for (const Importance importance : {Importance::received, Importance::class_token})
    require_frozen_plan_gradients(DiffRate{.budget = {.rate = 0.6}, .pruned_share = 0.3, .importance = importance});
}

}  // namespace diffrate_test
