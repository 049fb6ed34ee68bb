// The table of docs/results.md that says its rows are in docs/curves/prose.
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

namespace {

std::string text_of(double value, const char* format) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string key(const std::string& percent_deleted, const std::string& bits) { return percent_deleted + " % " + bits; }

}  // namespace

TEST_CASE("every row of the table of prose that is not marked is a row of a run", "[results_rows]") {
  const std::string docs = MERGANSER_GOLDEN_DIR "/../../docs";
  std::set<std::string> runs;
  std::ifstream rows(docs + "/curves/prose/rows.jsonl");
  for (std::string line; std::getline(rows, line);) {
    const auto row = nlohmann::json::parse(line);
    runs.insert(key(text_of(100 * row.at("deletion_rate").get<double>(), "%.1f"),
                    text_of(row.at("bits_per_byte_hard").get<double>(), "%.4f")));
  }
  REQUIRE(runs.size() > 10);

  const std::regex table_row(R"(\| ([^|]+) \| ([0-9.]+)( %)? \| [^|]*\| [^|]*\| \**([0-9.]+)\** \|.*)");
  std::ifstream results(docs + "/results.md");
  bool inside = false;
  std::size_t found = 0;
  for (std::string line; std::getline(results, line);) {
    if (line.starts_with("## ")) inside = line == "## Denoising in windows of 128: the curve";
    std::smatch parts;
    if (!inside || !line.starts_with("| ") || !std::regex_match(line, parts, table_row)) continue;
    if (line.find("†") != std::string::npos) continue;
    const std::string percent = parts.str(2);
    CAPTURE(line);
    REQUIRE(runs.count(key(percent.find('.') == std::string::npos ? percent + ".0" : percent, parts.str(4))) == 1);
    ++found;
  }
  REQUIRE(found > 10);
}
