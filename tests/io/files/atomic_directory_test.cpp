#include <merganser/io/files/atomic_directory.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <merganser/io/files/atomic_file.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace atomic_directory_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using merganser::testing::TemporaryDirectory;
using Names = std::vector<std::string>;
namespace fs = std::filesystem;

TEST_CASE("a directory appears with its commit", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  io::AtomicDirectory directory(parent / "one");
  io::write_file_atomically(directory.path() / "file", "text");
  CHECK(parent.entries() == Names{".one.merganser-saving"});
  directory.commit();
  CHECK(parent.entries() == Names{"one"});
  CHECK(io::read_text_file(parent / "one/file") == "text");
}

TEST_CASE("without a commit nothing stays", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  {
    const io::AtomicDirectory directory(parent / "one");
    io::write_file_atomically(directory.path() / "file", "text");
  }
  CHECK(parent.entries().empty());
}

TEST_CASE("what is there is not replaced", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  fs::create_directory(parent / "one");
  CHECK_THROWS_WITH(io::AtomicDirectory(parent / "one"), ContainsSubstring("something of this name"));
  io::write_file_atomically(parent / "two", "file");
  CHECK_THROWS_AS(io::AtomicDirectory(parent / "two"), IoError);
  fs::create_directory_symlink("nowhere", parent / "three");
  CHECK_THROWS_AS(io::AtomicDirectory(parent / "three"), IoError);
  CHECK(parent.entries() == Names{"one", "three", "two"});
}

TEST_CASE("a failed rename leaves what is there and nothing else", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  {
    io::AtomicDirectory directory(parent / "one");
    io::write_file_atomically(parent / "one", "in the way");
    CHECK_THROWS_WITH(directory.commit(), ContainsSubstring("a failed rename"));
  }
  CHECK(parent.entries() == Names{"one"});
}

TEST_CASE("a place where no directory can be made is an IoError", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  CHECK_THROWS_AS(io::AtomicDirectory(parent / "missing/one"), IoError);
  io::write_file_atomically(parent / "file", "");
  CHECK_THROWS_AS(io::AtomicDirectory(parent / "file/one"), IoError);
}

TEST_CASE("the rest of a killed writer is in nobody's way and is removed", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  for (const char* name :
       {".one.merganser-saving/deep", ".two.merganser-removed/deep", "three.merganser-saving", ".four", "five"}) {
    fs::create_directories(parent / name);
    io::write_file_atomically(parent / name / "file", "text");
  }
  io::AtomicDirectory(parent / "one").commit();
  CHECK(fs::is_empty(parent / "one"));
  fs::create_directories(parent / ".six.merganser-saving");
  CHECK(io::remove_unfinished(parent.path()).size() == 2);
  CHECK(parent.entries() == Names{".four", "five", "one", "three.merganser-saving"});
  CHECK(io::remove_unfinished(parent.path()).empty());
  CHECK_THROWS_AS(io::remove_unfinished(parent / "missing"), IoError);
}

TEST_CASE("a directory goes with all that is in it", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  fs::create_directories(parent / "one/deep/deeper");
  fs::create_directories(parent / ".one.merganser-removed/rest");
  io::remove_directory_atomically(parent / "one");
  CHECK(parent.entries().empty());
  CHECK_THROWS_WITH(io::remove_directory_atomically(parent / "one"),
                    ContainsSubstring("expected a directory that can be removed"));
}

TEST_CASE("directories are flushed, also the current one", "[AtomicDirectory]") {
  const TemporaryDirectory parent;
  CHECK_NOTHROW(io::sync_directory(parent.path()));
  CHECK_NOTHROW(io::sync_directory(""));
  CHECK_THROWS_AS(io::sync_directory(parent / "missing"), IoError);
}

}  // namespace atomic_directory_test
