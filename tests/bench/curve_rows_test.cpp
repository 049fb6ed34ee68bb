// The rows of compression_curve: there and back, as CSV, and in files that a kill cannot break.
#include "compression_curve/run_row.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/io/atomic_file.hpp>

#include "compression_curve/result_files.hpp"
#include "compression_curve/settings_hash.hpp"
#include "compression_curve/trace.hpp"
#include "support/catch.hpp"

using namespace compression_curve;
using Catch::Matchers::WithinAbs;

namespace {

RunRow row_of(const std::string& settings) {
  RunRow row;
  row.settings = settings;
  row.base = "base";
  row.task = "denoise";
  row.data = "data";
  row.policy = "learned";
  row.target = 0.1;
  row.seed = std::numeric_limits<std::uint64_t>::max();
  row.hard.deletion_rate = 1.0 / 3;
  row.hard.bits_per_byte = 0.25;
  row.everything.bits_per_byte = std::numeric_limits<double>::infinity();
  row.steps = 2500;
  return row;
}

RunRow row_with_languages(const std::string& settings) {
  RunRow row = row_of(settings);
  for (const char* name : {"en", "a,\"b\"\n"}) {
    LanguageRow language;
    language.language = name;
    language.characters = 7;
    language.premium_after = 1.5;
    row.languages.push_back(language);
  }
  return row;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// A folder that goes when the test is over.
struct Folder {
  Folder() { std::filesystem::remove_all(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path = std::filesystem::temp_directory_path() / "merganser_curve_rows_test";
};

}  // namespace

TEST_CASE("A row comes back from JSON with the same bits", "[bench][curve]") {
  const RunRow row = row_with_languages("1");
  const std::string line = to_json_line(row);
  CHECK(line.find('\n') == std::string::npos);
  const RunRow back = row_from_json(line);
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

TEST_CASE("Any bytes are a name, and what is no row is refused", "[bench][curve]") {
  RunRow row = row_of("1");
  row.task = "\xFF<&>\"\\";
  CHECK_NOTHROW(row_from_json(to_json_line(row)));
  CHECK_THROWS_AS(row_from_json(""), std::invalid_argument);
  CHECK_THROWS_AS(row_from_json("[]"), std::invalid_argument);
  CHECK_THROWS_AS(row_from_json("{\"settings\":\"1\"}"), std::invalid_argument);
  const std::string line = to_json_line(row_of("1"));
  CHECK_THROWS_AS(row_from_json(line.substr(0, line.size() / 2)), std::invalid_argument);
}

TEST_CASE("CSV has a header and a cell for every field", "[bench][curve]") {
  CHECK(lines_of(to_csv({})).size() == 1);
  RunRow quoted = row_of("2");
  quoted.task = "a,b\"c";
  const auto lines = lines_of(to_csv({row_of("1"), quoted}));
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
  CHECK(lines_of(languages_to_json_lines({row_of("1"), row_with_languages("2")})).size() == 2);
}

TEST_CASE("Hashes tell settings apart", "[bench][curve]") {
  const std::string hash = hash_of({{"a", "b"}, {"c", ""}});
  CHECK(hash.size() == 16);
  CHECK(hash == hash_of({{"c", ""}, {"a", "b"}}));
  CHECK(hash != hash_of({{"a", "b"}}));
  CHECK(hash != hash_of({{"a", ""}, {"c", "b"}}));
  CHECK(hash_of({{"ab", "c"}}) != hash_of({{"a", "bc"}}));
  CHECK(hash_of({{"a", "1:b"}}) != hash_of({{"a1", ":b"}}));
}

TEST_CASE("Rows stay in their folder", "[bench][curve]") {
  const Folder folder;
  {
    ResultFiles files(folder.path / "deep");
    CHECK(files.rows().empty());
    files.add(row_of("1"));
    files.add(row_with_languages("2"));
    RunRow again = row_of("1");
    again.steps = 7;
    files.add(again);
    CHECK_THROWS_AS(ResultFiles(folder.path / "deep"), merganser::IoError);  // open elsewhere
  }
  ResultFiles files(folder.path / "deep");
  REQUIRE(files.rows().size() == 2);
  CHECK(files.find("1")->steps == 7);
  CHECK(files.find("2")->languages.size() == 2);
  CHECK(files.find("3") == nullptr);
  CHECK(files.rows_of({{"learned", "base"}}).size() == 2);
  CHECK(files.rows_of({{"learned", "other"}, {"random", "base"}}).empty());
  for (const char* name : {"rows.jsonl", "rows.csv", "languages.jsonl", "languages.csv"})
    CHECK(std::filesystem::file_size(folder.path / "deep" / name) > 0);
  CHECK(lines_of(merganser::io::read_text_file(folder.path / "deep" / "rows.csv")).size() == 3);
}

TEST_CASE("A last line that broke off is left out, any other is an error", "[bench][curve]") {
  const Folder folder;
  std::filesystem::create_directories(folder.path);
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
  CHECK_THROWS_AS(ResultFiles(folder.path), merganser::IoError);
}

TEST_CASE("A trace is read as it was resumed", "[bench][curve]") {
  const Folder folder;
  std::filesystem::create_directories(folder.path);
  const std::filesystem::path path = folder.path / "trace.jsonl";
  CHECK(read_trace(path).empty());
  std::ofstream file(path);
  const auto step = [&](int number, const std::string& rate, double alpha) {
    file << "{\"step\":" << number << ",\"deletion_rate\":" << rate << ",\"alpha\":" << alpha << "}\n";
  };
  step(0, "null", 0);
  step(1, "0.9", 0.9);
  step(1, "0.4", 0.5);  // once more, after a kill
  step(2, "0.6", 0.7);
  file << "{\"event\":\"deletion_collapse\"}\n{\"step\":3,\"dele";
  file.close();
  const std::vector<TracePoint> trace = read_trace(path);
  REQUIRE(trace.size() == 3);
  CHECK(std::isnan(trace[0].deletion_rate));
  CHECK(trace[1].deletion_rate == 0.4);
  CHECK(trace[2].alpha == 0.7);
  const std::vector<TracePoint> mean = averaged(trace, 1);
  REQUIRE(mean.size() == 1);
  CHECK_THAT(mean[0].deletion_rate, WithinAbs(0.5, 1e-12));
  CHECK_THAT(mean[0].alpha, WithinAbs(0.4, 1e-12));
  CHECK(averaged({}, 5).empty());
}

TEST_CASE("The last quarter of training", "[bench][curve]") {
  std::vector<TracePoint> trace;
  for (Index step = 0; step < 200; ++step)  // 0.5 but for the last twentieth, and far off before
    trace.push_back({step, step < 150 ? 0.9 : step < 190 ? 0.5 : 0.6, 0});
  const LateTraining late = late_training(trace, 200, 0.5);
  CHECK_THAT(late.rate, WithinAbs(0.52, 1e-12));
  CHECK_THAT(late.deviation, WithinAbs(0.1, 1e-12));
  CHECK(std::isnan(late_training({}, 200, 0.5).rate));
  CHECK(std::isnan(late_training({}, 200, 0.5).deviation));
}
