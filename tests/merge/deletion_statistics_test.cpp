// How much was deleted: rates by hand.
#include <merganser/merge/deletion_statistics.hpp>

#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace deletion_statistics_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Flags = Vector<std::uint8_t>;
using Counts = Vector<Index>;

TEST_CASE("tokens and survivors are counted sequence by sequence", "[DeletionStatistics]") {
  const SequenceOffsets offsets = SequenceOffsets::from_lengths(Counts{4, 0, 1, 3});
  const auto statistics = DeletionStatistics::count(offsets, Flags{1, 0, 0, 7, 1, 0, 0, 0}, {});
  REQUIRE(statistics.tokens == Counts{4, 0, 1, 3});
  REQUIRE(statistics.kept == Counts{2, 0, 1, 0});
  REQUIRE(statistics.deletion_rate(0) == 0.5);
  REQUIRE(statistics.deletion_rate(1) == 0.0);
  REQUIRE(statistics.deletion_rate(2) == 0.0);
  REQUIRE(statistics.deletion_rate(3) == 1.0);
  REQUIRE_THAT(statistics.deletion_rate(), WithinAbs(5.0 / 8.0, 1e-15));  // over tokens, not a mean of rates
  REQUIRE_THAT(statistics.keep_rate(), WithinAbs(3.0 / 8.0, 1e-15));
}

TEST_CASE("forced tokens are neither tokens nor survivors", "[DeletionStatistics]") {
  const SequenceOffsets offsets = SequenceOffsets::from_lengths(Counts{4, 2});
  const auto statistics = DeletionStatistics::count(offsets, Flags{1, 0, 1, 0, 1, 0}, Flags{0, 0, 1, 1, 1, 1});
  REQUIRE(statistics.tokens == Counts{2, 0});
  REQUIRE(statistics.kept == Counts{1, 0});
  REQUIRE(statistics.deletion_rate() == 0.5);
  REQUIRE(statistics.deletion_rate(1) == 0.0);
}

TEST_CASE("where there is nothing, nothing is deleted", "[DeletionStatistics]") {
  REQUIRE(DeletionStatistics().deletion_rate() == 0.0);
  REQUIRE(DeletionStatistics().keep_rate() == 1.0);
  const auto empty = DeletionStatistics::count(SequenceOffsets::from_lengths(Counts{0, 0}), {}, {});
  REQUIRE(empty.tokens == Counts{0, 0});
  REQUIRE(empty.deletion_rate() == 0.0);
}

TEST_CASE("marks that are too few are named", "[DeletionStatistics]") {
  const SequenceOffsets offsets = SequenceOffsets::single(3);
  REQUIRE(argument_error([&] {
            DeletionStatistics::count(offsets, Flags{1, 1}, {});
          }) == "DeletionStatistics::count: alive.size(): got 2, expected 3");
  REQUIRE(argument_error([&] {
            DeletionStatistics::count(offsets, Flags{1, 1, 1}, Flags{1});
          }) == "DeletionStatistics::count: forced.size(): got 1, expected 3");
}

TEST_CASE("every sequence keeps one token, so all others can be deleted", "[DeletionStatistics]") {
  const DeletionStatistics statistics{{4, 0, 1, 2}, {1, 0, 1, 2}};
  REQUIRE(statistics.deletable() == 4);
  REQUIRE(statistics.deleted() == 3);
  REQUIRE(DeletionStatistics().deletable() == 0);
}

}  // namespace deletion_statistics_test
