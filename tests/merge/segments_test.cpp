#include <merganser/merge/segments.hpp>

#include <vector>

#include "merge/pooling_surrogate.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace segments_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;

using Flags = Vector<std::uint8_t>;
using Rows = Vector<Index>;

Vector<MergePlan<double>> plans_of(const Flags& boundaries, const Rows& lengths, const Flags& pads = {},
                                   const SegmentSettings& settings = {}) {
  return segment_plans<double>(boundaries, SequenceOffsets::from_lengths(lengths), pads, settings);
}

TEST_CASE("a boundary is the last token of its segment", "[segments]") {
  const auto plans = plans_of({0, 1, 1, 0, 0, 1, /**/ 255, /**/ 0, 0}, {6, 1, 0, 2});
  REQUIRE(plans.size() == 4);
  REQUIRE(plans[0].groups() == Rows{0, 0, 1, 2, 2, 2});
  REQUIRE(plans[0].representatives() == Rows{0, 2, 3});
  for (Index segment = 0; segment < 3; ++segment)
    for (const Member<double>& member : plans[0].members(segment))
      REQUIRE(member.weight == segment_weight<double>(Rows{2, 1, 3}[segment]));
  REQUIRE(plans[1].groups() == Rows{0});
  REQUIRE(plans[2].input_count() == 0);
  REQUIRE(plans[2].output_count() == 0);
  REQUIRE(plans[3].groups() == Rows{0, 0});  // behind the last boundary is a segment too
}

TEST_CASE("pads are in no segment, wherever they stand", "[segments]") {
  const auto plans = plans_of({0, 1, 0, 0, 1, 0, /**/ 1, 1}, {6, 2}, {1, 0, 0, 1, 0, 1, /**/ 1, 1});
  REQUIRE(plans[0].groups() == Rows{-1, 0, 1, -1, 1, -1});
  REQUIRE(plans[0].representatives() == Rows{1, 2});
  REQUIRE(plans[0].members(1)[0] == Member<double>{2, segment_weight<double>(2)});
  REQUIRE(plans[1].groups() == Rows{-1, -1});
  REQUIRE(plans[1].output_count() == 0);
}

TEST_CASE("tokens behind the last boundary may be dropped, unless they are all that there is", "[segments]") {
  const Flags boundaries = {0, 1, 1, 0, 0, /**/ 0, 0, /**/ 1}, pads = {0, 0, 0, 1, 0, /**/ 1, 0, /**/ 1};
  const Rows lengths = {5, 2, 1};
  const auto dropped = plans_of(boundaries, lengths, {}, {.open_group = OpenGroup::dropped});
  REQUIRE(dropped[0].groups() == Rows{0, 0, 1, -1, -1});
  REQUIRE(dropped[1].groups() == Rows{0, 0});
  REQUIRE(dropped[2].groups() == Rows{0});
  const auto padded = plans_of(boundaries, lengths, pads, {.open_group = OpenGroup::dropped});
  REQUIRE(padded[0].groups() == Rows{0, 0, 1, -1, -1});
  REQUIRE(padded[1].groups() == Rows{-1, 0});
  REQUIRE(padded[2].output_count() == 0);
  // A boundary at a pad is none.
  REQUIRE(plans_of({1, 0, 1}, {3}, {0, 0, 1}, {.open_group = OpenGroup::dropped})[0].groups() == Rows{0, -1, -1});
}

TEST_CASE("a null group stands in front of the segments, wherever there is a token", "[segments]") {
  const Flags boundaries = {0, 1, 1, 0, /**/ 0, 0, /**/ 1}, pads = {1, 0, 0, 0, /**/ 0, 1, /**/ 1};
  for (const OpenGroup open_group : {OpenGroup::kept, OpenGroup::dropped}) {
    const bool kept = open_group == OpenGroup::kept;
    const auto plans = plans_of(boundaries, {4, 2, 0, 1}, pads, {open_group, true});
    REQUIRE(plans[0].groups() == Rows{-1, 1, 2, kept ? 3 : -1});
    REQUIRE(plans[0].representatives() == (kept ? Rows{1, 1, 2, 3} : Rows{1, 1, 2}));
    REQUIRE(plans[0].members(0).empty());
    REQUIRE(plans[1].groups() == (kept ? Rows{1, -1} : Rows{-1, -1}));
    REQUIRE(plans[1].output_count() == (kept ? 2 : 1));
    REQUIRE(plans[2].output_count() == 0);
    REQUIRE(plans[3].output_count() == 0);  // nothing but a pad
  }
}

TEMPLATE_TEST_CASE("segments become their means", "[segments]", float, double) {
  Rng rng(1);
  const auto x = random_matrix<TestType>(6, 3, rng);
  const auto offsets = SequenceOffsets::from_lengths(Rows{4, 2});
  const Compaction<TestType> segments(segment_plans<TestType>(Flags{0, 1, 1, 1, 0, 1}, offsets), offsets);
  Matrix<TestType> expected(4, 3);
  expected << (x.row(0) + x.row(1)) / 2, x.row(2), x.row(3), (x.row(4) + x.row(5)) / 2;
  REQUIRE(relative_difference(segments.compact(x), expected) < 1e-6);
}

TEST_CASE("the gradient of boundaries is that of the surrogate with moved weights", "[segments]") {
  PoolingSurrogate surrogate;
  surrogate.offsets = SequenceOffsets::from_lengths(Rows{7, 1, 0, 5, 9});
  surrogate.start.hard = {0, 0, 0, 1, 0, 1, 1, /**/ 1, /**/ 0, 0, 0, 0, 1, /**/ 1, 0, 0, 1, 0, 0, 0, 1, 0};
  surrogate.pads.assign(22, 0);
  surrogate.pads[2] = surrogate.pads[21] = 1;
  surrogate.start.settled = surrogate.pads;
  Rng rng(2);
  surrogate.start.soft = random_values<double>(22, rng);
  auto x = random_matrix<double>(22, 3, rng);
  const Compaction<double> segments = surrogate.segments();
  const auto probe = random_matrix<double>(segments.output_offsets().total(), 3, rng);
  Vector<double> soft = surrogate.start.soft;
  Vector<double> gradient = segment_boundary_gradient<double>(x, segments, probe);
  for (Index t = 0; t < 22; ++t) {
    if (surrogate.start.hard[t] != 0) REQUIRE(gradient[t] == 0.0);  // nothing of the segment is behind its end
    if (surrogate.pads[t] != 0) REQUIRE(gradient[t] == 0.0);
  }
  Matrix<double> grad_x = segments.compact_backward(probe);
  require_gradients([&] { return probe_sum(probe, surrogate.means(x, soft)); },
                    {{"soft", soft.data(), 1, 22, true}, tensor_view("x", x)},
                    {{"soft", gradient.data(), 1, 22, true}, tensor_view("x", grad_x)});
}

TEST_CASE("boundaries, pads and rows that do not fit are named", "[segments]") {
  REQUIRE_THAT(argument_error([] { plans_of({1}, {2}); }), ContainsSubstring("boundaries.size(): got 1, expected 2"));
  REQUIRE_THAT(argument_error([] { plans_of({1, 1}, {2}, {0}); }), ContainsSubstring("pads.size(): got 1, expected 2"));
  const Compaction<double> segments(plans_of({0, 1}, {2}), SequenceOffsets::single(2));
  REQUIRE_THROWS_AS(segment_boundary_gradient<double>(Matrix<double>::Zero(3, 1), segments, Matrix<double>::Zero(1, 1)),
                    std::invalid_argument);
  REQUIRE_THROWS_AS(segment_boundary_gradient<double>(Matrix<double>::Zero(2, 1), segments, Matrix<double>::Zero(2, 1)),
                    std::invalid_argument);
}

}  // namespace segments_test
