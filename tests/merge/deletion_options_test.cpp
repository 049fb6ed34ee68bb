// The settings of a call: their defaults, and those that contradict themselves.
#include <merganser/merge/deletion_options.hpp>

#include <cmath>
#include <optional>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace deletion_options_test {

using namespace merganser::merge;
using namespace merganser::testing;

TEST_CASE("deletion is hard, with the trained threshold, unless told otherwise", "[DeletionOptions]") {
  const DeletionOptions options;
  REQUIRE(options.mode == DeletionMode::hard);
  REQUIRE_FALSE(options.threshold.has_value());
  REQUIRE_FALSE(options.target_rate.has_value());
  REQUIRE(options.survivor_bias == SurvivorBias::kept);
  REQUIRE_NOTHROW(options.check());
}

TEST_CASE("a mode alone changes nothing else", "[DeletionOptions]") {
  for (const DeletionMode mode :
       {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything}) {
    const DeletionOptions options = DeletionOptions::with_mode(mode);
    REQUIRE(options.mode == mode);
    REQUIRE(options.survivor_bias == SurvivorBias::kept);
    REQUIRE_FALSE(options.threshold.has_value());
    REQUIRE_FALSE(options.target_rate.has_value());
    REQUIRE_NOTHROW(options.check());
  }
}

TEST_CASE("settings that contradict themselves are named", "[DeletionOptions]") {
  const auto error_of = [](std::optional<double> threshold, std::optional<double> rate) {
    DeletionOptions options;
    options.threshold = threshold;
    options.target_rate = rate;
    return argument_error([&] { options.check(); });
  };
  REQUIRE(error_of({}, -0.25) == "DeletionOptions: target_rate: got -0.25, expected a rate in [0, 1]");
  REQUIRE(error_of({}, 1.5) == "DeletionOptions: target_rate: got 1.5, expected a rate in [0, 1]");
  REQUIRE(error_of({}, std::nan("")) == "DeletionOptions: target_rate: got nan, expected a rate in [0, 1]");
  REQUIRE(error_of(std::nan(""), {}) == "DeletionOptions: threshold: got nan, expected a gate value, no NaN");
  REQUIRE(error_of(-15.0, 0.5) == "DeletionOptions: threshold and target_rate: got both, expected at most one of them");
  for (const double rate : {0.0, 0.5, 1.0}) REQUIRE(error_of({}, rate) == "nothing thrown");
  REQUIRE(error_of(-15.0, {}) == "nothing thrown");
}

}  // namespace deletion_options_test
