#include <merganser/io/files/atomic_file.hpp>

#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace atomic_file_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using merganser::testing::TemporaryDirectory;
using Names = std::vector<std::string>;

TEST_CASE("what is written is read back, any bytes", "[AtomicFile]") {
  const TemporaryDirectory directory;
  const std::string texts[] = {"", "a", std::string("\0\xff\r\n\x1a\xc3", 6), std::string(100'000, 'x')};
  for (const std::string& text : texts) {
    io::write_file_atomically(directory / "file", text);
    CHECK(io::read_text_file(directory / "file") == text);
    CHECK(io::read_file(directory / "file").size() == text.size());
    CHECK(directory.entries() == Names{"file"});
  }
}

TEST_CASE("pieces are appended and the name appears with the commit", "[AtomicFile]") {
  const TemporaryDirectory directory;
  io::AtomicFile file(directory / "file");
  file.write("one ");
  file.write("");
  file.write("two");
  CHECK_FALSE(std::filesystem::exists(directory / "file"));
  file.commit();
  CHECK(io::read_text_file(directory / "file") == "one two");
  CHECK(directory.entries() == Names{"file"});
}

TEST_CASE("a writer that throws leaves the old file and nothing else", "[AtomicFile]") {
  const TemporaryDirectory directory;
  const auto fail = [&directory](io::AtomicFile& file) {
    file.write(std::string(50'000, 'n'));
    CHECK(directory.entries().size() == 2);  // the old file and the temporary one
    throw std::logic_error("stop");
  };
  io::write_file_atomically(directory / "file", "old");
  CHECK_THROWS_AS(io::write_file_atomically(directory / "file", fail), std::logic_error);
  CHECK(directory.entries() == Names{"file"});
  CHECK(io::read_text_file(directory / "file") == "old");
}

TEST_CASE("a failed rename removes the temporary file", "[AtomicFile]") {
  const TemporaryDirectory directory;
  const auto obstruct = [&directory](io::AtomicFile& file) {
    file.write("new");
    std::filesystem::create_directory(directory / "file");
  };
  CHECK_THROWS_WITH(io::write_file_atomically(directory / "file", obstruct), ContainsSubstring("a failed rename"));
  CHECK(directory.entries() == Names{"file"});
  CHECK(std::filesystem::is_directory(directory / "file"));
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("a full disk leaves the old file and nothing else", "[AtomicFile]") {
  const TemporaryDirectory directory;
  io::write_file_atomically(directory / "file", "old");
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 10'000;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const auto write_limited = [&](std::size_t size) {
    std::string message;
    setrlimit(RLIMIT_FSIZE, &small);
    try {
      io::write_file_atomically(directory / "file", std::string(size, 'n'));
    } catch (const IoError& error) {
      message = error.what();
    }
    setrlimit(RLIMIT_FSIZE, &before);
    return message;
  };
  const std::string message = write_limited(1'000'000);
  CHECK_THAT(message, ContainsSubstring((directory / "file").string() + ": file: got a failed "));
  CHECK_THAT(message, ContainsSubstring("expected all bytes on the disk"));
  CHECK(directory.entries() == Names{"file"});
  CHECK(io::read_text_file(directory / "file") == "old");
  CHECK(write_limited(9'000).empty());
  std::signal(SIGXFSZ, handler);
}
#endif

TEST_CASE("two writers in one directory don't meet", "[AtomicFile]") {
  const TemporaryDirectory directory;
  io::AtomicFile first(directory / "file");
  io::AtomicFile second(directory / "file");
  first.write("first");
  second.write("second");
  second.commit();
  CHECK(io::read_text_file(directory / "file") == "second");
  first.commit();
  CHECK(io::read_text_file(directory / "file") == "first");
}

TEST_CASE("a file keeps its permissions, and has them before it has bytes", "[AtomicFile]") {
  using std::filesystem::perms;
  const TemporaryDirectory directory;
  io::write_file_atomically(directory / "file", "old");
  const perms secret = perms::owner_read | perms::owner_write;
  std::filesystem::permissions(directory / "file", secret);
  io::AtomicFile file(directory / "file");
  for (const std::string& name : directory.entries())
    CHECK(std::filesystem::status(directory / name).permissions() == secret);
  file.write("new");
  file.commit();
  CHECK(io::read_text_file(directory / "file") == "new");
  CHECK(std::filesystem::status(directory / "file").permissions() == secret);
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("the next writer removes what killed ones have left, and nothing of those that live", "[AtomicFile]") {
  const TemporaryDirectory directory;
  // A writer that is killed: its temporary file stays, its lock does not.
  const pid_t child = ::fork();
  if (child == 0) {
    io::AtomicFile file(directory / "file");
    file.write("half");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(directory.entries() == Names{".merganser-0.tmp"});
  io::AtomicFile living(directory / "one");
  living.write("one");
  CHECK(directory.entries().size() == 1);
  io::write_file_atomically(directory / "two", "two");
  CHECK(directory.entries().size() == 2);  // the living one's, and two
  io::write_file_atomically(directory / ".merganser-999.tmp.mine", "not ours");
  living.commit();
  CHECK(directory.entries() == Names{".merganser-999.tmp.mine", "one", "two"});
  CHECK(io::read_text_file(directory / "one") == "one");
}
#endif

TEST_CASE("a file that is larger than it may be is not read", "[AtomicFile]") {
  const TemporaryDirectory directory;
  io::write_file_atomically(directory / "file", "1234567");
  CHECK(io::read_text_file(directory / "file", 7) == "1234567");
  CHECK_THROWS_WITH(io::read_text_file(directory / "file", 6),
                    (directory / "file").string() + ": file: got 7 bytes, expected at most 6 bytes");
}

TEST_CASE("a symbolic link is kept and its file replaced", "[AtomicFile]") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "real");
  io::write_file_atomically(directory / "real/file", "old");
  std::filesystem::create_symlink("real/file", directory / "link");
  io::write_file_atomically(directory / "link", "new");
  CHECK(std::filesystem::is_symlink(directory / "link"));
  CHECK(io::read_text_file(directory / "real/file") == "new");
}

TEST_CASE("a place that can't be written to is an IoError", "[AtomicFile]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(io::AtomicFile(directory / "missing/file"), IoError);
  CHECK_THROWS_AS(io::AtomicFile(directory.path()), IoError);
  CHECK_THROWS_AS(io::AtomicFile(""), IoError);
  CHECK_THROWS_AS(io::AtomicFile(directory / ""), IoError);
  CHECK(directory.entries().empty());
}

TEST_CASE("only regular files are read", "[AtomicFile]") {
  const TemporaryDirectory directory;
  const std::string missing = (directory / "missing").string();
  CHECK_THROWS_WITH(io::read_file(missing), missing + ": file: got no such file, expected a file");
  CHECK_THROWS_AS(io::read_file(directory.path()), IoError);
  CHECK_THROWS_AS(io::read_file(""), IoError);
  if (std::filesystem::exists("/dev/zero")) CHECK_THROWS_AS(io::read_file("/dev/zero"), IoError);
}

}  // namespace atomic_file_test
