// Rows as JSON and as CSV.
#include "run_row.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <stdexcept>

namespace compression_curve {

namespace {

using Json = nlohmann::ordered_json;

template <class Row>
Json fields_of(const Row& row) {
  Json object;
  Row::visit(row, [&](const std::string& name, const auto& field) {
    if constexpr (std::floating_point<std::decay_t<decltype(field)>>)
      object[name] = std::isfinite(field) ? Json(field) : Json(nullptr);
    else
      object[name] = field;
  });
  return object;
}

template <class Row>
Row row_of(const Json& object) {
  Row row;
  Row::visit(row, [&](const std::string& name, auto& field) {
    using Field = std::decay_t<decltype(field)>;
    const Json& value = object.at(name);
    if constexpr (std::floating_point<Field>)
      field = value.is_null() ? no_figure : value.template get<Field>();
    else
      field = value.template get<Field>();
  });
  return row;
}

std::string dump(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// As RFC 4180 wants it: quoted where a comma, quote or line end would be misread.
std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string cell(double number) {
  if (!std::isfinite(number)) return "";
  std::array<char, 64> digits{};
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr};
}

std::string cell(std::integral auto number) { return std::to_string(number); }

template <class Row>
std::string header_of() {
  std::string line;
  const Row row;
  Row::visit(row, [&](const std::string& name, const auto&) { line += (line.empty() ? "" : ",") + name; });
  return line;
}

template <class Row>
std::string cells_of(const Row& row) {
  std::string line;
  bool first = true;
  Row::visit(row, [&](const std::string&, const auto& field) {
    if (!first) line += ',';
    first = false;
    line += cell(field);
  });
  return line;
}

/// What says which run a language belongs to.
Json key_of(const RunRow& row) {
  return {{"settings", row.settings},
          {"base", row.base},
          {"policy", row.policy},
          {"target", row.target},
          {"seed", row.seed}};
}

}  // namespace

std::string to_json_line(const RunRow& row) {
  Json object = fields_of(row);
  Json& languages = object["languages"] = Json::array();
  for (const LanguageRow& language : row.languages) languages.push_back(fields_of(language));
  return dump(object);
}

RunRow row_from_json(std::string_view line) {
  try {
    const Json object = Json::parse(line);
    RunRow row = row_of<RunRow>(object);
    for (const Json& language : object.at("languages")) row.languages.push_back(row_of<LanguageRow>(language));
    return row;
  } catch (const Json::exception& error) {
    throw std::invalid_argument(error.what());
  }
}

std::string to_csv(const std::vector<RunRow>& rows) {
  std::string text = header_of<RunRow>() + "\n";
  for (const RunRow& row : rows) text += cells_of(row) + "\n";
  return text;
}

std::string languages_to_csv(const std::vector<RunRow>& rows) {
  std::string text = "settings,base,policy,target,seed," + header_of<LanguageRow>() + "\n";
  for (const RunRow& row : rows)
    for (const LanguageRow& language : row.languages)
      text += cell(row.settings) + "," + cell(row.base) + "," + cell(row.policy) + "," + cell(row.target) + "," +
              cell(row.seed) + "," + cells_of(language) + "\n";
  return text;
}

std::string languages_to_json_lines(const std::vector<RunRow>& rows) {
  std::string text;
  for (const RunRow& row : rows)
    for (const LanguageRow& language : row.languages) {
      Json object = key_of(row);
      object.update(fields_of(language));
      text += dump(object) + "\n";
    }
  return text;
}

}  // namespace compression_curve
