// The error of a file that cannot be read or does not hold what it should.
#pragma once

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

#include <merganser/core/check.hpp>

namespace merganser::inline MERGANSER_ISA {

namespace detail {

/// Bytes of the character that begins at `at`, if it is UTF-8 that a terminal may be shown; else 0. Not shown are
/// control characters (also U+0080 to U+009F) and those that turn the direction of writing or end a line.
inline std::size_t shown_character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  unsigned code = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  const bool unseen = code < 0xa0 || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return overlong || surrogate || unseen || code > 0x10ffff ? 0 : length;
}

}  // namespace detail

/// A text from outside as a person may read it: one line of UTF-8. Control characters and bytes that are no UTF-8 stand
/// as \x0a; a text of more than `longest` bytes is cut, and its length said.
inline std::string printable(std::string_view text, std::size_t longest = 1000) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    if (result.size() >= longest) return result + "... (" + std::to_string(text.size()) + " bytes)";
    const std::size_t shown = detail::shown_character(text, at);
    result.append(text.substr(at, shown));
    if (shown == 0) {
      const auto byte = static_cast<unsigned char>(text[at]);
      result.append("\\x").append({digits[byte / 16], digits[byte % 16]});
    }
    at += std::max<std::size_t>(shown, 1);
  }
  return result;
}

/// A file, format or version is wrong: "file: field: got G, expected E", one line whatever the file holds, each part as
/// `printable` shows it.
///
/// A caller's own mistake is std::invalid_argument instead (core/check.hpp).
class IoError : public std::runtime_error {
 public:
  /// @param file path or name of the input
  /// @param field the part of it that is wrong: a tensor, a key, a line, or "file" for the whole
  /// @param got what was found, a number or text
  /// @param expected what would have been right, a number or text
  [[gnu::cold]] IoError(std::string_view file, std::string_view field, ErrorText got, ErrorText expected)
      : std::runtime_error(
            got_and_expected(printable(file), printable(field), printable(got.str()), printable(expected.str()))) {}
};

}  // namespace merganser
