// Where policies stand.
#include <merganser/merge/placement.hpp>

#include <concepts>
#include <optional>
#include <string>

#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace placement_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

static_assert(std::convertible_to<Placed<RandomGate>, Placement<float>>);
static_assert(std::convertible_to<Placed<RandomGate>, Placement<double>>);
static_assert(std::convertible_to<Placed<StridedPooling<float>>, Placement<float>>);
static_assert(!std::convertible_to<Placed<StridedPooling<float>>, Placement<double>>);
static_assert(!std::convertible_to<Placed<int>, Placement<float>>);

/// A planner with a budget.
struct Cut {
  static constexpr PolicyTraits traits{.has_budget = true};
  Budget budget = {};
  MergePlan<float> plan(const Tokens<float>& tokens) const {
    return MergePlan<float>::keeping(Vector<Index>{0}, tokens.count());
  }
};

std::string error_of(const Vector<Placement<float>>& placements, Index blocks) {
  return argument_error([&] { check_placements("Stack", placements, blocks); });
}

TEST_CASE("policies stand in front of a block or behind its attention", "[Placement]") {
  const Placement<float> front = before_block(2, RandomGate{0.25, -30.0});
  REQUIRE(front.block == 2);
  REQUIRE(front.site == Site::before_block);
  REQUIRE(front.size_bias == SizeBias::none);
  REQUIRE(front.policy.target<RandomGate>()->probability == 0.25);
  const Placement<double> inside = after_attention(3, RandomGate{0.75, -30.0}, SizeBias::log_size);
  REQUIRE(inside.block == 3);
  REQUIRE(inside.site == Site::after_attention);
  REQUIRE(inside.size_bias == SizeBias::log_size);
  REQUIRE(inside.policy.target<RandomGate>()->probability == 0.75);
  REQUIRE(Placement<double>(before_block(1, RandomGate{}, SizeBias::log_size)).size_bias == SizeBias::log_size);
}

TEST_CASE("one placed policy serves numbers of any type", "[Placement]") {
  const auto placed = before_block(1, FixedRuleGate{0.5, -30.0, {7}});
  const Placement<float> single = placed;
  const Placement<double> twice = placed;
  REQUIRE(single.policy.target<FixedRuleGate>()->separators == Vector<TokenId>{7});
  REQUIRE(twice.policy.target<FixedRuleGate>()->separators == Vector<TokenId>{7});
}

TEST_CASE("several placements are a list, and a policy of any kind can be placed", "[Placement]") {
  const Policy<float> held = StridedPooling<float>({4, 3});
  const Vector<Placement<float>> placements = {before_block(0, RandomGate{}), after_attention(0, FixedRuleGate{}),
                                               before_block(1, held), Placement<float>(2, Site::after_attention, held)};
  REQUIRE(placements.size() == 4);
  REQUIRE(placements[2].policy.target<StridedPooling<float>>() != nullptr);
  REQUIRE(placements[3].block == 2);
  REQUIRE(placements[3].size_bias == SizeBias::none);
  REQUIRE(error_of(placements, 3) == "nothing thrown");
}

TEST_CASE("blocks that are not there are named", "[Placement]") {
  const std::string expected = ", expected a block number from 0 to ";
  REQUIRE(error_of({}, 0) == "nothing thrown");
  REQUIRE(error_of({before_block(3, RandomGate{})}, 3) == "nothing thrown");  // behind the last
  REQUIRE(error_of({before_block(4, RandomGate{})}, 3) == "Stack: policies: block: got 4" + expected + "3");
  REQUIRE(error_of({before_block(-1, RandomGate{})}, 3) == "Stack: policies: block: got -1" + expected + "3");
  REQUIRE(error_of({after_attention(2, RandomGate{})}, 3) == "nothing thrown");
  REQUIRE(error_of({after_attention(3, RandomGate{})}, 3) == "Stack: policies: block: got 3" + expected + "2");
  REQUIRE(error_of({after_attention(-1, RandomGate{})}, 3) == "Stack: policies: block: got -1" + expected + "2");
  REQUIRE(error_of({before_block(0, RandomGate{}), after_attention(9, RandomGate{})}, 3) ==
          "Stack: policies: block: got 9" + expected + "2");
}

TEST_CASE("a placement that holds no policy is an error", "[Placement]") {
  REQUIRE(error_of({before_block(0, RandomGate{}), Placement<float>()}, 3) ==
          "Policy: traits: got an empty policy, expected one that holds something");
}

TEST_CASE("a gate whose rows leave later is a gate and a removal", "[placement]") {
  using Gated = GatedDeletion<float, RandomGate>;
  const auto pair = delayed<float>(1, RandomGate{0.25}, 2, {.threshold = -3.0});
  REQUIRE(pair.size() == 2);
  REQUIRE((pair[0].block == 1 && pair[0].site == Site::before_block));
  REQUIRE(pair[0].policy.target<Gated>()->settings().removal == Removal::delayed);
  REQUIRE(pair[0].policy.target<Gated>()->threshold() == -3.0);
  REQUIRE(pair[0].policy.target<RandomGate>()->probability == 0.25);
  REQUIRE((pair[1].block == 3 && pair[1].site == Site::before_block));
  REQUIRE(pair[1].policy.target<RemoveDeleted<float>>() != nullptr);
  REQUIRE(error_of(pair, 3) == "nothing thrown");
  REQUIRE(error_of(pair, 2) == "Stack: policies: block: got 3, expected a block number from 0 to 2");
  const auto at_once = delayed<float>(1, RandomGate{0.25}, 0, {.removal = Removal::delayed});
  REQUIRE(at_once.size() == 1);
  REQUIRE(at_once[0].policy.target<Gated>()->settings().removal == Removal::now);
  REQUIRE(argument_error([] { delayed<float>(1, RandomGate{}, -1); }) == "delayed: delay: got -1, expected at least 0");
}

TEST_CASE("in modes without deletion only structural policies act", "[placement]") {
  const Placement<float> gate = before_block(0, RandomGate{}), pooling = before_block(0, StridedPooling<float>({4, 3}));
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard})
    REQUIRE((acts(gate, mode) && acts(pooling, mode)));
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::everything})
    REQUIRE((!acts(gate, mode) && acts(pooling, mode)));
}

TEST_CASE("a rate is shared out in the order in which policies act, by their own budgets", "[placement]") {
  const SequenceOffsets hundred = SequenceOffsets::single(100);
  const auto shares = [&](const Vector<Placement<float>>& placements, DeletionOptions options) {
    StackBudget budget = stack_budget(options, placements, hundred, {});
    Vector<Index> all;
    Index left = 100;
    for (Index p = 0; p < placements.size(); ++p) {
      all.push_back(budget.next(SequenceOffsets::single(left), {})[0]);
      left -= all.back();
    }
    return all;
  };
  DeletionOptions half;
  REQUIRE(stack_budget(half, Vector<Placement<float>>{before_block(0, Cut{})}, hundred, {}).next(hundred, {}).empty());
  half.target_rate = 0.5;
  const Placement<float> few = before_block(0, Cut{{.tokens = 1}}), more = after_attention(0, Cut{{.tokens = 3}}),
                         most = before_block(2, Cut{{.tokens = 6}}), unsaid = before_block(1, Cut{}),
                         gate = before_block(1, RandomGate{}), pooling = before_block(1, StridedPooling<float>({4, 3}));
  REQUIRE(shares({few, more, most}, half) == Vector<Index>{5, 15, 30});
  REQUIRE(shares({most, few, more}, half) == Vector<Index>{5, 15, 30});
  REQUIRE(shares({most, pooling, few, more}, half) == Vector<Index>{5, 15, 30, 0});  // it has no budget
  REQUIRE(shares({few, most, unsaid}, half) == shares({gate, gate, gate}, half));
  REQUIRE(shares({few, most, gate}, half) == shares({gate, gate, gate}, half));
  REQUIRE(shares({gate, gate}, half) == Vector<Index>{29, 21});
  const Vector<double> values(100, 0.0);
  half.gate_values = values;  // for the first gate; the second says nothing
  REQUIRE(shares({gate, gate}, half) == Vector<Index>{50, 0});
}

TEST_CASE("a schedule has the tokens of every block", "[placement]") {
  using Removals = Vector<Index>;
  REQUIRE(merge::linear_schedule(4, 3) == Removals{3, 3, 3, 3});
  REQUIRE(merge::linear_schedule(5, 4, 1) == Removals{0, 2, 4, 6, 8});
  REQUIRE(merge::linear_schedule(5, 4, -1) == Removals{8, 6, 4, 2, 0});
  REQUIRE(merge::linear_schedule(1, 4) == Removals{4});
  REQUIRE_THROWS_AS(merge::linear_schedule(0, 4), std::invalid_argument);
  REQUIRE_THROWS_AS(merge::linear_schedule(2, 4, 1.5), std::invalid_argument);
  const auto placements = merge::after_attention_of_each<float>(
      merge::linear_schedule(3, 2, 1),
      [](Index removals) { return merge::RandomGate{static_cast<double>(removals) / 10}; }, merge::SizeBias::log_size);
  REQUIRE(placements.size() == 3);
  for (Index block = 0; block < 3; ++block) {
    REQUIRE(placements[block].block == block);
    REQUIRE(placements[block].site == merge::Site::after_attention);
    REQUIRE(placements[block].size_bias == merge::SizeBias::log_size);
    REQUIRE(placements[block].policy.expected_rate() == static_cast<double>(2 * block) / 10);
  }
}

}  // namespace placement_test
