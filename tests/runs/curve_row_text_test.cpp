#include <merganser/runs/curve_row_text.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <support/catch.hpp>

#include "curve_rows.hpp"

namespace curve_row_text_test {

using namespace merganser;
using namespace merganser::runs;

RunRow back_from(const std::string& line) { return row_from_json(line, "rows.jsonl", "line 1"); }

std::vector<std::string> split_lines(const std::string& text) { return split(text, '\n'); }

TEST_CASE("A row comes back from JSON with the same bits", "[runs][curve]") {
  const RunRow row = row_with_languages("1");
  const std::string line = to_json_line(row);
  CHECK(line.find('\n') == std::string::npos);
  const RunRow back = back_from(line);
  CHECK(to_json_line(back) == line);
  CHECK(back.seed == row.seed);
  CHECK(back.target == 0.1);
  CHECK(back.hard.deletion_rate == 1.0 / 3);
  CHECK(std::isnan(back.soft.bits_per_byte));
  CHECK(std::isnan(back.everything.bits_per_byte));  // infinite has no place in JSON
  REQUIRE(back.languages.size() == 2);
  CHECK(back.languages[1].language == "a,\"b\"\n");
  CHECK(back.languages[0].premium_after == 1.5);
  CHECK(std::isnan(back.languages[0].premium_before));
}

TEST_CASE("Any bytes are a name, and what is no row is refused", "[runs][curve]") {
  RunRow row = row_of("1");
  row.task = "\xFF<&>\"\\";
  CHECK_NOTHROW(back_from(to_json_line(row)));
  CHECK_THROWS_AS(back_from(""), IoError);
  CHECK_THROWS_AS(back_from("[]"), IoError);
  CHECK_THROWS_AS(back_from("{\"settings\":\"1\"}"), IoError);
  const std::string line = to_json_line(row_of("1"));
  CHECK_THROWS_AS(back_from(line.substr(0, line.size() / 2)), IoError);
}

TEST_CASE("CSV has a header and a cell for every field", "[runs][curve]") {
  CHECK(split_lines(to_csv({})).size() == 1);
  RunRow quoted = row_of("2");
  quoted.task = "a,b\"c";
  const auto lines = split_lines(to_csv({row_of("1"), quoted}));
  REQUIRE(lines.size() == 3);
  const auto commas = [](const std::string& line) { return std::count(line.begin(), line.end(), ','); };
  CHECK(lines[0].starts_with("settings,base,task,data,policy,target,seed,deletion_rate,bits_per_byte_none,"));
  CHECK(commas(lines[1]) == commas(lines[0]));
  CHECK(lines[1].starts_with("1,base,denoise,data,learned,0.1,18446744073709551615,0.3333333333333333,,,0.25,,,"));
  CHECK(lines[2].starts_with("2,base,\"a,b\"\"c\",data,"));
  CHECK(commas(lines[2]) == commas(lines[0]) + 1);

  const std::string languages = languages_to_csv({row_of("1"), row_with_languages("2")});
  CHECK(languages.starts_with("settings,base,policy,target,seed,language,bytes,characters,"));
  CHECK(languages.find("\n2,base,learned,0.1,18446744073709551615,en,0,7,") != std::string::npos);
  CHECK(languages.find(",\"a,\"\"b\"\"\n\",0,7,") != std::string::npos);
  CHECK(lines[0].ends_with(",evaluation,version,instruction_set,machine,date"));
  CHECK(split_lines(languages_to_json_lines({row_of("1"), row_with_languages("2")})).size() == 2);
}

TEST_CASE("A row says where it comes from, in CSV without the options", "[runs][curve]") {
  RunRow row = row_of("1", "e");
  row.origin.version = "0.1.0";
  row.origin.machine = "A, B";
  row.origin.date = "2026-11-30";
  row.origin.options = {{"--text", "/a b.txt"}, {"--hard-by-threshold", ""}};
  const RunRow back = back_from(to_json_line(row));
  CHECK(back.origin.evaluation == "e");
  CHECK(back.origin.machine == "A, B");
  CHECK(back.origin.date == "2026-11-30");
  CHECK(back.origin.options == row.origin.options);
  CHECK(split_lines(to_csv({row}))[1].ends_with(",e,0.1.0,,\"A, B\",2026-11-30"));
  CHECK(to_csv({row}).find("a b.txt") == std::string::npos);
}

TEST_CASE("Rows of older versions are read, without what they lack", "[runs][curve]") {
  const std::filesystem::path curves = std::filesystem::path(MERGANSER_GOLDEN_DIR) / "../../docs/curves";
  std::size_t count = 0;
  for (const auto& folder : std::filesystem::directory_iterator(curves)) {
    const std::string file = (folder.path() / "rows.jsonl").string();
    for (const std::string& line : split_lines(io::read_text_file(file))) {
      const RunRow row = row_from_json(line, file, "a line");
      CHECK(std::isfinite(row.hard.bits_per_byte));
      CHECK(row.origin.date.empty() == row.origin.options.empty());
      ++count;
    }
  }
  CHECK(count > 20);
}

}  // namespace curve_row_text_test
