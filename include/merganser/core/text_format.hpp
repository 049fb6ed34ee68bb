// Numbers and lines as text, the same in every locale.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA {

/// The shortest text that is read as the same number: 0.1 is "0.1", 1e300 is "1e+300".
inline std::string exact_text(double value) {
  std::array<char, 32> digits{};
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

/// With so many digits behind the point, rounded as printf does.
inline std::string fixed_text(double value, int digits) {
  std::array<char, 512> text{};  // the largest number has 309 digits before the point
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, digits);
  return {text.data(), end.ptr};
}

/// A share as per cent: 0.186 is "18.6 %".
inline std::string percent_text(double share, int digits = 1) { return fixed_text(100 * share, digits) + " %"; }

/// 83 seconds are "1:23", 3,700 are "1:01:40".
inline std::string clock_text(double seconds) {
  const long long all = std::llround(seconds);
  const auto two = [](long long number) { return (number < 10 ? "0" : "") + std::to_string(number); };
  if (all < 3600) return std::to_string(all / 60) + ":" + two(all % 60);
  return std::to_string(all / 3600) + ":" + two(all / 60 % 60) + ":" + two(all % 60);
}

/// At the right end of a field that is so wide; a wider text is as it is.
inline std::string right_aligned(const std::string& text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

/// At the left end of it.
inline std::string left_aligned(const std::string& text, std::size_t width) {
  return text.size() < width ? text + std::string(width - text.size(), ' ') : text;
}

/// "a,b,c"
inline std::string joined(const std::vector<std::string>& parts, std::string_view between = ",") {
  std::string text;
  for (const std::string& part : parts) text.append(&part == parts.data() ? "" : between).append(part);
  return text;
}

/// The parts of a text between separators: "a,,b" has three, "" has none.
inline std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return parts;
}

}  // namespace merganser
