// One writer a directory.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/file_sync.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// Keeps other writers out of a directory while it lives, in this process and in others.
///
/// The lock is on the empty file `.merganser-lock` in the directory, which stays; the system lets go of it when the
/// process ends, however it ends. Readers need none. Where the file system knows no locks (some network ones) and
/// on systems without flock, everybody gets in.
class DirectoryLock {
 public:
  static constexpr const char* file_name = ".merganser-lock";

  /// @throws IoError if somebody else has the lock or the directory can't be written to
  explicit DirectoryLock(const std::filesystem::path& directory) {
    using detail::FileLock;
    const FileLock::Outcome outcome = lock_.lock(directory / file_name, FileLock::File::made_if_missing);
    if (outcome == FileLock::Outcome::failed)
      throw IoError(directory.string(), "directory", std::generic_category().message(errno),
                    "a directory that can be written to");
    if (outcome == FileLock::Outcome::taken)
      throw IoError(directory.string(), "directory", "one that another writer has open", "one writer at a time");
  }

 private:
  detail::FileLock lock_;
};

}  // namespace merganser::io
