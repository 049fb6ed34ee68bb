// Figures of a page under docs/: each is found, rounded as it is printed, in a row of a file that the page names.
//
// A table of figures stands below a comment that names the file and, for every column, the field it shows:
//
//   <!-- rows: ../curves/prose/rows.jsonl where steps=10000: policy seed deletion_rate bits_per_byte_hard -->
//
// A line of the table is right if the file has one row with all of its figures. A cell of seeds, "1, 2, 3", makes them
// means over the rows of these. Two files are named with a + between them. "-" is a column without figures; a/b, a-b
// and field@policy are figures, too. Text may only repeat figures of these tables, or of those on the pages that its
// paragraph links to. A table below <!-- record: DATE --> has no rows any more, and its head says "rows not kept".
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "row_file.hpp"

namespace docs {

/// A number as it is printed: "1,234", "0.1329", "50.7 %".
struct Printed {
  std::string digits;
  bool percent = false;

  bool shows(double value) const {
    const std::size_t point = digits.find('.');
    const int places = point == std::string::npos ? 0 : static_cast<int>(digits.size() - point - 1);
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", places, percent ? 100 * value : value);
    return digits == text;
  }
};

inline std::optional<Printed> printed_number(std::string cell) {
  std::smatch parts;
  static const std::regex number(R"(^\**([0-9][0-9,]*(\.[0-9]+)?)( %)?\**$)");
  if (!std::regex_match(cell, parts, number)) return std::nullopt;
  std::string digits = parts.str(1);
  std::erase(digits, ',');
  return Printed{digits, parts[3].matched};
}

inline std::vector<std::string> split(const std::string& text, const std::string& at) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(at, begin), text.size());
    const std::size_t first = std::min(text.find_first_not_of(' ', begin), end);
    const std::size_t last = text.find_last_not_of(' ', end - 1);
    parts.push_back(last == std::string::npos || last < first || end == first ? ""
                                                                              : text.substr(first, last + 1 - first));
    begin = end + at.size();
  }
  return parts;
}

inline std::vector<std::string> cells_of(const std::string& line) {
  return split(line.substr(1, line.find_last_of('|') - 1), "|");
}

/// What a page calls the policies.
inline std::string policy_word(const std::string& policy) {
  return policy == "ungated" ? "twin" : policy == "all_deleted" ? "control" : policy;
}

/// Where the rows of a table are, and what its columns show.
struct TableSource {
  std::vector<Row> rows;
  std::vector<std::string> columns;
  std::map<std::string, std::string> conditions;

  static TableSource parse(const std::string& text, const std::filesystem::path& folder) {
    static const std::regex form(R"(^(\S+?)( where ([^:]+))?: (.+)$)");
    std::smatch parts;
    if (!std::regex_match(text, parts, form)) throw std::runtime_error("no source of rows: " + text);
    TableSource source{{}, split(parts.str(4), " "), {}};
    for (const std::string& file : split(parts.str(1), "+"))
      for (Row& row : read_rows(folder / file)) source.rows.push_back(std::move(row));
    if (parts[3].matched)
      for (const std::string& condition : split(parts.str(3), ",")) {
        const auto sides = split(condition, "=");
        source.conditions[sides.at(0)] = sides.at(1);
      }
    return source;
  }
};

/// A value that a checked cell shows.
struct Known {
  double value = 0;
  bool percent = false;
};

class Page {
 public:
  explicit Page(const std::filesystem::path& path) : folder_(path.parent_path()) { read(read_file(path)); }

  const std::vector<std::string>& faults() const { return faults_; }
  const std::vector<Known>& known() const { return known_; }
  int figures() const { return figures_; }
  int records() const { return records_; }

  /// Figures of the text that stand in no table of this page nor of the pages linked to beside them.
  std::vector<std::string> unknown_in_text() const {
    std::vector<std::string> unknown;
    for (const std::string& paragraph : paragraphs_) {
      std::vector<Known> known = known_;
      static const std::regex link(R"(\]\(([^)# ]+\.md)[^)]*\))"),
          figure(R"(([0-9][0-9,]*\.[0-9]+|[0-9]+(?= %))( %)?)");
      for (std::sregex_iterator it(paragraph.begin(), paragraph.end(), link), end; it != end; ++it) {
        const std::vector<Known> more = Page(folder_ / it->str(1)).known();
        known.insert(known.end(), more.begin(), more.end());
      }
      static const std::regex no_figure(R"(`[^`]*`|\]\([^)]*\)|(CMake|Eigen|g\+\+|clang\+\+|arXiv) [0-9.]+)");
      const std::string text = std::regex_replace(paragraph, no_figure, "");
      for (std::sregex_iterator it(text.begin(), text.end(), figure), end; it != end; ++it) {
        const Printed printed = *printed_number(it->str());
        bool found = false;
        for (const Known& one : known) found = found || (one.percent == printed.percent && printed.shows(one.value));
        if (!found) unknown.push_back("'" + it->str() + "' in no table: " + paragraph);
      }
    }
    return unknown;
  }

 private:
  void read(const std::string& text) {
    bool code = false, in_table = false;
    std::optional<TableSource> source;
    std::string record;
    for (const std::string& line : lines_of(text)) {
      static const std::regex comment(R"(^ *<!-- (rows|record): (.+) -->$)");
      std::smatch parts;
      if (line.find("```") != std::string::npos && line.find_first_not_of(' ') == line.find("```")) code = !code;
      if (code || line.find("```") != std::string::npos) continue;
      const std::string bare = line.substr(std::min(line.find_first_not_of(' '), line.size()));
      if (std::regex_match(line, parts, comment)) {
        if (parts.str(1) == "rows")
          source = TableSource::parse(parts.str(2), folder_);
        else
          record = parts.str(2);
      } else if (bare.starts_with("|")) {
        if (!in_table) {
          header_ = 2;
          if (!record.empty() && bare.find("rows not kept") == std::string::npos)
            fault("a record that does not say so", bare);
          records_ += record.empty() ? 0 : 1;
        }
        in_table = true;
        if (header_ > 0)
          --header_;
        else if (source)
          check_line(*source, bare);
        else if (!record.empty())
          take_record(bare);
        else
          paragraphs_.push_back(bare);
      } else {
        if (in_table) source.reset(), record.clear();
        in_table = false;
        if (bare.empty() || bare.starts_with("- ") || bare.starts_with("#")) paragraphs_.emplace_back();
        if (paragraphs_.empty()) paragraphs_.emplace_back();
        if (!bare.starts_with("<")) paragraphs_.back() += bare + " ";
      }
    }
  }

  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  void take_record(const std::string& line) {
    for (const std::string& cell : cells_of(line))
      if (const auto printed = printed_number(cell))
        known_.push_back({std::stod(printed->digits) / (printed->percent ? 100 : 1), printed->percent});
  }

  void check_line(const TableSource& source, const std::string& line) {
    const std::vector<std::string> cells = cells_of(line);
    if (cells.size() != source.columns.size()) return fault("not as many cells as columns are named", line);
    std::vector<std::string> seeds = {""};
    for (std::size_t i = 0; i < cells.size(); ++i)
      if (source.columns[i] == "seed") seeds = split(cells[i], ",");
    std::vector<std::vector<const Row*>> groups = {{}};  // a row a seed
    for (const std::string& seed : seeds) {
      std::vector<std::vector<const Row*>> longer;
      for (const auto& group : groups)
        for (const Row& row : source.rows)
          if (may_be(source, row, cells, seed)) longer.push_back(group), longer.back().push_back(&row);
      groups = longer;
    }
    for (const auto& group : groups)
      if (const auto values = shown(source, group, cells)) {
        known_.insert(known_.end(), values->begin(), values->end());
        figures_ += static_cast<int>(values->size());
        return;
      }
    fault(groups.empty() ? "no row is of this policy, seed and condition" : "no row has these figures", line);
  }

  /// Whether the words, the seed and the conditions are those of the row.
  static bool may_be(const TableSource& source, const Row& row, const std::vector<std::string>& cells,
                     const std::string& seed) {
    if (!seed.empty() && !holds(row, "seed", seed)) return false;
    for (const auto& [field, value] : source.conditions)
      if (!holds(row, field, value)) return false;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto field = row.find(source.columns[i]);
      if (field == row.end() || !field->is_string()) continue;
      if (cells[i].find(policy_word(field->get<std::string>())) == std::string::npos) return false;
    }
    return true;
  }

  /// The means that the cells show, or nothing if one shows another.
  static std::optional<std::vector<Known>> shown(const TableSource& source, const std::vector<const Row*>& group,
                                                 const std::vector<std::string>& cells) {
    std::vector<Known> values;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string& column = source.columns[i];
      const auto printed = printed_number(cells[i]);
      if (column == "seed" || cells[i].empty()) continue;
      if (column == "-" && !printed) continue;
      const auto field = group.front()->find(column);
      if (field != group.front()->end() && field->is_string()) continue;
      if (!printed) return std::nullopt;
      double sum = 0;
      for (const Row* row : group) {
        const auto value = figure_of(source.rows, *row, column);
        if (!value) return std::nullopt;
        sum += *value;
      }
      const double mean = sum / static_cast<double>(group.size());
      if (!printed->shows(mean)) return std::nullopt;
      values.push_back({mean, printed->percent});
    }
    return values;
  }

  void fault(const std::string& what, const std::string& line) { faults_.push_back(what + ": " + line); }

  std::filesystem::path folder_;
  std::vector<std::string> paragraphs_, faults_;
  std::vector<Known> known_;
  int figures_ = 0, records_ = 0, header_ = 0;
};

}  // namespace docs
