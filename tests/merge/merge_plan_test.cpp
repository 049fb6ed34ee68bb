// Merge plans: keeping rows, and plans that are not plans.
#include <merganser/merge/merge_plan.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

namespace {

using Rows = Vector<Index>;

template <Real Scalar>
MergePlan<Scalar> keep(const Rows& kept, Index n_in) {
  return MergePlan<Scalar>::keep(kept, n_in);
}

}  // namespace

TEMPLATE_TEST_CASE("keeping rows gives each of them a row of its own and drops the others", "[MergePlan]", float,
                   double) {
  const auto plan = keep<TestType>({0, 2, 3}, 5);
  REQUIRE(plan.group == Rows{0, -1, 1, 2, -1});
  REQUIRE(plan.weight == Vector<TestType>{1, 0, 1, 1, 0});
  REQUIRE(plan.representative == Rows{0, 2, 3});
  REQUIRE(plan.input_count() == 5);
  REQUIRE(plan.output_count() == 3);
  REQUIRE_NOTHROW(plan.check());
}

TEST_CASE("all rows, no rows and no input are plans too", "[MergePlan]") {
  const auto all = keep<float>({0, 1, 2}, 3), none = keep<float>({}, 3), empty = keep<float>({}, 0);
  REQUIRE(all.group == Rows{0, 1, 2});
  REQUIRE(all.output_count() == 3);
  REQUIRE(none.group == Rows{-1, -1, -1});
  REQUIRE(none.output_count() == 0);
  REQUIRE(empty.input_count() == 0);
  REQUIRE(empty == MergePlan<float>{});
  for (const auto& plan : {all, none, empty}) REQUIRE_NOTHROW(plan.check());
}

TEST_CASE("plans are equal when everything in them is", "[MergePlan]") {
  const auto plan = keep<float>({0, 2}, 3);
  REQUIRE(plan == keep<float>({0, 2}, 3));
  REQUIRE_FALSE(plan == keep<float>({0, 1}, 3));
  auto heavier = plan;
  heavier.weight[0] = 0.5F;
  REQUIRE_FALSE(plan == heavier);
}

TEST_CASE("kept rows must rise within the sequence", "[MergePlan]") {
  const auto error_of = [](const Rows& kept) { return argument_error([&] { keep<float>(kept, 4); }); };
  REQUIRE(error_of({2, 1}) == "MergePlan::keep: kept: got 1, expected rising row numbers below n_in");
  REQUIRE(error_of({1, 1}) == "MergePlan::keep: kept: got 1, expected rising row numbers below n_in");
  REQUIRE(error_of({-1}) == "MergePlan::keep: kept: got -1, expected rising row numbers below n_in");
  REQUIRE(error_of({0, 4}) == "MergePlan::keep: kept: got 4, expected rising row numbers below n_in");
  REQUIRE(argument_error([] { keep<float>({0}, 0); }) ==
          "MergePlan::keep: kept: got 0, expected rising row numbers below n_in");
}

TEST_CASE("a plan with sizes or rows that do not fit says which", "[MergePlan]") {
  const MergePlan<float> merging{{0, 0, -1, 1}, {0.5F, 0.5F, 0, 2}, {1, 3}};
  REQUIRE_NOTHROW(merging.check());
  const auto error_of = [&](auto&& change) {
    MergePlan<float> plan = merging;
    change(plan);
    return argument_error([&] { plan.check(); });
  };
  REQUIRE(error_of([](auto& plan) { plan.weight.pop_back(); }) == "MergePlan: weight.size(): got 3, expected 4");
  REQUIRE(error_of([](auto& plan) { plan.group[1] = -2; }) == "MergePlan: group: got -2, expected -1 or an output row");
  REQUIRE(error_of([](auto& plan) { plan.group[1] = 2; }) == "MergePlan: group: got 2, expected -1 or an output row");
  REQUIRE(error_of([](auto& plan) { plan.representative[0] = 4; }) ==
          "MergePlan: representative: got 4, expected an input row");
  REQUIRE(error_of([](auto& plan) { plan.representative[0] = -1; }) ==
          "MergePlan: representative: got -1, expected an input row");
}
