// Reading safetensors files strictly: every tensor by name, nothing taken on trust.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/mapped_file.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/files/tensor_data.hpp>
#include <merganser/io/files/tensor_table.hpp>

namespace merganser::inline MERGANSER_ISA::io {

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

/// True for what may be the name of an element type, ours or not: capital letters, digits and underlines.
inline bool is_type_name(std::string_view text) {
  return !text.empty() && text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == text.npos;
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
  if (!dtype->is_string() || !is_type_name(dtype->get_ref<const std::string&>()))
    fields.fail("dtype", describe(*dtype), "the name of an element type, such as F32");
  // A type that is not read here is an error when its tensor is asked for.
  const std::string type = dtype->get<std::string>();
  info.dtype = data_type_named(type).value_or(DataType::other);
  if (info.dtype == DataType::other) info.other_type = type;

  info.shape = fields.required(fields.integers("shape", 0, largest), "shape", "an array of extents");
  const std::optional<Index> count = element_count(info.shape);
  const Index element_size = static_cast<Index>(size_of(info.dtype));
  if (!count || (element_size > 0 && *count > largest / element_size))
    fields.fail("shape", shape_text(info.shape), "a number of bytes that can be counted");

  const std::vector<Index> offsets =
      fields.required(fields.integers("data_offsets", 0, largest), "data_offsets", "[begin, end]");
  if (offsets.size() != 2 || offsets[0] > offsets[1] || std::cmp_greater(offsets[1], data.size()))
    fields.fail("data_offsets", shape_text(offsets), "[begin, end] within " + std::to_string(data.size()) + " bytes");
  if (element_size > 0 && offsets[1] - offsets[0] != *count * element_size)
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
class SafetensorsFile : public TensorTable {
 public:
  /// Longest header that is read, in bytes.
  static constexpr std::size_t header_limit = detail::json_size_limit;

  /// Opens a file, mapped unless told otherwise (see `MappedFile` for what a mapped file asks of others).
  /// @throws IoError if the file can't be read or breaks a rule of the format
  static SafetensorsFile open(const std::filesystem::path& path, Mapping mapping = Mapping::mapped) {
    return parse(FileBytes::open(path, mapping), path.string());
  }

  /// Takes the bytes of a file, which stay as `FileBytes` says; `name` stands for it in errors.
  /// @throws IoError if the bytes break a rule of the format
  static SafetensorsFile parse(const FileBytes& bytes, std::string name) {
    return SafetensorsFile(bytes, std::move(name));
  }
  static SafetensorsFile parse(std::vector<std::byte> bytes, std::string name) {
    return parse(FileBytes::owned(std::move(bytes)), std::move(name));
  }

  /// The free texts under `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile(const FileBytes& file, std::string name);

  std::string_view header_of(std::span<const std::byte> bytes) const;
  std::vector<std::string> require_tiling(const std::map<std::string, TensorInfo>& tensors,
                                          std::span<const std::byte> data) const;

  std::map<std::string, std::string> metadata_;
};

inline SafetensorsFile::SafetensorsFile(const FileBytes& file, std::string name) : TensorTable(std::move(name)) {
  const std::span<const std::byte> bytes = file.bytes();
  const std::string_view header = header_of(bytes);
  const std::span<const std::byte> data = bytes.subspan(sizeof(std::uint64_t) + header.size());
  const nlohmann::json fields = detail::parse_json_object(header, file_name(), "header");
  file.release(bytes.first(bytes.size() - data.size()));
  std::map<std::string, TensorInfo> tensors;
  for (const auto& [key, value] : fields.items()) {
    if (key == "__metadata__")
      metadata_ = detail::read_metadata(value, file_name());
    else
      tensors.emplace(key, detail::read_tensor(key, value, data, file_name()));
  }
  const Source source{file_name(), file};
  for (const std::string& tensor : require_tiling(tensors, data)) add(tensor, tensors.at(tensor), source);
}

inline std::string_view SafetensorsFile::header_of(std::span<const std::byte> bytes) const {
  constexpr std::size_t prefix = sizeof(std::uint64_t);
  if (bytes.size() < prefix)
    throw IoError(file_name(), "header length", std::to_string(bytes.size()) + " bytes in all", "at least 8 bytes");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), prefix);
  if (std::memcmp(bytes.data(), "version ", prefix) == 0)
    throw IoError(file_name(), "file", "a pointer of Git LFS", "the file that it stands for: git lfs pull fetches it");
  const std::size_t limit = std::min(bytes.size() - prefix, header_limit);
  if (length > limit)
    throw IoError(file_name(), "header length", std::to_string(length), "at most " + std::to_string(limit) + " bytes");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + prefix, static_cast<std::size_t>(length));
  if (!header.starts_with('{')) throw IoError(file_name(), "header", "no opening brace", "a JSON object");
  return header;
}

/// The names in the order of their data.
inline std::vector<std::string> SafetensorsFile::require_tiling(const std::map<std::string, TensorInfo>& tensors,
                                                                std::span<const std::byte> data) const {
  const auto begin_of = [&data](const TensorInfo& info) { return info.bytes.data() - data.data(); };
  using Place = std::pair<std::pair<std::ptrdiff_t, std::size_t>, std::string_view>;
  std::vector<Place> places;
  places.reserve(tensors.size());
  for (const auto& [name, info] : tensors) places.push_back({{begin_of(info), info.bytes.size()}, name});
  std::sort(places.begin(), places.end());
  std::vector<std::string> names;
  std::ptrdiff_t end = 0;
  for (const auto& [place, name] : places) {
    const auto& [begin, size] = place;
    if (begin != end)
      throw IoError(file_name(), std::string(name) + ".data_offsets", "begin " + std::to_string(begin),
                    "begin " + std::to_string(end) + ", without holes or overlaps");
    end += static_cast<std::ptrdiff_t>(size);
    names.emplace_back(name);
  }
  if (std::cmp_not_equal(end, data.size()))
    throw IoError(file_name(), "data", std::to_string(data.size()) + " bytes",
                  std::to_string(end) + " bytes of tensors");
  return names;
}

}  // namespace merganser::io
