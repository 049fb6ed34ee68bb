// What the terminal of a program can do.
#pragma once

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>

#include <sys/ioctl.h>
#include <unistd.h>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

inline bool is_terminal(int descriptor) { return ::isatty(descriptor) != 0; }

inline constexpr std::size_t usual_columns = 80;

/// Columns that a stream has: of the terminal that it is, else of COLUMNS, else `otherwise`.
inline std::size_t columns_of(int descriptor, std::size_t otherwise = usual_columns) {
  struct winsize size {};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* const asked = std::getenv("COLUMNS");
  const std::string_view text = asked == nullptr ? "" : asked;
  std::size_t columns = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), columns);
  return error == std::errc() && end == text.data() + text.size() && columns > 0 ? columns : otherwise;
}

/// Columns of the terminal behind a descriptor; nothing where it is none.
inline std::optional<std::size_t> terminal_columns(int descriptor) {
  return is_terminal(descriptor) ? std::optional(columns_of(descriptor)) : std::nullopt;
}

/// For marked texts: as `columns_of`, but at least 20.
inline std::size_t view_columns(int descriptor) { return std::max<std::size_t>(columns_of(descriptor), 20); }

/// The same, but at most 80: longer lines are hard to read.
inline std::size_t prose_columns(int descriptor) { return std::min(view_columns(descriptor), usual_columns); }

enum class ColorChoice { automatic, always, never };

/// Colour on standard output: a plain choice wins, then NO_COLOR (https://no-color.org), then whether it is a terminal.
inline bool wants_color(ColorChoice choice) {
  if (choice != ColorChoice::automatic) return choice == ColorChoice::always;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  if (no_color != nullptr && *no_color != '\0') return false;
  return is_terminal(STDOUT_FILENO) && (term == nullptr || std::string_view(term) != "dumb");
}

/// Whether it is a pipe without a reader that standard output failed for: no fault of a reader that has seen enough.
inline bool reader_left() { return ::write(STDOUT_FILENO, "\n", 1) < 0 && errno == EPIPE; }

}  // namespace merganser::runs
