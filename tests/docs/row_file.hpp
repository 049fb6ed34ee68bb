// Rows of measurements as the pages under docs/ name them: a file, a condition, and a figure by an expression.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace docs {

using Row = nlohmann::json;

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no file " + path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// One JSON object a line, or the points of a calibration.json.
inline std::vector<Row> read_rows(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  if (path.extension() == ".json") return Row::parse(text).at("points").get<std::vector<Row>>();
  std::vector<Row> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) rows.push_back(Row::parse(line));
  return rows;
}

/// "10000" is what a row holds as 10000 or as "10000".
inline bool holds(const Row& row, const std::string& field, const std::string& value) {
  const auto found = row.find(field);
  if (found == row.end()) return false;
  return found->is_string() ? found->get<std::string>() == value : *found == Row::parse(value, nullptr, false);
}

/// field, or field@policy: that of the row of another policy with the same task, data, seed and language.
inline std::optional<double> number_of(const std::vector<Row>& rows, const Row& row, const std::string& term) {
  const std::size_t at = term.find('@');
  const Row* source = &row;
  if (at != std::string::npos) {
    source = nullptr;
    for (const Row& other : rows) {
      bool same = holds(other, "policy", term.substr(at + 1));
      for (const char* key : {"task", "data", "seed", "language"})
        same = same && (!row.contains(key) || other.value(key, Row()) == row[key]);
      if (same && source == nullptr) source = &other;
    }
    if (source == nullptr) return std::nullopt;
  }
  const auto found = source->find(term.substr(0, at));
  if (found != source->end() && found->is_number()) return found->get<double>();
  if (term.find_first_not_of("0123456789.") == std::string::npos) return std::stod(term);
  return std::nullopt;
}

/// Terms with *, / and - between them, from left to right. Nothing if the row has no such figure.
inline std::optional<double> figure_of(const std::vector<Row>& rows, const Row& row, const std::string& expression) {
  std::optional<double> result;
  char operation = ' ';
  for (std::size_t begin = 0; begin <= expression.size();) {
    const std::size_t end = std::min(expression.find_first_of("*/-", begin), expression.size());
    const auto value = number_of(rows, row, expression.substr(begin, end - begin));
    if (!value) return std::nullopt;
    if (operation == '*')
      result = *result * *value;
    else if (operation == '/')
      result = *result / *value;
    else if (operation == '-')
      result = *result - *value;
    else
      result = value;
    if (end < expression.size()) operation = expression[end];
    begin = end + 1;
  }
  return result;
}

}  // namespace docs
