// How one training run after another stands, on a status line.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>
#include <merganser/runs/status_line.hpp>
#include <merganser/training/trainer.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

class TrainingProgress {
 public:
  struct Run {
    std::string name;  ///< shown if there are several
    Index steps = 0;
    Index done = 0;                ///< steps of an earlier process
    std::optional<double> target;  ///< deletion rate to reach; none: nothing is deleted
  };

  /// @param runs that are still to be done
  explicit TrainingProgress(StatusLine& line, std::size_t runs = 1) : line_(line), runs_(runs) {}

  /// A run begins.
  void begin(Run run) {
    run_ = std::move(run);
    done_ = shown_ = run_.done;
    gated_ = 0;
    bytes_ = 0;
    start_ = Clock::now();
    if (runs_ == 1) return;
    line_.note("run " + std::to_string(finished_ + 1) + " of " + std::to_string(runs_) + ": " + run_.name +
               (run_.done > 0 ? ", going on behind step " + std::to_string(run_.done) : ""));
  }

  /// Takes note of a step; writes when it is time.
  void update(const training::StepReport& report) {
    ++done_;
    loss_.add(report.parts.empty() ? report.total : report.parts.front().value, done_ - run_.done);
    accuracy_.add(report.token_accuracy, done_ - run_.done);
    if (report.gated_batches > 0) rate_.add(report.deletion_rate, ++gated_);
    alpha_ = report.alpha;
    bytes_ += static_cast<double>(report.source_tokens);
    if (line_.due()) show();
  }

  /// A line of its own, with the name of the run if there are several.
  void note(const std::string& text) { line_.note(runs_ > 1 ? run_.name + ", " + text : text); }

  /// The run ends: its last state stays.
  void end() {
    if (done_ > shown_) show();
    line_.finish();
    ++finished_;
    finished_seconds_ += seconds();
  }

  /// Since the run began here.
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;

  /// The mean of the last few values, each a little less than the one behind it.
  class RunningMean {
   public:
    /// @param count of all values, with this one; 1 begins anew
    void add(double value, Index count) {
      constexpr Index averaged = 20;
      if (count == 1) value_ = 0;
      value_ += (value - value_) / static_cast<double>(std::min(count, averaged));
    }
    double value() const { return value_; }

   private:
    double value_ = 0;
  };

  void show() {
    shown_ = done_;
    const double elapsed = std::max(seconds(), 1e-9),
                 a_step = elapsed / static_cast<double>(std::max<Index>(done_ - run_.done, 1)),
                 left = a_step * static_cast<double>(std::max<Index>(run_.steps - done_, 0));
    std::vector<StatusPart> parts;
    if (runs_ > 1) parts.push_back({run_.name + " |", 4});
    parts.push_back({std::to_string(done_) + "/" + std::to_string(run_.steps)});
    parts.push_back({"loss " + fixed_text(loss_.value(), 3), runs_ > 1 ? 2 : 0});
    parts.push_back({"acc " + right_aligned(fixed_text(100 * accuracy_.value(), 1), 4) + "%", 3});
    if (run_.target) {
      const std::string rate = right_aligned(fixed_text(100 * rate_.value(), 1), 4);
      parts.push_back({"del " + rate + "/" + fixed_text(100 * *run_.target, 1) + "%", 1});
      parts.push_back({"alpha " + fixed_text(alpha_, 4), 7});
    }
    parts.push_back({fixed_text(bytes_ / elapsed / 1000, 1) + " kB/s", 6});
    parts.push_back({clock_text(left) + " left", runs_ > 1 ? 5 : 0});
    if (runs_ > 1) parts.push_back({clock_text(left + later_runs(a_step)) + " in all"});
    line_.show(std::move(parts));
  }

  /// Seconds of the runs behind this one.
  double later_runs(double a_step) const {
    const double a_run =
        finished_ > 0 ? finished_seconds_ / static_cast<double>(finished_) : a_step * static_cast<double>(run_.steps);
    return a_run * static_cast<double>(runs_ - std::min(runs_, finished_ + 1));
  }

  StatusLine& line_;
  std::size_t runs_, finished_ = 0;
  double finished_seconds_ = 0;
  Run run_;
  Index done_ = 0, shown_ = 0, gated_ = 0;
  RunningMean loss_, accuracy_, rate_;
  double alpha_ = 0, bytes_ = 0;
  Clock::time_point start_ = Clock::now();
};

}  // namespace merganser::runs
