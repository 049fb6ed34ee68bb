// Tables and sentences in the width of a terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/data/character_columns.hpp>

#include <terminal.hpp>

namespace byte_demo {

/// Rows under the names of their columns; the first column says what a row is. Where a terminal is too narrow, the
/// columns that have no room follow in a table of their own, with the first column again.
class Table {
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
    return columns_[column].align == Align::left ? left(text, width_of(column)) : right(text, width_of(column));
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

/// The words of a text in lines of at most so many columns, each with its end; a wider word has a line of its own.
inline std::string wrapped(std::string_view text, std::size_t most_columns) {
  std::string result;
  std::size_t used = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const auto width = static_cast<std::size_t>(merganser::data::columns_of(word));
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

}  // namespace byte_demo
