// The table of thresholds: what is looked up in it, between points, at its ends, on steps and flat stretches.
#include <merganser/evaluation/calibration.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace calibration_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using evaluation::Calibration;
using evaluation::CalibrationPoint;
using evaluation::CalibrationSample;
using evaluation::rising_fit;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const CalibrationSample sample{5000, 80, 2, merge::SurvivorBias::kept};

/// Threshold, rate, bits, milliseconds.
CalibrationPoint point(double threshold, double rate, double bits = 1.0, double milliseconds = 1.0) {
  return {threshold, rate, bits, 0.5, 0.25, milliseconds};
}

Calibration smooth() {
  return Calibration({point(-28, 0.0, 0.25, 10), point(-20, 0.2, 0.5, 8), point(-4, 0.6, 1.5, 5)}, sample);
}

/// Values -30 (40 %) and 0 (60 %), as a random gate has them.
Calibration two_valued() {
  const double below = std::nextafter(-30.0F, -100.0F);
  return Calibration({point(below, 0.0, 0.1, 10), point(-30, 0.4, 0.2, 6),
                      point(std::nextafter(0.0F, -1.0F), 0.4, 0.2, 6), point(0, 0.9, 4, 1)},
                     sample);
}

std::string error_with(const std::function<void(std::vector<CalibrationPoint>&, CalibrationSample&)>& change) {
  std::vector<CalibrationPoint> points = smooth().points();
  CalibrationSample changed = sample;
  change(points, changed);
  return testing::argument_error([&] { Calibration(points, changed); });
}

TEST_CASE("The rising fit pools what falls", "[evaluation][calibration]") {
  CHECK(rising_fit({}).empty());
  CHECK(rising_fit({3}) == std::vector<double>{3});
  CHECK(rising_fit({1, 2, 2, 5}) == std::vector<double>{1, 2, 2, 5});
  CHECK(rising_fit({1, 4, 2, 6}) == std::vector<double>{1, 3, 3, 6});
  CHECK(rising_fit({3, 2, 1}) == std::vector<double>{2, 2, 2});
  CHECK(rising_fit({0, 5, 4, 0, 9}) == std::vector<double>{0, 3, 3, 3, 9});  // the second pair pulls the first down
  const double large = std::numeric_limits<double>::max();
  for (const double value : rising_fit({large, large / 2})) CHECK(std::isfinite(value));
}

TEST_CASE("A table gives back its points", "[evaluation][calibration]") {
  const Calibration table = smooth();
  CHECK(table.lowest_rate() == 0.0);
  CHECK(table.highest_rate() == 0.6);
  CHECK(table.fastest() == 5.0);
  CHECK(table.sample() == sample);
  for (const CalibrationPoint& one : table.points()) {
    CHECK(table.threshold_for_rate(one.deletion_rate) == one.threshold);
    CHECK(table.threshold_for_milliseconds(one.milliseconds_per_kilobyte) == one.threshold);
    CHECK(table.expected_at(one.threshold) == one);
  }
  CHECK(table == smooth());
  CHECK_FALSE(table == two_valued());
  CHECK_FALSE(table == Calibration(table.points(), {5000, 80, 1, merge::SurvivorBias::kept}));
}

TEST_CASE("Between points everything is interpolated along the threshold", "[evaluation][calibration]") {
  const Calibration table = smooth();
  CHECK_THAT(table.threshold_for_rate(0.1), WithinAbs(-24, 1e-12));
  CHECK_THAT(table.threshold_for_rate(0.5), WithinAbs(-8, 1e-12));
  CHECK_THAT(table.threshold_for_milliseconds(9.5), WithinAbs(-26, 1e-12));
  CHECK_THAT(table.threshold_for_milliseconds(6.5), WithinAbs(-12, 1e-12));
  const CalibrationPoint expected = table.expected_at(-8);
  CHECK(expected.threshold == -8);
  CHECK_THAT(expected.deletion_rate, WithinAbs(0.5, 1e-12));
  CHECK_THAT(expected.bits_per_byte, WithinAbs(1.25, 1e-12));
  CHECK_THAT(expected.milliseconds_per_kilobyte, WithinAbs(5.75, 1e-12));
  CHECK(expected.token_accuracy == 0.5);
  CHECK(expected.sequence_accuracy == 0.25);
}

TEST_CASE("What is looked up rises, and comes back", "[evaluation][calibration]") {
  double before = -infinity;
  for (int step = 0; step <= 60; ++step) {
    const double threshold = smooth().threshold_for_rate(step / 100.0);
    CHECK(threshold > before);
    CHECK_THAT(smooth().expected_at(threshold).deletion_rate, WithinAbs(step / 100.0, 1e-12));
    before = threshold;
  }
  before = infinity;
  for (int step = 50; step <= 100; ++step) {
    const double threshold = smooth().threshold_for_milliseconds(step / 10.0);
    CHECK(threshold < before);
    CHECK_THAT(smooth().expected_at(threshold).milliseconds_per_kilobyte, WithinAbs(step / 10.0, 1e-12));
    before = threshold;
  }
}

TEST_CASE("Beyond the table its ends count", "[evaluation][calibration]") {
  const Calibration table({point(-20, 0.2, 1, 8), point(-4, 0.6, 1, 5)}, sample);
  CHECK(table.threshold_for_rate(0.0) == -20);
  CHECK(table.threshold_for_rate(1.0) == -4);
  CHECK(table.threshold_for_milliseconds(1000) == -20);
  CHECK(table.threshold_for_milliseconds(infinity) == -20);
  CHECK(table.expected_at(-1000).deletion_rate == 0.2);
  CHECK(table.expected_at(-infinity).deletion_rate == 0.2);
  CHECK(table.expected_at(7).deletion_rate == 0.6);
  CHECK(table.expected_at(infinity).milliseconds_per_kilobyte == 5);
  const Calibration one({point(-3, 0.5, 1, 2)}, sample);
  for (const double rate : {0.0, 0.5, 1.0}) CHECK(one.threshold_for_rate(rate) == -3);
  for (const double time : {2.0, 3.0}) CHECK(one.threshold_for_milliseconds(time) == -3);
  for (const double threshold : {-4.0, -3.0, 0.0}) CHECK(one.expected_at(threshold).deletion_rate == 0.5);
}

TEST_CASE("What cannot be had is an error that says what can", "[evaluation][calibration]") {
  const Calibration table = smooth();
  CHECK_THROWS_WITH(table.threshold_for_milliseconds(4.9),
                    ContainsSubstring("per_kilobyte: got 4.9, expected at least 5, the fastest of the table"));
  for (const double time : {-1.0, 0.0, not_a_number})
    CHECK_THROWS_AS(table.threshold_for_milliseconds(time), std::invalid_argument);
  for (const double rate : {-0.1, 1.1, infinity, not_a_number})
    CHECK_THROWS_AS(table.threshold_for_rate(rate), std::invalid_argument);
  CHECK_THROWS_AS(table.expected_at(not_a_number), std::invalid_argument);
}

TEST_CASE("On a step the nearer end counts, beside it the middle of the flat stretch", "[evaluation][calibration]") {
  const Calibration table = two_valued();
  const double below = table.points().front().threshold;
  for (const double rate : {0.0, 0.1, 0.19}) CHECK(table.threshold_for_rate(rate) == below);
  for (const double rate : {0.21, 0.3, 0.4, 0.5, 0.64})
    CHECK_THAT(table.threshold_for_rate(rate), WithinAbs(-15, 1e-6));
  for (const double rate : {0.66, 0.9, 1.0}) CHECK(table.threshold_for_rate(rate) == 0.0);
  for (const double threshold : {-29.0, -15.0, -0.5}) CHECK(table.expected_at(threshold).deletion_rate == 0.4);
  CHECK(table.expected_at(-30.5).deletion_rate == 0.0);
  // A time on a step is that of its end that is fast enough.
  CHECK_THAT(table.threshold_for_milliseconds(8), WithinAbs(-15, 1e-6));
  CHECK_THAT(table.threshold_for_milliseconds(6), WithinAbs(-15, 1e-6));
  CHECK(table.threshold_for_milliseconds(5.9) == 0.0);
  CHECK(table.threshold_for_milliseconds(10) == below);
}

TEST_CASE("Noisy times and rates are made monotone, points stay as measured", "[evaluation][calibration]") {
  const Calibration table({point(-28, 0.0, 1, 9), point(-20, 0.3, 2, 5), point(-12, 0.2, 3, 7), point(-4, 0.6, 4, 3)},
                          sample);
  CHECK(table.points()[1].milliseconds_per_kilobyte == 5);
  CHECK_THAT(table.expected_at(-20).milliseconds_per_kilobyte, WithinAbs(6, 1e-12));
  CHECK_THAT(table.expected_at(-12).milliseconds_per_kilobyte, WithinAbs(6, 1e-12));
  CHECK_THAT(table.expected_at(-16).deletion_rate, WithinAbs(0.25, 1e-12));
  CHECK(table.expected_at(-12).bits_per_byte == 3);
  CHECK_THAT(table.threshold_for_milliseconds(6.00001), WithinAbs(-20, 1e-3));  // not 5.5, which was luck
  CHECK_THAT(table.threshold_for_rate(0.25), WithinAbs(-16, 1e-12));
  const Calibration slower({point(-28, 0, 1, 4), point(-4, 0.6, 1, 6)}, sample);
  CHECK(slower.fastest() == 5);
  CHECK(slower.threshold_for_milliseconds(5) == -28);  // deletes least
}

TEST_CASE("Extreme thresholds stay finite", "[evaluation][calibration]") {
  const double large = std::numeric_limits<double>::max();
  const Calibration table({point(-large, 0, 1, 2), point(large, 1, 1, 1)}, sample);
  CHECK_THAT(table.threshold_for_rate(0.5), WithinAbs(0, 1e-12));
  CHECK_THAT(table.expected_at(0).deletion_rate, WithinAbs(0.5, 1e-12));
  CHECK_THAT(table.expected_at(infinity).deletion_rate, WithinAbs(1, 1e-12));
}

TEST_CASE("A table that is none is refused", "[evaluation][calibration]") {
  CHECK_THAT(error_with([](auto& points, auto&) { points.clear(); }), ContainsSubstring("points: got none"));
  CHECK_THAT(error_with([](auto& points, auto&) { points[1].threshold = -28; }),
             ContainsSubstring("points[1].threshold: got -28, expected more than"));
  CHECK_THAT(error_with([](auto& points, auto&) { std::swap(points[0], points[2]); }),
             ContainsSubstring("points[1].threshold"));
  for (const double wrong : {infinity, not_a_number})
    CHECK_THAT(error_with([&](auto& points, auto&) { points[2].threshold = wrong; }),
               ContainsSubstring("points[2].threshold"));
  for (const double wrong : {-0.01, 1.01, not_a_number}) {
    CHECK_THAT(error_with([&](auto& points, auto&) { points[0].deletion_rate = wrong; }),
               ContainsSubstring("points[0].deletion_rate"));
    CHECK_THAT(error_with([&](auto& points, auto&) { points[0].token_accuracy = wrong; }),
               ContainsSubstring("points[0].token_accuracy"));
    CHECK_THAT(error_with([&](auto& points, auto&) { points[0].sequence_accuracy = wrong; }),
               ContainsSubstring("points[0].sequence_accuracy"));
  }
  for (const double wrong : {-0.01, infinity, not_a_number}) {
    CHECK_THAT(error_with([&](auto& points, auto&) { points[0].bits_per_byte = wrong; }),
               ContainsSubstring("points[0].bits_per_byte"));
    CHECK_THAT(error_with([&](auto& points, auto&) { points[0].milliseconds_per_kilobyte = wrong; }),
               ContainsSubstring("points[0].milliseconds_per_kilobyte"));
  }
  CHECK_THAT(error_with([](auto&, auto& s) { s.source_bytes = 0; }), ContainsSubstring("sample.source_bytes: got 0"));
  CHECK_THAT(error_with([](auto&, auto& s) { s.sequences = 0; }), ContainsSubstring("sample.sequences: got 0"));
  CHECK_THAT(error_with([](auto&, auto& s) { s.threads = 0; }), ContainsSubstring("sample.threads: got 0"));
}

}  // namespace calibration_test
