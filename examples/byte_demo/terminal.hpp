// What the terminal can do, and numbers as text.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/ioctl.h>
#include <unistd.h>

#include <options.hpp>

namespace byte_demo {

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

/// Colour on standard output: a plain choice wins, then NO_COLOR (https://no-color.org), then whether it is a terminal.
inline bool wants_color(ColorChoice choice) {
  if (choice != ColorChoice::automatic) return choice == ColorChoice::always;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  if (no_color != nullptr && *no_color != '\0') return false;
  return is_terminal(STDOUT_FILENO) && (term == nullptr || std::string_view(term) != "dumb");
}

/// With so many digits behind the point.
inline std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

/// A share as per cent: 0.186 is "18.6 %".
inline std::string percent(double share, int digits = 1) { return fixed(100 * share, digits) + " %"; }

/// 83 seconds are "1:23", 3,700 are "1:01:40".
inline std::string clock_time(double seconds) {
  const auto all = static_cast<long>(seconds + 0.5);
  char text[64];
  if (all < 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld", all / 60, all % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", all / 3600, all / 60 % 60, all % 60);
  return text;
}

inline std::string right(const std::string& text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

inline std::string left(const std::string& text, std::size_t width) {
  return text.size() < width ? text + std::string(width - text.size(), ' ') : text;
}

}  // namespace byte_demo
