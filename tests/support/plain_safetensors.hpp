// A safetensors reader and writer of the tests' own, made from the description of the format and nothing of the
// library: 8 bytes of little-endian length, that many bytes of JSON, and the numbers. What either refuses is a
// std::runtime_error.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace merganser::testing {

/// A tensor as it lies in a file.
struct PlainTensor {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::string data;

  bool operator==(const PlainTensor&) const = default;
};

/// All of a file.
struct PlainFile {
  std::map<std::string, std::string> metadata;
  std::vector<std::pair<std::string, PlainTensor>> tensors;  ///< in the order of their data

  bool operator==(const PlainFile&) const = default;
};

/// Reads a header from left to right. It knows the JSON that such a header is made of and no more: objects, texts with
/// the escapes \" and \\, arrays of whole numbers.
class PlainHeader {
 public:
  explicit PlainHeader(std::string text) : text_(std::move(text)) {}

  PlainFile read(const std::string& data) {
    PlainFile file;
    std::map<std::uint64_t, std::pair<std::string, PlainTensor>> by_place;
    std::uint64_t total = 0;
    object([&](const std::string& name) {
      if (name == "__metadata__") {
        object([&](const std::string& key) { file.metadata[key] = string(); });
        return;
      }
      PlainTensor tensor;
      std::vector<std::uint64_t> offsets;
      object([&](const std::string& key) {
        if (key == "dtype")
          tensor.dtype = string();
        else if (key == "shape")
          tensor.shape = numbers();
        else if (key == "data_offsets")
          offsets = numbers();
        else
          fail("a key of a tensor");
      });
      if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size()) fail("offsets within the data");
      tensor.data = data.substr(offsets[0], offsets[1] - offsets[0]);
      total += tensor.data.size();
      by_place[offsets[0]] = {name, tensor};
    });
    while (at_ < text_.size()) expect(' ');
    if (total != data.size()) fail("tensors that fill the data");
    for (auto& [place, entry] : by_place) file.tensors.push_back(entry);
    return file;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw std::runtime_error("header byte " + std::to_string(at_) + ": expected " + expected);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void expect(char c) {
    if (peek() != c) fail(std::string(1, c));
    ++at_;
  }

  template <class Field>
  void object(Field field) {
    expect('{');
    for (bool first = true; peek() != '}'; first = false) {
      if (!first) expect(',');
      const std::string key = string();
      expect(':');
      field(key);
    }
    expect('}');
  }

  std::string string() {
    expect('"');
    std::string result;
    while (peek() != '"') {
      if (peek() == '\\') ++at_;
      if (at_ >= text_.size()) fail("an end of the text");
      result += text_[at_++];
    }
    expect('"');
    return result;
  }

  std::vector<std::uint64_t> numbers() {
    std::vector<std::uint64_t> result;
    expect('[');
    while (peek() != ']') {
      if (!result.empty()) expect(',');
      std::uint64_t number = 0;
      if (peek() < '0' || peek() > '9') fail("a digit");
      while (peek() >= '0' && peek() <= '9') number = 10 * number + static_cast<std::uint64_t>(text_[at_++] - '0');
      result.push_back(number);
    }
    expect(']');
    return result;
  }

  std::string text_;
  std::size_t at_ = 0;
};

/// The parts of a file's bytes: the header, as long as the first 8 bytes say, and the rest.
inline std::pair<std::string, std::string> split_safetensors(const std::string& bytes) {
  if (bytes.size() < 8) throw std::runtime_error("fewer than 8 bytes");
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = 256 * length + static_cast<unsigned char>(bytes[i]);
  if (length > bytes.size() - 8) throw std::runtime_error("a header longer than the file");
  return {bytes.substr(8, length), bytes.substr(8 + length)};
}

inline PlainFile read_plain_safetensors(const std::string& bytes) {
  const auto [header, data] = split_safetensors(bytes);
  return PlainHeader(header).read(data);
}

/// The header of a file: metadata first, then tensors in the order of their data, filled up with blanks to a multiple
/// of 8 bytes. Names need no escapes.
inline std::string plain_header(const PlainFile& file) {
  std::string header = "{\"__metadata__\":{";
  for (bool first = true; const auto& [key, text] : file.metadata) {
    header += (first ? "\"" : ",\"") + key + "\":\"" + text + "\"";
    first = false;
  }
  header += "}";
  std::size_t end = 0;
  for (const auto& [name, tensor] : file.tensors) {
    header += ",\"" + name + "\":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i)
      header += (i > 0 ? "," : "") + std::to_string(tensor.shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(end);
    end += tensor.data.size();
    header += "," + std::to_string(end) + "]}";
  }
  header += "}";
  while (header.size() % 8 != 0) header += ' ';
  return header;
}

inline std::string write_plain_safetensors(const PlainFile& file) {
  const std::string header = plain_header(file);
  std::string bytes;
  for (std::uint64_t length = header.size(), i = 0; i < 8; ++i, length /= 256) bytes += static_cast<char>(length % 256);
  bytes += header;
  for (const auto& [name, tensor] : file.tensors) bytes += tensor.data;
  return bytes;
}

/// The bytes of a float, least significant first.
inline std::string plain_f32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  std::string bytes;
  for (std::uint32_t i = 0; i < 4; ++i) bytes += static_cast<char>((bits >> (8 * i)) & 0xff);
  return bytes;
}

}  // namespace merganser::testing
