// Checks at public boundaries: what was wrong, what was got, what was expected.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A value as error messages show it. (Streams would cost every user of the library a second of compile time.)
inline std::string to_text(std::string_view value) { return std::string(value); }
inline std::string to_text(std::integral auto value) { return std::to_string(value); }
inline std::string to_text(std::floating_point auto value) {
  // As "%g" prints it, but with a point whatever the locale of the program is.
  std::array<char, 32> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), static_cast<double>(value), std::chars_format::general, 6);
  return {text.data(), end.ptr};
}

/// "place: part: got G, expected E", the form of all our error messages.
inline std::string got_and_expected(std::string_view place, std::string_view part, const std::string& got,
                                    const std::string& expected) {
  std::string message(place);
  message.append(": ").append(part).append(": got ").append(got).append(", expected ").append(expected);
  return message;
}

/// Throws the error of a caller's mistake.
/// @throws std::invalid_argument always: "function: argument: got G, expected E"
template <class Got, class Expected>
[[noreturn]] void throw_invalid_argument(std::string_view function, std::string_view argument, const Got& got,
                                         const Expected& expected) {
  throw std::invalid_argument(got_and_expected(function, argument, to_text(got), to_text(expected)));
}

/// Requires a condition on an argument; `expected` says the condition in words ("at least 1").
/// @throws std::invalid_argument if the condition is false
template <class Got, class Expected>
void check_argument(bool condition, std::string_view function, std::string_view argument, const Got& got,
                    const Expected& expected) {
  if (!condition) throw_invalid_argument(function, argument, got, expected);
}

/// Requires two extents to be equal.
/// @throws std::invalid_argument if they differ
template <class Got, class Expected>
void check_equal(std::string_view function, std::string_view argument, const Got& got, const Expected& expected) {
  if (!(got == expected)) throw_invalid_argument(function, argument, got, expected);
}

}  // namespace merganser
