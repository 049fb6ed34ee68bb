#include <merganser/io/files/file_sync.hpp>

#include <cstdio>
#include <filesystem>
#include <string>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace file_sync_test {

using namespace merganser;
using io::detail::FileLock;
using merganser::testing::TemporaryDirectory;
using Outcome = FileLock::Outcome;

TEST_CASE("a directory can be flushed, and one that is not there is an IoError", "[file_sync]") {
  const TemporaryDirectory directory;
  CHECK_NOTHROW(io::sync_directory(directory.path()));
  CHECK_NOTHROW(io::sync_directory(""));
#if defined(__unix__) || defined(__APPLE__)
  CHECK_THROWS_AS(io::sync_directory(directory / "nowhere"), IoError);
#endif
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("a lock is held by one at a time", "[file_sync]") {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory / "lock";
  FileLock first, second;
  CHECK(first.lock(path, FileLock::File::existing) == Outcome::failed);
  CHECK(directory.entries().empty());
  CHECK(first.lock(path, FileLock::File::made_if_missing) == Outcome::held);
  CHECK(second.lock(path, FileLock::File::existing) == Outcome::taken);
  first = FileLock();
  CHECK(second.lock(path, FileLock::File::existing) == Outcome::held);
}

TEST_CASE("an open file is locked for as long as its lock lives, under the name that it has", "[file_sync]") {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory / "file";
  std::FILE* const file = std::fopen(path.string().c_str(), "wb");
  REQUIRE(file != nullptr);
  FileLock other;
  {
    FileLock lock;
    CHECK(lock.lock_open_file(file, path));
    CHECK(std::fclose(file) == 0);
    CHECK(other.lock(path, FileLock::File::existing) == Outcome::taken);
  }
  CHECK(other.lock(path, FileLock::File::existing) == Outcome::held);
  std::FILE* const again = std::fopen(path.string().c_str(), "ab");
  REQUIRE(again != nullptr);
  FileLock late;
  CHECK_FALSE(late.lock_open_file(again, path));
  other = FileLock();
  std::filesystem::remove(path);
  CHECK_FALSE(late.lock_open_file(again, path));  // its name is gone
  CHECK(std::fclose(again) == 0);
}
#endif

}  // namespace file_sync_test
