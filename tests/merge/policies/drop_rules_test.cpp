#include <merganser/merge/policies/drop_rules.hpp>

#include <optional>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"

namespace drop_rules_test {

using namespace merganser;
using namespace merganser::testing;
using merge::MergePlan;
using merge::StopIds;
using merge::TailDrop;
using merge::Tokens;

using Rows = Vector<Index>;

template <class P>
Rows kept(const P& policy, const Vector<TokenId>& ids, std::optional<Index> removals = std::nullopt) {
  const Matrix<double> x = Matrix<double>::Zero(ids.size(), 2);
  Tokens<double> tokens{x, {}};
  tokens.ids = ids;
  tokens.removals = removals;
  const MergePlan<double> plan = policy.plan(tokens);
  REQUIRE(plan.input_count() == ids.size());
  for (Index row = 0; row < plan.output_count(); ++row) REQUIRE(plan.members(row).size() == 1);
  return plan.representatives();
}

TEST_CASE("truncation keeps the first tokens", "[TailDrop]") {
  const Vector<TokenId> ids(5, 1);
  REQUIRE(kept(TailDrop{}, ids) == Rows{0, 1, 2, 3, 4});
  REQUIRE(kept(TailDrop{.budget = {.rate = 0.4}}, ids) == Rows{0, 1, 2});
  REQUIRE(kept(TailDrop{.budget = {.tokens = 1}}, ids) == Rows{0, 1, 2, 3});
  REQUIRE(kept(TailDrop{.budget = {.rate = 0.4}}, ids, 3) == Rows{0, 1});
  REQUIRE(kept(TailDrop{.budget = {.rate = 1}}, ids) == Rows{0});
  REQUIRE(kept(TailDrop{.budget = {.rate = 1}}, {}).empty());
  REQUIRE_FALSE(TailDrop::traits.is_causal);
  REQUIRE_THROWS_AS(kept(TailDrop{.budget = {.rate = 1.5}}, ids), std::invalid_argument);
}

TEST_CASE("truncation keeps the laws of policies", "[TailDrop]") {
  PolicyLaws laws;
  laws.copies = true;
  require_policy_laws([]<Real>() { return TailDrop{.budget = {.rate = 0.4}}; }, laws);
  require_planner_gradients(TailDrop{.budget = {.rate = 0.4}});
}

TEST_CASE("tokens whose ids are in the list go", "[StopIds]") {
  const Vector<TokenId> ids = {9, 4, 5, 4, 9, 7};
  REQUIRE(kept(StopIds{}, ids) == Rows{0, 1, 2, 3, 4, 5});
  REQUIRE(kept(StopIds{.ids = {9, 4}}, ids) == Rows{2, 5});
  REQUIRE(kept(StopIds{.ids = {9, 4}, .protected_rows = 2}, ids) == Rows{0, 1, 2, 5});
  REQUIRE(kept(StopIds{.ids = {9, 4}, .protected_rows = 8}, ids) == Rows{0, 1, 2, 3, 4, 5});
  REQUIRE(kept(StopIds{.ids = {7, 4, 9, 5, -1}}, ids) == Rows{0});  // one stays
  REQUIRE(kept(StopIds{.ids = {4}}, {}).empty());
  REQUIRE(kept(StopIds{.ids = {9, 4}}, ids, 5) == Rows{2, 5});  // it has no budget
  REQUIRE_FALSE(StopIds{}.traits().is_causal);
}

TEST_CASE("with a token that stays no stop id hangs on what is behind it", "[StopIds]") {
  const Vector<TokenId> ids = {4, 4, 5, 9, 4, 7};
  const StopIds policy{.ids = {4, 9}, .protected_rows = 1};
  REQUIRE(policy.traits().is_causal);
  const Rows whole = kept(policy, ids);
  for (Index n = 1; n <= ids.size(); ++n) {
    const Rows prefix = kept(policy, Vector<TokenId>(ids.begin(), ids.begin() + n));
    REQUIRE(std::equal(prefix.begin(), prefix.end(), whole.begin()));
    REQUIRE((prefix.size() == whole.size() || whole[prefix.size()] >= n));
  }
}

TEST_CASE("stop ids ask for ids", "[StopIds]") {
  const Matrix<double> x = Matrix<double>::Zero(3, 2);
  REQUIRE(error_text<std::invalid_argument>([&] {
            StopIds{.ids = {1}}.plan(Tokens<double>{x, {}});
          }) == "StopIds: ids.size(): got 0, expected 3");
  REQUIRE(error_text<std::invalid_argument>([&] { kept(StopIds{.protected_rows = -1}, {1}); }) ==
          "StopIds: protected_rows: got -1, expected at least 0");
}

TEST_CASE("stop ids keep the laws of policies", "[StopIds]") {
  PolicyLaws laws;
  laws.copies = true;
  require_policy_laws([]<Real>() { return StopIds{.ids = {3, 0, 5}}; }, laws);
  require_policy_laws([]<Real>() { return StopIds{.ids = {3, 0, 5}, .protected_rows = 1}; }, laws);  // causal
  require_protected_rows([](Index rows) { return StopIds{.ids = {3, 0, 5}, .protected_rows = rows}; });
  require_planner_gradients(StopIds{.ids = {3, 0, 5}});
}

}  // namespace drop_rules_test
