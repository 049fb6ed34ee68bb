// Rows of a curve as JSON and as CSV.
#pragma once

#include <cmath>
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/core/text_format.hpp>
#include <merganser/io/files/json_lines.hpp>
#include <merganser/runs/curve_row.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

template <class Row>
io::JsonObject fields_of(const Row& row) {
  io::JsonObject object;
  Row::visit(row, [&](const std::string& name, const auto& field) { object.set(name, field); });
  return object;
}

template <class Row>
Row row_of(const io::JsonRecord& record) {
  Row row;
  Row::visit(row, [&]<class Field>(const std::string& name, Field& field) {
    if (name != policy_milliseconds || record.has(name)) field = record.get<Field>(name);
  });
  return row;
}

inline io::JsonObject object_of(const Settings& settings) {
  io::JsonObject object;
  for (const auto& [name, value] : settings) object.set(name, value);
  return object;
}

// ---- CSV ----

/// As RFC 4180 wants it: quoted where a comma, quote or line end would be misread.
inline std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

inline std::string cell(double number) { return std::isfinite(number) ? exact_text(number) : ""; }

inline std::string cell(std::integral auto number) { return std::to_string(number); }

template <class Row>
std::vector<std::string> columns_of_rows() {
  std::vector<std::string> names;
  const Row row;
  Row::visit(row, [&](const std::string& name, const auto&) { names.push_back(name); });
  return names;
}

template <class Row>
std::vector<std::string> cells_of(const Row& row) {
  std::vector<std::string> cells;
  Row::visit(row, [&](const std::string&, const auto& field) { cells.push_back(cell(field)); });
  return cells;
}

}  // namespace detail

/// One JSON object on one line, without its end.
inline std::string to_json_line(const RunRow& row) {
  std::vector<io::JsonObject> languages;
  for (const LanguageRow& language : row.languages) languages.push_back(detail::fields_of(language));
  io::JsonObject object = detail::fields_of(row);
  object.add(detail::fields_of(row.origin)).set("options", detail::object_of(row.origin.options));
  return object.set("languages", languages).line();
}

/// A row of an older version has no origin: what is missing of it is empty.
/// @param file, part where the line is from, for errors
/// @throws IoError if it is not a row
inline RunRow row_from_json(std::string_view line, std::string_view file, std::string_view part) {
  const io::JsonRecord record(line, file, part);
  RunRow row = detail::row_of<RunRow>(record);
  RowOrigin::visit(row.origin, [&](const std::string& name, std::string& field) {
    field = record.find<std::string>(name).value_or("");
  });
  if (const auto options = record.find<io::JsonRecord>("options"))
    for (const std::string& name : options->keys()) row.origin.options[name] = options->get<std::string>(name);
  for (const io::JsonRecord& language : record.records("languages"))
    row.languages.push_back(detail::row_of<LanguageRow>(language));
  return row;
}

/// A header line and one line a row; options are in the JSON alone.
inline std::string to_csv(const std::vector<RunRow>& rows) {
  const auto both = [](const std::vector<std::string>& figures, const std::vector<std::string>& origin) {
    return joined(figures) + "," + joined(origin) + "\n";
  };
  std::string text = both(detail::columns_of_rows<RunRow>(), detail::columns_of_rows<RowOrigin>());
  for (const RunRow& row : rows) text += both(detail::cells_of(row), detail::cells_of(row.origin));
  return text;
}

/// The same of their languages.
inline std::string languages_to_csv(const std::vector<RunRow>& rows) {
  std::string text =
      "settings,base,policy,target,seed," + joined(detail::columns_of_rows<LanguageRow>()) + ",evaluation\n";
  using detail::cell;
  for (const RunRow& row : rows)
    for (const LanguageRow& language : row.languages)
      text += joined({cell(row.settings), cell(row.base), cell(row.policy), cell(row.target), cell(row.seed),
                      joined(detail::cells_of(language)), cell(row.origin.evaluation)}) +
              "\n";
  return text;
}

/// One JSON object a run and language on a line each.
inline std::string languages_to_json_lines(const std::vector<RunRow>& rows) {
  std::string text;
  for (const RunRow& row : rows)
    for (const LanguageRow& language : row.languages) {
      io::JsonObject object;
      object.set("settings", row.settings).set("base", row.base).set("policy", row.policy);
      object.set("target", row.target).set("seed", row.seed).add(detail::fields_of(language));
      text += object.set("evaluation", row.origin.evaluation).line() + "\n";
    }
  return text;
}

}  // namespace merganser::runs
