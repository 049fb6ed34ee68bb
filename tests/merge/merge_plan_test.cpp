// Merge plans: keeping rows, and plans that are not plans.
#include <merganser/merge/merge_plan.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace merge_plan_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;

template <Real Scalar>
MergePlan<Scalar> keep(const Rows& kept, Index n_in) {
  return MergePlan<Scalar>::keeping(kept, n_in);
}

/// Tokens 0 and 1 become a row, 3 another one, 2 is dropped.
MergePlan<float> merging() {
  MergePlan<float> plan(4);
  plan.open(1);
  plan.add(0, 0.5F);
  plan.add(1, 0.5F);
  plan.keep(3);
  return plan;
}

Vector<Member<float>> members_of(const MergePlan<float>& plan, Index row) {
  return {plan.members(row).begin(), plan.members(row).end()};
}

TEMPLATE_TEST_CASE("keeping rows gives each of them a row of its own and drops the others", "[MergePlan]", float,
                   double) {
  const auto plan = keep<TestType>({0, 2, 3}, 5);
  REQUIRE(plan.groups() == Rows{0, -1, 1, 2, -1});
  REQUIRE(plan.representatives() == Rows{0, 2, 3});
  REQUIRE(plan.input_count() == 5);
  REQUIRE(plan.output_count() == 3);
  for (Index row = 0; row < 3; ++row) {
    REQUIRE(plan.members(row).size() == 1);
    REQUIRE(plan.members(row)[0] == Member<TestType>{plan.representatives()[row], 1});
  }
}

TEST_CASE("all rows, no rows and no input are plans too", "[MergePlan]") {
  const auto all = keep<float>({0, 1, 2}, 3), none = keep<float>({}, 3), empty = keep<float>({}, 0);
  REQUIRE(all.groups() == Rows{0, 1, 2});
  REQUIRE(all.output_count() == 3);
  REQUIRE(none.groups() == Rows{-1, -1, -1});
  REQUIRE(none.output_count() == 0);
  REQUIRE(empty.input_count() == 0);
  REQUIRE(empty == MergePlan<float>{});
}

TEST_CASE("a row is what was added to it", "[MergePlan]") {
  MergePlan<float> plan = merging();
  REQUIRE(plan.output_count() == 2);
  REQUIRE(members_of(plan, 0) == Vector<Member<float>>{{0, 0.5F}, {1, 0.5F}});
  REQUIRE(members_of(plan, 1) == Vector<Member<float>>{{3, 1.0F}});
  REQUIRE(plan.representatives() == Rows{1, 3});
  plan.set_weights(0, 2.0F);
  REQUIRE(members_of(plan, 0) == Vector<Member<float>>{{0, 2.0F}, {1, 2.0F}});
  REQUIRE(members_of(plan, 1) == Vector<Member<float>>{{3, 1.0F}});
}

TEST_CASE("a token may be in several rows, and a row have no members", "[MergePlan]") {
  MergePlan<float> plan(2);
  plan.open(0);
  plan.open(1);
  plan.add(0, 0.25F);
  plan.open(1);
  plan.add(0, 0.75F);
  plan.add(1);
  REQUIRE(plan.members(0).empty());
  REQUIRE(plan.groups() == Rows{1, 2});
}

TEST_CASE("plans are equal when everything in them is", "[MergePlan]") {
  const auto plan = keep<float>({0, 2}, 3);
  REQUIRE(plan == keep<float>({0, 2}, 3));
  REQUIRE_FALSE(plan == keep<float>({0, 1}, 3));
  REQUIRE_FALSE(plan == keep<float>({0, 2}, 4));
  auto heavier = plan;
  heavier.set_weights(0, 0.5F);
  REQUIRE_FALSE(plan == heavier);
}

TEST_CASE("kept rows must rise within the sequence", "[MergePlan]") {
  const auto error_of = [](const Rows& kept) { return argument_error([&] { keep<float>(kept, 4); }); };
  const std::string expected = ", expected rising token numbers below n_in";
  REQUIRE(error_of({2, 1}) == "MergePlan::keeping: kept: got 1" + expected);
  REQUIRE(error_of({1, 1}) == "MergePlan::keeping: kept: got 1" + expected);
  REQUIRE(error_of({-1}) == "MergePlan::keeping: kept: got -1" + expected);
  REQUIRE(error_of({0, 4}) == "MergePlan::keeping: kept: got 4" + expected);
  REQUIRE(argument_error([] { keep<float>({0}, 0); }) == "MergePlan::keeping: kept: got 0" + expected);
}

TEST_CASE("tokens that are not there, and members without a row, are errors", "[MergePlan]") {
  MergePlan<float> plan(4);
  REQUIRE(argument_error([&] { plan.add(0); }) == "MergePlan::add: rows: got 0, expected an open row");
  for (const Index token : {-1, 4}) {
    const std::string got = "token: got " + std::to_string(token) + ", expected a token of the sequence";
    REQUIRE(argument_error([&] { plan.open(token); }) == "MergePlan::open: " + got);
    plan.open(0);
    REQUIRE(argument_error([&] { plan.add(token); }) == "MergePlan::add: " + got);
  }
}

TEST_CASE("a plan of some rows of a longer sequence drops the others", "[MergePlan]") {
  const auto within = merging().within(Rows{1, 3, 4, 6}, 8);
  REQUIRE(within.input_count() == 8);
  REQUIRE(within.output_count() == 2);
  REQUIRE(within.representatives() == Rows{3, 6});
  REQUIRE(within.groups() == Rows{-1, 0, -1, 0, -1, -1, 1, -1});
  REQUIRE(members_of(within, 0) == Vector<Member<float>>{{1, 0.5F}, {3, 0.5F}});
  REQUIRE(members_of(within, 1) == Vector<Member<float>>{{6, 1.0F}});
  REQUIRE(merging().within(Rows{0, 1, 2, 3}, 4) == merging());

  MergePlan<float> empty_row(1);
  empty_row.open(0);
  REQUIRE(empty_row.within(Rows{2}, 3).members(0).empty());
  REQUIRE(MergePlan<float>().within(Rows{}, 3) == MergePlan<float>(3));
  REQUIRE(argument_error([] {
            merging().within(Rows{0, 1, 2}, 8);
          }) == "MergePlan::within: rows.size(): got 3, expected 4");
  REQUIRE(argument_error([] {
            merging().within(Rows{0, 8, 2, 3}, 8);
          }) == "MergePlan::open: token: got 8, expected a token of the sequence");
}

TEST_CASE("a plan may count the sizes of its rows in its own way", "[MergePlan]") {
  MergePlan<float> plan = merging();
  REQUIRE(plan.sizes().empty());
  plan.set_sizes({0.5F, 3.0F});
  REQUIRE(plan.within(Rows{1, 3, 4, 6}, 8).sizes() == Vector<float>{0.5F, 3.0F});
  REQUIRE(argument_error([&] { plan.set_sizes({1.0F}); }) == "MergePlan::set_sizes: sizes.size(): got 1, expected 2");
}

}  // namespace merge_plan_test
