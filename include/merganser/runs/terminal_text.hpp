// Sentences, bytes and tables in the width of a terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/text_format.hpp>
#include <merganser/data/character_columns.hpp>
#include <merganser/data/utf8_decoder.hpp>
#include <merganser/evaluation/deletion_layout.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// The words of a text in lines of at most so many columns, each with its end; a wider word has a line of its own.
inline std::string wrapped(std::string_view text, std::size_t most_columns) {
  std::string result;
  std::size_t used = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const auto width = static_cast<std::size_t>(data::columns_of(word));
    if (used > 0 && used + 1 + width > most_columns) {
      result += '\n';
      used = 0;
    }
    if (used > 0) result += ' ';
    result += word;
    used += width + (used > 0 ? 1 : 0);
  }
  return result + "\n";
}

/// A word as a shell reads it back: in quotes where it has other characters than those of most paths.
inline std::string shell_word(const std::string& word) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// The text with \xNN and the like for what is no character or acts on a terminal, other than ends of lines and tabs.
inline std::string showable_text(std::string_view bytes) {
  std::string text;
  data::for_each_character(
      bytes,
      [&](std::size_t begin, std::size_t end) {
        const std::string_view character = bytes.substr(begin, end - begin);
        const bool as_it_is = evaluation::is_showable(character) || character == "\n" || character == "\t";
        text += as_it_is ? std::string(character) : evaluation::escape_character(character);
      },
      [&](std::size_t i) { text += evaluation::escape_byte(bytes[i]); });
  return text;
}

/// The same in one line, for errors.
inline std::string one_line(std::string_view message) {
  std::string line(message);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return showable_text(line);
}

/// Rows under the names of their columns; the first column says what a row is. Where a terminal is too narrow, the
/// columns that have no room follow in a table of their own, with the first column again.
class TextTable {
 public:
  enum class Align { left, right };

  /// Columns are added before rows; `width` holds the space in front of the column, and more where a cell needs it.
  void add_column(std::string name, std::size_t width, Align align = Align::right) {
    columns_.push_back({std::move(name), width, align});
  }
  /// One cell a column.
  void add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  void print(std::ostream& out, std::size_t most_columns) const {
    for (std::size_t begin = 1; begin < columns_.size();) {
      if (begin > 1) out << "\n";
      std::size_t end = begin, used = width_of(0);
      while (end < columns_.size() && (end == begin || used + width_of(end) <= most_columns)) used += width_of(end++);
      print_part(out, begin, end);
      begin = end;
    }
  }

 private:
  struct Column {
    std::string name;
    std::size_t width;
    Align align;
  };

  std::size_t width_of(std::size_t column) const {
    std::size_t width = columns_[column].width;
    for (const auto& row : rows_) width = std::max(width, row[column].size() + 1);
    return width;
  }

  std::string cell(std::size_t column, const std::string& text) const {
    const bool left = columns_[column].align == Align::left;
    return left ? left_aligned(text, width_of(column)) : right_aligned(text, width_of(column));
  }

  void print_part(std::ostream& out, std::size_t begin, std::size_t end) const {
    const auto print_line = [&](const auto& text_of) {
      std::string line = cell(0, text_of(0));
      for (std::size_t column = begin; column < end; ++column) line += cell(column, text_of(column));
      line.erase(line.find_last_not_of(' ') + 1);
      out << line << "\n";
    };
    print_line([&](std::size_t column) -> const std::string& { return columns_[column].name; });
    for (const auto& row : rows_) print_line([&](std::size_t column) -> const std::string& { return row[column]; });
  }

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace merganser::runs
