// The line on stderr that tells how training stands.
#pragma once

#include <chrono>
#include <string>

#include <merganser/training/trainer.hpp>

#include <options.hpp>

namespace byte_demo {

/// On a terminal one line that is written over; elsewhere a new line every few seconds.
class Progress {
 public:
  enum class Aim { none, rate };  ///< whether there is a deletion rate to reach

  /// @param done steps of an earlier process
  Progress(Index steps, Index done, Aim aim, double target);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Takes note of a step; writes when it is time.
  void update(const training::StepReport& report);

  /// A line of its own, between those of the progress.
  void note(const std::string& text);

  /// Writes the last state and ends the line.
  void finish();

  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  std::string line() const;
  void write(const std::string& text);

  Index steps_, before_, done_, shown_, gated_ = 0;
  Aim aim_;
  double target_;
  bool terminal_, open_ = false, finished_ = false;
  double loss_ = 0, accuracy_ = 0, rate_ = 0, alpha_ = 0;  // running means, but for alpha
  double bytes_ = 0;
  Clock::time_point start_ = Clock::now(), written_ = start_;
};

}  // namespace byte_demo
