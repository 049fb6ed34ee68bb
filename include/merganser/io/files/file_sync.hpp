// What only the system can say of files: flushing to the disk, and locks that end with their process (fsync, flock).
#pragma once

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <merganser/core/io_error.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// Flushes the names in a directory to the disk, so that new, renamed and removed entries outlive a loss of power. Does
/// nothing on systems without fsync, and for a directory that may be written to but not read.
/// @throws IoError if that fails
void sync_directory(const std::filesystem::path& path);

namespace detail {

/// Hands the buffer of a file to the system and all of it to the disk. False, and errno says why, if that fails.
bool sync_file(std::FILE* file);

/// An open lock file: nobody else holds one on the same file, in this process or another, while this lives. The system
/// lets go of it when the process ends, however it ends.
class FileLock {
 public:
  enum class Outcome {
    held,
    taken,    ///< somebody else has it
    unknown,  ///< the system or the file system knows no locks
    failed,   ///< the file can't be opened; errno says why
  };
  enum class File { existing, made_if_missing };

  FileLock() = default;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileLock();

  /// Waits for nobody.
  Outcome lock(const std::filesystem::path& path, File file);

  /// Locks a file that is open under this name. False if somebody has it, or has removed the name meanwhile.
  bool lock_open_file(std::FILE* file, const std::filesystem::path& path);

 private:
  int descriptor_ = -1;
};

}  // namespace detail

#if defined(__unix__) || defined(__APPLE__)

inline void sync_directory(const std::filesystem::path& path) {
  const std::string name = path.empty() ? "." : path.string();
  const int descriptor = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 && errno == EACCES) return;
  int failure = descriptor < 0 ? errno : 0;
  if (descriptor >= 0) {
    if (::fsync(descriptor) != 0) failure = errno;
    ::close(descriptor);
  }
  // Some file systems have nothing to flush for a directory and say so.
  if (failure != 0 && failure != EINVAL && failure != ENOTSUP)
    throw IoError(name, "directory", "a failed flush: " + std::generic_category().message(failure),
                  "all names on the disk");
}

namespace detail {

inline bool sync_file(std::FILE* file) { return std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0; }

inline int lock_without_waiting(int descriptor) {
  int failure = 0;
  do failure = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  while (failure == EINTR);
  return failure;
}

inline FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

inline FileLock::Outcome FileLock::lock(const std::filesystem::path& path, File file) {
  constexpr int owner_writes_all_read = 0644;
  const int access = file == File::made_if_missing ? O_RDWR | O_CREAT : O_RDONLY | O_NONBLOCK;
  FileLock opened;
  opened.descriptor_ = ::open(path.string().c_str(), access | O_CLOEXEC, owner_writes_all_read);
  if (opened.descriptor_ < 0) return Outcome::failed;
  const int failure = lock_without_waiting(opened.descriptor_);
  if (failure == EWOULDBLOCK) return Outcome::taken;
  *this = std::move(opened);
  return failure == 0 ? Outcome::held : Outcome::unknown;
}

inline bool FileLock::lock_open_file(std::FILE* file, const std::filesystem::path& path) {
  FileLock opened;
  opened.descriptor_ = ::fcntl(::fileno(file), F_DUPFD_CLOEXEC, 0);
  if (opened.descriptor_ < 0 || lock_without_waiting(opened.descriptor_) == EWOULDBLOCK) return false;
  *this = std::move(opened);
  struct stat of_file {
  }, of_name{};
  return ::fstat(descriptor_, &of_file) == 0 && ::stat(path.string().c_str(), &of_name) == 0 &&
         of_file.st_ino == of_name.st_ino && of_file.st_dev == of_name.st_dev;
}

#else

inline void sync_directory(const std::filesystem::path&) {}

namespace detail {

inline bool sync_file(std::FILE* file) { return std::fflush(file) == 0; }
inline FileLock::~FileLock() = default;
inline FileLock::Outcome FileLock::lock(const std::filesystem::path&, File) { return Outcome::unknown; }
inline bool FileLock::lock_open_file(std::FILE*, const std::filesystem::path&) { return true; }

#endif

}  // namespace detail

}  // namespace merganser::io
