// Texts from files: a plain text cut into windows, and two-column tab-separated pairs.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/example.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// The whole file as bytes, whatever they are; reads pipes too.
/// @throws IoError if the file is missing, a directory, unreadable or empty
inline std::string read_text(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw IoError(path.string(), "file", "a directory", "a text file");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw IoError(path.string(), "file",
                  errno != 0 ? std::generic_category().message(errno) : "nothing that can be opened",
                  "a readable text file");
  std::string bytes;
  std::vector<char> block(std::size_t{1} << 16);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0)
    bytes.append(block.data(), static_cast<std::size_t>(file.gcount()));
  if (file.bad()) throw IoError(path.string(), "file", "a read error", "a readable text file");
  if (bytes.empty()) throw IoError(path.string(), "file", "0 bytes", "at least 1 byte");
  return bytes;
}

/// A text of any bytes, at least one, read window by window.
///
/// Windows are bytes: they may begin and end inside a UTF-8 character. They are views, valid as long as the corpus
/// lives and is not moved. Immutable; may be shared between threads, each with its own Rng.
class TextCorpus {
 public:
  /// @throws IoError as `read_text`
  static TextCorpus read(const std::filesystem::path& path) { return {read_text(path), path.string()}; }

  /// A text in memory; the name is used in errors. @throws IoError if the text is empty
  static TextCorpus from_text(std::string text, std::string name = "text") {
    if (text.empty()) throw IoError(name, "text", "0 bytes", "at least 1 byte");
    return {std::move(text), std::move(name)};
  }

  const std::string& text() const { return text_; }
  const std::string& name() const { return name_; }
  /// Bytes.
  Index size() const { return static_cast<Index>(text_.size()); }

  /// The bytes [begin, begin + length). @throws std::invalid_argument if they are not all inside the text
  std::string_view window(Index begin, Index length) const& {
    check_window("TextCorpus::window", length);
    check_argument(begin >= 0 && begin <= size() - length, "TextCorpus::window", "begin", begin,
                   "0 to " + std::to_string(size() - length) + " in " + name_);
    return view(begin, length);
  }
  std::string_view window(Index begin, Index length) const&& = delete;  // the text would be gone

  /// A window that begins anywhere, each place equally likely.
  /// @throws std::invalid_argument if length is below 1 or the text is shorter
  std::string_view random_window(Index length, Rng& rng) const& {
    check_window("TextCorpus::random_window", length);
    return view(static_cast<Index>(rng.below(static_cast<std::uint64_t>(size() - length + 1))), length);
  }
  std::string_view random_window(Index length, Rng& rng) const&& = delete;

  /// How many windows lie side by side, at least 1; a shorter rest does not count.
  /// @throws std::invalid_argument if length is below 1 or the text is shorter
  Index window_count(Index length) const {
    check_window("TextCorpus::window_count", length);
    return size() / length;
  }

  /// Window i of those side by side, for validation.
  /// @throws std::invalid_argument as `window_count`, or if i is not in [0, window_count(length))
  std::string_view window_at(Index i, Index length) const& {
    const Index count = window_count(length);
    check_argument(i >= 0 && i < count, "TextCorpus::window_at", "i", i,
                   "0 to " + std::to_string(count - 1) + " in " + name_);
    return view(i * length, length);
  }
  std::string_view window_at(Index i, Index length) const&& = delete;

 private:
  TextCorpus(std::string text, std::string name) : text_(std::move(text)), name_(std::move(name)) {}

  void check_window(std::string_view function, Index length) const {
    check_argument(length >= 1 && length <= size(), function, "length", length,
                   "a window of 1 to " + std::to_string(size()) + " bytes, the size of " + name_);
  }

  std::string_view view(Index begin, Index length) const {
    return std::string_view(text_).substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(length));
  }

  std::string text_;
  std::string name_;
};

/// Two texts that belong together; either may be empty.
struct TextPair {
  std::string source;
  std::string target;

  bool operator==(const TextPair&) const = default;
};

/// Pairs of texts, one a line, separated by one tab.
///
/// Lines end with LF or CRLF; the last one may lack its end, or be blank. Nothing is quoted or escaped.
class TsvCorpus {
 public:
  /// @throws IoError as `read_text`, and as `parse`
  static TsvCorpus read(const std::filesystem::path& path) { return parse(read_text(path), path.string()); }

  /// Text in memory; the name is used in errors.
  /// @throws IoError if a line has not exactly one tab, naming the line (from 1), or if there is no pair
  static TsvCorpus parse(std::string_view text, std::string_view name = "text") {
    TsvCorpus corpus;
    for (Index line_number = 1; !text.empty(); ++line_number) {
      const std::size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
      if (end != std::string_view::npos && line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty() && text.empty()) break;
      const auto tabs = std::count(line.begin(), line.end(), '\t');
      if (tabs != 1)
        throw IoError(name, "line " + std::to_string(line_number), std::to_string(tabs + 1) + " columns",
                      "2 columns with one tab between them");
      const std::size_t tab = line.find('\t');
      corpus.pairs_.push_back({std::string(line.substr(0, tab)), std::string(line.substr(tab + 1))});
    }
    if (corpus.pairs_.empty()) throw IoError(name, "lines", "0", "at least 1 line of 2 columns");
    return corpus;
  }

  const std::vector<TextPair>& pairs() const { return pairs_; }

  /// All pairs as ids, both sides with their end of sequence.
  std::vector<Example> examples() const {
    std::vector<Example> result;
    result.reserve(pairs_.size());
    for (const TextPair& pair : pairs_)
      result.push_back(
          {ByteTokenizer().encode(pair.source, AddEos::yes), ByteTokenizer().encode(pair.target, AddEos::yes)});
    return result;
  }

 private:
  TsvCorpus() = default;

  std::vector<TextPair> pairs_;
};

}  // namespace merganser::data
