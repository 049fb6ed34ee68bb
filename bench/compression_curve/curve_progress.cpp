// The line on stderr that tells how a curve stands.
#include "curve_progress.hpp"

#include <algorithm>
#include <iostream>
#include <utility>
#include <vector>

#include <progress_line.hpp>
#include <terminal.hpp>

namespace compression_curve {

namespace {

using byte_demo::clock_time;
using byte_demo::fixed;

constexpr double terminal_interval = 0.2, plain_interval = 20.0;  // seconds
constexpr Index averaged_steps = 20;
constexpr const char* to_line_start = "\r\x1B[K";

}  // namespace

CurveProgress::CurveProgress(std::size_t runs) : runs_(runs), terminal_(byte_demo::is_terminal(STDERR_FILENO)) {}

CurveProgress::~CurveProgress() {
  if (open_) std::cerr << "\n";
}

void CurveProgress::begin(const std::string& name, Index steps, Index done) {
  name_ = name;
  steps_ = steps;
  before_ = done_ = done;
  gated_ = 0;
  start_ = written_ = Clock::now();
  note("run " + std::to_string(finished_ + 1) + " of " + std::to_string(runs_) + ": " + name +
       (done > 0 ? ", going on behind step " + std::to_string(done) : ""));
}

void CurveProgress::update(const merganser::training::StepReport& report) {
  ++done_;
  const double weight = 1.0 / static_cast<double>(std::min(done_ - before_, averaged_steps));
  const auto average = [weight](double& mean, double value) { mean += weight * (value - mean); };
  average(loss_, report.parts.empty() ? report.total : report.parts.front().value);
  average(accuracy_, report.token_accuracy);
  if (report.gated_batches > 0) {
    ++gated_;
    rate_ += (report.deletion_rate - rate_) / static_cast<double>(std::min(gated_, averaged_steps));
  }
  const double since = std::chrono::duration<double>(Clock::now() - written_).count();
  if (since >= (terminal_ ? terminal_interval : plain_interval)) write(line());
}

void CurveProgress::end() {
  ++finished_;
  finished_seconds_ += std::chrono::duration<double>(Clock::now() - start_).count();
}

std::string CurveProgress::line() const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double per_step = elapsed / static_cast<double>(std::max<Index>(done_ - before_, 1));
  const double run_left = per_step * static_cast<double>(std::max<Index>(steps_ - done_, 0));
  const double a_run =
      finished_ > 0 ? finished_seconds_ / static_cast<double>(finished_) : per_step * static_cast<double>(steps_);
  const double all_left = run_left + a_run * static_cast<double>(runs_ - std::min(runs_, finished_ + 1));
  std::vector<byte_demo::ProgressPart> parts = {{name_ + " |", 3},
                                                {std::to_string(done_) + "/" + std::to_string(steps_), 0},
                                                {"loss " + fixed(loss_, 3), 2},
                                                {"acc " + fixed(100 * accuracy_, 1) + "%", 4}};
  if (gated_ > 0) parts.push_back({"del " + fixed(100 * rate_, 1) + "%", 1});
  parts.push_back({"| " + clock_time(run_left) + " left,", 5});
  parts.push_back({clock_time(all_left) + " in all", 0});
  return byte_demo::progress_line(std::move(parts), byte_demo::terminal_columns(STDERR_FILENO));
}

void CurveProgress::write(const std::string& text) {
  written_ = Clock::now();
  if (terminal_) {
    std::cerr << to_line_start << text << std::flush;
    open_ = true;
  } else {
    std::cerr << text << "\n";
  }
}

void CurveProgress::note(const std::string& text) {
  if (open_) std::cerr << to_line_start;
  open_ = false;
  std::cerr << text << "\n";
}

}  // namespace compression_curve
