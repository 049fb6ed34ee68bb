// The rows of a folder: what has been run, and where the next row goes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/directory_lock.hpp>
#include <merganser/runs/curve_row.hpp>
#include <merganser/runs/curve_row_text.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// rows.jsonl, rows.csv and, with languages, languages.jsonl and languages.csv in a folder.
///
/// Every file is written anew beside the old one, which it then replaces: a kill at any moment leaves whole files, and
/// rows.jsonl is written first and read alone, so that it rules. One writer at a time.
class ResultFiles {
 public:
  /// Makes the folder and reads what is there; a last line that broke off (of another writer) is left out.
  /// @throws IoError if the folder cannot be written to, somebody else has it open, or a line is no row
  explicit ResultFiles(const std::filesystem::path& directory) : directory_(made(directory)), lock_(directory_) {
    read();
  }

  const std::filesystem::path& directory() const { return directory_; }
  const std::vector<RunRow>& rows() const { return rows_; }

  /// Null unless there is a row with these hashes.
  const RunRow* find(std::string_view settings, std::string_view evaluation) const {
    return first([&](const RunRow& row) { return row.settings == settings && row.origin.evaluation == evaluation; });
  }

  /// A row of that training, however it was evaluated; null without any.
  const RunRow* find_trained(std::string_view settings) const {
    return first([&](const RunRow& row) { return row.settings == settings; });
  }

  /// In place of one with the same hashes, if there is one.
  void add(RunRow row) {
    if (const RunRow* place = find(row.settings, row.origin.evaluation))
      rows_[static_cast<std::size_t>(place - rows_.data())] = std::move(row);
    else
      rows_.push_back(std::move(row));
    write();
  }

  /// Writes all files as they should be, in case a kill left an older one.
  void write() const {
    std::string lines;
    for (const RunRow& row : rows_) lines += to_json_line(row) + "\n";
    write_file("rows.jsonl", lines);
    write_file("rows.csv", to_csv(rows_));
    const std::string languages = languages_to_json_lines(rows_);
    if (languages.empty()) return;
    write_file("languages.jsonl", languages);
    write_file("languages.csv", languages_to_csv(rows_));
  }

 private:
  static const std::filesystem::path& made(const std::filesystem::path& directory) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) throw IoError(directory.string(), "directory", error.message(), "a directory that can be made");
    return directory;
  }

  template <class Condition>
  const RunRow* first(const Condition& condition) const {
    const auto place = std::find_if(rows_.begin(), rows_.end(), condition);
    return place == rows_.end() ? nullptr : &*place;
  }

  void write_file(const char* name, const std::string& text) const {
    io::write_file_atomically(directory_ / name, std::string_view(text));
  }

  void read() {
    const std::filesystem::path path = directory_ / "rows.jsonl";
    if (!std::filesystem::exists(path)) return;
    const std::string text = io::read_text_file(path);
    std::size_t begin = 0;
    for (int number = 1; begin < text.size(); ++number) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view line = std::string_view(text).substr(begin, end - begin);
      begin = end + 1;
      try {
        if (!line.empty()) rows_.push_back(row_from_json(line, path.string(), "line " + std::to_string(number)));
      } catch (const IoError&) {
        if (end < text.size()) throw;
      }
    }
  }

  std::filesystem::path directory_;
  io::DirectoryLock lock_;
  std::vector<RunRow> rows_;
};

}  // namespace merganser::runs
