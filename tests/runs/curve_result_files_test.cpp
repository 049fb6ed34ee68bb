#include <merganser/runs/curve_result_files.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include <merganser/core/io_error.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <support/catch.hpp>

#include "curve_rows.hpp"

namespace curve_result_files_test {

using namespace merganser;
using namespace merganser::runs;

TEST_CASE("Rows stay in their folder", "[runs][curve]") {
  const CurveFolder folder("curve_result_files");
  {
    ResultFiles files(folder.path / "deep");
    CHECK(files.rows().empty());
    files.add(row_of("1"));
    files.add(row_with_languages("2"));
    RunRow again = row_of("1");
    again.steps = 7;
    files.add(again);
    CHECK_THROWS_AS(ResultFiles(folder.path / "deep"), IoError);  // open elsewhere
  }
  ResultFiles files(folder.path / "deep");
  REQUIRE(files.rows().size() == 2);
  CHECK(files.find("1", "")->steps == 7);
  CHECK(files.find("2", "")->languages.size() == 2);
  CHECK(files.find("3", "") == nullptr);
  for (const char* name : {"rows.jsonl", "rows.csv", "languages.jsonl", "languages.csv"})
    CHECK(std::filesystem::file_size(folder.path / "deep" / name) > 0);
  CHECK(split(io::read_text_file(folder.path / "deep" / "rows.csv"), '\n').size() == 3);
}

TEST_CASE("A last line that broke off is left out, any other is an error", "[runs][curve]") {
  const CurveFolder folder("curve_result_files");
  const std::string one = to_json_line(row_of("1")), two = to_json_line(row_of("2"));
  const auto write = [&](const std::string& text) {
    std::ofstream(folder.path / "rows.jsonl", std::ios::binary) << text;
  };
  for (const std::size_t length : {std::size_t{1}, two.size() / 2, two.size() - 1}) {
    write(one + "\n" + two.substr(0, length));
    CHECK(ResultFiles(folder.path).rows().size() == 1);
  }
  write(one + "\n" + two);
  CHECK(ResultFiles(folder.path).rows().size() == 2);
  write(one.substr(0, 20) + "\n" + two + "\n");
  CHECK_THROWS_AS(ResultFiles(folder.path), IoError);
}

TEST_CASE("A training has a row for each evaluation", "[runs][curve]") {
  const CurveFolder folder("curve_evaluations");
  ResultFiles files(folder.path);
  files.add(row_of("1", "e"));
  files.add(row_of("1", "f"));
  RunRow again = row_of("1", "f");
  again.steps = 7;
  files.add(again);
  CHECK(files.rows().size() == 2);
  REQUIRE(files.find("1", "f") != nullptr);
  CHECK(files.find("1", "f")->steps == 7);
  CHECK(files.find("1", "e")->steps == 2500);
  CHECK(files.find("1", "g") == nullptr);
  CHECK(files.find_trained("1") == files.find("1", "e"));
  CHECK(files.find_trained("2") == nullptr);
}

}  // namespace curve_result_files_test
