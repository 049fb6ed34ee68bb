// Where policies stand.
#include <merganser/merge/placement.hpp>

#include <concepts>
#include <string>

#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

namespace {

static_assert(std::convertible_to<Placed<RandomGate>, Placement<float>>);
static_assert(std::convertible_to<Placed<RandomGate>, Placement<double>>);
static_assert(std::convertible_to<Placed<StridedPooling<float>>, Placement<float>>);
static_assert(!std::convertible_to<Placed<StridedPooling<float>>, Placement<double>>);
static_assert(!std::convertible_to<Placed<int>, Placement<float>>);

std::string error_of(const Vector<Placement<float>>& placements, Index blocks) {
  return argument_error([&] { check_placements("Stack", placements, blocks); });
}

}  // namespace

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
