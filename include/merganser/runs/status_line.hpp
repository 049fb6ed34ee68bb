// One line that tells how a job stands: on a terminal it is written over, elsewhere it comes again now and then.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include <merganser/runs/terminal.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

struct StatusPart {
  std::string text;
  int spare = 0;  ///< the part with the highest number is left out first where room is short; 0: never
};

/// The parts with spaces between them, in one column less than there are: some terminals wrap at the last one.
/// @param columns of the terminal; empty: no limit
inline std::string status_text(std::vector<StatusPart> parts, std::optional<std::size_t> columns) {
  const auto joined = [&parts] {
    std::string line;
    for (const StatusPart& part : parts) line += (line.empty() ? "" : " ") + part.text;
    return line;
  };
  std::string line = joined();
  if (!columns) return line;
  const std::size_t room = std::max<std::size_t>(*columns, 2) - 1;
  while (line.size() > room) {
    const auto least =
        std::max_element(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.spare < b.spare; });
    if (least->spare == 0) return line.substr(0, room);
    parts.erase(least);
    line = joined();
  }
  return line;
}

class StatusLine {
 public:
  /// The columns of the terminal that the stream is; nothing: it is none.
  using Columns = std::function<std::optional<std::size_t>()>;

  explicit StatusLine(
      std::ostream& out, Columns columns = [] { return terminal_columns(STDERR_FILENO); })
      : out_(out), columns_(std::move(columns)), terminal_(columns_().has_value()) {}
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  ~StatusLine() { finish(); }

  /// Whether it is time for a new state.
  bool due() const {
    const std::chrono::duration<double> since = Clock::now() - written_;
    return since.count() >= (terminal_ ? terminal_interval : plain_interval);
  }

  void show(std::vector<StatusPart> parts) {
    written_ = Clock::now();
    const std::string text = status_text(std::move(parts), columns_());
    if (terminal_)
      out_ << to_line_start << text << std::flush;
    else
      out_ << text << std::endl;
    open_ = terminal_;
  }

  /// A line that stays, between the states.
  void note(std::string_view text) {
    if (open_) out_ << to_line_start;
    open_ = false;
    out_ << text << std::endl;
  }

  /// Leaves the last state where it is.
  void finish() {
    if (open_) out_ << std::endl;
    open_ = false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr double terminal_interval = 0.1, plain_interval = 5.0;  // seconds
  static constexpr const char* to_line_start = "\r\x1B[K";

  std::ostream& out_;
  Columns columns_;
  bool terminal_, open_ = false;
  Clock::time_point written_ = Clock::now();
};

}  // namespace merganser::runs
