#include <merganser/training/deletion_schedule.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace deletion_schedule_test {

using namespace merganser;
using merge::DeletionMode;
using testing::argument_error;
using training::DeletionSchedule;

TEST_CASE("gates come in after the steps without them", "[DeletionSchedule]") {
  DeletionSchedule schedule;
  schedule.gate_open_until = 3;
  Rng rng(1), untouched(1);
  for (Index step = 0; step < 6; ++step)
    REQUIRE(schedule.draw_options(step, rng).mode == (step < 3 ? DeletionMode::none : DeletionMode::soft));
  REQUIRE(rng.next() == untouched.next());  // nothing was drawn
  schedule.without_source = true;
  schedule.hard_probability = 1;
  REQUIRE(schedule.draw_options(0, rng).mode == DeletionMode::everything);
}

TEST_CASE("modes are drawn with their probabilities, and hard batches a rate of their own", "[DeletionSchedule]") {
  DeletionSchedule schedule;
  schedule.open_probability = 0.2;
  schedule.hard_probability = 0.25;
  schedule.hard_rates = {0.3, 0.5};
  schedule.survivor_bias = merge::SurvivorBias::dropped;
  Rng rng(2);
  constexpr int draws = 20000;
  int none = 0, soft = 0, hard = 0;
  double sum = 0;
  for (int draw = 0; draw < draws; ++draw) {
    const merge::DeletionOptions options = schedule.draw_options(0, rng);
    REQUIRE(options.survivor_bias == merge::SurvivorBias::dropped);
    REQUIRE(options.target_rate.has_value() == (options.mode == DeletionMode::hard));
    none += options.mode == DeletionMode::none;
    soft += options.mode == DeletionMode::soft;
    hard += options.mode == DeletionMode::hard;
    if (!options.target_rate) continue;
    REQUIRE((*options.target_rate >= 0.3 && *options.target_rate <= 0.5));
    sum += *options.target_rate;
  }
  REQUIRE(none + soft + hard == draws);
  REQUIRE(std::abs(none - 0.2 * draws) < 300);
  REQUIRE(std::abs(hard - 0.8 * 0.25 * draws) < 300);
  REQUIRE(std::abs(sum / hard - 0.4) < 0.01);
}

TEST_CASE("the target rises over the ramp", "[DeletionSchedule]") {
  DeletionSchedule schedule;
  schedule.controller.target = 0.4;
  schedule.regulariser_from = 10;
  REQUIRE(schedule.target_in(10) == 0.4);
  schedule.target_ramp = 4;
  REQUIRE(schedule.target_in(10) == 0.1);
  REQUIRE(schedule.target_in(11) == 0.2);
  REQUIRE(schedule.target_in(13) == 0.4);
  REQUIRE(schedule.target_in(1000) == 0.4);
}

TEST_CASE("a schedule is checked", "[DeletionSchedule]") {
  const auto error = [](auto&& change) {
    DeletionSchedule schedule;
    change(schedule);
    return argument_error([&] { schedule.check("here"); });
  };
  REQUIRE(error([](DeletionSchedule&) {}) == "nothing thrown");
  REQUIRE(error([](auto& s) { s.collapse_rate = std::numeric_limits<double>::quiet_NaN(); }) ==
          "here: deletion.collapse_rate: got nan, expected a finite number");
  REQUIRE(error([](auto& s) { s.collapse_steps = 0; }) == "here: deletion.collapse_steps: got 0, expected at least 1");
  REQUIRE(error([](auto& s) { s.target_ramp = -1; }) == "here: deletion.target_ramp: got -1, expected at least 0");
  REQUIRE(error([](auto& s) { s.open_probability = 2; }) ==
          "here: deletion.open_probability: got 2, expected in [0, 1]");
  REQUIRE(error([](auto& s) { s.hard_probability = -1; }) ==
          "here: deletion.hard_probability: got -1, expected in [0, 1]");
  REQUIRE(error([](auto& s) {
            s.hard_rates = {-0.1, 0.2};
          }) == "here: deletion.hard_rates.lowest: got -0.1, expected at least 0 and no more than the highest");
  REQUIRE(error([](auto& s) {
            s.hard_rates = {0.1, 2};
          }) == "here: deletion.hard_rates.highest: got 2, expected at most 1");
  const auto all_hard = [](DeletionSchedule& s) {
    s.hard_rates = {0.1, 0.2};
    s.hard_probability = 1;
  };
  REQUIRE(error(all_hard) ==
          "here: deletion.hard_probability: got 1, expected less than 1 with hard_rates, as the controller steers by "
          "the other batches");
  REQUIRE(error([&](auto& s) {
            all_hard(s);
            s.controller.proportional_gain = s.controller.integral_gain = 0;
          }) == "nothing thrown");
}

}  // namespace deletion_schedule_test
