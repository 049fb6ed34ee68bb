// Safetensors files put together by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace merganser::testing {

/// Length, header and data as they are, right or wrong.
inline std::vector<std::byte> safetensors_bytes(std::uint64_t length, const std::string& header,
                                                const std::vector<std::byte>& data = {}) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>((length >> (8 * i)) & 0xff));
  for (const char c : header) bytes.push_back(static_cast<std::byte>(c));
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

/// A file with the right header length and `data_size` zero bytes.
inline std::vector<std::byte> safetensors_bytes(const std::string& header, std::size_t data_size = 0) {
  return safetensors_bytes(header.size(), header, std::vector<std::byte>(data_size));
}

/// The bytes of some numbers.
template <class Number>
std::vector<std::byte> bytes_of(const std::vector<Number>& numbers) {
  std::vector<std::byte> bytes(numbers.size() * sizeof(Number));
  if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

}  // namespace merganser::testing
