// Reading a file whole, and writing one so that readers see the old file or the new one, never a part.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include <merganser/core/io_error.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// A new file that takes its name only when it is complete.
///
/// The bytes go to a temporary file in the same directory; `commit` flushes it to the disk and renames it over the old
/// file. Without a commit, that is also after any exception, the temporary file is removed and an old file stays as it
/// was. A symbolic link is followed: the file that it names is replaced. One thread at a time.
class AtomicFile {
 public:
  /// Creates the temporary file.
  /// @throws IoError if the directory can't be written to, or `path` names something other than a regular file
  explicit AtomicFile(const std::filesystem::path& path) : path_(path), name_(path.string()) {
    std::error_code failure;
    if (std::filesystem::is_symlink(path_, failure)) path_ = std::filesystem::weakly_canonical(path_, failure);
    const std::filesystem::file_status status = std::filesystem::status(path_, failure);
    if (!path_.has_filename() || (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)))
      throw IoError(name_, "file", "something that is not a regular file", "a new or a regular file");
    open_temporary();
  }

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  AtomicFile(AtomicFile&&) = delete;
  AtomicFile& operator=(AtomicFile&&) = delete;

  ~AtomicFile() {
    if (file_ != nullptr) std::fclose(file_);
    if (!temporary_.empty()) std::remove(temporary_.c_str());
  }

  /// Appends bytes.
  /// @throws IoError if the disk takes fewer than all of them
  void write(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    const std::size_t written = std::fwrite(bytes.data(), 1, bytes.size(), file_);
    if (written != bytes.size())
      throw IoError(name_, "file", "a failed write: " + last_error(), "all bytes on the disk");
  }

  /// Appends text.
  /// @throws IoError if the disk takes fewer than all bytes
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Gives the file its name. The last call on this object.
  /// @throws IoError if the bytes can't be flushed or the file can't be renamed
  void commit() {
    bool flushed = std::fflush(file_) == 0;
#if defined(__unix__) || defined(__APPLE__)
    flushed = flushed && ::fsync(::fileno(file_)) == 0;
#endif
    if (!flushed) throw IoError(name_, "file", "a failed flush: " + last_error(), "all bytes on the disk");
    if (std::fclose(std::exchange(file_, nullptr)) != 0)
      throw IoError(name_, "file", "a failed close: " + last_error(), "all bytes on the disk");
    std::error_code failure;
    std::filesystem::rename(temporary_, path_, failure);
    if (failure) throw IoError(name_, "file", "a failed rename: " + failure.message(), "the file under its name");
    temporary_.clear();
  }

 private:
  static std::string last_error() { return std::generic_category().message(errno); }

  // A name of its own for every writer: "wx" fails when the file exists, also between processes.
  void open_temporary() {
    constexpr int attempts = 1000;
    for (int attempt = 0; attempt < attempts && file_ == nullptr; ++attempt) {
      const std::string name = ".merganser-" + std::to_string(attempt) + ".tmp";
      std::string candidate = (path_.parent_path() / name).string();
      errno = 0;
      file_ = std::fopen(candidate.c_str(), "wbx");
      if (file_ != nullptr)
        temporary_ = std::move(candidate);
      else if (errno != EEXIST)
        break;
    }
    if (file_ == nullptr) throw IoError(name_, "file", last_error(), "a directory that can be written to");
  }

  std::filesystem::path path_;
  std::string name_;       // as the caller wrote it, for errors
  std::string temporary_;  // empty once renamed
  std::FILE* file_ = nullptr;
};

/// Writes a file by calling write(AtomicFile&): all of it or, on any exception, nothing.
/// @throws IoError if the file can't be written; whatever `write` throws
template <std::invocable<AtomicFile&> Writer>
void write_file_atomically(const std::filesystem::path& path, Writer&& write) {
  AtomicFile file(path);
  std::forward<Writer>(write)(file);
  file.commit();
}

/// Writes a file of the given bytes, all of them or nothing.
/// @throws IoError if the file can't be written
inline void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  write_file_atomically(path, [bytes](AtomicFile& file) { file.write(bytes); });
}

/// Writes a file of the given text, all of it or nothing.
/// @throws IoError if the file can't be written
inline void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

namespace detail {

inline void require_regular_file(const std::filesystem::path& path) {
  std::error_code failure;
  const std::filesystem::file_status status = std::filesystem::status(path, failure);
  if (!std::filesystem::exists(status)) throw IoError(path.string(), "file", "no such file", "a file");
  if (!std::filesystem::is_regular_file(status))
    throw IoError(path.string(), "file", "something that is not a regular file", "a file");
}

}  // namespace detail

/// The bytes of a regular file.
/// @throws IoError if there is no such file, it is a directory or a device, or it can't be read to its end
inline std::vector<std::byte> read_file(const std::filesystem::path& path) {
  const std::string name = path.string();
  detail::require_regular_file(path);
  std::error_code failure;
  const std::uintmax_t size = std::filesystem::file_size(path, failure);
  if (failure) throw IoError(name, "file", failure.message(), "a file whose size is known");

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(name.c_str(), "rb"));
  if (file == nullptr) throw IoError(name, "file", std::generic_category().message(errno), "a readable file");
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  const std::size_t count = bytes.empty() ? 0 : std::fread(bytes.data(), 1, bytes.size(), file.get());
  if (count != bytes.size() || std::fgetc(file.get()) != EOF)
    throw IoError(name, "file", "a file that changed or broke off while it was read", std::to_string(size) + " bytes");
  return bytes;
}

/// The text of a regular file; any bytes are text.
/// @throws IoError as `read_file`
inline std::string read_text_file(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace merganser::io
