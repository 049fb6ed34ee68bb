// Checks at public boundaries: what was wrong, what was got, what was expected.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string_view>

namespace merganser {

/// Throws the error of a caller's mistake.
/// @throws std::invalid_argument always: "function: argument: got G, expected E"
template <class Got, class Expected>
[[noreturn]] void throw_invalid_argument(std::string_view function, std::string_view argument, const Got& got,
                                         const Expected& expected) {
  std::ostringstream message;
  message << function << ": " << argument << ": got " << got << ", expected " << expected;
  throw std::invalid_argument(message.str());
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
