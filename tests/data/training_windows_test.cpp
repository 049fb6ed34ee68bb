#include <merganser/data/training_windows.hpp>

#include <map>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace training_windows_test {

using namespace merganser;
using namespace merganser::data;

/// The batch's length, which all its examples have.
Index length_of(const Batch& batch) {
  const Index length = batch.source.offsets.length(0);
  for (Index i = 0; i < batch.count(); ++i) REQUIRE(batch.source.offsets.length(i) == length);
  return length;
}

Batch draw(const TrainingWindows& windows, Rng& rng) {
  return windows(
      [](Index bytes, Rng& r) {
        return Example{std::vector<TokenId>(static_cast<std::size_t>(bytes), 3), {static_cast<TokenId>(r.below(250))}};
      },
      rng);
}

TEST_CASE("a batch has as many bytes whatever its length, and each length is as likely", "[training_windows]") {
  const TrainingWindows windows(64, 16, 3);
  Rng rng(1);
  std::map<Index, int> seen;
  for (int i = 0; i < 3000; ++i) {
    const Batch batch = draw(windows, rng);
    REQUIRE(batch.source.total() == 64 * 3);
    ++seen[length_of(batch)];
  }
  REQUIRE(seen.size() == 3);
  for (const Index length : {16, 32, 64}) {
    CAPTURE(length);
    REQUIRE(seen[length] > 900);
    REQUIRE(seen[length] < 1100);
  }
}

TEST_CASE("no text is shorter than the shortest", "[training_windows]") {
  Rng rng(2);
  for (const Index shortest : {1, 2, 17, 32, 33, 50})
    for (int i = 0; i < 100; ++i) REQUIRE(length_of(draw({50, shortest, 2}, rng)) >= shortest);
  for (int i = 0; i < 20; ++i) REQUIRE(length_of(draw({50, 26, 2}, rng)) == 50);
}

TEST_CASE("a window of one length draws no number for it", "[training_windows]") {
  Rng rng(3), again(3);
  const Batch batch = draw({8, 8, 4}, rng);
  for (Index i = 0; i < 4; ++i) REQUIRE(batch.target.ids[i] == static_cast<TokenId>(again.below(250)));
}

TEST_CASE("windows that cannot be are refused", "[training_windows]") {
  REQUIRE_THROWS_AS(TrainingWindows(8, 9, 1), std::invalid_argument);
  REQUIRE_THROWS_AS(TrainingWindows(8, 0, 1), std::invalid_argument);
  REQUIRE_THROWS_AS(TrainingWindows(8, 8, 0), std::invalid_argument);
}

}  // namespace training_windows_test
