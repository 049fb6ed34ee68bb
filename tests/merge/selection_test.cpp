// Selection: who survives, by threshold and by rate, and that somebody always does.
#include <merganser/merge/selection.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace selection_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;

template <Real Scalar = float>
Rows survivors(const Vector<Scalar>& values, double threshold = -15.0) {
  return surviving_rows<Scalar>(values, threshold);
}

/// By a share of the rows, whatever the threshold.
template <Real Scalar = float>
Rows survivors_at(double rate, const Vector<Scalar>& values) {
  return surviving_rows<Scalar>(values, -15.0, {}, removals_of(values.size(), rate));
}

DeletionOptions with_rate(double rate) {
  DeletionOptions options;
  options.target_rate = rate;
  return options;
}

DeletionOptions with_threshold(double threshold) {
  DeletionOptions options;
  options.threshold = threshold;
  return options;
}

TEMPLATE_TEST_CASE("rows strictly above the threshold survive", "[selection]", float, double) {
  const TestType limit = -15;
  const TestType above = std::nextafter(limit, TestType{0}), below = std::nextafter(limit, TestType{-30});
  REQUIRE(survivors<TestType>({limit, above, below, 0, -30, limit}) == Rows{1, 3});
  REQUIRE(survivors<TestType>({0, -1, -2}) == Rows{0, 1, 2});
}

TEST_CASE("the threshold decides, and one given at run time overrides the trained one", "[selection]") {
  const Vector<float> values = {-1, -10, -20, -29};
  REQUIRE(survivors(values) == Rows{0, 1});
  REQUIRE(survivors(values, -25) == Rows{0, 1, 2});
  REQUIRE(survivors(values, -5) == Rows{0});
  REQUIRE(survivors(values, -std::numeric_limits<double>::infinity()) == Rows{0, 1, 2, 3});
  const SequenceOffsets offsets = SequenceOffsets::single(4);
  REQUIRE(deletion_plans<float>(values, offsets, -15.0, {})[0].representatives() == Rows{0, 1});
  REQUIRE(deletion_plans<float>(values, offsets, -15.0, with_threshold(-25))[0].representatives() == Rows{0, 1, 2});
}

TEST_CASE("a target rate deletes that share, the lowest values first, of equal ones the later", "[selection]") {
  REQUIRE(survivors_at(0.4, {-1, -2, -3, -4, -5}) == Rows{0, 1, 2});
  REQUIRE(survivors_at(0.4, {-5, -4, -3, -2, -1}) == Rows{2, 3, 4});
  REQUIRE(survivors_at(0.5, {-7, -7, -7, -7}) == Rows{0, 1});
  REQUIRE(survivors_at(0.4, {-1, -5, -1, -5, -5}) == Rows{0, 1, 2});
  REQUIRE(survivors_at(0.5, {-7, -7, -7, -7, -7}) == Rows{0, 1});  // 2.5 rounds up
}

TEST_CASE("a target rate does not look at thresholds", "[selection]") {
  REQUIRE(survivors_at(0, {-30, -30, -30}) == Rows{0, 1, 2});
  REQUIRE(survivors_at(1, {0, 0, 0}) == Rows{0});
  REQUIRE(survivors_at(1, {-3, -1, -1}) == Rows{1});
}

TEST_CASE("for any values a target rate keeps exactly the rest, and no deleted row is above a kept one",
          "[selection]") {
  Rng rng(5);
  for (int round = 0; round < 200; ++round) {
    const auto count = 1 + static_cast<Index>(rng.below(20));
    Vector<double> values(count);
    for (double& value : values) value = -static_cast<double>(rng.below(5));  // many ties
    const double rate = rng.uniform();
    const Rows kept = survivors_at<double>(rate, values);
    const auto deleted = static_cast<Index>(std::floor(rate * static_cast<double>(count) + 0.5));
    CAPTURE(round, count, rate);
    REQUIRE(kept.size() == std::max<Index>(count - deleted, 1));
    REQUIRE(std::is_sorted(kept.begin(), kept.end()));
    for (Index row = 0; row < count; ++row) {
      if (std::binary_search(kept.begin(), kept.end(), row)) continue;
      for (const Index other : kept) {
        const double gone = values[row], stays = values[other];
        REQUIRE((gone < stays || (gone == stays && row > other)));
      }
    }
  }
}

TEST_CASE("a sequence that is not empty keeps one row at least", "[selection]") {
  const Vector<float> values = {-29, -30, -20, -20};
  REQUIRE(survivors(values) == Rows{2});
  REQUIRE(survivors({-15}) == Rows{0});
  REQUIRE(survivors({-30, -16, -14}) == Rows{2});  // one survives by itself
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  REQUIRE(survivors({nan, nan}) == Rows{0});
  REQUIRE(survivors({nan, -1, nan}) == Rows{1});
  REQUIRE(survivors({-infinity, -infinity}) == Rows{0});
  REQUIRE(survivors({-infinity, infinity}) == Rows{1});
}

TEST_CASE("an empty sequence stays empty", "[selection]") {
  REQUIRE(survivors({}).empty());
  REQUIRE(survivors_at(0, {}).empty());
  REQUIRE(survivors_at(1, {}).empty());
}

TEST_CASE("every sequence gets a plan of its own", "[selection]") {
  const Vector<float> values = {-1, -20, -2, -30, -20, -16, -17, 0};
  const SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{3, 0, 4, 1});
  const auto plans = deletion_plans<float>(values, offsets, -15.0, {});
  REQUIRE(plans.size() == 4);
  REQUIRE(plans[0] == MergePlan<float>::keeping(Rows{0, 2}, 3));
  REQUIRE(plans[1] == MergePlan<float>{});
  REQUIRE(plans[2] == MergePlan<float>::keeping(Rows{2}, 4));
  REQUIRE(plans[3] == MergePlan<float>::keeping(Rows{0}, 1));
  REQUIRE(deletion_plans<float>({}, SequenceOffsets(), -15.0, {}).empty());

  const auto halved = deletion_plans<float>(values, offsets, -15.0, with_rate(0.5));
  REQUIRE(halved[0].representatives() == Rows{0});  // 1.5 rounds up
  REQUIRE(halved[2].representatives() == Rows{2, 3});
}

TEST_CASE("so many rows go as a call says, whatever its rate", "[selection]") {
  const Vector<float> values = {-1, -20, -2, -30, -20, -16, -17, 0};
  const SequenceOffsets offsets = SequenceOffsets::from_lengths(Rows{3, 0, 4, 1});
  const auto plans = deletion_plans<float>(values, offsets, -15.0, with_rate(0.9), {}, Rows{0, 0, 3, 7});
  REQUIRE(plans[0].representatives() == Rows{0, 1, 2});
  REQUIRE(plans[1].output_count() == 0);
  REQUIRE(plans[2].representatives() == Rows{2});
  REQUIRE(plans[3].representatives() == Rows{0});  // one stays
  REQUIRE(argument_error([&] {
            deletion_plans<float>(values, offsets, -15.0, {}, {}, Rows{0, 0});
          }) == "deletion_plans: removals.size(): got 2, expected 4");
}

TEST_CASE("plans need one value a row and options that can be followed", "[selection]") {
  const Vector<float> values(3, 0.0F);
  const SequenceOffsets offsets = SequenceOffsets::single(4);
  REQUIRE(argument_error([&] { deletion_plans<float>(values, offsets, -15.0, {}); }) ==
          "deletion_plans: values.size(): got 3, expected 4");
  REQUIRE(argument_error([&] {
            deletion_plans<float>(values, SequenceOffsets::single(3), -15.0, {}, Vector<std::uint8_t>(2, 0));
          }) == "deletion_plans: gone.size(): got 2, expected 3");
  REQUIRE(argument_error([&] {
            deletion_plans<float>(values, SequenceOffsets::single(3), -15.0, with_threshold(std::nan("")));
          }) == "DeletionOptions: threshold: got nan, expected a gate value, no NaN");
  REQUIRE(argument_error([&] { deletion_plans<float>(values, SequenceOffsets::single(3), -15.0, with_rate(2)); }) ==
          "DeletionOptions: target_rate: got 2, expected a rate in [0, 1]");
}

TEST_CASE("rows that are gone count in no budget and never survive", "[selection]") {
  const double rate = GENERATE(0.0, 0.3, 0.5, 1.0);
  const Vector<float> tokens = {-1, -25, -3, -20, -7, -16, -2, -9, -30, -4};
  Vector<float> padded = {0, 0};  // a pad in front that any gate would keep
  padded.append(tokens.begin(), tokens.end());
  padded.resize(22, 0);
  Vector<std::uint8_t> gone(22, 1);
  std::fill(gone.begin() + 2, gone.begin() + 12, std::uint8_t{0});
  for (const DeletionOptions& options : {with_rate(rate), with_threshold(-35 * rate)}) {
    Rows expected = deletion_plans<float>(tokens, SequenceOffsets::single(10), -15.0, options)[0].representatives();
    for (Index& row : expected) row += 2;
    const SequenceOffsets all = SequenceOffsets::single(22);
    REQUIRE(deletion_plans<float>(padded, all, -15.0, options, gone)[0].representatives() == expected);
    REQUIRE(deletion_plans<float>(padded, all, -15.0, options, Vector<std::uint8_t>(22, 1))[0].output_count() == 0);
  }
  REQUIRE(surviving_rows<float>(padded, -15.0, gone, 4).size() == 6);
}

TEST_CASE("of rows that are not gone the one of highest value is kept", "[selection]") {
  const Vector<float> values = {-20, -29, -25, -26};
  const Vector<std::uint8_t> gone = {1, 0, 0, 0};
  REQUIRE(surviving_rows<float>(values, -15.0, gone) == Rows{2});
  REQUIRE(surviving_rows<float>(values, -15.0, gone, 100) == Rows{2});
  REQUIRE(argument_error([&] { surviving_rows<float>(values, -15.0, Vector<std::uint8_t>(3, 1)); }) ==
          "surviving_rows: gone.size(): got 3, expected 4");
}

TEST_CASE("a gate value that is no number deletes nobody else", "[selection]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(survivors({nan, -20, -29}) == Rows{1});  // nobody is above the threshold: the highest number stays
  REQUIRE(survivors({nan, -1, -20, nan, -2}) == Rows{1, 4});
  REQUIRE(survivors_at(0.5, {nan, -1, -20, -2}) == Rows{1, 3});
  REQUIRE(survivors({nan, nan}) == Rows{0});
}

}  // namespace selection_test
