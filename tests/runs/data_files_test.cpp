// Files of a run: told apart by what they hold, and a tenth of them held back.
#include <merganser/runs/data_files.hpp>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace data_files_test {

using namespace merganser;
using namespace merganser::runs;

TEST_CASE("contents are told apart by size and checksum", "[data_files]") {
  CHECK(content_of("abc") != content_of("abd"));
  CHECK(content_of("abc").starts_with("3 bytes with checksum "));
  const testing::TemporaryDirectory directory;
  std::ofstream(directory / "a") << "text";
  Settings contents;
  CHECK(read_file("--text", {"", (directory / "a").string()}, contents) == "text");
  CHECK(read_file("--text", {"en", (directory / "a").string()}, contents) == "text");
  CHECK(contents == Settings{{"content of --text", content_of("text")}, {"content of --text en", content_of("text")}});
}

TEST_CASE("a tenth of the lines is held back, whatever their order", "[data_files]") {
  std::vector<std::string> lines;
  for (int i = 0; i < 50; ++i) lines.push_back("line " + std::to_string(i));
  const auto held = hold_back(lines, {}, "file");
  CHECK(std::count(held.begin(), held.end(), 1) == 5);
  CHECK_THROWS_AS(hold_back({"same", "same"}, {}, "file"), IoError);
}

TEST_CASE("examples are spread evenly over all", "[data_files]") {
  CHECK(spread(std::vector<int>{0, 1, 2, 3, 4, 5}, 3) == std::vector<int>{0, 2, 4});
  CHECK(spread(std::vector<int>{0, 1}, 5) == std::vector<int>{0, 1});
  CHECK(spread(std::vector<int>(), 5).empty());
}

TEST_CASE("files of languages belong together", "[data_files]") {
  DataOptions options;
  options.texts = {{"en", "a"}, {"de", "b"}};
  CHECK(valid_of(options, "en") == nullptr);
  options.valid = {{"de", "c"}, {"en", "d"}};
  CHECK_NOTHROW(check_names(options, options.texts));
  CHECK(valid_of(options, "en")->path == "d");
  CHECK_THROWS_WITH(valid_of(options, "fr"), "--valid has no file for fr");
  options.valid.push_back({"fr", "e"});
  CHECK_THROWS_WITH(check_names(options, options.texts), "--valid e belongs to no text");
  options.valid.clear();
  options.texts = {{"", "a"}, {"", "b"}};
  CHECK_THROWS_WITH(check_names(options, options.texts), "several files need names, such as en=FILE");
}

}  // namespace data_files_test
