// Lines of two columns: what is held back of several files, and labels.
#include <merganser/runs/pair_data.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace pair_data_test {

using namespace merganser;
using namespace merganser::runs;
using runs::detail::ClassNames;
using runs::detail::PairFile;

PairFile file_of(const std::string& word, int lines) {
  PairFile file;
  for (int i = 0; i < lines; ++i) file.training.push_back({word + std::to_string(i), std::to_string(i)});
  return file;
}

std::vector<std::string> targets(const std::vector<data::TextPair>& pairs) {
  std::vector<std::string> result;
  for (const data::TextPair& pair : pairs) result.push_back(pair.target);
  return result;
}

TEST_CASE("translations are held back together", "[pair_data]") {
  std::vector<PairFile> files = {file_of("one", 40), file_of("eins", 40)};
  runs::detail::hold_back_lines(files, AnswerKind::answers);
  CHECK(files[0].validation.size() == 4);
  CHECK(files[0].training.size() == 36);
  CHECK(targets(files[0].validation) == targets(files[1].validation));
}

TEST_CASE("of labels a tenth of each is held back", "[pair_data]") {
  PairFile file;
  for (int i = 0; i < 40; ++i) file.training.push_back({i < 30 ? "many" : "few", "text " + std::to_string(i)});
  std::vector<PairFile> files = {file};
  runs::detail::hold_back_lines(files, AnswerKind::classes);
  CHECK(std::count_if(files[0].validation.begin(), files[0].validation.end(),
                      [](const data::TextPair& pair) { return pair.source == "few"; }) == 1);
  CHECK(files[0].validation.size() == 4);
}

TEST_CASE("labels have numbers in the order of their names", "[pair_data]") {
  const ClassNames classes({"fish", "bird"});
  CHECK(classes.names() == std::vector<std::string>{"bird", "fish"});
  CHECK(classes.example({"fish", "a text"}, "file").target == std::vector<TokenId>{1});
  CHECK_THROWS_AS(classes.example({"plant", "a text"}, "file"), IoError);
}

}  // namespace pair_data_test
