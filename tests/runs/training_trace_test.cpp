#include <merganser/runs/training_trace.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <support/catch.hpp>

#include "curve_rows.hpp"

namespace training_trace_test {

using namespace merganser;
using namespace merganser::runs;
using Catch::Matchers::WithinAbs;

TEST_CASE("A trace is read as it was resumed", "[runs][curve]") {
  const CurveFolder folder("training_trace");
  const std::filesystem::path path = folder.path / "trace.jsonl";
  CHECK(read_trace(path).empty());
  std::ofstream file(path);
  const auto step = [&](int number, const std::string& rate, double alpha) {
    file << "{\"step\":" << number << ",\"deletion_rate\":" << rate << ",\"alpha\":" << alpha << "}\n";
  };
  step(0, "null", 0);
  step(1, "0.9", 0.9);
  step(1, "0.4", 0.5);  // once more, after a kill
  step(2, "0.6", 0.7);
  file << "{\"event\":\"deletion_collapse\",\"step\":2,\"deletion_rate\":1}\n{\"step\":3,\"dele";
  file.close();
  const std::vector<TracePoint> trace = read_trace(path);
  REQUIRE(trace.size() == 3);
  CHECK(std::isnan(trace[0].deletion_rate));
  CHECK(trace[1].deletion_rate == 0.4);
  CHECK(trace[2].alpha == 0.7);
  const std::vector<TracePoint> mean = averaged(trace, 1);
  REQUIRE(mean.size() == 1);
  CHECK_THAT(mean[0].deletion_rate, WithinAbs(0.5, 1e-12));
  CHECK_THAT(mean[0].alpha, WithinAbs(0.4, 1e-12));
  CHECK(averaged({}, 5).empty());
}

TEST_CASE("The last quarter of training", "[runs][curve]") {
  std::vector<TracePoint> trace;
  for (Index step = 0; step < 200; ++step)  // 0.5 but for the last twentieth, and far off before
    trace.push_back({step, step < 150 ? 0.9 : step < 190 ? 0.5 : 0.6, 0});
  const LateTraining late = late_training(trace, 200, 0.5);
  CHECK_THAT(late.rate, WithinAbs(0.52, 1e-12));
  CHECK_THAT(late.deviation, WithinAbs(0.1, 1e-12));
  CHECK(std::isnan(late_training({}, 200, 0.5).rate));
  CHECK(std::isnan(late_training({}, 200, 0.5).deviation));
}

}  // namespace training_trace_test
