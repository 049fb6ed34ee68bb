// Reading a file whole, and writing one so that readers see the old file or the new one, never a part.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/file_sync.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// A new file that takes its name only when it is complete.
///
/// The bytes go to a temporary file in the same directory; `commit` flushes it to the disk, renames it over the old
/// file, whose permissions it has, and flushes the directory. Without a commit, that is also after any exception, the
/// temporary file is removed and an old file stays as it was. What a killed writer has left goes when the next one
/// begins in its directory. A symbolic link is followed: the file that it names is replaced. One thread at a time.
class AtomicFile {
 public:
  /// Creates the temporary file, and removes those whose writers are gone.
  /// @throws IoError if the directory can't be written to, or `path` names something other than a regular file
  explicit AtomicFile(const std::filesystem::path& path) : path_(path), name_(path.string()) {
    std::error_code failure;
    if (std::filesystem::is_symlink(path_, failure)) path_ = std::filesystem::weakly_canonical(path_, failure);
    const std::filesystem::file_status status = std::filesystem::status(path_, failure);
    if (!path_.has_filename() || (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)))
      throw IoError(name_, "file", "something that is not a regular file", "a new or a regular file");
    remove_left_behind();
    open_temporary();
    // Before a byte is written: what only its owner may read stays so all the time.
    if (std::filesystem::exists(status)) std::filesystem::permissions(temporary_, status.permissions(), failure);
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
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

  /// Gives the file its name. The last call on this object.
  /// @throws IoError if the bytes can't be flushed or the file can't be renamed
  void commit() {
    if (!detail::sync_file(file_))
      throw IoError(name_, "file", "a failed flush: " + last_error(), "all bytes on the disk");
    if (std::fclose(std::exchange(file_, nullptr)) != 0)
      throw IoError(name_, "file", "a failed close: " + last_error(), "all bytes on the disk");
    std::error_code failure;
    std::filesystem::rename(temporary_, path_, failure);
    if (failure) throw IoError(name_, "file", "a failed rename: " + failure.message(), "the file under its name");
    temporary_.clear();
    sync_directory(path_.parent_path());
  }

 private:
  static constexpr std::string_view prefix = ".merganser-", suffix = ".tmp";

  static std::string last_error() { return std::generic_category().message(errno); }

  // Every writer holds a lock on its temporary file: one that nobody holds has lost its writer.
  void remove_left_behind() const {
    const std::filesystem::path directory = path_.has_parent_path() ? path_.parent_path() : ".";
    std::error_code failure;
    std::vector<std::filesystem::path> candidates;
    for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
         entry.increment(failure)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with(prefix) && name.ends_with(suffix) && !entry->is_symlink(failure))
        candidates.push_back(entry->path());
    }
    for (const std::filesystem::path& candidate : candidates) {
      detail::FileLock lock;
      if (lock.lock(candidate, detail::FileLock::File::existing) == detail::FileLock::Outcome::held)
        std::filesystem::remove(candidate, failure);
    }
  }

  // A name of its own for every writer: "wx" fails when the file exists, also between processes.
  void open_temporary() {
    constexpr int attempts = 1000;
    for (int attempt = 0; attempt < attempts && file_ == nullptr; ++attempt) {
      const std::string name = std::string(prefix) + std::to_string(attempt) + std::string(suffix);
      std::string candidate = (path_.parent_path() / name).string();
      errno = 0;
      file_ = std::fopen(candidate.c_str(), "wbx");
      if (file_ == nullptr && errno != EEXIST) break;
      if (file_ == nullptr) continue;
      if (lock_.lock_open_file(file_, candidate))
        temporary_ = std::move(candidate);
      else
        std::fclose(std::exchange(file_, nullptr));  // another writer took it for left behind, and removes it
    }
    if (file_ == nullptr) throw IoError(name_, "file", last_error(), "a directory that can be written to");
  }

  std::filesystem::path path_;
  std::string name_;       // as the caller wrote it, for errors
  std::string temporary_;  // empty once renamed
  std::FILE* file_ = nullptr;
  detail::FileLock lock_;  // on the temporary file, until it has its name
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
  write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

namespace detail {

inline void require_regular_file(const std::filesystem::path& path) {
  std::error_code failure;
  const std::filesystem::file_status status = std::filesystem::status(path, failure);
  if (status.type() == std::filesystem::file_type::none)
    throw IoError(path.string(), "file", failure.message(), "a readable file");
  if (!std::filesystem::exists(status)) throw IoError(path.string(), "file", "no such file", "a file");
  if (!std::filesystem::is_regular_file(status))
    throw IoError(path.string(), "file", "something that is not a regular file", "a file");
}

}  // namespace detail

/// The bytes of a regular file.
/// @throws IoError if there is no such file, it is a directory or a device, it has more than `longest` bytes, or it
/// can't be read to its end
inline std::vector<std::byte> read_file(const std::filesystem::path& path,
                                        std::uintmax_t longest = std::numeric_limits<std::uintmax_t>::max()) {
  const std::string name = path.string();
  detail::require_regular_file(path);
  std::error_code failure;
  const std::uintmax_t size = std::filesystem::file_size(path, failure);
  if (failure) throw IoError(name, "file", failure.message(), "a file whose size is known");
  if (size > longest)
    throw IoError(name, "file", std::to_string(size) + " bytes", "at most " + std::to_string(longest) + " bytes");

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
inline std::string read_text_file(const std::filesystem::path& path,
                                  std::uintmax_t longest = std::numeric_limits<std::uintmax_t>::max()) {
  const std::vector<std::byte> bytes = read_file(path, longest);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace merganser::io
