#include <merganser/merge/policies/funnel_pooling.hpp>

#include "support/catch.hpp"
#include "support/policy_laws.hpp"

namespace funnel_pooling_test {

using namespace merganser;
using namespace merganser::testing;
using merge::FunnelPooling;
using merge::MergePlan;
using merge::Tokens;

using Rows = Vector<Index>;

MergePlan<double> planned(const FunnelPooling& policy, Index tokens) {
  const Matrix<double> x = Matrix<double>::Zero(tokens, 2);
  return policy.plan(Tokens<double>{x, {}});
}

TEST_CASE("groups of a fixed size, the last perhaps short or dropped", "[FunnelPooling]") {
  REQUIRE(planned({}, 5).groups() == Rows{0, 0, 1, 1, 2});
  REQUIRE(planned({.rate = 3}, 5).groups() == Rows{0, 0, 0, 1, 1});
  REQUIRE(planned({.rate = 3}, 5).members(1)[0].weight == 0.5);
  REQUIRE(planned({.protected_rows = 1}, 4).groups() == Rows{0, 1, 1, 2});
  REQUIRE(planned({.last_group = FunnelPooling::LastGroup::dropped}, 5).groups() == Rows{0, 0, 1, 1, -1});
  REQUIRE(planned({.rate = 3, .last_group = FunnelPooling::LastGroup::dropped}, 2).groups() ==
          Rows{0, 0});  // a row stays
  REQUIRE(planned({.combine = merge::Combine::largest}, 2).combine() == merge::Combine::largest);
  REQUIRE(planned({.protected_rows = 9}, 3).output_count() == 3);
  REQUIRE_THROWS_AS(planned({.rate = 0}, 3), std::invalid_argument);
  REQUIRE_THROWS_AS(planned({.protected_rows = -1}, 3), std::invalid_argument);
}

TEST_CASE("funnel pooling keeps the laws of policies", "[FunnelPooling]") {
  for (const merge::Combine combine : {merge::Combine::weighted_sum, merge::Combine::largest}) {
    require_policy_laws([=]<Real>() { return FunnelPooling{.combine = combine}; });
    require_protected_rows([=](Index rows) { return FunnelPooling{.combine = combine, .protected_rows = rows}; });
    require_planner_gradients(FunnelPooling{.rate = 3, .combine = combine});
  }
}

}  // namespace funnel_pooling_test
