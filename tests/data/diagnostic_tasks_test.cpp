// Diagnostic tasks: the reference's pairs, and the laws of the generator.
#include <merganser/data/diagnostic_tasks.hpp>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

namespace diagnostic_tasks_test {

using namespace merganser;
using data::DiagnosticTask;
using data::Example;

using Ids = std::vector<TokenId>;

Ids padded(Ids ids, std::size_t length) {
  ids.resize(length, data::ByteTokenizer::pad_id);
  return ids;
}

Index occurrences(const std::string& text, const std::string& pattern) {
  Index count = 0;
  for (std::size_t at = text.find(pattern); at != std::string::npos; at = text.find(pattern, at + pattern.size()))
    ++count;
  return count;
}

TEST_CASE("Targets and ids are those of the reference", "[data][diagnostic_tasks][golden]") {
  const auto golden = nlohmann::json::parse(std::ifstream(MERGANSER_GOLDEN_DIR "/diagnostic_tasks.json"));
  const auto length = golden.at("seq_length").get<std::size_t>();
  REQUIRE(golden.at("tasks").size() == 4);
  std::size_t cases = 0;
  for (const auto& [name, rows] : golden.at("tasks").items()) {
    const DiagnosticTask task = data::diagnostic_task_from_name(name);
    for (const char* group : {"pairs", "given_text"})
      for (const auto& row : rows.at(group)) {
        const std::string input = row.at("input").get<std::string>();
        const std::string target = row.at("target").get<std::string>();
        INFO(name << " " << input);
        // The reference cuts a long text so that the end of sequence still fits.
        if (row.contains("text")) CHECK(input == ("#" + row.at("text").get<std::string>()).substr(0, length - 1));
        CHECK(data::diagnostic_target(task, input) == target);
        const data::ByteTokenizer tokenizer;
        CHECK(padded(tokenizer.encode(input), length) == row.at("input_ids").get<Ids>());
        CHECK(padded(tokenizer.encode(target), length) == row.at("labels").get<Ids>());
        ++cases;
      }
  }
  CHECK(cases > 80);
}

TEST_CASE("Tasks have names", "[data][diagnostic_tasks]") {
  for (const auto& [task, name] : data::diagnostic_tasks) {
    CHECK(data::diagnostic_task_name(task) == name);
    CHECK(data::diagnostic_task_from_name(name) == task);
  }
  CHECK(data::diagnostic_task_from_name("merge_ABC") == DiagnosticTask::sequence_merge);
  CHECK_THROWS_WITH(data::diagnostic_task_from_name("sort"),
                    Catch::Matchers::ContainsSubstring("got sort, expected copy"));
  CHECK_THROWS_AS(data::diagnostic_task_from_name(""), std::invalid_argument);
  CHECK_THROWS_AS(data::diagnostic_task_name(static_cast<DiagnosticTask>(9)), std::invalid_argument);
}

TEST_CASE("Rules at their edges", "[data][diagnostic_tasks]") {
  using data::diagnostic_target;
  for (const auto& [task, name] : data::diagnostic_tasks) CHECK(diagnostic_target(task, "").empty());
  CHECK(diagnostic_target(DiagnosticTask::copy, "aEiABC\xFF") == "aEiABC\xFF");
  CHECK(diagnostic_target(DiagnosticTask::vowel_removal, "aAxyYeU\xC3\xA4") == "xyY\xC3\xA4");
  CHECK(diagnostic_target(DiagnosticTask::contextual_vowel_removal, "bae") == "be");
  CHECK(diagnostic_target(DiagnosticTask::contextual_vowel_removal, "Ba#abAyU") == "Ba#aby");
  CHECK(diagnostic_target(DiagnosticTask::sequence_merge, "ABCABABCAB") == "DABDAB");
  CHECK(diagnostic_target(DiagnosticTask::sequence_merge, "AABCC") == "ADC");
  CHECK(diagnostic_target(DiagnosticTask::sequence_merge, "abcAbC") == "abcAbC");
}

TEST_CASE("is_vowel knows exactly ten letters", "[data][diagnostic_tasks]") {
  int vowels = 0;
  int lower_consonants = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const char letter = static_cast<char>(static_cast<unsigned char>(byte));
    vowels += data::is_vowel(letter) ? 1 : 0;
    lower_consonants += data::is_lower_consonant(letter) ? 1 : 0;
  }
  CHECK(vowels == 10);
  CHECK(lower_consonants == 21);
  CHECK(data::is_vowel('U'));
  CHECK_FALSE(data::is_vowel('y'));
  CHECK_FALSE(data::is_vowel('\0'));
}

TEST_CASE("Drawn texts have the form of the task", "[data][diagnostic_tasks]") {
  Rng rng(12);
  for (const auto& [task, name] : data::diagnostic_tasks)
    for (const Index length : {3, 4, 5, 6, 7, 32, 64, 200}) {
      INFO(name << " " << length);
      Rng replay = rng;
      const auto [input, target] = data::make_diagnostic_text(task, length, rng);
      REQUIRE(static_cast<Index>(input.size()) == length - 1);
      CHECK(input.front() == '#');
      CHECK(std::all_of(input.begin() + 1, input.end(),
                        [](char letter) { return std::isalpha(static_cast<unsigned char>(letter)) != 0; }));
      CHECK(target == data::diagnostic_target(task, input));
      const Example example = data::make_diagnostic_example(task, length, replay);
      CHECK(example.source == data::ByteTokenizer().encode(input));
      CHECK(example.target == data::ByteTokenizer().encode(target));
      CHECK(static_cast<Index>(example.source.size()) == length);
    }
}

TEST_CASE("Letters are uniform", "[data][diagnostic_tasks]") {
  Rng rng(13);
  const auto [input, target] = data::make_diagnostic_text(DiagnosticTask::vowel_removal, 52002, rng);
  for (const char letter : std::string("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    INFO(letter);
    // Five standard deviations around 1,000.
    CHECK(std::abs(std::count(input.begin(), input.end(), letter) - 1000) < 160);
  }
}

TEST_CASE("Patterns are planted as often as the reference plants them", "[data][diagnostic_tasks]") {
  Rng rng(14);
  double merges = 0;
  double pairs = 0;
  bool last_letter_free = true;
  constexpr int rounds = 2000;
  for (int i = 0; i < rounds; ++i) {
    const std::string merged = data::make_diagnostic_text(DiagnosticTask::sequence_merge, 64, rng).first;
    CHECK(occurrences(merged, "ABC") >= 1);
    merges += static_cast<double>(occurrences(merged, "ABC"));
    last_letter_free = last_letter_free && !merged.ends_with("ABC");
    const auto [input, target] = data::make_diagnostic_text(DiagnosticTask::contextual_vowel_removal, 64, rng);
    pairs += static_cast<double>(input.size() - target.size());
  }
  // "ABC" by chance in the last three letters would have a chance of 1.4 % in all the rounds.
  CHECK(last_letter_free);
  // trunc(normal(5, 2.5)), at least 1, is 4.59 on average (exact sum over the normal distribution).
  CHECK_THAT(merges / rounds, Catch::Matchers::WithinAbs(4.59, 0.2));
  // Without planting the share of lower-case consonant and vowel would remove 62 * 21/52 * 10/52 = 4.8 bytes.
  CHECK(pairs / rounds > 9.0);
  CHECK(pairs / rounds < 14.0);
}

TEST_CASE("Planted patterns do not touch one another", "[data][diagnostic_tasks]") {
  Rng rng(15);
  for (int i = 0; i < 200; ++i) {
    const Index letters = 4 + static_cast<Index>(rng.below(40));
    for (const Index width : {2, 3}) {
      std::vector<Index> places =
          data::detail::draw_places(letters, {.mean = 25, .width = width, .max_draws = 501}, rng);
      REQUIRE_FALSE(places.empty());
      std::sort(places.begin(), places.end());
      REQUIRE(places.front() >= 0);
      REQUIRE(places.back() + width < letters);
      for (std::size_t k = 1; k < places.size(); ++k) REQUIRE(places[k] - places[k - 1] >= width);
    }
  }
}

TEST_CASE("A text without room for a letter is refused", "[data][diagnostic_tasks]") {
  Rng rng(16);
  for (const Index length : {-1, 0, 2}) {
    CHECK_THROWS_AS(data::make_diagnostic_text(DiagnosticTask::copy, length, rng), std::invalid_argument);
    CHECK_THROWS_AS(data::make_diagnostic_example(DiagnosticTask::copy, length, rng), std::invalid_argument);
  }
}

}  // namespace diagnostic_tasks_test
