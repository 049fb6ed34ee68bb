// The controller on a simulated machine: it follows, recovers, does not wind up, and nothing that is measured harms it.
#include <merganser/evaluation/latency_controller.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include <merganser/core/random.hpp>
#include "support/catch.hpp"

namespace latency_controller_test {

using namespace merganser;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using evaluation::Calibration;
using evaluation::LatencyController;

/// 10 milliseconds a kilobyte without deletion, 2.8 at rate 0.9.
Calibration table() {
  std::vector<evaluation::CalibrationPoint> points;
  for (int i = 0; i < 10; ++i) points.push_back({-28.0 + 3 * i, i / 10.0, 0.3 + 0.1 * i, 0.9, 0.5, 10 - 0.8 * i});
  return Calibration(points, {100'000, 500, 1, merge::SurvivorBias::kept});
}

LatencyController::Config with_budget(double budget) {
  LatencyController::Config config;
  config.budget = budget;
  return config;
}

/// A machine that is `factor` times as slow as that of the table.
struct Machine {
  double factor = 1.0;
  double noise = 0.0;  // share by which a measurement may be off, both ways
  Rng rng{5};

  double milliseconds(Index bytes, double threshold) {
    const double expected = table().expected_at(threshold).milliseconds_per_kilobyte;
    return factor * expected * static_cast<double>(bytes) / 1000 * (1 + noise * (2 * rng.uniform() - 1));
  }
};

/// Runs texts of `bytes` bytes; returns the mean milliseconds a kilobyte over the last half of them.
double run(LatencyController& controller, Machine& machine, int texts, Index bytes = 4000) {
  double sum = 0;
  for (int i = 0; i < texts; ++i) {
    const double milliseconds = machine.milliseconds(bytes, controller.threshold());
    if (i >= texts / 2) sum += milliseconds / static_cast<double>(bytes) * 1000;
    controller.update(bytes, milliseconds);
  }
  return sum / (texts - texts / 2);
}

TEST_CASE("It starts where the table has the budget", "[evaluation][latency_controller]") {
  const LatencyController controller(table(), with_budget(6));
  CHECK_THAT(controller.rate(), WithinAbs(0.5, 1e-12));
  CHECK_THAT(controller.threshold(), WithinAbs(-13, 1e-9));
  CHECK(controller.calibration() == table());
  CHECK(controller.config().gain == 0.2);
  CHECK(LatencyController(table(), with_budget(100)).rate() == 0.0);
  CHECK(LatencyController(table(), with_budget(0.001)).rate() == 0.9);
}

TEST_CASE("It keeps still where the machine is that of the table", "[evaluation][latency_controller]") {
  LatencyController controller(table(), with_budget(6));
  Machine machine;
  CHECK_THAT(run(controller, machine, 50), WithinRel(6, 1e-9));
  CHECK_THAT(controller.rate(), WithinAbs(0.5, 1e-9));
}

TEST_CASE("It follows a machine that becomes twice as slow, and its recovery", "[evaluation][latency_controller]") {
  for (const double noise : {0.0, 0.3}) {
    CAPTURE(noise);
    LatencyController controller(table(), with_budget(7));
    Machine machine{1.0, noise};
    run(controller, machine, 60);
    CHECK_THAT(controller.rate(), WithinAbs(0.375, noise > 0 ? 0.15 : 1e-6));
    machine.factor = 2.0;
    run(controller, machine, 15);  // time to settle
    CHECK_THAT(run(controller, machine, 60), WithinRel(7, noise > 0 ? 0.06 : 0.001));
    CHECK_THAT(controller.rate(), WithinAbs(0.8125, noise > 0 ? 0.15 : 1e-3));
    machine.factor = 1.0;
    run(controller, machine, 25);
    CHECK_THAT(run(controller, machine, 60), WithinRel(7, noise > 0 ? 0.06 : 0.001));
    CHECK_THAT(controller.rate(), WithinAbs(0.375, noise > 0 ? 0.15 : 1e-3));
  }
}

TEST_CASE("An update closes a share of the gap", "[evaluation][latency_controller]") {
  LatencyController controller(table(), with_budget(8));
  const double before = controller.rate();
  const double threshold = controller.update(2000, 24);  // 12 a kilobyte: half of the budget too much
  CHECK(threshold == controller.threshold());
  CHECK_THAT(controller.rate(), WithinAbs(before + 0.2 * 0.5, 1e-12));
  controller.update(2000, 12);
  CHECK_THAT(controller.rate(), WithinAbs(before + 0.2 * 0.5 - 0.2 * 0.25, 1e-12));
}

TEST_CASE("At its limits nothing winds up", "[evaluation][latency_controller]") {
  LatencyController controller(table(), with_budget(6));
  Machine machine{10.0};
  run(controller, machine, 500);
  CHECK(controller.rate() == 0.9);
  controller.update(4000, 0.5 * 6 * 4);  // half of the budget
  CHECK_THAT(controller.rate(), WithinAbs(0.8, 1e-12));
  machine.factor = 0.01;
  run(controller, machine, 500);
  CHECK(controller.rate() == 0.0);
  CHECK(controller.threshold() == table().points().front().threshold);
  controller.update(4000, 1.5 * 6 * 4);
  CHECK_THAT(controller.rate(), WithinAbs(0.1, 1e-12));

  LatencyController::Config config = with_budget(6);
  config.lowest_rate = 0.2;
  config.highest_rate = 0.6;
  LatencyController limited(table(), config);
  machine.factor = 10;
  run(limited, machine, 100);
  CHECK(limited.rate() == 0.6);
  machine.factor = 0.01;
  run(limited, machine, 100);
  CHECK(limited.rate() == 0.2);
}

TEST_CASE("Limits beyond the table are those of the table", "[evaluation][latency_controller]") {
  LatencyController::Config config = with_budget(6);
  config.lowest_rate = 0.0;
  config.highest_rate = 1.0;
  LatencyController controller(
      Calibration({{-20, 0.3, 0.3, 0.9, 0.5, 9}, {-10, 0.5, 0.4, 0.9, 0.5, 7}}, table().sample()), config);
  Machine machine{10.0};
  run(controller, machine, 500);
  CHECK(controller.rate() == 0.5);
  const double saturated = controller.threshold();
  controller.update(4000, 0.5 * 6 * 4);  // half of the budget: the first that is fast enough is heard
  CHECK(controller.threshold() < saturated);
  for (int i = 0; i < 500; ++i) controller.update(4000, 1);
  CHECK(controller.rate() == 0.3);
  config.lowest_rate = 0.8;  // above the table altogether
  CHECK(LatencyController(controller.calibration(), config).rate() == 0.5);
}

TEST_CASE("What is no measurement changes nothing", "[evaluation][latency_controller]") {
  LatencyController controller(table(), with_budget(6));
  const double rate = controller.rate(), threshold = controller.threshold();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(controller.update(0, 10) == threshold);
  CHECK(controller.update(-5, 10) == threshold);
  CHECK(controller.update(0, 0) == threshold);
  for (const double milliseconds : {std::numeric_limits<double>::quiet_NaN(), infinity, -infinity, -1.0})
    CHECK(controller.update(4000, milliseconds) == threshold);
  CHECK(controller.rate() == rate);
}

TEST_CASE("An outlier moves the rate by the gain at most", "[evaluation][latency_controller]") {
  LatencyController controller(table(), with_budget(6));
  const double rate = controller.rate();
  controller.update(1000, 1e300);
  CHECK_THAT(controller.rate(), WithinAbs(rate + 0.2, 1e-12));
  controller.update(std::numeric_limits<Index>::max(), 0);
  CHECK_THAT(controller.rate(), WithinAbs(rate, 1e-12));
  // One text in twenty with a pause of a hundred budgets: the mean of the others stays near the budget.
  Machine machine;
  double others = 0;
  for (int i = 0; i < 400; ++i) {
    const double milliseconds = machine.milliseconds(4000, controller.threshold());
    if (i % 20 != 0) others += milliseconds / 4;
    controller.update(4000, i % 20 == 0 ? milliseconds + 2400 : milliseconds);
  }
  CHECK_THAT(others / 380, WithinRel(6, 0.1));
}

TEST_CASE("Short texts count in proportion", "[evaluation][latency_controller]") {
  LatencyController one(table(), with_budget(6)), many(table(), with_budget(6));
  one.update(1000, 9);
  for (int i = 0; i < 10; ++i) many.update(100, 0.9);
  CHECK_THAT(many.rate(), WithinAbs(one.rate(), 1e-12));
  CHECK_THAT(one.rate(), WithinAbs(0.6, 1e-12));
  LatencyController long_text(table(), with_budget(6));
  long_text.update(1'000'000, 9000);
  CHECK_THAT(long_text.rate(), WithinAbs(one.rate(), 1e-12));
}

TEST_CASE("Too large a gain swings, as its documentation says", "[evaluation][latency_controller]") {
  LatencyController::Config config = with_budget(6);  // S = 8 / 6: swings above 1.5
  const auto last_change = [&](double gain) {
    config.gain = gain;
    LatencyController controller(table(), config);
    Machine machine{1.1};
    for (int i = 0; i < 200; ++i) controller.update(4000, machine.milliseconds(4000, controller.threshold()));
    const double before = controller.rate();
    controller.update(4000, machine.milliseconds(4000, controller.threshold()));
    return std::abs(controller.rate() - before);
  };
  CHECK(last_change(1.0) < 1e-6);
  CHECK(last_change(2.5) > 0.1);
}

TEST_CASE("Steps are taken as they come", "[evaluation][latency_controller]") {
  const double below = std::nextafter(-30.0F, -100.0F), above = std::nextafter(0.0F, -1.0F);
  const Calibration two(
      {{below, 0, 0.1, 1, 1, 10}, {-30, 0.4, 0.2, 1, 1, 6}, {above, 0.4, 0.2, 1, 1, 6}, {0, 0.9, 4, 0, 0, 1}},
      {1000, 10, 1, merge::SurvivorBias::kept});
  LatencyController controller(two, with_budget(8));  // half of the time at 10, half at 6
  double sum = 0;
  for (int i = 0; i < 400; ++i) {
    const double milliseconds = two.expected_at(controller.threshold()).milliseconds_per_kilobyte;
    sum += milliseconds;
    controller.update(1000, milliseconds);
  }
  CHECK_THAT(sum / 400, WithinRel(8, 0.05));
}

TEST_CASE("Settings that are none are refused", "[evaluation][latency_controller]") {
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  const auto refuses = [](auto change) {
    LatencyController::Config config = with_budget(6);
    change(config);
    CHECK_THROWS_AS(LatencyController(table(), config), std::invalid_argument);
  };
  for (const double wrong : {0.0, -1.0, not_a_number, std::numeric_limits<double>::infinity()}) {
    refuses([&](auto& config) { config.budget = wrong; });
    refuses([&](auto& config) { config.gain = wrong; });
    refuses([&](auto& config) { config.largest_error = wrong; });
  }
  refuses([](auto& config) { config.full_weight_bytes = 0; });
  for (const double wrong : {-0.1, 1.1, not_a_number}) {
    refuses([&](auto& config) { config.lowest_rate = wrong; });
    refuses([&](auto& config) { config.highest_rate = wrong; });
  }
  refuses([](auto& config) {
    config.lowest_rate = 0.6;
    config.highest_rate = 0.5;
  });
  CHECK_THROWS_AS(LatencyController(table(), LatencyController::Config()), std::invalid_argument);
}

}  // namespace latency_controller_test
