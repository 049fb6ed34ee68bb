#include <merganser/merge/policies/ward_pooling.hpp>

#include <algorithm>
#include <limits>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace ward_pooling_test {

using namespace merganser;
using namespace merganser::testing;
using merge::MergePlan;
using merge::Tokens;
using merge::WardPooling;
using Clusters = WardPooling::Clusters;

using Rows = Vector<Index>;

MergePlan<double> planned(const WardPooling& policy, const Matrix<double>& x, Index removals,
                          const Vector<double>& sizes = {}) {
  Tokens<double> tokens{x, {}};
  tokens.removals = removals;
  tokens.sizes = sizes;
  return policy.plan(tokens);
}

/// [n] the cluster of each token, numbered by first members: greedily, with the growth of the sum of squares computed
/// from the tokens every time.
Rows slow_groups(const Matrix<double>& x, const Vector<double>& sizes, Index removals, bool neighbours) {
  Vector<Rows> clusters;
  for (Index t = 0; t < x.rows(); ++t) clusters.push_back({t});
  const auto spread = [&](const Rows& members) {
    RowVector<double> mean = RowVector<double>::Zero(x.cols());
    double all = 0, sum = 0;
    for (const Index t : members) mean += sizes[t] * x.row(t);
    for (const Index t : members) all += sizes[t];
    mean /= all;
    for (const Index t : members) sum += sizes[t] * (x.row(t) - mean).squaredNorm();
    return sum;
  };
  for (Index step = 0; step < removals; ++step) {
    double least = std::numeric_limits<double>::infinity();
    Index a = 0, b = 1;
    for (Index i = 0; i < clusters.size(); ++i)
      for (Index j = i + 1; j < (neighbours ? std::min(i + 2, clusters.size()) : clusters.size()); ++j) {
        Rows both = clusters[i];
        both.append(clusters[j].begin(), clusters[j].end());
        const double cost = spread(both) - spread(clusters[i]) - spread(clusters[j]);
        if (cost < least) {
          least = cost;
          a = i;
          b = j;
        }
      }
    clusters[a].append(clusters[b].begin(), clusters[b].end());
    clusters.erase(clusters.begin() + b);
  }
  Rows groups(x.rows(), -1);
  for (Index i = 0; i < clusters.size(); ++i)
    for (const Index t : clusters[i]) groups[t] = i;
  return groups;
}

TEST_CASE("tokens near each other become their mean", "[WardPooling]") {
  Matrix<double> x(5, 1);
  x << 0, 10, 1, 11, 30;
  const MergePlan<double> any = planned({.unit_length = false}, x, 2);
  REQUIRE(any.groups() == Rows{0, 1, 0, 1, 2});
  REQUIRE(any.representatives() == Rows{0, 1, 4});
  REQUIRE(any.members(0)[1] == merge::Member<double>{2, 0.5});
  // Side by side: 10 and 1 with 11 are dear, but nobody else is there.
  x << 0, 1, 10, 11, 30;
  REQUIRE(planned({.clusters = Clusters::neighbours, .unit_length = false}, x, 2).groups() == Rows{0, 0, 1, 1, 2});
  x << 0, 10, 1, 11, 30;
  REQUIRE(planned({.clusters = Clusters::neighbours, .unit_length = false}, x, 1).groups() == Rows{0, 1, 1, 2, 3});
}

TEST_CASE("lengths count where they are asked to", "[WardPooling]") {
  Matrix<double> x(3, 2);
  x << 1, 0, 0, 1, 9, 0;
  REQUIRE(planned({}, x, 1).groups() == Rows{0, 1, 0});
  REQUIRE(planned({.unit_length = false}, x, 1).groups() == Rows{0, 0, 1});
}

TEST_CASE("Ward pooling joins the cheapest pair again and again", "[WardPooling]") {
  Rng rng(1);
  for (const bool neighbours : {false, true})
    for (const Index n : {1, 2, 3, 7, 16, 24})
      for (const Index removals : {0, 1, 3, 8, 30}) {
        const Matrix<double> x = random_matrix<double>(n, 3, rng);
        Vector<double> sizes;
        for (Index t = 0; t < n; ++t) sizes.push_back(static_cast<double>(1 + rng.below(3)));
        const Index gone = std::min(removals, n - 1);
        const WardPooling policy{.clusters = neighbours ? Clusters::neighbours : Clusters::any, .unit_length = false};
        CAPTURE(neighbours, n, removals);
        REQUIRE(planned(policy, x, removals, sizes).groups() == slow_groups(x, sizes, gone, neighbours));
        const WardPooling unit{.clusters = policy.clusters};
        REQUIRE(planned(unit, x, removals).groups() ==
                slow_groups(merge::unit_rows<double>(x), Vector<double>(n, 1.0), gone, neighbours));
      }
}

TEST_CASE("Ward pooling of equal rows, of no numbers, and of protected tokens", "[WardPooling]") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Clusters clusters : {Clusters::any, Clusters::neighbours})
    for (const double value : {1.0, 0.0, nan})
      for (const bool unit_length : {false, true}) {
        const WardPooling policy{.clusters = clusters, .unit_length = unit_length};
        for (const Index removals : {0, 1, 4, 6, 9})
          REQUIRE(planned(policy, Matrix<double>::Constant(7, 2, value), removals).output_count() ==
                  7 - std::min<Index>(removals, 6));
      }
  const MergePlan<double> plan = planned({.protected_rows = 2}, Matrix<double>::Ones(7, 2), 5);
  REQUIRE(plan.groups() == Rows{0, 1, 2, 2, 2, 2, 2});
  REQUIRE(argument_error([] { planned({.protected_rows = -1}, Matrix<double>::Ones(3, 2), 1); }) ==
          "WardPooling: protected_rows: got -1, expected at least 0");
}

TEST_CASE("Ward pooling keeps the laws of policies", "[WardPooling]") {
  for (const Clusters clusters : {Clusters::any, Clusters::neighbours}) {
    require_policy_laws([=]<Real>() { return WardPooling{.clusters = clusters}; });
    require_protected_rows([=](Index rows) { return WardPooling{.clusters = clusters, .protected_rows = rows}; });
    require_planner_gradients(WardPooling{.clusters = clusters});
  }
}

}  // namespace ward_pooling_test
