// A directory that appears whole or not at all, one that goes at once, and what to do with the rest of a killed writer.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/file_sync.hpp>

namespace merganser::inline MERGANSER_ISA::io {

namespace detail {

inline constexpr std::string_view saving_suffix = ".merganser-saving", removed_suffix = ".merganser-removed";

/// The name beside a directory under which it is written or removed: ".NAME" and the suffix.
inline std::filesystem::path name_beside(const std::filesystem::path& path, std::string_view suffix) {
  return path.parent_path() / ("." + path.filename().string() + std::string(suffix));
}

inline void remove_tree(const std::filesystem::path& path) {
  std::error_code failure;
  std::filesystem::remove_all(path, failure);
  if (failure) throw IoError(path.string(), "directory", failure.message(), "a directory that can be removed");
}

}  // namespace detail

/// A new directory that takes its name only when it is complete.
///
/// The files go to a directory beside it; `commit` flushes the names and renames it. Without a commit, that is also
/// after any exception, it is removed. Files are flushed by whoever writes them, as `AtomicFile` does. One writer at a
/// time.
class AtomicDirectory {
 public:
  /// Makes the temporary directory, empty.
  /// @throws IoError if there is something at `path`, or the directory can't be made
  explicit AtomicDirectory(std::filesystem::path path)
      : target_(std::move(path)), path_(detail::name_beside(target_, detail::saving_suffix)) {
    std::error_code failure;
    if (std::filesystem::exists(std::filesystem::symlink_status(target_, failure)))
      throw IoError(target_.string(), "directory", "something of this name", "a new directory");
    detail::remove_tree(path_);
    std::filesystem::create_directory(path_, failure);
    if (failure) throw IoError(target_.string(), "directory", failure.message(), "a directory that can be made");
  }

  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  AtomicDirectory(AtomicDirectory&&) = delete;
  AtomicDirectory& operator=(AtomicDirectory&&) = delete;

  ~AtomicDirectory() {
    if (committed_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  /// Where the files go until `commit`.
  const std::filesystem::path& path() const { return path_; }

  /// Gives the directory its name. The last call on this object.
  /// @throws IoError if the names can't be flushed or the directory can't be renamed
  void commit() {
    sync_directory(path_);
    std::error_code failure;
    std::filesystem::rename(path_, target_, failure);
    if (failure)
      throw IoError(target_.string(), "directory", "a failed rename: " + failure.message(),
                    "the directory under its name");
    committed_ = true;
    sync_directory(target_.parent_path());
  }

 private:
  std::filesystem::path target_, path_;
  bool committed_ = false;
};

/// Removes a directory and all that is in it: the name goes first, so that nobody sees a part of it.
/// @throws IoError if it can't be renamed or removed
inline void remove_directory_atomically(const std::filesystem::path& path) {
  const std::filesystem::path aside = detail::name_beside(path, detail::removed_suffix);
  detail::remove_tree(aside);
  std::error_code failure;
  std::filesystem::rename(path, aside, failure);
  if (failure) throw IoError(path.string(), "directory", failure.message(), "a directory that can be removed");
  detail::remove_tree(aside);
}

/// Removes what killed writers have left in a directory: what `AtomicDirectory` and `remove_directory_atomically` of
/// this directory's entries had not finished. Nobody else may be writing. Returns the names.
/// @throws IoError if the directory can't be read or a rest can't be removed
inline std::vector<std::string> remove_unfinished(const std::filesystem::path& directory) {
  std::error_code failure;
  std::vector<std::string> rests;
  for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    std::string name = entry->path().filename().string();
    if (name.starts_with('.') && (name.ends_with(detail::saving_suffix) || name.ends_with(detail::removed_suffix)))
      rests.push_back(std::move(name));
  }
  if (failure) throw IoError(directory.string(), "directory", failure.message(), "a directory that can be read");
  for (const std::string& name : rests) detail::remove_tree(directory / name);
  return rests;
}

}  // namespace merganser::io
