// A safetensors reader and writer of the tests' own, made from the description of the format and nothing of the
// library: 8 bytes of little-endian length, that many bytes of JSON, and the numbers. What either refuses is a
// std::runtime_error.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
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

/// How a floating type lays out a number: a sign, a biased exponent, and the bits behind the leading one.
struct PlainFloat {
  const char* dtype;
  int bytes;
  int fraction_bits;
  int lowest_exponent;  ///< of a normal number
};

inline constexpr std::array<PlainFloat, 4> plain_floats{
    {{"F64", 8, 52, -1022}, {"F32", 4, 23, -126}, {"F16", 2, 10, -14}, {"BF16", 2, 7, -126}}};

inline const PlainFloat& plain_float(const std::string& dtype) {
  for (const PlainFloat& type : plain_floats)
    if (type.dtype == dtype) return type;
  throw std::runtime_error(dtype + ": no floating type");
}

/// Bytes of an element; 0 for a name that the format does not know.
inline std::uint64_t plain_size(const std::string& dtype) {
  static const std::map<std::string, std::uint64_t> sizes{{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
                                                          {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},   {"BOOL", 1}};
  const auto place = sizes.find(dtype);
  return place == sizes.end() ? 0 : place->second;
}

/// The bytes of a finite number in range, least significant first, rounded to the nearest, a tie to even.
inline std::string plain_number(const PlainFloat& type, double value) {
  int exponent = 0;
  std::frexp(value, &exponent);
  exponent = value == 0 ? type.lowest_exponent : std::max(exponent - 1, type.lowest_exponent);
  const auto units =
      static_cast<std::uint64_t>(std::nearbyint(std::ldexp(std::abs(value), type.fraction_bits - exponent)));
  // The leading one adds 1 to the exponent; a subnormal number has none.
  std::uint64_t bits = (static_cast<std::uint64_t>(exponent - type.lowest_exponent) << type.fraction_bits) + units;
  if (std::signbit(value)) bits |= std::uint64_t{1} << (8 * type.bytes - 1);
  std::string result;
  for (int i = 0; i < type.bytes; ++i) result += static_cast<char>((bits >> (8 * i)) & 0xff);
  return result;
}

/// The finite number that some bytes are.
inline double plain_value(const PlainFloat& type, const std::string& bytes) {
  std::uint64_t bits = 0;
  for (std::size_t i = static_cast<std::size_t>(type.bytes); i-- > 0;)
    bits = 256 * bits + static_cast<unsigned char>(bytes.at(i));
  const std::uint64_t sign = std::uint64_t{1} << (8 * type.bytes - 1), one = std::uint64_t{1} << type.fraction_bits;
  const std::uint64_t fraction = bits & (one - 1), exponent = (bits & (sign - 1)) / one;
  const double magnitude = exponent == 0
                               ? std::ldexp(static_cast<double>(fraction), type.lowest_exponent - type.fraction_bits)
                               : std::ldexp(static_cast<double>(one + fraction),
                                            static_cast<int>(exponent) - 1 + type.lowest_exponent - type.fraction_bits);
  return (bits & sign) != 0 ? -magnitude : magnitude;
}

/// Reads a header from left to right. It knows the JSON that such a header is made of and no more: objects, texts with
/// the escapes \" and \\, arrays of whole numbers.
class PlainHeader {
 public:
  explicit PlainHeader(std::string text) : text_(std::move(text)) {}

  PlainFile read(const std::string& data) {
    struct Place {
      std::uint64_t begin, end;
      std::string name;
      PlainTensor tensor;
    };
    PlainFile file;
    std::vector<Place> places;
    object([&](const std::string& name) {
      if (name == "__metadata__") {
        object([&](const std::string& key) { file.metadata[key] = string(); });
        return;
      }
      PlainTensor tensor;
      std::vector<std::uint64_t> offsets;
      int keys = 0;
      object([&](const std::string& key) {
        ++keys;
        if (key == "dtype")
          tensor.dtype = string();
        else if (key == "shape")
          tensor.shape = numbers();
        else if (key == "data_offsets")
          offsets = numbers();
        else
          fail("a key of a tensor");
      });
      if (keys != 3) fail("the three keys of a tensor");
      if (plain_size(tensor.dtype) == 0) fail("an element type");
      if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size()) fail("offsets within the data");
      tensor.data = data.substr(offsets[0], offsets[1] - offsets[0]);
      std::uint64_t bytes = plain_size(tensor.dtype);
      for (const std::uint64_t extent : tensor.shape) bytes *= extent;
      if (bytes != tensor.data.size()) fail("as many bytes as type and shape have");
      places.push_back({offsets[0], offsets[1], name, tensor});
    });
    padding_ = text_.size() - at_;
    while (at_ < text_.size()) expect(' ');
    std::sort(places.begin(), places.end(),
              [](const Place& a, const Place& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    std::uint64_t end = 0;
    for (const Place& place : places) {
      if (place.begin != end) fail("tensors without gaps and overlaps");
      end = place.end;
      file.tensors.emplace_back(place.name, place.tensor);
    }
    if (end != data.size()) fail("tensors that fill the data");
    return file;
  }

  /// Blanks behind the object, once it has been read.
  std::size_t padding() const { return padding_; }

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
    std::set<std::string> keys;
    for (bool first = true; peek() != '}'; first = false) {
      if (!first) expect(',');
      const std::string key = string();
      if (!keys.insert(key).second) fail("every key once");
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
      const std::size_t first = at_;
      while (peek() >= '0' && peek() <= '9') number = 10 * number + static_cast<std::uint64_t>(text_[at_++] - '0');
      // More digits than a file has bytes; a zero before others is no JSON.
      const std::size_t digits = at_ - first;
      if (digits == 0 || digits > 15 || (digits > 1 && text_[first] == '0')) fail("a whole number");
      result.push_back(number);
    }
    expect(']');
    return result;
  }

  std::string text_;
  std::size_t at_ = 0;
  std::size_t padding_ = 0;
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

/// Reads a file as writers are to make it: the data begins at a multiple of 8 bytes behind no more blanks than that
/// takes, and every tensor at a multiple of its element size.
inline PlainFile read_aligned_safetensors(const std::string& bytes) {
  const auto [text, data] = split_safetensors(bytes);
  PlainHeader header(text);
  PlainFile file = header.read(data);
  if ((8 + text.size()) % 8 != 0 || header.padding() > 7) throw std::runtime_error("a header that is not aligned");
  std::size_t begin = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (begin % plain_size(tensor.dtype) != 0) throw std::runtime_error(name + ": a tensor that is not aligned");
    begin += tensor.data.size();
  }
  return file;
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

}  // namespace merganser::testing
