#include <merganser/merge/reference_pooling.hpp>

#include <vector>

#include <merganser/merge/compaction.hpp>

#include "support/catch.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

namespace {

using Flags = Vector<std::uint8_t>;
using Rows = Vector<Index>;

}  // namespace

TEST_CASE("segments are filled up: the mean of the pads first, then rows without a member", "[reference_pooling]") {
  const auto offsets = SequenceOffsets::from_lengths(Rows{4, 4, 4, 0});
  const Flags pads{0, 0, 0, 0, /**/ 0, 0, 255, 1, /**/ 0, 0, 0, 0};
  auto plans = segment_plans<double>(Flags{1, 1, 0, 1, /**/ 0, 1, 0, 0, /**/ 0, 0, 0, 1}, offsets, pads);
  const Flags fillers = fill_up_segments(plans, offsets, pads);
  REQUIRE(fillers == Flags{0, 0, 0, /**/ 0, 1, 1, /**/ 0, 1, 1});
  REQUIRE(plans[0].groups() == Rows{0, 1, 2, 2});
  REQUIRE(plans[1].groups() == Rows{0, 0, 1, 1});
  REQUIRE(plans[1].members(1)[0] == Member<double>{2, segment_weight<double>(2)});
  REQUIRE(plans[1].representatives() == Rows{0, 0, 0});
  REQUIRE(plans[2].groups() == Rows{0, 0, 0, 0});
  REQUIRE(plans[3].output_count() == 0);  // without rows there is nothing to stand at
  const Compaction<double> groups(plans, offsets);
  REQUIRE(groups.memberless_rows() == Rows{5, 7, 8});
}

TEST_CASE("pads of the longest sequence stay in no segment", "[reference_pooling]") {
  const auto offsets = SequenceOffsets::from_lengths(Rows{3, 2});
  const Flags pads{0, 0, 1, /**/ 0, 0};
  auto plans = segment_plans<double>(Flags{1, 1, 0, /**/ 0, 1}, offsets, pads);
  REQUIRE(fill_up_segments(plans, offsets, pads) == Flags{0, 0, /**/ 0, 1});
  REQUIRE(plans[0].groups() == Rows{0, 1, -1});
}

TEST_CASE("whole groups take pads for tokens and drop the rest", "[reference_pooling]") {
  const auto plans = whole_group_plans<double>(SequenceOffsets::from_lengths(Rows{7, 3, 2, 0}), 3);
  REQUIRE(plans[0].groups() == Rows{0, 0, 0, 1, 1, 1, -1});
  REQUIRE(plans[0].representatives() == Rows{0, 3});
  REQUIRE(plans[1].groups() == Rows{0, 0, 0});
  REQUIRE(plans[2].groups() == Rows{-1, -1});
  REQUIRE(plans[2].output_count() == 0);
  REQUIRE(plans[3].input_count() == 0);
}

TEST_CASE("lengths that differ and a rate of 0 are named", "[reference_pooling]") {
  Vector<MergePlan<double>> none;
  REQUIRE(argument_error([&] { fill_up_segments(none, SequenceOffsets::single(1), {}); }) ==
          "fill_up_segments: plans.size(): got 0, expected 1");
  auto plans = segment_plans<double>(Flags{1, 1}, SequenceOffsets::single(2));
  REQUIRE(argument_error([&] { fill_up_segments(plans, SequenceOffsets::single(2), Flags{1}); }) ==
          "fill_up_segments: pads.size(): got 1, expected 2");
  REQUIRE(argument_error([] { whole_group_plans<double>(SequenceOffsets::single(2), 0); }) ==
          "whole_group_plans: rate: got 0, expected at least 1");
}
