// The rows of a folder: what has been run, and where the next row goes.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <merganser/io/directory_lock.hpp>

#include "run_row.hpp"

namespace compression_curve {

/// rows.jsonl, rows.csv and, with languages, languages.jsonl and languages.csv in a folder.
///
/// Every file is written anew beside the old one, which it then replaces: a kill at any moment leaves whole files, and
/// rows.jsonl is written first and read alone, so that it rules. One writer at a time.
class ResultFiles {
 public:
  /// Makes the folder and reads what is there; a last line that broke off (of another writer) is left out.
  /// @throws merganser::IoError if the folder cannot be written to, somebody else has it open, or a line is no row
  explicit ResultFiles(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  const std::vector<RunRow>& rows() const { return rows_; }

  /// Null unless there is a row with this hash.
  const RunRow* find(std::string_view settings) const;

  /// Those with the base that is given for their policy, in the order they were added.
  std::vector<RunRow> rows_of(const std::map<std::string, std::string>& bases) const;

  /// In place of one with the same settings, if there is one.
  void add(RunRow row);

  /// Writes all files as they should be, in case a kill left an older one.
  void write() const;

 private:
  void read();

  std::filesystem::path directory_;
  merganser::io::DirectoryLock lock_;
  std::vector<RunRow> rows_;
};

}  // namespace compression_curve
