// The settings of a call: their defaults, the reference's, and those that contradict themselves.
#include <merganser/merge/deletion_options.hpp>

#include <cmath>
#include <optional>

#include "support/catch.hpp"
#include "support/random_values.hpp"

using namespace merganser::merge;
using namespace merganser::testing;

TEST_CASE("deletion is hard, with the trained threshold and without the reference's quirks, unless told otherwise",
          "[DeletionOptions]") {
  const DeletionOptions options;
  REQUIRE(options.mode == DeletionMode::hard);
  REQUIRE_FALSE(options.threshold.has_value());
  REQUIRE_FALSE(options.target_rate.has_value());
  REQUIRE(options.survivor_bias == SurvivorBias::kept);
  REQUIRE(options.positions == PositionsAfterDeletion::original);
  REQUIRE(options.fully_deleted == FullyDeletedSequence::keep_highest_gate);
  REQUIRE(options.filler == Filler::none);
  REQUIRE(options.fixed_rule_scope == FixedRuleScope::sequence);
  REQUIRE(options.pads == Pads::left_out);
  REQUIRE(options.pooled_pads == PooledPads::left_out);
  REQUIRE_NOTHROW(options.check());
}

TEST_CASE("a mode alone changes nothing else", "[DeletionOptions]") {
  for (const DeletionMode mode :
       {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything}) {
    const DeletionOptions options = DeletionOptions::with_mode(mode);
    REQUIRE(options.mode == mode);
    REQUIRE(options.survivor_bias == SurvivorBias::kept);
    REQUIRE(options.filler == Filler::none);
    REQUIRE_NOTHROW(options.check());
  }
}

TEST_CASE("the reference's settings are its quirks, all of them", "[DeletionOptions]") {
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard}) {
    const DeletionOptions options = DeletionOptions::reference(mode);
    REQUIRE(options.mode == mode);
    REQUIRE_FALSE(options.threshold.has_value());
    REQUIRE_FALSE(options.target_rate.has_value());
    REQUIRE(options.survivor_bias == SurvivorBias::dropped);
    REQUIRE(options.positions == PositionsAfterDeletion::renumbered_at_block_0);
    REQUIRE(options.fully_deleted == FullyDeletedSequence::keep_first);
    REQUIRE(options.filler == Filler::pad_to_longest);
    REQUIRE(options.fixed_rule_scope == FixedRuleScope::batch);
    REQUIRE(options.pads == Pads::as_tokens);
    REQUIRE(options.pooled_pads == PooledPads::pooled);
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
  REQUIRE(error_of(-15.0, 0.5) == "DeletionOptions: threshold and target_rate: got both, expected at most one of them");
  for (const double rate : {0.0, 0.5, 1.0}) REQUIRE(error_of({}, rate) == "nothing thrown");
  REQUIRE(error_of(-15.0, {}) == "nothing thrown");
}
