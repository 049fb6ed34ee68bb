#include <merganser/merge/prune_and_merge.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"

namespace prune_and_merge_test {

using namespace merganser;
using namespace merganser::testing;
using merge::Going;
using merge::Importance;
using merge::MergePlan;
using merge::Tokens;

using Rows = Vector<Index>;

/// Two directions, and one between them.
Matrix<double> scene() {
  Matrix<double> x(5, 2);
  x << 1, 0, 0, 2, 1, 1, 3, 0, 0, 1;
  return x;
}

MergePlan<double> planned(const Rows& order, const merge::PruneCounts& counts, Going going = Going::gone) {
  const Matrix<double> x = scene();
  const Vector<double> sizes = {1, 2, 3, 4, 5};
  return merge::prune_and_merge(Tokens<double>{x, {}, sizes}, order, counts, going);
}

TEST_CASE("tokens are in the order of what they receive, or of a class token's attention", "[prune_and_merge]") {
  Matrix<double> head(3, 3), other(3, 3);
  head << 0.2, 0.3, 0.5, 0.6, 0.1, 0.3, 0.6, 0.1, 0.3;
  other << 0.2, 0.6, 0.2, 0.8, 0.1, 0.1, 0.8, 0.1, 0.1;
  const GivenAttention<double> attention({head, other});
  const Matrix<double> x = Matrix<double>::Zero(3, 1);
  Tokens<double> tokens{x, {}};
  tokens.attention = &attention;
  REQUIRE(merge::order_of_importance<double>(tokens, Importance::received, 0) == Rows{0, 2, 1});
  REQUIRE(merge::order_of_importance<double>(tokens, Importance::class_token, 0) == Rows{1, 2, 0});
  REQUIRE(merge::order_of_importance<double>(tokens, Importance::class_token, 1) == Rows{0, 1, 2});
  REQUIRE(merge::order_of_importance<double>(tokens, Importance::received, 3) == Rows{0, 1, 2});
  const Matrix<double> none(0, 1);
  REQUIRE(merge::order_of_importance<double>(Tokens<double>{none, {}}, Importance::received, 0).empty());
}

TEST_CASE("the last of an order are dropped, and those in front of them merge", "[prune_and_merge]") {
  const Rows order = {0, 1, 2, 3, 4};
  const MergePlan<double> pruned = planned(order, {.unpruned = 3, .kept = 3});
  REQUIRE(pruned == MergePlan<double>::keeping(Rows{0, 1, 2}, 5));  // sizes add up as ever
  const MergePlan<double> merged = planned(order, {.unpruned = 4, .kept = 2});
  REQUIRE(merged.groups() == Rows{0, 1, 0, 0, -1});  // 2 is as much like 0 as like 1: the first in the order
  REQUIRE(merged.members(0)[1].weight == 1.0 / 3);
  REQUIRE_THAT(merged.sizes()[0], Catch::Matchers::WithinAbs(1 + 3 * std::sqrt(0.5) + 4, 1e-12));
  REQUIRE(merged.sizes()[1] == 2);
  const MergePlan<double> turned = planned({1, 0, 2, 3, 4}, {.unpruned = 4, .kept = 2});
  REQUIRE(turned.groups() == Rows{0, 1, 1, 0, -1});
  REQUIRE(turned.representatives() == Rows{0, 1});
  // Nobody joins a protected token; where there is no other, who would join is dropped.
  REQUIRE(planned(order, {.protected_rows = 1, .unpruned = 5, .kept = 2}).groups() == Rows{0, 1, 1, 1, 1});
  REQUIRE(planned(order, {.protected_rows = 1, .unpruned = 5, .kept = 1}).groups() == Rows{0, -1, -1, -1, -1});
  REQUIRE(argument_error([&] {
            planned({0, 1}, {.unpruned = 2, .kept = 2});
          }) == "prune_and_merge: order.size(): got 2, expected 5");
}

TEST_CASE("a row is at the place of its first token, and who looks away adds nothing to its size",
          "[prune_and_merge]") {
  Matrix<double> x(3, 1);
  x << -1, 1, 2;
  const Tokens<double> tokens{x, {}};
  const MergePlan<double> plan = merge::prune_and_merge(tokens, Rows{2, 0, 1}, {.unpruned = 3, .kept = 1});
  REQUIRE(plan.representatives() == Rows{0});
  REQUIRE(plan.sizes() == Vector<double>{2});  // its own 1 and that of 1
}

TEST_CASE("in the soft form every token keeps a row, and means are there already", "[prune_and_merge]") {
  const MergePlan<double> hard = planned({1, 0, 2, 3, 4}, {.unpruned = 4, .kept = 2}),
                          soft = planned({1, 0, 2, 3, 4}, {.unpruned = 4, .kept = 2}, Going::staying);
  REQUIRE(soft.representatives() == Rows{0, 1, 2, 3, 4});
  for (Index row = 0; row < 2; ++row) {
    REQUIRE(std::equal(soft.members(row).begin(), soft.members(row).end(), hard.members(row).begin(),
                       hard.members(row).end()));
    REQUIRE(soft.sizes()[row] == hard.sizes()[row]);
  }
  for (Index row = 2; row < 5; ++row) {
    REQUIRE(soft.members(row).size() == 1);
    REQUIRE(soft.members(row)[0] == merge::Member<double>{row, 1});
    REQUIRE(soft.sizes()[row] == static_cast<double>(row + 1));
  }
}

TEST_CASE("vectors that are no numbers join nobody", "[prune_and_merge]") {
  const Matrix<double> x = Matrix<double>::Constant(4, 2, std::numeric_limits<double>::quiet_NaN());
  const MergePlan<double> plan =
      merge::prune_and_merge(Tokens<double>{x, {}}, Rows{3, 1, 0, 2}, {.unpruned = 4, .kept = 2});
  REQUIRE(plan.groups() == Rows{-1, 0, -1, 1});
}

}  // namespace prune_and_merge_test
