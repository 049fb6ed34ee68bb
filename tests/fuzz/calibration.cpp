// Any text as a calibration.json.
#include <cmath>
#include <stdexcept>

#include <merganser/io/models/calibration_file.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

void run(std::string_view text) {
  const auto calibration = unless_refused([&] { return io::parse_calibration(text, "calibration"); });
  if (!calibration) return;
  require(!calibration->points().empty(), "a table has a point");
  const double lowest = calibration->points().front().threshold, highest = calibration->points().back().threshold;
  double before = lowest;
  for (int step = 0; step <= 16; ++step) {
    const double threshold = calibration->threshold_for_rate(step / 16.0);
    require(threshold >= before && threshold <= highest, "thresholds of rates rise within the table");
    before = threshold;
    const evaluation::CalibrationPoint expected = calibration->expected_at(threshold);
    require(expected.deletion_rate >= 0 && expected.deletion_rate <= 1, "a rate is expected");
    require(std::isfinite(expected.bits_per_byte) && std::isfinite(expected.milliseconds_per_kilobyte),
            "quality and time are finite");
  }
  const double fastest = calibration->fastest();
  require(std::isfinite(fastest) && fastest >= 0, "the fastest is a time");
  const double threshold = calibration->threshold_for_milliseconds(fastest);
  require(threshold >= lowest && threshold <= highest, "the fastest can be had");
  if (fastest > 0)
    require(throws<std::invalid_argument>([&] { calibration->threshold_for_milliseconds(fastest / 2); }) ||
                fastest / 2 == fastest,
            "nothing is faster");
  require(io::parse_calibration(io::to_json(*calibration), "again") == *calibration, "a calibration comes back");
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
