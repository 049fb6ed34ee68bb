#include <merganser/training/learning_rate_schedule.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace learning_rate_schedule_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

constexpr Decay all[] = {Decay::constant, Decay::linear, Decay::cosine, Decay::inverse_square_root};

TEST_CASE("the rate rises linearly from 0 and reaches the peak behind the warm-up", "[LearningRateSchedule]") {
  for (const Decay decay : all) {
    const LearningRateSchedule schedule({2.0, 8, 100, decay, 0.1});
    REQUIRE(schedule.rate(0) == 0.0);
    REQUIRE(schedule.rate(1) == 0.25);
    REQUIRE(schedule.rate(7) == 1.75);
    REQUIRE(schedule.rate(8) == 2.0);
    for (Index step = 9; step < 100; ++step) REQUIRE(schedule.rate(step) <= schedule.rate(step - 1));
  }
}

TEST_CASE("each decay falls as it says", "[LearningRateSchedule]") {
  const LearningRateSchedule constant({2.0, 10, 110, Decay::constant});
  REQUIRE(constant.rate(60) == 2.0);
  REQUIRE(constant.rate(100000) == 2.0);

  const LearningRateSchedule linear({2.0, 10, 110, Decay::linear});
  REQUIRE_THAT(linear.rate(35), WithinRel(1.5, 1e-12));
  REQUIRE_THAT(linear.rate(109), WithinRel(0.02, 1e-12));
  REQUIRE(linear.rate(110) == 0.0);
  REQUIRE(linear.rate(5000) == 0.0);

  const LearningRateSchedule cosine({2.0, 10, 110, Decay::cosine, 0.5});
  REQUIRE_THAT(cosine.rate(60), WithinRel(1.25, 1e-12));
  REQUIRE_THAT(cosine.rate(35), WithinRel(0.5 + 1.5 * 0.5 * (1 + std::sqrt(0.5)), 1e-12));
  REQUIRE_THAT(cosine.rate(110), WithinAbs(0.5, 1e-12));
  REQUIRE_THAT(cosine.rate(5000), WithinAbs(0.5, 1e-12));

  const LearningRateSchedule root({2.0, 10, 110, Decay::inverse_square_root});
  REQUIRE_THAT(root.rate(40), WithinRel(1.0, 1e-12));
  REQUIRE_THAT(root.rate(1000), WithinRel(0.2, 1e-12));
}

TEST_CASE("the floor holds behind the last step", "[LearningRateSchedule]") {
  const LearningRateSchedule linear({2.0, 0, 100, Decay::linear, 0.5});
  REQUIRE(linear.rate(0) == 2.0);
  REQUIRE_THAT(linear.rate(50), WithinRel(1.0, 1e-12));
  REQUIRE(linear.rate(90) == 0.5);
  REQUIRE(linear.rate(100) == 0.5);
}

TEST_CASE("runs without warm-up, or of nothing but warm-up, have rates, too", "[LearningRateSchedule]") {
  for (const Decay decay : all) {
    const LearningRateSchedule none({1.0, 0, 10, decay});
    REQUIRE(none.rate(0) == 1.0);
    const LearningRateSchedule only({1.0, 10, 10, decay});
    REQUIRE(only.rate(9) == 0.9);
    REQUIRE(std::isfinite(only.rate(10)));
    const LearningRateSchedule empty({1.0, 0, 0, decay});
    REQUIRE(std::isfinite(empty.rate(0)));
  }
  REQUIRE_THAT(LearningRateSchedule({1.0, 0, 10, Decay::inverse_square_root}).rate(4), WithinRel(0.5, 1e-12));
}

TEST_CASE("a schedule refuses settings out of range", "[LearningRateSchedule]") {
  const auto error = [](const LearningRateSchedule::Config& config) {
    return argument_error([&] { LearningRateSchedule{config}; });
  };
  REQUIRE(error({0, 0, 10}) == "LearningRateSchedule: peak: got 0, expected a positive number");
  REQUIRE(error({1, -1, 10}) == "LearningRateSchedule: warmup_steps: got -1, expected at least 0");
  REQUIRE(error({1, 11, 10}) == "LearningRateSchedule: total_steps: got 10, expected at least the warm-up steps");
  REQUIRE(error({1, 0, 10, Decay::linear, 2}) == "LearningRateSchedule: floor: got 2, expected in [0, peak]");
  REQUIRE(error({1, 0, 10, Decay::linear, -1}) == "LearningRateSchedule: floor: got -1, expected in [0, peak]");
}

}  // namespace learning_rate_schedule_test
