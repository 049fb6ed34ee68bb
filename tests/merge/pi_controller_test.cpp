// The controller: the reference's sequences, settling on a simulated gate, windup, memory.
#include <merganser/merge/pi_controller.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/random.hpp>

#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/random_values.hpp"

namespace pi_controller_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

/// A gate under training: alpha pushes its mean logit down, the task pulls it back to 1, where a rate of 0.27 is
/// deleted.
struct SimulatedGate {
  double logit = 1.0;

  double rate() const { return 1.0 / (1.0 + std::exp(logit)); }
  void train(double alpha) { logit += 0.05 * (1.0 - logit) - alpha; }
};

/// The rates of the last 200 of some steps, smallest and largest.
std::pair<double, double> settled_rates(PiController& controller, int steps) {
  SimulatedGate gate;
  double smallest = 1, largest = 0;
  for (int step = 0; step < steps; ++step) {
    gate.train(controller.alpha());
    controller.update(gate.rate());
    if (step < steps - 200) continue;
    smallest = std::min(smallest, gate.rate());
    largest = std::max(largest, gate.rate());
  }
  return {smallest, largest};
}

PiController::Config config(double target, ControllerRange range = ControllerRange::non_negative) {
  PiController::Config result;
  result.target = target;
  result.proportional_gain = 1.0;
  result.integral_gain = 1e-3;
  result.range = range;
  return result;
}

TEST_CASE("the controller follows the reference", "[PiController][golden]") {
  std::ifstream file(golden_dir() + "/pi_controller.json");
  REQUIRE(file);
  const auto golden = nlohmann::json::parse(file);
  REQUIRE_FALSE(golden.at("cases").empty());
  std::size_t compared = 0;
  for (const auto& example : golden.at("cases")) {
    PiController::Config settings;
    settings.target = example.at("target").get<double>();
    settings.proportional_gain = example.at("kp").get<double>();
    settings.integral_gain = example.at("ki").get<double>();
    PiController controller(settings);
    REQUIRE(controller.alpha() == 0);
    const auto rates = example.at("rates").get<Vector<double>>();
    const auto alpha = example.at("alpha").get<Vector<double>>();
    const auto alpha_float = example.at("alpha_float32").get<Vector<double>>();
    const auto proportional = example.at("p_acc").get<Vector<double>>();
    const auto integral = example.at("i_acc").get<Vector<double>>();
    for (Index step = 0; step < rates.size(); ++step, ++compared) {
      CAPTURE(example.at("name").get<std::string>(), settings.target, step);
      const double got = controller.update(rates[step]);
      REQUIRE_THAT(got, WithinAbs(alpha[step], 1e-14));
      REQUIRE_THAT(got, WithinAbs(alpha_float[step], 1e-6));
      REQUIRE(controller.alpha() == got);
      REQUIRE_THAT(controller.state().proportional, WithinAbs(proportional[step], 1e-14));
      REQUIRE_THAT(controller.state().integral, WithinAbs(integral[step], 1e-14));
    }
  }
  REQUIRE(compared > 0);
}

TEST_CASE("the controller settles on a gate that answers it", "[PiController]") {
  for (const double target : {0.3, 0.5, 0.8})
    for (const ControllerRange range : {ControllerRange::non_negative, ControllerRange::two_sided}) {
      PiController controller(config(target, range));
      const auto [smallest, largest] = settled_rates(controller, 5000);
      CAPTURE(target, smallest, largest);
      REQUIRE(smallest > target - 0.005);
      REQUIRE(largest < target + 0.005);
      REQUIRE(controller.alpha() > 0);
    }
}

TEST_CASE("only a two-sided controller can open a gate that deletes too much by itself", "[PiController]") {
  PiController one_sided(config(0.1)), two_sided(config(0.1, ControllerRange::two_sided));
  const auto stays = settled_rates(one_sided, 5000), settles = settled_rates(two_sided, 5000);
  REQUIRE(stays.first > 0.25);
  REQUIRE(one_sided.alpha() == 0);
  REQUIRE(settles.first > 0.095);
  REQUIRE(settles.second < 0.105);
  REQUIRE(two_sided.alpha() < 0);
}

TEST_CASE("alpha stays in its range, whatever is measured", "[PiController]") {
  PiController::Config large = config(0.5);
  large.proportional_gain = 3;
  large.integral_gain = 0.1;
  large.limit = 0.4;
  PiController one_sided(large);
  large.range = ControllerRange::two_sided;
  PiController two_sided(large);
  Rng rng(3);
  double lowest = 0, highest = 0;
  bool was_zero = false;
  for (int step = 0; step < 10000; ++step) {
    const double rate = (step / 100) % 2 == 0 ? rng.uniform() : static_cast<double>((step / 200) % 2);
    const double alpha = one_sided.update(rate);
    REQUIRE(alpha >= 0);
    was_zero = was_zero || alpha == 0;
    const double both = two_sided.update(rate);
    REQUIRE(std::abs(both) <= 0.4);
    lowest = std::min(lowest, both);
    highest = std::max(highest, both);
  }
  REQUIRE(was_zero);
  REQUIRE(lowest == -0.4);
  REQUIRE(highest == 0.4);
}

TEST_CASE("a two-sided controller leaves a limit at once, however long it was there", "[PiController]") {
  for (const double gain : {0.0, 0.2})  // 0.2: the proportional part alone stays within the limit
    for (const double side : {1.0, -1.0}) {
      PiController::Config settings = config(0.5, ControllerRange::two_sided);
      settings.proportional_gain = gain;
      settings.integral_gain = 0.01;
      settings.limit = 0.2;
      PiController controller(settings);
      for (int step = 0; step < 100000; ++step) controller.update(0.5 - 0.5 * side);
      CAPTURE(gain, side, controller.state().proportional, controller.state().integral);
      REQUIRE(side * controller.alpha() > 0.19);
      REQUIRE(side * controller.alpha() <= 0.2);
      const double before = side * controller.alpha();
      REQUIRE(side * controller.update(0.5 + 0.5 * side) < before);
      for (int step = 0; step < 60; ++step) controller.update(0.5 + 0.5 * side);
      REQUIRE(side * controller.alpha() < 0);
    }
}

TEST_CASE("the sums of a non-negative controller are not clamped", "[PiController]") {
  PiController controller(config(0.5));
  for (int step = 0; step < 1000; ++step) controller.update(1.0);
  REQUIRE(controller.alpha() == 0);
  REQUIRE_THAT(controller.state().integral, WithinAbs(-0.5, 1e-9));
  REQUIRE_THAT(controller.state().proportional, WithinAbs(-0.5, 1e-9));
}

TEST_CASE("at its target a controller does nothing", "[PiController]") {
  PiController controller(config(0.25));
  for (int step = 0; step < 10; ++step) REQUIRE(controller.update(0.25) == 0);
}

TEST_CASE("a controller goes on from a stored state", "[PiController]") {
  for (const ControllerRange range : {ControllerRange::non_negative, ControllerRange::two_sided}) {
    PiController first(config(0.4, range));
    Rng rng(8);
    for (int step = 0; step < 100; ++step) first.update(rng.uniform());
    PiController second(first.config());
    REQUIRE(second.alpha() == 0);
    second.set_state(first.state());
    REQUIRE(second.alpha() == first.alpha());
    for (int step = 0; step < 100; ++step) {
      const double rate = rng.uniform();
      REQUIRE(second.update(rate) == first.update(rate));
    }
  }
}

TEST_CASE("a controller says which setting it cannot follow", "[PiController]") {
  const auto error_of = [](auto&& change) {
    PiController::Config settings;
    change(settings);
    return argument_error([&] { PiController controller(settings); });
  };
  REQUIRE(error_of([](auto& c) { c.target = 1.5; }) == "PiController: target: got 1.5, expected in [0, 1]");
  REQUIRE(error_of([](auto& c) { c.target = std::nan(""); }) == "PiController: target: got nan, expected in [0, 1]");
  REQUIRE(error_of([](auto& c) { c.proportional_gain = -1; }) ==
          "PiController: proportional_gain: got -1, expected at least 0");
  REQUIRE(error_of([](auto& c) { c.integral_gain = -1; }) ==
          "PiController: integral_gain: got -1, expected at least 0");
  REQUIRE(error_of([](auto& c) { c.limit = 0; }) == "PiController: limit: got 0, expected a positive number");
  REQUIRE(error_of([](auto&) {}) == "nothing thrown");
}

TEST_CASE("a controller takes finite numbers only, and others leave it alone", "[PiController]") {
  PiController controller({0.5, 0.5, 1e-3});
  controller.update(0.25);
  const double alpha = controller.alpha();
  REQUIRE(argument_error([&] { controller.update(std::nan("")); }) ==
          "PiController::update: target - measured_rate: got nan, expected a finite number");
  REQUIRE_THROWS_AS(controller.update(0.5, std::nan("")), std::invalid_argument);
  REQUIRE(controller.alpha() == alpha);
  REQUIRE_THROWS_AS(PiController({0.5, std::numeric_limits<double>::infinity(), 1e-3}), std::invalid_argument);
  REQUIRE_THROWS_AS(PiController({0.5, 0.5, std::numeric_limits<double>::infinity()}), std::invalid_argument);
}

}  // namespace pi_controller_test
