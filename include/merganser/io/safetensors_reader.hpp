// Reading safetensors files strictly: every tensor by name, nothing taken on trust.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/atomic_file.hpp>
#include <merganser/io/strict_json.hpp>
#include <merganser/io/tensor_data.hpp>

namespace merganser::io {

namespace detail {

inline std::map<std::string, std::string> read_metadata(const nlohmann::json& value, const std::string& file) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) throw IoError(file, "__metadata__", describe(value), "an object of texts");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) throw IoError(file, "__metadata__." + key, describe(text), "a text");
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

inline TensorInfo read_tensor(const std::string& name, const nlohmann::json& value, std::span<const std::byte> data,
                              const std::string& file) {
  constexpr Index largest = std::numeric_limits<Index>::max();
  if (!value.is_object()) throw IoError(file, name, describe(value), "{dtype, shape, data_offsets}");
  const JsonFields fields(value, file, name + ".");
  fields.allow_only({"dtype", "shape", "data_offsets"});
  TensorInfo info;

  const auto dtype = value.find("dtype");
  if (dtype == value.end()) fields.fail("dtype", "no such key", "an element type");
  const std::optional<DataType> type =
      dtype->is_string() ? data_type_named(dtype->get_ref<const std::string&>()) : std::nullopt;
  if (!type) fields.fail("dtype", describe(*dtype), "F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL");
  info.dtype = *type;

  info.shape = fields.required(fields.integers("shape", 0, largest), "shape", "an array of extents");
  const std::optional<Index> count = element_count(info.shape);
  const Index element_size = static_cast<Index>(size_of(info.dtype));
  if (!count || *count > largest / element_size)
    fields.fail("shape", shape_text(info.shape), "a number of bytes that can be counted");

  const std::vector<Index> offsets =
      fields.required(fields.integers("data_offsets", 0, largest), "data_offsets", "[begin, end]");
  if (offsets.size() != 2 || offsets[0] > offsets[1] || std::cmp_greater(offsets[1], data.size()))
    fields.fail("data_offsets", shape_text(offsets), "[begin, end] within " + std::to_string(data.size()) + " bytes");
  if (offsets[1] - offsets[0] != *count * element_size)
    fields.fail("data_offsets", std::to_string(offsets[1] - offsets[0]) + " bytes",
                std::to_string(*count * element_size) + " bytes for " + std::string(name_of(info.dtype)) + " " +
                    shape_text(info.shape));
  info.bytes = data.subspan(static_cast<std::size_t>(offsets[0]), static_cast<std::size_t>(offsets[1] - offsets[0]));
  return info;
}

}  // namespace detail

/// The tensors of a safetensors file.
///
/// The file is 8 bytes of little-endian header length, a JSON object {name: {dtype, shape, data_offsets}} that may hold
/// a string map `__metadata__`, and the raw little-endian row-major data. Everything is checked when the file is
/// opened: the tensors lie within the data, fit their shapes, and cover the data without overlaps or holes.
/// A value: copies share the bytes, which never change. Any number of threads may read.
class SafetensorsFile {
 public:
  /// Longest header that is read, in bytes.
  static constexpr std::size_t header_limit = 100'000'000;

  /// Reads a file into memory.
  /// @throws IoError if the file can't be read or breaks a rule of the format
  static SafetensorsFile read(const std::filesystem::path& path) { return parse(read_file(path), path.string()); }

  /// Takes the bytes of a file; `name` stands for it in errors.
  /// @throws IoError if the bytes break a rule of the format
  static SafetensorsFile parse(std::vector<std::byte> bytes, std::string name) {
    const auto storage = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    return SafetensorsFile(storage, *storage, std::move(name));
  }

  /// What the file is called in errors.
  const std::string& file_name() const { return file_name_; }

  /// The names of all tensors, in the order of their data.
  const std::vector<std::string>& names() const { return names_; }

  /// The free texts under `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  bool contains(std::string_view name) const { return tensors_.contains(name); }

  /// @throws IoError if there is no such tensor
  const TensorInfo& tensor(std::string_view name) const {
    const auto place = tensors_.find(name);
    if (place == tensors_.end()) throw IoError(file_name_, name, "no such tensor", "a tensor of this name");
    return place->second;
  }

  /// The numbers of a floating tensor: [n, m] as it is, [n] as one row, [] as [1 x 1].
  /// @throws IoError if there is no such tensor, it holds integers, or it has more than two extents
  template <Real Scalar>
  Matrix<Scalar> matrix(std::string_view name) const {
    if (tensor(name).shape.size() > 2)
      throw IoError(file_name_, name, "shape " + shape_text(tensor(name).shape), "at most two extents");
    return folded_matrix<Scalar>(name);
  }

  /// As `matrix`, with all extents but the last folded into the rows: [b, n, m] becomes [b n x m].
  /// @throws IoError if there is no such tensor or it holds integers
  template <Real Scalar>
  Matrix<Scalar> folded_matrix(std::string_view name) const {
    const TensorInfo& info = floating(name);
    const std::vector<Index>& shape = info.shape;
    const Index cols = shape.empty() ? 1 : shape.back();
    const Index rows = shape.empty() ? 1 : *element_count(std::span(shape).first(shape.size() - 1));
    Matrix<Scalar> result(rows, cols);
    detail::convert_floating(info, result.data());
    return result;
  }

  /// Writes the numbers of a floating tensor into a parameter.
  /// @throws IoError as `require_fit`; the parameter is then unchanged
  template <Real Scalar>
  void read_into(std::string_view name, const ParameterView<Scalar>& parameter) const {
    require_fit(name, parameter);
    detail::convert_floating(tensor(name), parameter.data);
  }

  /// Requires a tensor to hold the numbers of a parameter.
  /// @throws IoError if there is no such tensor, it holds integers, or its shape is not the parameter's
  template <Real Scalar>
  void require_fit(std::string_view name, const ParameterView<Scalar>& parameter) const {
    const std::vector<Index> expected = parameter.shape();
    const TensorInfo& info = floating(name);
    if (info.shape != expected)
      throw IoError(file_name_, name, "shape " + shape_text(info.shape), "shape " + shape_text(expected));
  }

  /// The numbers of an integer tensor of any shape, row by row; false is 0 and true is 1.
  /// @throws IoError if there is no such tensor or it is floating
  std::vector<std::int64_t> integers(std::string_view name) const {
    const TensorInfo& info = tensor(name);
    if (is_floating(info.dtype)) throw IoError(file_name_, name, name_of(info.dtype), "I64, I32, I16, I8, U8 or BOOL");
    std::vector<std::int64_t> result(static_cast<std::size_t>(info.size()));
    detail::convert_integers(info, result.data());
    return result;
  }

 private:
  // `storage` keeps the bytes alive; it is typeless so that they may come from elsewhere than a vector.
  SafetensorsFile(std::shared_ptr<const void> storage, std::span<const std::byte> bytes, std::string name)
      : storage_(std::move(storage)), file_name_(std::move(name)) {
    const std::string_view header = header_of(bytes);
    const std::span<const std::byte> data = bytes.subspan(sizeof(std::uint64_t) + header.size());
    const nlohmann::json fields = detail::parse_json_object(header, file_name_, "header");
    for (const auto& [key, value] : fields.items()) {
      if (key == "__metadata__")
        metadata_ = detail::read_metadata(value, file_name_);
      else
        tensors_.emplace(key, detail::read_tensor(key, value, data, file_name_));
    }
    require_tiling(data);
  }

  const TensorInfo& floating(std::string_view name) const {
    const TensorInfo& info = tensor(name);
    if (!is_floating(info.dtype)) throw IoError(file_name_, name, name_of(info.dtype), "F64, F32, F16 or BF16");
    return info;
  }

  std::string_view header_of(std::span<const std::byte> bytes) const;
  void require_tiling(std::span<const std::byte> data);

  std::shared_ptr<const void> storage_;
  std::string file_name_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> metadata_;
};

inline std::string_view SafetensorsFile::header_of(std::span<const std::byte> bytes) const {
  constexpr std::size_t prefix = sizeof(std::uint64_t);
  if (bytes.size() < prefix)
    throw IoError(file_name_, "header length", std::to_string(bytes.size()) + " bytes in all", "at least 8 bytes");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), prefix);
  const std::size_t limit = std::min(bytes.size() - prefix, header_limit);
  if (length > limit)
    throw IoError(file_name_, "header length", std::to_string(length), "at most " + std::to_string(limit) + " bytes");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + prefix, static_cast<std::size_t>(length));
  if (!header.starts_with('{')) throw IoError(file_name_, "header", "no opening brace", "a JSON object");
  return header;
}

inline void SafetensorsFile::require_tiling(std::span<const std::byte> data) {
  const auto begin_of = [&data](const TensorInfo& info) { return info.bytes.data() - data.data(); };
  using Place = std::pair<std::pair<std::ptrdiff_t, std::size_t>, std::string_view>;
  std::vector<Place> places;
  for (const auto& [name, info] : tensors_) places.push_back({{begin_of(info), info.bytes.size()}, name});
  std::sort(places.begin(), places.end());
  std::ptrdiff_t end = 0;
  for (const auto& [place, name] : places) {
    const auto& [begin, size] = place;
    if (begin != end)
      throw IoError(file_name_, std::string(name) + ".data_offsets", "begin " + std::to_string(begin),
                    "begin " + std::to_string(end) + ", without holes or overlaps");
    end += static_cast<std::ptrdiff_t>(size);
    names_.emplace_back(name);
  }
  if (std::cmp_not_equal(end, data.size()))
    throw IoError(file_name_, "data", std::to_string(data.size()) + " bytes",
                  std::to_string(end) + " bytes of tensors");
}

}  // namespace merganser::io
