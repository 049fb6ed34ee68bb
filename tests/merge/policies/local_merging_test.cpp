#include <merganser/merge/policies/local_merging.hpp>

#include <optional>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"

namespace local_merging_test {

using namespace merganser;
using namespace merganser::testing;
using merge::LocalMerging;
using merge::MergePlan;
using merge::Tokens;

using Rows = Vector<Index>;

/// Directions of the plane, in degrees.
Matrix<double> directions(std::initializer_list<double> degrees) {
  Matrix<double> x(static_cast<Index>(degrees.size()), 2);
  Index row = 0;
  for (const double angle : degrees) {
    x(row, 0) = std::cos(angle * 0.017453292519943295);
    x(row++, 1) = std::sin(angle * 0.017453292519943295);
  }
  return x;
}

MergePlan<double> planned(const LocalMerging& policy, const Matrix<double>& x,
                          std::optional<Index> removals = std::nullopt) {
  Vector<Position> positions;
  for (Index i = 0; i < x.rows(); ++i) positions.push_back(static_cast<Position>(i));
  Tokens<double> tokens{x, positions};
  tokens.removals = removals;
  return policy.plan(tokens);
}

TEST_CASE("neighbours that are alike become one", "[LocalMerging]") {
  const Matrix<double> x = directions({0, 10, 90, 95, 97, 200});
  REQUIRE(planned({.least = 0.9}, x).groups() == Rows{0, 0, 1, 1, 1, 2});
  REQUIRE(planned({.least = 0.99}, x).groups() == Rows{0, 1, 2, 2, 2, 3});
  REQUIRE(planned({.budget = {.tokens = 1}}, x).groups() == Rows{0, 1, 2, 3, 3, 4});
  REQUIRE(planned({.budget = {.rate = 0.5}}, x).groups() == Rows{0, 0, 1, 1, 1, 2});
  REQUIRE(planned({}, x).groups() == Rows{0, 1, 2, 3, 4, 5});
}

TEST_CASE("a call's removals count before settings, and any rate is reached", "[LocalMerging]") {
  const Matrix<double> x = directions({0, 10, 90, 95, 97, 200, 210, 211});
  for (const LocalMerging& policy : {LocalMerging{}, LocalMerging{.least = 0.9}, LocalMerging{.reach = 3}})
    for (Index removals = 0; removals <= 9; ++removals)
      REQUIRE(planned(policy, x, removals).output_count() == std::max<Index>(8 - removals, 1));
}

TEST_CASE("tokens reach past others only as far as they may", "[LocalMerging]") {
  const Matrix<double> x = directions({0, 90, 1, 91, 2});
  REQUIRE(planned({.least = 0.9}, x).output_count() == 5);
  const MergePlan<double> plan = planned({.least = 0.9, .reach = 2}, x);
  REQUIRE(plan.groups() == Rows{0, 1, 0, 1, 0});
  REQUIRE(plan.representatives() == Rows{0, 1});
}

TEST_CASE("with a threshold no group hangs on a later token", "[LocalMerging]") {
  Rng rng(5);
  Matrix<double> x(24, 3);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = rng.normal();
  const LocalMerging policy{.least = 0.4, .reach = 3};
  REQUIRE(policy.traits().is_causal);
  REQUIRE_FALSE(LocalMerging{}.traits().is_causal);
  const Rows whole = planned(policy, x).groups();
  REQUIRE(planned(policy, x).output_count() < 24);
  for (Index n = 1; n < 24; ++n) {
    const Rows prefix = planned(policy, x.topRows(n)).groups();
    REQUIRE(std::equal(prefix.begin(), prefix.end(), whole.begin()));
  }
}

TEST_CASE("settings out of range are refused", "[LocalMerging]") {
  const Matrix<double> x = directions({0, 1});
  const auto error = [&](const LocalMerging& policy) {
    return error_text<std::invalid_argument>([&] { planned(policy, x); });
  };
  REQUIRE(error({.reach = 0}) == "LocalMerging: reach: got 0, expected at least 1");
  REQUIRE(error({.budget = {.rate = 0.5}, .least = 0.9}) ==
          "LocalMerging: budget and least: got both, expected one of them");
  REQUIRE(error({.budget = {.rate = 1.5}}) == "Budget: rate: got 1.5, expected in [0, 1]");
}

TEST_CASE("local merging keeps the laws of policies", "[LocalMerging]") {
  PolicyLaws laws;
  for (const merge::SizeBias size_bias : {merge::SizeBias::none, merge::SizeBias::log_size}) {
    laws.size_bias = size_bias;
    for (const Index reach : {1, 3})
      require_policy_laws([=]<Real>() { return LocalMerging{.budget = {.rate = 0.5}, .reach = reach}; }, laws);
  }
  require_policy_laws([]<Real>() { return LocalMerging{.least = 0.1, .reach = 3}; }, laws);  // causal
}

TEST_CASE("the gradients of local merging agree with finite differences", "[LocalMerging]") {
  require_planner_gradients(LocalMerging{.budget = {.rate = 0.5}});
  require_planner_gradients(LocalMerging{.least = 0.1, .reach = 3});
}

}  // namespace local_merging_test
