#include <merganser/io/files/mapped_file.hpp>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/stat.h>
#endif

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace mapped_file_test {

using namespace merganser;
using io::FileBytes;
using io::MappedFile;
using merganser::testing::TemporaryDirectory;

template <class File>
std::string text_of(const File& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST_CASE("a mapped file has the bytes of the file", "[MappedFile]") {
  const TemporaryDirectory directory;
  for (const std::string& text : {std::string(), std::string("a"), std::string("\0\xff\r\n\x1a", 5),
                                  std::string(4096, 'p'), std::string(100'001, 'x')}) {
    io::write_file_atomically(directory / "file", text);
    const MappedFile file(directory / "file");
    CHECK(text_of(file) == text);
  }
}

TEST_CASE("released pages can be read again", "[MappedFile]") {
  const TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += static_cast<char>(i % 251);
  io::write_file_atomically(directory / "file", text);
  const MappedFile file(directory / "file");
  for (const auto& [begin, size] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 0}, {0, 1}, {0, 100'000}, {1, 99'999}, {4095, 2}, {4096, 4096}, {99'999, 1}, {100'000, 0}}) {
    file.release(file.bytes().subspan(begin, size));
    CHECK(text_of(file) == text);
  }
}

TEST_CASE("a map outlives the name of its file", "[MappedFile]") {
  const TemporaryDirectory directory;
  io::write_file_atomically(directory / "file", std::string_view("old"));
  const MappedFile file(directory / "file");
  io::write_file_atomically(directory / "file", std::string_view("new and longer"));
  CHECK(text_of(file) == "old");
  std::filesystem::remove(directory / "file");
  file.release(file.bytes());
  CHECK(text_of(file) == "old");
}

TEST_CASE("only regular files are mapped", "[MappedFile]") {
  const TemporaryDirectory directory;
  const std::string missing = (directory / "missing").string();
  CHECK_THROWS_WITH(MappedFile(missing), missing + ": file: got no such file, expected a file");
  CHECK_THROWS_AS(MappedFile(directory.path()), IoError);
  CHECK_THROWS_AS(MappedFile(""), IoError);
  if (std::filesystem::exists("/dev/zero")) CHECK_THROWS_AS(MappedFile("/dev/zero"), IoError);
#if defined(__unix__) || defined(__APPLE__)
  REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
  CHECK_THROWS_AS(MappedFile(directory / "pipe"), IoError);
#endif
}

TEST_CASE("bytes come from files and from memory alike, and copies share them", "[FileBytes]") {
  const TemporaryDirectory directory;
  const std::string text("\0\xff and more", 11);
  io::write_file_atomically(directory / "file", text);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  for (FileBytes original :
       {FileBytes::open(directory / "file"), FileBytes::open(directory / "file", io::Mapping::in_memory),
        FileBytes::owned({bytes.begin(), bytes.end()}), FileBytes::borrowed(bytes)}) {
    const FileBytes copy = original;
    CHECK(copy.bytes().data() == original.bytes().data());
    original = FileBytes();
    copy.release(copy.bytes());
    CHECK(text_of(copy) == text);
    CHECK(original.bytes().empty());
    original.release(original.bytes());
  }
  CHECK(FileBytes::borrowed(bytes).bytes().data() == bytes.data());
  CHECK(text_of(FileBytes::owned({})).empty());
  const std::string missing = (directory / "missing").string();
  for (const io::Mapping mapping : {io::Mapping::mapped, io::Mapping::in_memory})
    CHECK_THROWS_WITH(FileBytes::open(missing, mapping), missing + ": file: got no such file, expected a file");
}

}  // namespace mapped_file_test
