// Text and TSV corpora: exact bytes, windows, and errors that name file, line and sizes.
#include <merganser/data/text_corpus.hpp>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace text_corpus_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using data::TextCorpus;
using data::TextPair;
using data::TsvCorpus;

/// A folder of its own that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::random_device device;
    path_ = std::filesystem::temp_directory_path() /
            ("merganser_text_corpus_" + std::to_string(device()) + std::to_string(device()));
    std::filesystem::create_directory(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST_CASE("A text file is read byte by byte", "[data][text_corpus]") {
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 200000; ++i) bytes.push_back(static_cast<char>(static_cast<unsigned char>(i * 7 % 256)));
  bytes += "\r\n\0end";
  const TextCorpus corpus = TextCorpus::read(folder.write("all bytes.txt", bytes));
  CHECK(corpus.text() == bytes);
  CHECK(corpus.size() == static_cast<Index>(bytes.size()));
  CHECK_THAT(corpus.name(), Catch::Matchers::EndsWith("all bytes.txt"));
}

TEST_CASE("Files that hold no text are refused by name", "[data][text_corpus]") {
  const TemporaryFolder folder;
  const std::filesystem::path empty = folder.write("empty.txt", "");
  CHECK_THROWS_AS(TextCorpus::read(folder.path() / "missing.txt"), IoError);
  CHECK_THROWS_WITH(TextCorpus::read(folder.path() / "missing.txt"),
                    ContainsSubstring("missing.txt: file: got No such file or directory"));
  CHECK_THROWS_AS(TextCorpus::read(folder.path()), IoError);
  CHECK_THROWS_WITH(TextCorpus::read(folder.path()), ContainsSubstring("a directory"));
  CHECK_THROWS_AS(TextCorpus::read(empty), IoError);
  CHECK_THROWS_WITH(TextCorpus::read(empty), ContainsSubstring("empty.txt: file: got 0 bytes"));
  CHECK_THROWS_AS(TsvCorpus::read(folder.path() / "missing.tsv"), IoError);
  CHECK_THROWS_AS(TsvCorpus::read(empty), IoError);
  CHECK_THROWS_AS(TextCorpus::read(""), IoError);
  CHECK_THROWS_AS(TextCorpus::from_text(""), IoError);
}

TEST_CASE("Windows lie where they are asked for", "[data][text_corpus]") {
  const TextCorpus corpus = TextCorpus::from_text("abcdefghij", "letters");
  CHECK(corpus.window(0, 3) == "abc");
  CHECK(corpus.window(7, 3) == "hij");
  CHECK(corpus.window(0, 10) == "abcdefghij");
  CHECK(corpus.window_count(3) == 3);
  CHECK(corpus.window_at(0, 3) == "abc");
  CHECK(corpus.window_at(2, 3) == "ghi");
  CHECK(corpus.window_count(5) == 2);
  CHECK(corpus.window_count(10) == 1);
  CHECK(corpus.window_count(1) == 10);
}

TEST_CASE("Random windows begin everywhere", "[data][text_corpus]") {
  const TextCorpus corpus = TextCorpus::from_text("abcdef");
  Rng rng(1);
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) seen.emplace(corpus.random_window(4, rng));
  CHECK(seen == std::set<std::string>{"abcd", "bcde", "cdef"});
  CHECK(corpus.random_window(6, rng) == "abcdef");
  Rng first(2);
  Rng second(2);
  for (int i = 0; i < 10; ++i) CHECK(corpus.random_window(2, first) == corpus.random_window(2, second));
}

TEST_CASE("Windows outside the text are refused with the sizes", "[data][text_corpus]") {
  const TextCorpus corpus = TextCorpus::from_text("abcdef", "six.txt");
  Rng rng(1);
  CHECK_THROWS_WITH(corpus.random_window(7, rng),
                    ContainsSubstring("got 7") && ContainsSubstring("1 to 6 bytes, the size of six.txt"));
  CHECK_THROWS_AS(corpus.random_window(0, rng), std::invalid_argument);
  CHECK_THROWS_AS(corpus.window_count(7), std::invalid_argument);
  CHECK_THROWS_AS(corpus.window_count(0), std::invalid_argument);
  CHECK_THROWS_AS(corpus.window_count(-1), std::invalid_argument);
  CHECK_THROWS_AS(corpus.window(0, 7), std::invalid_argument);
  CHECK_THROWS_AS(corpus.window(-1, 2), std::invalid_argument);
  CHECK_THROWS_WITH(corpus.window(5, 2), ContainsSubstring("got 5, expected 0 to 4 in six.txt"));
  CHECK_THROWS_WITH(corpus.window_at(3, 2), ContainsSubstring("got 3, expected 0 to 2 in six.txt"));
  CHECK_THROWS_AS(corpus.window_at(-1, 2), std::invalid_argument);
}

TEST_CASE("Two columns are read with either line end", "[data][text_corpus]") {
  const TemporaryFolder folder;
  const std::vector<TextPair> expected{{"one", "1"}, {"two words", "2 \xC3\xA9"}, {"", "\xFF"}, {"x", ""}};
  const std::string lf = "one\t1\ntwo words\t2 \xC3\xA9\n\t\xFF\nx\t\n";
  std::string crlf;
  for (const char byte : lf) crlf += byte == '\n' ? std::string("\r\n") : std::string(1, byte);
  CHECK(TsvCorpus::read(folder.write("lf.tsv", lf)).pairs() == expected);
  CHECK(TsvCorpus::read(folder.write("crlf.tsv", crlf)).pairs() == expected);
  CHECK(TsvCorpus::parse(lf.substr(0, lf.size() - 1)).pairs() == expected);
  CHECK(TsvCorpus::parse(lf + "\n").pairs() == expected);
  CHECK(TsvCorpus::parse(crlf + "\r\n").pairs() == expected);
}

TEST_CASE("A carriage return without a line feed is text", "[data][text_corpus]") {
  CHECK(TsvCorpus::parse("a\rb\tc\r").pairs() == std::vector<TextPair>{{"a\rb", "c\r"}});
}

TEST_CASE("A bad line is refused with file and number", "[data][text_corpus]") {
  const TemporaryFolder folder;
  const std::filesystem::path three = folder.write("three.tsv", "a\tb\nc\td\te\n");
  CHECK_THROWS_AS(TsvCorpus::read(three), IoError);
  CHECK_THROWS_WITH(TsvCorpus::read(three), ContainsSubstring("three.tsv: line 2: got 3 columns, expected 2"));
  CHECK_THROWS_WITH(TsvCorpus::parse("a\tb\r\nplain\r\n", "p"), ContainsSubstring("p: line 2: got 1 columns"));
  CHECK_THROWS_WITH(TsvCorpus::parse("a\tb\n\nc\td\n", "p"), ContainsSubstring("p: line 2: got 1 columns"));
  for (const char* text : {"", "\n", "\r\n"}) CHECK_THROWS_AS(TsvCorpus::parse(text), IoError);
}

TEST_CASE("Pairs become examples", "[data][text_corpus]") {
  const auto examples = TsvCorpus::parse("a\tbc\n\t\n").examples();
  CHECK(examples == std::vector<data::Example>{{{100, 1}, {101, 102, 1}}, {{1}, {1}}});
}

template <class Corpus>
concept HandsOutWindows = requires(Corpus&& corpus, Rng& rng) {
  std::forward<Corpus>(corpus).window(0, 1);
}
|| requires(Corpus&& corpus, Rng& rng) { std::forward<Corpus>(corpus).random_window(1, rng); }
|| requires(Corpus&& corpus) { std::forward<Corpus>(corpus).window_at(0, 1); };

TEST_CASE("a temporary corpus hands out no windows", "[TextCorpus]") {
  static_assert(HandsOutWindows<const TextCorpus&> && !HandsOutWindows<TextCorpus>);
}

}  // namespace text_corpus_test
