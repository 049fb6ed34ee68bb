// Expedit's clusters: soft shares of near centres on a grid, sizes, budgets, and the laws.
#include <merganser/merge/policies/local_clusters.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace local_clusters_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;

template <Real Scalar>
MergePlan<Scalar> plan_of(const LocalClusters& policy, const Matrix<Scalar>& x, std::optional<Index> removals = {},
                          std::span<const Scalar> sizes = {}) {
  Tokens<Scalar> tokens{x, {}};
  tokens.removals = removals;
  tokens.sizes = sizes;
  return policy.plan(tokens);
}

Matrix<double> dense(const MergePlan<double>& plan) {
  Matrix<double> rows = Matrix<double>::Zero(plan.output_count(), plan.input_count());
  for (Index row = 0; row < plan.output_count(); ++row)
    for (const Member<double>& member : plan.members(row)) rows(row, member.token) += member.weight;
  return rows;
}

struct Slow {
  Index height, width, rows, columns;
};

/// The published steps on dense matrices [centres x tokens]; shares of the last round.
Matrix<double> slow_shares(const Matrix<double>& x, const Slow& g, const LocalClusters& policy) {
  const Index n = x.rows(), count = g.rows * g.columns;
  const auto part = [](Index i, Index of, Index extent) {  // adaptive average pooling
    const double share = static_cast<double>(extent) / static_cast<double>(of);
    return std::pair(static_cast<Index>(std::floor(static_cast<double>(i) * share)),
                     static_cast<Index>(std::ceil(static_cast<double>(i + 1) * share)));
  };
  Matrix<double> centres = Matrix<double>::Zero(count, x.cols());
  for (Index c = 0; c < count; ++c) {
    const auto [top, bottom] = part(c / g.columns, g.rows, g.height);
    const auto [left, right] = part(c % g.columns, g.columns, g.width);
    for (Index y = top; y < bottom; ++y)
      for (Index z = left; z < right; ++z) centres.row(c) += x.row(y * g.width + z);
    centres.row(c) /= static_cast<double>((bottom - top) * (right - left));
  }
  Matrix<double> shares;
  for (Index round = 0; round < policy.rounds; ++round) {
    shares = Matrix<double>::Zero(count, n);
    for (Index t = 0; t < n; ++t) {
      const Index row = t / g.width * g.rows / g.height, column = t % g.width * g.columns / g.width;
      for (Index c = 0; c < count; ++c)
        if (std::abs(c / g.columns - row) <= policy.window / 2 && std::abs(c % g.columns - column) <= policy.window / 2)
          shares(c, t) = std::exp(-policy.sharpness * (x.row(t) - centres.row(c)).squaredNorm());
      shares.col(t) /= shares.col(t).sum();
    }
    for (Index c = 0; c < count; ++c) centres.row(c) = shares.row(c) * x / shares.row(c).sum();
  }
  return shares;
}

TEST_CASE("local clusters follow the published steps", "[LocalClusters]") {
  Rng rng(2);
  for (const Slow& g : {Slow{1, 7, 1, 3}, Slow{1, 40, 1, 9}, Slow{6, 5, 2, 3}, Slow{8, 8, 3, 5}, Slow{4, 4, 4, 2}})
    for (const Index window : {1, 3, 5}) {
      CAPTURE(g.height, g.width, g.rows, g.columns, window);
      const LocalClusters policy{.columns = g.height > 1 ? g.width : 0,
                                 .cluster_rows = g.rows,
                                 .cluster_columns = g.columns,
                                 .window = window,
                                 .rounds = 3,
                                 .sharpness = 0.1};
      const auto x = random_matrix<double>(g.height * g.width, 4, rng);
      const MergePlan<double> plan = plan_of(policy, x);
      const Matrix<double> shares = slow_shares(x, g, policy);
      Matrix<double> weights = shares;
      for (Index c = 0; c < weights.rows(); ++c) {
        weights.row(c) /= shares.row(c).sum();
        REQUIRE(std::abs(plan.sizes()[c] - shares.row(c).sum()) < 1e-12);
      }
      REQUIRE(relative_difference(dense(plan), weights) < 1e-12);
      REQUIRE(std::is_sorted(plan.representatives().begin(), plan.representatives().end()));
      for (Index row = 0; row < plan.output_count(); ++row) {
        const auto members = plan.members(row);
        REQUIRE(std::any_of(members.begin(), members.end(),
                            [&](const auto& member) { return member.token == plan.representatives()[row]; }));
      }
    }
}

TEST_CASE("local clusters: rows stand at the first places of their cells", "[LocalClusters]") {
  Rng rng(2);
  const auto text = random_matrix<double>(7, 2, rng), image = random_matrix<double>(24, 2, rng);
  REQUIRE(plan_of(LocalClusters{}, text, 4).representatives() == Vector<Index>{0, 3, 5});
  REQUIRE(plan_of(LocalClusters{.columns = 6, .cluster_rows = 2, .cluster_columns = 3}, image).representatives() ==
          Vector<Index>{0, 2, 4, 12, 14, 16});
}

TEST_CASE("local clusters: equal tokens keep equal shares, and become themselves", "[LocalClusters]") {
  const Matrix<double> x = Matrix<double>::Constant(6, 3, 2.0);
  const MergePlan<double> plan = plan_of(LocalClusters{.window = 5}, x, 4);
  REQUIRE(plan.sizes() == Vector<double>{3, 3});
  for (Index row = 0; row < 2; ++row)
    for (const Member<double>& member : plan.members(row)) REQUIRE(std::abs(member.weight - 1.0 / 6) < 1e-15);
}

TEST_CASE("local clusters: sizes of tokens weigh and add up", "[LocalClusters]") {
  Rng rng(2);
  const auto x = random_matrix<double>(9, 3, rng);
  const Vector<double> sizes = {1, 2, 1, 3, 1, 1, 4, 1, 1};
  const MergePlan<double> plan = plan_of<double>(LocalClusters{}, x, 6, sizes);
  double sum = 0;
  for (const double size : plan.sizes()) sum += size;
  REQUIRE(std::abs(sum - 15) < 1e-12);
  const Matrix<double> weights = dense(plan);
  for (Index row = 0; row < 3; ++row) REQUIRE(std::abs(weights.row(row).sum() - 1) < 1e-12);
  REQUIRE_FALSE(plan == plan_of(LocalClusters{}, x, 6));
}

TEST_CASE("local clusters: budgets of text are exact, of a grid as far as its proportions allow", "[LocalClusters]") {
  Rng rng(2);
  const auto x = random_matrix<double>(32, 3, rng);
  for (const Index removals : {0, 1, 10, 31, 99})
    REQUIRE(plan_of(LocalClusters{}, x, removals).output_count() == std::max<Index>(32 - removals, 1));
  const LocalClusters grid{.budget = {.rate = 0.75}, .columns = 8};
  REQUIRE(plan_of(grid, x).output_count() == 8);  // 2 of 4
  REQUIRE(plan_of(grid, x, 17).output_count() == 15);
  REQUIRE(plan_of(grid, x, 31).output_count() == 1);
  REQUIRE(plan_of(grid, x, 0) == plan_of(LocalClusters{}, x));  // nothing moves
  REQUIRE(plan_of(LocalClusters{}, x) == MergePlan<double>::keeping(plan_of(LocalClusters{}, x).representatives(), 32));
  const LocalClusters fixed{.columns = 8, .cluster_rows = 2, .cluster_columns = 3};
  REQUIRE(plan_of(fixed, x).output_count() == 6);
  REQUIRE(plan_of(fixed, x, 24).output_count() == 8);  // what the call asks for counts first
  REQUIRE(plan_of(LocalClusters{}, Matrix<double>(0, 3)).output_count() == 0);
  REQUIRE(plan_of(LocalClusters{}, x, 16).output_count() == 16);
}

TEST_CASE("local clusters: a centre that nobody is near becomes its first token", "[LocalClusters]") {
  // The middle cell holds two far tokens whose mean is near nobody.
  const Matrix<float> x{{0}, {0}, {1000}, {-1000}, {1}, {1}};
  const MergePlan<float> plan = plan_of(LocalClusters{.window = 3, .rounds = 1, .sharpness = 10}, x, 3);
  REQUIRE(plan.output_count() == 3);
  for (Index row = 0; row < 3; ++row) {
    REQUIRE(!plan.members(row).empty());
    REQUIRE(plan.sizes()[row] > 0);
  }
  Matrix<float> nan = x;
  nan.row(2).setConstant(std::numeric_limits<float>::quiet_NaN());
  REQUIRE(plan_of(LocalClusters{}, nan, 3).output_count() == 3);
}

TEST_CASE("local clusters keep the laws of policies", "[LocalClusters]") {
  PolicyLaws laws;
  laws.shared_tokens = true;
  laws.sizes = RowSizes::shared;
  for (const Index window : {1, 3, 5})
    for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size}) {
      CAPTURE(window);
      laws.size_bias = size_bias;
      require_policy_laws(
          [&]<Real Scalar>() { return Policy<Scalar>(LocalClusters{.budget = {.rate = 0.5}, .window = window}); },
          laws);
    }
  require_frozen_plan_gradients(LocalClusters{.budget = {.rate = 0.5}});
}

TEST_CASE("settings of local clusters that do not fit are named", "[LocalClusters]") {
  Rng rng(2);
  const auto x = random_matrix<double>(9, 3, rng);
  const auto error_of = [&](const LocalClusters& policy) { return argument_error([&] { plan_of(policy, x); }); };
  REQUIRE(error_of({.columns = 4}) == "LocalClusters: tokens: got 9, expected whole rows of the grid");
  REQUIRE(error_of({.window = 4}) == "LocalClusters: window: got 4, expected an odd number");
  REQUIRE_THAT(error_of({.columns = -1}), ContainsSubstring("columns: got -1"));
  REQUIRE_THAT(error_of({.cluster_rows = -1}), ContainsSubstring("cluster_rows: got -1"));
  REQUIRE_THAT(error_of({.cluster_columns = -1}), ContainsSubstring("cluster_columns: got -1"));
  REQUIRE_THAT(error_of({.cluster_columns = 2}), ContainsSubstring("expected both or none"));
  REQUIRE_THAT(error_of({.window = -1}), ContainsSubstring("window"));
  REQUIRE_THAT(error_of({.rounds = 0}), ContainsSubstring("rounds: got 0"));
  REQUIRE_THAT(error_of({.sharpness = 0}), ContainsSubstring("sharpness: got 0"));
}

}  // namespace local_clusters_test
