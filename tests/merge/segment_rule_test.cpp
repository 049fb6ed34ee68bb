#include <merganser/merge/segment_rule.hpp>

#include <utility>

#include "support/catch.hpp"

namespace segment_rule_test {

using namespace merganser;
using namespace merganser::merge;

using Flags = Vector<std::uint8_t>;
using Ranges = Vector<std::pair<Index, Index>>;

Ranges segments_of(const Flags& starts) {
  Ranges ranges;
  for_each_segment(starts, [&](Index begin, Index end) { ranges.push_back({begin, end}); });
  return ranges;
}

TEST_CASE("segments begin where they are marked, and at the first token", "[segment_rule]") {
  REQUIRE(segments_of({}).empty());
  REQUIRE(segments_of({0}) == Ranges{{0, 1}});
  REQUIRE(segments_of({1}) == Ranges{{0, 1}});
  REQUIRE(segments_of({0, 0, 1, 255, 0}) == Ranges{{0, 2}, {2, 3}, {3, 5}});
  REQUIRE(segments_of({1, 1}) == Ranges{{0, 1}, {1, 2}});
}

TEST_CASE("a segment begins behind one that ends", "[segment_rule]") {
  REQUIRE(starts_behind(Flags{}).empty());
  REQUIRE(starts_behind(Flags{0, 1, 255, 0, 1}) == Flags{1, 0, 1, 1, 0});
  REQUIRE(starts_behind(Flags{1, 0}) == Flags{1, 1});
}

TEST_CASE("a whole sequence is one segment", "[segment_rule]") {
  static_assert(SegmentRule<WholeSequence, float> && SegmentRule<WholeSequence, double>);
  static_assert(!SegmentRule<int, float>);
  for (const Index n : {0, 1, 5}) {
    const Matrix<double> x = Matrix<double>::Zero(n, 2);
    Flags expected(n, 0);
    if (n > 0) expected[0] = 1;
    REQUIRE(WholeSequence{}.marks(Tokens<double>{x, {}}) == expected);
  }
}

}  // namespace segment_rule_test
