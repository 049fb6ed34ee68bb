// Every link of a page within the tree leads to a file, and its anchor to a heading.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "docs/row_file.hpp"
#include "support/catch.hpp"

namespace links_test {

namespace fs = std::filesystem;

const fs::path root = fs::path(MERGANSER_GOLDEN_DIR).parent_path().parent_path();

/// The anchors that GitHub gives the headings of a page.
std::set<std::string> anchors_of(const std::string& page) {
  std::set<std::string> anchors;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("#")) continue;
    std::string anchor;
    for (const char c : line.substr(std::min(line.find(' ') + 1, line.size()))) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == ' ') anchor += '-';
      if (std::isalnum(byte) != 0 || c == '-' || c == '_' || byte >= 0x80)
        anchor += static_cast<char>(std::tolower(byte));
    }
    anchors.insert(anchor);
  }
  return anchors;
}

std::vector<std::string> broken_links(const fs::path& page) {
  std::vector<std::string> broken;
  const std::string text = std::regex_replace(docs::read_file(page), std::regex("```[^`]*```|`[^`\n]*`"), "");
  static const std::regex link(R"re(\]\(([^)\s#]*)(#([^)\s]*))?\)|(src|srcset)="([^"]+)")re");
  for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it) {
    const std::string target = (*it)[5].matched ? it->str(5) : it->str(1), anchor = it->str(3);
    if (target.find("://") != std::string::npos) continue;
    const fs::path file = target.empty() ? page : page.parent_path() / target;
    if (!fs::exists(file) || (!anchor.empty() && !anchors_of(docs::read_file(file)).contains(anchor)))
      broken.push_back(it->str());
  }
  return broken;
}

TEST_CASE("links within the tree lead somewhere", "[links]") {
  int pages = 0;
  for (const char* folder : {"docs", "examples", "cmake", "tests/fuzz"})
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.path().extension() != ".md") continue;
      CAPTURE(entry.path());
      for (const std::string& link : broken_links(entry.path())) FAIL_CHECK(link);
      ++pages;
    }
  for (const std::string& link : broken_links(root / "README.md")) FAIL_CHECK(link);
  CHECK(pages > 10);
}

TEST_CASE("links that lead nowhere are found", "[links]") {
  const fs::path page = fs::temp_directory_path() / "merganser_links.md";
  std::ofstream(page) << "# Some heading, and `code`\n[a](#some-heading-and-code) [b](merganser_links.md) "
                         "[c](https://x.y) `[d](gone)`\n"
                         "[e](#gone) [f](gone.md) [g](merganser_links.md#gone) <img src=\"gone.svg\">\n";
  CHECK(broken_links(page).size() == 4);
  fs::remove(page);
}

}  // namespace links_test
