// The line on stderr that tells how a curve stands.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include <merganser/core/types.hpp>
#include <merganser/training/trainer.hpp>

namespace compression_curve {

using merganser::Index;

/// On a terminal one line that is written over; elsewhere a new line now and then.
class CurveProgress {
 public:
  /// @param runs that are still to be done
  explicit CurveProgress(std::size_t runs);
  ~CurveProgress();
  CurveProgress(const CurveProgress&) = delete;
  CurveProgress& operator=(const CurveProgress&) = delete;

  /// A run begins, `done` of whose steps another process has taken.
  void begin(const std::string& name, Index steps, Index done);
  void update(const merganser::training::StepReport& report);
  void end();

  /// A line of its own.
  void note(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;

  std::string line() const;
  void write(const std::string& text);

  std::size_t runs_, finished_ = 0;
  bool terminal_, open_ = false;
  double finished_seconds_ = 0.0;
  std::string name_;
  Index steps_ = 0, before_ = 0, done_ = 0, gated_ = 0;
  double loss_ = 0, accuracy_ = 0, rate_ = 0;  // running means
  Clock::time_point start_ = Clock::now(), written_ = start_;
};

}  // namespace compression_curve
