// Every figure of the pages of results is that of a row in the tree.
#include "docs/page_figures.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "support/catch.hpp"

namespace figures_test {

namespace fs = std::filesystem;

const fs::path root = fs::path(MERGANSER_GOLDEN_DIR).parent_path().parent_path();

/// A folder that goes with its owner, also when a page throws.
struct ScratchFolder {
  fs::path path = fs::temp_directory_path() / "merganser_page_figures";

  ScratchFolder() { fs::create_directories(path); }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
};

/// A page beside three rows, as a newcomer would write it.
docs::Page page_of(const std::string& text) {
  const ScratchFolder scratch;
  const fs::path& folder = scratch.path;
  std::ofstream(folder / "rows.jsonl")
      << R"({"policy":"ungated","seed":1,"rate":0,"bits":0.1276,"ms":2.0,"all":2.0})"
         "\n"
      << R"({"policy":"learned","seed":1,"rate":0.5066,"bits":0.13287,"ms":1.5,"all":2.0})"
         "\n"
      << R"({"policy":"learned","seed":2,"rate":0.4866,"bits":0.12664,"ms":1.6,"all":2.0})"
         "\n";
  std::ofstream(folder / "page.md") << text;
  std::ofstream(folder / "other.md") << "Nothing.\n";
  return docs::Page(folder / "page.md");
}

const std::string head =
    "<!-- rows: rows.jsonl: policy seed rate bits ms/all -->\n| | seed | deleted | bits | time "
    "|\n|---|---|---|---|---|\n";

TEST_CASE("figures of the pages of results are those of rows", "[figures]") {
  std::vector<fs::path> pages = {root / "README.md", root / "docs/results.md", root / "docs/training.md",
                                 root / "examples/model/README.md"};
  for (const auto& entry : fs::directory_iterator(root / "docs/results"))
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  int figures = 0;
  for (const fs::path& path : pages) {
    CAPTURE(path);
    const docs::Page page(path);
    for (const std::string& fault : page.faults()) FAIL_CHECK(fault);
    for (const std::string& fault : page.unknown_in_text()) FAIL_CHECK(fault);
    CHECK((page.records() == 0 || path.filename() == "training.md"));
    figures += page.figures();
  }
  CHECK(figures > 200);
}

TEST_CASE("figures of rows are taken", "[figures]") {
  CHECK(page_of(head + "| learned gate | 1 | 50.7 % | **0.1329** | 0.75 |\n").faults().empty());
  CHECK(page_of(head + "| twin | 1 | 0 | 0.128 | |\n").faults().empty());
  CHECK(page_of(head + "| learned | 1, 2 | 49.7 % | 0.1298 | 0.775 |\n").faults().empty());
  CHECK(
      page_of(head + "| learned | 1 | 50.7 % | 0.1329 | |\n\nIt has 0.133 bits at 51 %.\n").unknown_in_text().empty());
  CHECK(page_of("By `--noise 0.1` and g++ 12.2 in 10 minutes.\n").unknown_in_text().empty());
}

TEST_CASE("a table whose rows were not kept says so", "[figures]") {
  const std::string record =
      "<!-- record: 2026-11-28 -->\n| rows not kept | bits |\n|---|---|\n| learned | 0.2 |\n\nIt has 0.2.\n";
  CHECK(page_of(record).faults().empty());
  CHECK(page_of(record).unknown_in_text().empty());
  CHECK(page_of(record).records() == 1);
  CHECK(page_of("<!-- record: 2026-11-28 -->\n| | bits |\n|---|---|\n| learned | 0.2 |\n").faults().size() == 1);
}

TEST_CASE("figures of no row are found", "[figures]") {
  CHECK(page_of(head + "| learned | 1 | 50.7 % | 0.1328 | |\n").faults().size() == 1);
  CHECK(page_of(head + "| learned | 2 | 50.7 % | 0.1329 | |\n").faults().size() == 1);        // of another seed
  CHECK(page_of(head + "| random | 1 | 50.7 % | 0.1329 | |\n").faults().size() == 1);         // of another policy
  CHECK(page_of(head + "| learned | 1 | 50.7 % | 0.1266 | |\n").faults().size() == 1);        // of two rows
  CHECK(page_of(head + "| learned | 1, 2, 3 | 49.7 % | 0.1298 | |\n").faults().size() == 1);  // a seed that was not run
  CHECK(page_of(head + "| learned | 1 | 50.7 % | 0.1329 |\n").faults().size() == 1);          // a cell too few
  CHECK(page_of(head + "| learned | 1 | 50.7 % | 0.1329 | |\n\nIt has 0.131 bits.\n").unknown_in_text().size() == 1);
  CHECK(page_of("It keeps 50.7 % of them.\n").unknown_in_text().size() == 1);
  CHECK(page_of("| a | b |\n|---|---|\n| learned | 0.1329 |\n").unknown_in_text().size() == 1);  // a table of no rows
  CHECK_THROWS(page_of("<!-- rows: gone.jsonl: policy -->\n"));
}

}  // namespace figures_test
