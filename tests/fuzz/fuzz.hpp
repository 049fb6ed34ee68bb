// What the fuzz targets share: a check that ends the run, and calls that may refuse their input with an IoError only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>

namespace merganser::fuzz {

/// Ends the run with a finding if the condition is false.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

/// What `read()` returns, or nothing if it throws an IoError. Any other exception passes, and is a finding.
template <class Read>
std::optional<std::invoke_result_t<Read>> unless_refused(Read&& read) {
  try {
    return std::forward<Read>(read)();
  } catch (const IoError& error) {
    require(std::string_view(error.what()).find(": got ") != std::string_view::npos, "an IoError says what it got");
    return std::nullopt;
  }
}

/// True if `run()` throws an `Exception`.
template <class Exception, class Run>
bool throws(Run&& run) {
  try {
    std::forward<Run>(run)();
  } catch (const Exception&) {
    return true;
  }
  return false;
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return size == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(data), size);
}

inline std::vector<std::byte> as_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// The text up to a mark, which is taken off with it; all of it if there is no mark.
inline std::string_view take_until(std::string_view& text, char mark) {
  const std::string_view part = text.substr(0, text.find(mark));
  text.remove_prefix(part.size() < text.size() ? part.size() + 1 : part.size());
  return part;
}

}  // namespace merganser::fuzz
