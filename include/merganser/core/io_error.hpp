// The error of a file that cannot be read or does not hold what it should.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <merganser/core/check.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A file, format or version is wrong: "file: field: got G, expected E", one line whatever the file holds: control
/// characters stand as \x0a.
///
/// A caller's own mistake is std::invalid_argument instead (core/check.hpp).
class IoError : public std::runtime_error {
 public:
  /// @param file path or name of the input
  /// @param field the part of it that is wrong: a tensor, a key, a line, or "file" for the whole
  /// @param got what was found, a number or text
  /// @param expected what would have been right, a number or text
  template <class Got, class Expected>
  IoError(std::string_view file, std::string_view field, const Got& got, const Expected& expected)
      : std::runtime_error(printable(got_and_expected(file, field, to_text(got), to_text(expected)))) {}

 private:
  /// A zero byte would cut off what() as well.
  static std::string printable(const std::string& text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string result;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && byte != 0x7f) {
        result += c;
      } else {
        result += "\\x";
        result += digits[byte / 16];
        result += digits[byte % 16];
      }
    }
    return result;
  }
};

}  // namespace merganser
