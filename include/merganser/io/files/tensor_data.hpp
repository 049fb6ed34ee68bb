// Tensors as they lie in a file: element types, shapes and raw bytes, and their conversion to numbers.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/io/files/half_float.hpp>

namespace merganser::inline MERGANSER_ISA::io {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian, and so must be the host");

/// Element types of a safetensors file.
enum class DataType {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u8,
  boolean,
  other,  ///< one that no numbers are read of here, such as F8_E4M3 or U32
};

namespace detail {

struct DataTypeRow {
  DataType type;
  std::string_view name;
  std::size_t size;
};

inline constexpr std::array<DataTypeRow, 11> data_types{{{DataType::f64, "F64", 8},
                                                         {DataType::f32, "F32", 4},
                                                         {DataType::f16, "F16", 2},
                                                         {DataType::bf16, "BF16", 2},
                                                         {DataType::i64, "I64", 8},
                                                         {DataType::i32, "I32", 4},
                                                         {DataType::i16, "I16", 2},
                                                         {DataType::i8, "I8", 1},
                                                         {DataType::u8, "U8", 1},
                                                         {DataType::boolean, "BOOL", 1},
                                                         {DataType::other, "another type", 0}}};

}  // namespace detail

/// The name of an element type in a file's header, such as "F32".
inline std::string_view name_of(DataType type) { return detail::data_types[static_cast<std::size_t>(type)].name; }

/// Bytes of one element; 0 of another type, whose size nobody knows.
inline std::size_t size_of(DataType type) { return detail::data_types[static_cast<std::size_t>(type)].size; }

/// The element type of that name, if there is one.
inline std::optional<DataType> data_type_named(std::string_view name) {
  for (const detail::DataTypeRow& row : detail::data_types)
    if (row.name == name && row.type != DataType::other) return row.type;
  return std::nullopt;
}

/// True for F64, F32, F16 and BF16, the types that become float or double.
inline bool is_floating(DataType type) {
  return type == DataType::f64 || type == DataType::f32 || type == DataType::f16 || type == DataType::bf16;
}

/// The type that holds a scalar exactly: F32 for float, F64 for double.
template <Real Scalar>
inline constexpr DataType data_type_of = std::same_as<Scalar, float> ? DataType::f32 : DataType::f64;

/// A shape in the words of an error message: "[3, 24]".
inline std::string shape_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const Index extent : shape) text += (text.size() == 1 ? "" : ", ") + std::to_string(extent);
  return text + "]";
}

/// The number of elements of a shape, if it can be counted; 1 for the shape [].
inline std::optional<Index> element_count(std::span<const Index> shape) {
  Index count = 1;
  for (const Index extent : shape) {
    if (extent < 0 || (extent > 0 && count > std::numeric_limits<Index>::max() / extent)) return std::nullopt;
    count *= extent;
  }
  return count;
}

/// A tensor inside a file: a view, valid as long as a copy of the file object lives.
struct TensorInfo {
  DataType dtype = DataType::f32;
  std::vector<Index> shape;          ///< [] for a single number
  std::span<const std::byte> bytes;  ///< row-major, little-endian, at any address: not aligned
  std::string other_type = {};       ///< the file's name of the element type if dtype is `other`

  /// Elements; of another type as many as the shape has.
  Index size() const {
    if (dtype == DataType::other) return element_count(shape).value_or(0);
    return static_cast<Index>(bytes.size() / size_of(dtype));
  }

  std::string type_name() const { return dtype == DataType::other ? other_type : std::string(name_of(dtype)); }

  bool operator==(const TensorInfo& other) const {
    return dtype == other.dtype && other_type == other.other_type && shape == other.shape &&
           bytes.size() == other.bytes.size() &&
           (bytes.empty() || std::memcmp(bytes.data(), other.bytes.data(), bytes.size()) == 0);
  }
};

namespace detail {

// memcpy, because tensors are not aligned.
template <class Element, class Target, class Convert>
void convert_elements(std::span<const std::byte> bytes, Target* target, Convert convert) {
  const std::size_t count = bytes.size() / sizeof(Element);
  for (std::size_t i = 0; i < count; ++i) {
    Element element;
    std::memcpy(&element, bytes.data() + i * sizeof(Element), sizeof(Element));
    target[i] = static_cast<Target>(convert(element));
  }
}

/// Writes the numbers of a floating tensor; a double beyond the range of float becomes infinite.
template <Real Scalar>
void convert_floating(const TensorInfo& tensor, Scalar* target) {
  const auto same = [](auto element) { return element; };
  if (tensor.bytes.empty()) return;
  if (tensor.dtype == data_type_of<Scalar>)
    std::memcpy(target, tensor.bytes.data(), tensor.bytes.size());
  else if (tensor.dtype == DataType::f64)
    convert_elements<double>(tensor.bytes, target, same);
  else if (tensor.dtype == DataType::f32)
    convert_elements<float>(tensor.bytes, target, same);
  else if (tensor.dtype == DataType::f16)
    convert_elements<std::uint16_t>(tensor.bytes, target, float_of_half);
  else if (tensor.dtype == DataType::bf16)
    convert_elements<std::uint16_t>(tensor.bytes, target, float_of_bfloat16);
}

/// Writes the numbers of an integer tensor.
inline void convert_integers(const TensorInfo& tensor, std::int64_t* target) {
  const auto same = [](auto element) { return element; };
  const auto sign_extended = [](std::uint8_t element) { return (element ^ 0x80) - 0x80; };
  if (tensor.dtype == DataType::i64)
    convert_elements<std::int64_t>(tensor.bytes, target, same);
  else if (tensor.dtype == DataType::i32)
    convert_elements<std::int32_t>(tensor.bytes, target, same);
  else if (tensor.dtype == DataType::i16)
    convert_elements<std::int16_t>(tensor.bytes, target, same);
  else if (tensor.dtype == DataType::i8)
    convert_elements<std::uint8_t>(tensor.bytes, target, sign_extended);
  else
    convert_elements<std::uint8_t>(tensor.bytes, target, same);
}

/// Where the first number that is not finite stands; empty if all are finite. Reads bits, so that it also holds where
/// the compiler takes all numbers for finite (-ffast-math).
template <Real Scalar>
std::optional<std::size_t> first_non_finite(std::span<const Scalar> numbers) {
  using Bits = std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits infinity = std::bit_cast<Bits>(std::numeric_limits<Scalar>::infinity());
  constexpr Bits lowest = infinity & (~infinity + 1);  // the last bit of the exponent
  // An exponent of all ones, and no other, overflows into the sign bit.
  Bits seen = 0;
  for (const Scalar number : numbers) seen |= (std::bit_cast<Bits>(number) & infinity) + lowest;
  if ((seen & ~(~Bits{0} >> 1)) == 0) return std::nullopt;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if ((std::bit_cast<Bits>(numbers[i]) & infinity) == infinity) return i;
  return std::nullopt;
}

}  // namespace detail

}  // namespace merganser::io
