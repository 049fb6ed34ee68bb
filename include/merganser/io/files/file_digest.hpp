// Size and checksum of a file: enough to tell a damaged copy from a whole one.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/atomic_file.hpp>

namespace merganser::inline MERGANSER_ISA::io {

namespace detail {

/// Table k, entry b: the checksum of byte b with k zero bytes behind it.
inline constexpr auto crc64_tables = [] {
  constexpr std::uint64_t polynomial = 0xC96C5795D7870F42U;  // ECMA-182, lowest bit first
  std::array<std::array<std::uint64_t, 256>, 8> tables{};
  for (std::uint64_t byte = 0; byte < 256; ++byte) {
    std::uint64_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? polynomial : 0);
    tables[0][byte] = remainder;
  }
  for (std::size_t zeros = 1; zeros < tables.size(); ++zeros)
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint64_t before = tables[zeros - 1][byte];
      tables[zeros][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  return tables;
}();

}  // namespace detail

/// CRC-64/XZ of bytes that come piece by piece: polynomial of ECMA-182, reflected, start and end inverted.
///
/// Finds damage, every burst of up to 64 bits and all but one in 2^64 of other changes; it is no protection against
/// somebody who wants to deceive.
class Crc64 {
 public:
  void update(std::span<const std::byte> bytes) {
    const auto& tables = detail::crc64_tables;
    std::uint64_t crc = crc_;
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
      std::uint64_t word = 0;
      for (std::size_t i = 0; i < 8; ++i) word |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
      word ^= crc;
      crc = 0;
      for (std::size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][(word >> (8 * i)) & 0xff];
    }
    for (const std::byte byte : bytes)
      crc = (crc >> 8) ^ tables[0][(crc ^ std::to_integer<std::uint64_t>(byte)) & 0xff];
    crc_ = crc;
  }

  void update(std::string_view text) { update(std::as_bytes(std::span(text.data(), text.size()))); }

  std::uint64_t value() const { return ~crc_; }

 private:
  std::uint64_t crc_ = ~std::uint64_t{0};
};

/// 16 hexadecimal digits.
inline std::string hexadecimal(std::uint64_t value) {
  std::string digits(16, '0');
  for (std::size_t i = digits.size(); i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

/// What a file held when it was written.
struct FileDigest {
  std::uint64_t bytes = 0;
  std::uint64_t crc64 = 0;

  bool operator==(const FileDigest&) const = default;
};

/// Reads a regular file to its end.
/// @throws IoError if there is no such file, it is a directory or a device, or it can't be read
inline FileDigest digest_file(const std::filesystem::path& path) {
  detail::require_regular_file(path);
  const std::string name = path.string();
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(name.c_str(), "rb"));
  if (file == nullptr) throw IoError(name, "file", std::generic_category().message(errno), "a readable file");
  FileDigest digest;
  Crc64 crc;
  std::vector<std::byte> piece(std::size_t{1} << 18);
  for (std::size_t count = piece.size(); count == piece.size();) {
    count = std::fread(piece.data(), 1, piece.size(), file.get());
    crc.update(std::span<const std::byte>(piece).first(count));
    digest.bytes += count;
  }
  if (std::ferror(file.get()) != 0) throw IoError(name, "file", "a read error", "a readable file");
  digest.crc64 = crc.value();
  return digest;
}

}  // namespace merganser::io
