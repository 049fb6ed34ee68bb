// Checks at public boundaries: what was wrong, what was got, what was expected.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A value as error messages show it, whatever the locale. (Streams would cost every user of the library a second of
/// compile time.)
inline std::string to_text(std::string_view value) { return std::string(value); }
inline std::string to_text(std::integral auto value) { return std::to_string(value); }
inline std::string to_text(std::floating_point auto value) {
  // As "%g" prints it, but with a point whatever the locale of the program is.
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<double>(value), std::chars_format::general, 6);
  return {text, end.ptr};
}

/// A number or a text on its way into an error message: one type for all, so that what throws is compiled once. It
/// looks at a text and does not keep it.
class ErrorText {
 public:
  template <class Text>
  requires std::convertible_to<const Text&, std::string_view> ErrorText(const Text& text)
      : kind_(Kind::text), text_(text) {}
  ErrorText(std::signed_integral auto value) : kind_(Kind::integer), whole_(static_cast<std::uint64_t>(value)) {}
  ErrorText(std::unsigned_integral auto value) : kind_(Kind::natural), whole_(value) {}
  ErrorText(std::floating_point auto value) : kind_(Kind::real), real_(static_cast<double>(value)) {}

  [[gnu::cold]] std::string str() const {
    switch (kind_) {
      case Kind::text:
        return std::string(text_);
      case Kind::integer:
        return to_text(static_cast<std::int64_t>(whole_));
      case Kind::natural:
        return to_text(whole_);
      case Kind::real:
        break;
    }
    return to_text(real_);
  }

 private:
  enum class Kind : unsigned char { text, integer, natural, real };

  Kind kind_;
  std::string_view text_;
  std::uint64_t whole_ = 0;  ///< of an integer its bits
  double real_ = 0;
};

/// "place: part: got G, expected E", the form of all our error messages.
[[gnu::cold]] inline std::string got_and_expected(std::string_view place, std::string_view part, std::string_view got,
                                                  std::string_view expected) {
  std::string message(place);
  message.append(": ").append(part).append(": got ").append(got).append(", expected ").append(expected);
  return message;
}

/// Throws the error of a caller's mistake.
/// @throws std::invalid_argument always: "function: argument: got G, expected E"
[[noreturn, gnu::cold]] inline void throw_invalid_argument(std::string_view function, std::string_view argument,
                                                           ErrorText got, ErrorText expected) {
  throw std::invalid_argument(got_and_expected(function, argument, got.str(), expected.str()));
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

/// Requires two matrices or rows to have the same extents.
/// @throws std::invalid_argument if they differ
template <class Got, class Expected>
void check_same_shape(std::string_view function, std::string_view argument, const Got& got, const Expected& expected) {
  const auto extents = [](const auto& matrix) { return to_text(matrix.rows()) + " x " + to_text(matrix.cols()); };
  if (got.rows() != expected.rows() || got.cols() != expected.cols())
    throw_invalid_argument(function, argument, extents(got), extents(expected));
}

}  // namespace merganser
