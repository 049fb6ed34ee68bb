#include <merganser/io/files/directory_lock.hpp>

#include <csignal>
#include <filesystem>
#include <optional>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace directory_lock_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using merganser::testing::TemporaryDirectory;

TEST_CASE("a directory has one writer at a time", "[DirectoryLock]") {
  const TemporaryDirectory directory;
  std::optional<io::DirectoryLock> first(std::in_place, directory.path());
  CHECK_THROWS_WITH(
      io::DirectoryLock(directory.path()),
      directory.path().string() + ": directory: got one that another writer has open, expected one writer at a time");
  io::DirectoryLock moved = std::move(*first);
  first.reset();
  CHECK_THROWS_AS(io::DirectoryLock(directory.path()), IoError);
  { const io::DirectoryLock last = std::move(moved); }
  CHECK_NOTHROW(io::DirectoryLock(directory.path()));
}

TEST_CASE("a killed process leaves no lock", "[DirectoryLock]") {
  const TemporaryDirectory directory;
  int ready[2] = {-1, -1};
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const io::DirectoryLock lock(directory.path());
    const char byte = 'x';
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  REQUIRE(child > 0);
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  CHECK_THROWS_AS(io::DirectoryLock(directory.path()), IoError);
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK_NOTHROW(io::DirectoryLock(directory.path()));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("a directory that is not there can't be locked", "[DirectoryLock]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_WITH(io::DirectoryLock(directory / "missing"), ContainsSubstring("a directory that can be written to"));
}

}  // namespace directory_lock_test
