// The steps of a run, as it wrote them down.
#pragma once

#include <filesystem>
#include <vector>

#include <merganser/core/types.hpp>

namespace compression_curve {

using merganser::Index;

struct TracePoint {
  Index step = 0;
  double deletion_rate = 0.0;  ///< not a number in a step without the gate
  double alpha = 0.0;
};

/// Steps rising; of a step that is there twice, because a run was resumed, the later line counts. A line that broke off
/// is left out. Empty without a file.
std::vector<TracePoint> read_trace(const std::filesystem::path& path);

/// The means of `bins` equal parts of the run, in the middle of each part; parts without a number are left out.
std::vector<TracePoint> averaged(const std::vector<TracePoint>& trace, Index bins);

/// How the controller did in the last quarter of a run.
struct LateTraining {
  double rate = 0.0;       ///< mean over the steps with a gate; not a number without any
  double deviation = 0.0;  ///< the furthest that the mean of a twentieth of the run is from the target
};

LateTraining late_training(const std::vector<TracePoint>& trace, Index steps, double target);

}  // namespace compression_curve
