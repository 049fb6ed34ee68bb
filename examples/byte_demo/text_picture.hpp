// A text with its deleted characters dimmed, as a picture: SVG, light or dark as the reader's system is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <merganser/core/types.hpp>
#include <merganser/data/character_columns.hpp>
#include <merganser/evaluation/deletion_layout.hpp>

namespace byte_demo {

inline std::string escaped_markup(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else
      result += c;
  }
  return result;
}

/// How many of the units from `begin` stand on one line: up to a blank, or as many as there is room for, at least one.
inline std::size_t line_end(std::span<const merganser::evaluation::DeletionSegment> units, std::size_t begin,
                            merganser::Index columns) {
  std::size_t end = begin, blank = begin;
  for (merganser::Index used = 0; end < units.size(); ++end) {
    used += merganser::data::columns_of(units[end].text);
    if (used > columns) return blank > begin ? blank : std::max(end, begin + 1);
    if (units[end].text == " ") blank = end + 1;
  }
  return end;
}

inline std::string picture_around(const std::string& body, int height, const std::string& title) {
  const std::string size = std::to_string(height);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"" + size + "\" viewBox=\"0 0 640 " + size +
         "\" role=\"img\">\n<title>" + escaped_markup(title) +
         "</title>\n<style>text{fill:#1f2328;font:bold 23px monospace}.ground{fill:#fff}"
         ".deleted{fill:#b6bec8;font-weight:normal}.partly{fill:#7d8590}.caption{fill:#57606a;font:15px sans-serif}"
         "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.ground{fill:#0d1117}.deleted{fill:#5c6670}"
         ".partly{fill:#848d97}.caption{fill:#9198a1}}</style>\n"
         "<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n" +
         body + "</svg>\n";
}

/// @param units as those of `character_units`; a blank that is deleted is shown as a dot
/// @param caption stands below, in small letters
inline std::string picture_of(std::span<const merganser::evaluation::DeletionSegment> units,
                              const std::string& caption) {
  using merganser::evaluation::TokenFate;
  constexpr int columns = 42, letter = 14, line_height = 40, margin = 26;
  std::string body;
  int y = 48;
  const auto text_at = [&](int x, const std::string& more, const std::string& text) {
    body += "<text x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\"" + more + ">" +
            escaped_markup(text) + "</text>\n";
  };
  for (std::size_t begin = 0; begin < units.size(); y += line_height) {
    const std::size_t end = line_end(units, begin, columns);
    int x = margin;
    for (; begin < end; ++begin) {
      const auto& [text, fate] = units[begin];
      const bool kept = fate == TokenFate::kept;
      text_at(x,
              kept                         ? ""
              : fate == TokenFate::deleted ? " class=\"deleted\""
                                           : " class=\"partly\"",
              text == " " && !kept ? "\u00B7" : text);
      x += letter * static_cast<int>(merganser::data::columns_of(text));
    }
  }
  text_at(margin, " class=\"caption\"", caption);
  return picture_around(body, y + 22, caption);
}

}  // namespace byte_demo
