#include <merganser/core/sequence_offsets.hpp>

#include <limits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace sequence_offsets_test {

using namespace merganser;

TEST_CASE("offsets of lengths", "[SequenceOffsets]") {
  const Vector<Index> lengths = {3, 7, 0, 1};
  const SequenceOffsets offsets = SequenceOffsets::from_lengths(lengths);
  REQUIRE(offsets.count() == 4);
  REQUIRE(offsets.total() == 11);
  REQUIRE(offsets.max_length() == 7);
  const Vector<Index> begins = {0, 3, 10, 10};
  for (Index i = 0; i < 4; ++i) {
    REQUIRE(offsets.begin(i) == begins[i]);
    REQUIRE(offsets.length(i) == lengths[i]);
    REQUIRE(offsets.end(i) == begins[i] + lengths[i]);
    REQUIRE(offsets.range(i) == RowRange{begins[i], lengths[i]});
    REQUIRE(offsets.ranges()[i] == offsets.range(i));
  }
}

TEST_CASE("no sequences", "[SequenceOffsets]") {
  const SequenceOffsets none;
  REQUIRE(none.count() == 0);
  REQUIRE(none.total() == 0);
  REQUIRE(none.max_length() == 0);
  REQUIRE(none.ranges().empty());
  REQUIRE(none == SequenceOffsets::from_lengths({}));
  REQUIRE(none == SequenceOffsets::from_offsets({0}));
}

TEST_CASE("one sequence, empty sequences", "[SequenceOffsets]") {
  REQUIRE(SequenceOffsets::single(5) == SequenceOffsets::from_offsets({0, 5}));
  const SequenceOffsets empty = SequenceOffsets::single(0);
  REQUIRE(empty.count() == 1);
  REQUIRE(empty.total() == 0);
  REQUIRE(empty.length(0) == 0);
  REQUIRE_FALSE(empty == SequenceOffsets());
}

TEST_CASE("appending grows the batch at its end", "[SequenceOffsets]") {
  SequenceOffsets offsets;
  offsets.push_back(2);
  offsets.push_back(0);
  offsets.push_back(4);
  REQUIRE(offsets == SequenceOffsets::from_offsets({0, 2, 2, 6}));
  REQUIRE_FALSE(offsets == SequenceOffsets::from_offsets({0, 2, 3, 6}));
}

TEST_CASE("wrong lengths and offsets are refused", "[SequenceOffsets]") {
  const std::vector<Index> negative = {2, -1};
  REQUIRE_THROWS_AS(SequenceOffsets::from_lengths(negative), std::invalid_argument);
  REQUIRE_THROWS_AS(SequenceOffsets::single(-1), std::invalid_argument);
  REQUIRE_THROWS_AS(SequenceOffsets::from_offsets({}), std::invalid_argument);
  REQUIRE_THROWS_AS(SequenceOffsets::from_offsets({1, 2}), std::invalid_argument);
  REQUIRE_THROWS_AS(SequenceOffsets::from_offsets({0, -2}), std::invalid_argument);
  REQUIRE_THROWS_WITH(SequenceOffsets::from_offsets({0, 5, 3}),
                      Catch::Matchers::ContainsSubstring("got 3, expected no offset below the one before"));

  SequenceOffsets offsets = SequenceOffsets::single(3);
  REQUIRE_THROWS_AS(offsets.push_back(-1), std::invalid_argument);
  REQUIRE(offsets == SequenceOffsets::single(3));
}

TEST_CASE("moved from, there are no sequences, and more can come", "[SequenceOffsets]") {
  SequenceOffsets offsets = SequenceOffsets::single(3);
  const SequenceOffsets taken = std::move(offsets);
  REQUIRE(taken == SequenceOffsets::single(3));
  REQUIRE(offsets == SequenceOffsets());
  REQUIRE((offsets.count() == 0 && offsets.total() == 0 && offsets.ranges().empty()));
  offsets.push_back(2);
  REQUIRE(offsets == SequenceOffsets::single(2));
  SequenceOffsets assigned;
  assigned = std::move(offsets);
  REQUIRE((assigned == SequenceOffsets::single(2) && offsets == SequenceOffsets()));
}

TEST_CASE("a total that does not fit is refused", "[SequenceOffsets]") {
  SequenceOffsets offsets = SequenceOffsets::single(1);
  REQUIRE_THROWS_AS(offsets.push_back(std::numeric_limits<Index>::max()), std::invalid_argument);
  REQUIRE(offsets == SequenceOffsets::single(1));
}

TEST_CASE("ranges are disjoint in any order", "[RowRange]") {
  const auto disjoint = [](const Vector<RowRange>& ranges) { return are_disjoint(ranges); };
  REQUIRE(disjoint({}));
  REQUIRE(disjoint({{0, 3}, {3, 0}, {3, 2}, {7, 1}}));
  REQUIRE(disjoint({{7, 1}, {0, 3}, {1, 0}, {3, 4}}));
  REQUIRE_FALSE(disjoint({{0, 3}, {2, 1}}));
  REQUIRE_FALSE(disjoint({{7, 1}, {0, 3}, {0, 3}}));
  REQUIRE_FALSE(disjoint({{0, 9}, {8, 1}, {3, 1}}));
}

}  // namespace sequence_offsets_test
