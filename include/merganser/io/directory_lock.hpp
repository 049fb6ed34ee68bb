// One writer a directory.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#endif

#include <merganser/core/io_error.hpp>

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
  explicit DirectoryLock(const std::filesystem::path& directory);

  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  DirectoryLock(DirectoryLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~DirectoryLock();

 private:
  int descriptor_ = -1;
};

#if defined(__unix__) || defined(__APPLE__)

inline DirectoryLock::DirectoryLock(const std::filesystem::path& directory) {
  const std::string name = (directory / file_name).string();
  constexpr int owner_writes_all_read = 0644;
  descriptor_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, owner_writes_all_read);
  if (descriptor_ < 0)
    throw IoError(directory.string(), "directory", std::generic_category().message(errno),
                  "a directory that can be written to");
  int failure = 0;
  do failure = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  while (failure == EINTR);
  if (failure == EWOULDBLOCK) {
    ::close(descriptor_);
    throw IoError(directory.string(), "directory", "one that another writer has open", "one writer at a time");
  }
}

inline DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

#else

inline DirectoryLock::DirectoryLock(const std::filesystem::path&) {}
inline DirectoryLock::~DirectoryLock() = default;

#endif

}  // namespace merganser::io
