// A file seen as memory: mapped where the system can, read otherwise; and bytes that never were a file.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/atomic_file.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// How the bytes of a file are held.
enum class Mapping {
  mapped,     ///< pages come from the file when they are read, and may go again
  in_memory,  ///< a copy of the whole file, which no longer depends on it
};

/// The bytes of a regular file, mapped for reading.
///
/// The size is taken once, when the file is opened. A file that another program cuts short while it is mapped ends this
/// one (SIGBUS) when the lost part is read: replace files by renaming, as `AtomicFile` does, and map no file that
/// others write in place; `Mapping::in_memory` and `read_file` are the way to read those. On systems without mmap the
/// file is read into memory. Any number of threads may read.
class MappedFile {
 public:
  /// @throws IoError if there is no such file, it is a directory or a device, or it can't be mapped
  explicit MappedFile(const std::filesystem::path& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  MappedFile(MappedFile&&) = delete;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

  /// Lets the system take back the pages that hold `part`, a part of `bytes()`, and those around it. They stay readable
  /// and come again from the file, so that this only moves time against resident memory.
  void release(std::span<const std::byte> part) const;

 private:
  std::span<const std::byte> bytes_;
  std::vector<std::byte> copy_;  // where there is no mmap
};

#if defined(__unix__) || defined(__APPLE__)

inline MappedFile::MappedFile(const std::filesystem::path& path) {
  const std::string name = path.string();
  const auto fail = [&name](const std::string& what) {
    throw IoError(name, "file", what + ": " + std::generic_category().message(errno), "a file that can be mapped");
  };
  detail::require_regular_file(path);
  struct Descriptor {
    explicit Descriptor(int opened) : value(opened) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
      if (value >= 0) ::close(value);
    }
    int value;
  };
  // Should the file have become a pipe since it was looked at, opening it must not wait.
  const Descriptor descriptor(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (descriptor.value < 0) fail("a failed open");
  if (::fstat(descriptor.value, &status) != 0) fail("an unknown size");
  if (!S_ISREG(status.st_mode) || !std::in_range<std::size_t>(status.st_size))
    throw IoError(name, "file", "something that is not a regular file", "a file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;
  void* const place = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.value, 0);
  if (place == MAP_FAILED) fail("a failed mmap");
  bytes_ = {static_cast<const std::byte*>(place), size};
}

inline MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

inline void MappedFile::release(std::span<const std::byte> part) const {
  if (part.empty()) return;
  // Linux maps pages around a missing one as well, up to a huge page of 2 MiB: without rounding outwards, those in
  // front of each part would stay.
  const std::size_t group = std::max<std::size_t>(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), 1 << 21);
  const auto start = reinterpret_cast<std::uintptr_t>(bytes_.data());
  const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(part.data()), last = first + part.size();
  const std::size_t begin = std::max(first / group * group, start) - start;
  const std::size_t end = std::min((last + group - 1) / group * group - start, bytes_.size());
  ::madvise(const_cast<std::byte*>(bytes_.data()) + begin, end - begin, MADV_DONTNEED);
}

#else

inline MappedFile::MappedFile(const std::filesystem::path& path) : copy_(read_file(path)) { bytes_ = copy_; }
inline MappedFile::~MappedFile() = default;
inline void MappedFile::release(std::span<const std::byte>) const {}

#endif

/// Bytes that are read as those of a file: a file's own, mapped or copied, or a caller's.
///
/// A value: copies share the bytes, which stay as long as one of them lives. Those of `borrowed` are the exception:
/// their owner keeps them, unchanged, as long as a copy lives or a table of tensors made of it. Any number of threads
/// may read.
class FileBytes {
 public:
  /// No bytes.
  FileBytes() = default;

  /// Those of a file (see `MappedFile` for what a mapped file asks of others).
  /// @throws IoError if there is no such file, it is a directory or a device, or it can't be mapped or read
  static FileBytes open(const std::filesystem::path& path, Mapping mapping = Mapping::mapped) {
    if (mapping == Mapping::in_memory) return owned(read_file(path));
    FileBytes result;
    const auto map = std::make_shared<const MappedFile>(path);
    result.bytes_ = map->bytes();
    result.map_ = map.get();
    result.storage_ = map;
    return result;
  }

  /// Bytes in memory that are given away.
  static FileBytes owned(std::vector<std::byte> bytes) {
    FileBytes result;
    const auto storage = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    result.bytes_ = *storage;
    result.storage_ = storage;
    return result;
  }

  /// Bytes in memory that stay the caller's; nothing is copied.
  static FileBytes borrowed(std::span<const std::byte> bytes) {
    FileBytes result;
    result.bytes_ = bytes;
    return result;
  }

  std::span<const std::byte> bytes() const { return bytes_; }

  /// As `MappedFile::release`; does nothing to bytes that are in memory anyway.
  void release(std::span<const std::byte> part) const {
    if (map_ != nullptr) map_->release(part);
  }

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> storage_;  // a map or a vector; empty if borrowed
  const MappedFile* map_ = nullptr;      // the storage, if it is one
};

}  // namespace merganser::io
