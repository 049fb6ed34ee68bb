#include <merganser/io/files/file_digest.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <merganser/io/files/atomic_file.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"

namespace file_digest_test {

using namespace merganser;
using merganser::testing::TemporaryDirectory;

std::uint64_t crc64_of(std::string_view text) {
  io::Crc64 crc;
  crc.update(text);
  return crc.value();
}

/// Bit by bit, as the polynomial says.
std::uint64_t slow_crc64(std::string_view text) {
  std::uint64_t crc = ~std::uint64_t{0};
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xC96C5795D7870F42U : crc >> 1;
  }
  return ~crc;
}

std::string some_bytes(std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 151 + i / 7);
  return bytes;
}

TEST_CASE("the checksum is CRC-64/XZ", "[Crc64]") {
  CHECK(crc64_of("") == 0);
  CHECK(crc64_of("123456789") == 0x995DC9BBDF1939FAU);
  for (const std::size_t size : std::vector<std::size_t>{1, 7, 8, 9, 15, 16, 17, 1000})
    CHECK(crc64_of(some_bytes(size)) == slow_crc64(some_bytes(size)));
}

TEST_CASE("pieces give the checksum of the whole", "[Crc64]") {
  const std::string bytes = some_bytes(100);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    io::Crc64 crc;
    crc.update(std::string_view(bytes).substr(0, cut));
    crc.update(std::string_view(bytes).substr(cut));
    CHECK(crc.value() == crc64_of(bytes));
  }
}

TEST_CASE("every flipped bit changes the checksum", "[Crc64]") {
  const std::string bytes = some_bytes(40);
  for (std::size_t place = 0; place < bytes.size(); ++place)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[place] = static_cast<char>(damaged[place] ^ (1 << bit));
      CHECK(crc64_of(damaged) != crc64_of(bytes));
    }
}

TEST_CASE("a file has the digest of its bytes", "[FileDigest]") {
  const TemporaryDirectory directory;
  constexpr std::size_t piece = std::size_t{1} << 18;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, piece - 1, piece, piece + 1}) {
    const std::string bytes = some_bytes(size);
    io::write_file_atomically(directory / "file", bytes);
    CHECK(io::digest_file(directory / "file") == io::FileDigest{size, crc64_of(bytes)});
  }
}

TEST_CASE("only regular files have a digest", "[FileDigest]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(io::digest_file(directory / "missing"), IoError);
  CHECK_THROWS_AS(io::digest_file(directory.path()), IoError);
  if (std::filesystem::exists("/dev/zero")) CHECK_THROWS_AS(io::digest_file("/dev/zero"), IoError);
}

TEST_CASE("hexadecimal has 16 digits", "[FileDigest]") {
  CHECK(io::hexadecimal(0) == "0000000000000000");
  CHECK(io::hexadecimal(0x0123456789abcdefU) == "0123456789abcdef");
  CHECK(io::hexadecimal(~std::uint64_t{0}) == "ffffffffffffffff");
}

}  // namespace file_digest_test
