// One line of progress that fits into a terminal, as one that wraps cannot be written over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace byte_demo {

struct ProgressPart {
  std::string text;
  int spare;  ///< the part with the highest number is left out first where room is short; 0: never
};

/// The parts with spaces between them, in one column less than there are: some terminals wrap at the last one.
/// @param columns of the terminal; empty: no limit
inline std::string progress_line(std::vector<ProgressPart> parts, std::optional<std::size_t> columns) {
  const auto joined = [&parts] {
    std::string line;
    for (const ProgressPart& part : parts) line += (line.empty() ? "" : " ") + part.text;
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

}  // namespace byte_demo
