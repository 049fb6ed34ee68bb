// The error of a file that cannot be read or does not hold what it should.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace merganser {

/// A file, format or version is wrong: "file: field: got G, expected E".
///
/// A caller's own mistake is std::invalid_argument instead (core/check.hpp).
class IoError : public std::runtime_error {
 public:
  /// @param file path or name of the input
  /// @param field the part of it that is wrong: a tensor, a key, a line, or "file" for the whole
  /// @param got what was found, anything that can be streamed
  /// @param expected what would have been right, anything that can be streamed
  template <class Got, class Expected>
  IoError(std::string_view file, std::string_view field, const Got& got, const Expected& expected)
      : std::runtime_error(message(file, field, got, expected)) {}

 private:
  template <class Got, class Expected>
  static std::string message(std::string_view file, std::string_view field, const Got& got, const Expected& expected) {
    std::ostringstream text;
    text << file << ": " << field << ": got " << got << ", expected " << expected;
    return text.str();
  }
};

}  // namespace merganser
