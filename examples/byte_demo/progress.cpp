// The line on stderr that tells how training stands.
#include <progress.hpp>

#include <algorithm>
#include <iostream>
#include <utility>
#include <vector>

#include <progress_line.hpp>
#include <terminal.hpp>

namespace byte_demo {

namespace {

constexpr double terminal_interval = 0.1, plain_interval = 5.0;  // seconds
constexpr Index averaged_steps = 20;
constexpr const char* to_line_start = "\r\x1B[K";

}  // namespace

Progress::Progress(Index steps, Index done, Aim aim, double target)
    : steps_(steps),
      before_(done),
      done_(done),
      shown_(done),
      aim_(aim),
      target_(target),
      terminal_(is_terminal(STDERR_FILENO)) {}

Progress::~Progress() {
  if (open_) std::cerr << "\n";
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void Progress::update(const training::StepReport& report) {
  ++done_;
  const double weight = 1.0 / static_cast<double>(std::min(done_ - before_, averaged_steps));
  const auto average = [weight](double& mean, double value) { mean += weight * (value - mean); };
  average(loss_, report.parts.empty() ? report.total : report.parts.front().value);
  average(accuracy_, report.token_accuracy);
  if (report.gated_batches > 0) {
    ++gated_;
    rate_ += (report.deletion_rate - rate_) / static_cast<double>(std::min(gated_, averaged_steps));
  }
  alpha_ = report.alpha;
  bytes_ += static_cast<double>(report.source_tokens);
  const double since = std::chrono::duration<double>(Clock::now() - written_).count();
  if (since >= (terminal_ ? terminal_interval : plain_interval)) write(line());
}

std::string Progress::line() const {
  const double elapsed = std::max(seconds(), 1e-9);
  const double left =
      elapsed / static_cast<double>(std::max<Index>(done_ - before_, 1)) * static_cast<double>(steps_ - done_);
  std::vector<ProgressPart> parts = {{std::to_string(done_) + "/" + std::to_string(steps_), 0},
                                     {"loss " + fixed(loss_, 3), 0},
                                     {"acc " + right(fixed(100 * accuracy_, 1), 4) + "%", 2}};
  if (aim_ == Aim::rate) {
    parts.push_back({"del " + right(fixed(100 * rate_, 1), 4) + "/" + fixed(100 * target_, 1) + "%", 1});
    parts.push_back({"alpha " + fixed(alpha_, 4), 4});
  }
  parts.push_back({fixed(bytes_ / elapsed / 1000, 1) + " kB/s", 3});
  parts.push_back({clock_time(std::max(left, 0.0)) + " left", 0});
  return progress_line(std::move(parts), terminal_columns(STDERR_FILENO));
}

void Progress::write(const std::string& text) {
  written_ = Clock::now();
  shown_ = done_;
  if (terminal_) {
    std::cerr << to_line_start << text << std::flush;
    open_ = true;
  } else {
    std::cerr << text << "\n";
  }
}

void Progress::note(const std::string& text) {
  if (open_) std::cerr << to_line_start;
  open_ = false;
  std::cerr << text << "\n";
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (done_ > shown_) write(line());
  if (open_) std::cerr << "\n";
  open_ = false;
}

}  // namespace byte_demo
