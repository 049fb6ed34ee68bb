// The rows of a folder.
#include "result_files.hpp"

#include <algorithm>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <merganser/core/io_error.hpp>
#include <merganser/io/atomic_file.hpp>

namespace compression_curve {

namespace {

const std::filesystem::path& make(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw merganser::IoError(directory.string(), "directory", error.message(), "a directory that can be made");
  return directory;
}

constexpr const char* rows_file = "rows.jsonl";

}  // namespace

ResultFiles::ResultFiles(const std::filesystem::path& directory) : directory_(make(directory)), lock_(directory_) {
  read();
}

void ResultFiles::read() {
  const std::filesystem::path path = directory_ / rows_file;
  if (!std::filesystem::exists(path)) return;
  const std::string text = merganser::io::read_text_file(path);
  std::size_t begin = 0;
  for (int number = 1; begin < text.size(); ++number) {
    const std::size_t end = text.find('\n', begin);
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    try {
      if (!line.empty()) rows_.push_back(row_from_json(line));
    } catch (const std::invalid_argument& error) {
      if (end == std::string::npos) return;
      throw merganser::IoError(path.string(), "line " + std::to_string(number), error.what(), "a row of this program");
    }
    if (end == std::string::npos) return;
    begin = end + 1;
  }
}

const RunRow* ResultFiles::find(std::string_view settings) const {
  const auto place =
      std::find_if(rows_.begin(), rows_.end(), [&](const RunRow& row) { return row.settings == settings; });
  return place == rows_.end() ? nullptr : &*place;
}

std::vector<RunRow> ResultFiles::rows_of(const std::map<std::string, std::string>& bases) const {
  std::vector<RunRow> result;
  for (const RunRow& row : rows_)
    if (const auto base = bases.find(row.policy); base != bases.end() && base->second == row.base)
      result.push_back(row);
  return result;
}

void ResultFiles::add(RunRow row) {
  const auto place =
      std::find_if(rows_.begin(), rows_.end(), [&](const RunRow& other) { return other.settings == row.settings; });
  if (place == rows_.end())
    rows_.push_back(std::move(row));
  else
    *place = std::move(row);
  write();
}

void ResultFiles::write() const {
  using merganser::io::write_file_atomically;
  std::string lines;
  for (const RunRow& row : rows_) lines += to_json_line(row) + "\n";
  write_file_atomically(directory_ / rows_file, std::string_view(lines));
  write_file_atomically(directory_ / "rows.csv", std::string_view(to_csv(rows_)));
  const std::string languages = languages_to_json_lines(rows_);
  if (languages.empty()) return;
  write_file_atomically(directory_ / "languages.jsonl", std::string_view(languages));
  write_file_atomically(directory_ / "languages.csv", std::string_view(languages_to_csv(rows_)));
}

}  // namespace compression_curve
