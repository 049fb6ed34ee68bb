// Writing safetensors files.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/half_float.hpp>
#include <merganser/io/files/tensor_data.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// Collects tensors and writes them into one file, in the order in which they were added.
///
/// Holds views: the numbers are read by `write` and must still be there. The header is padded with blanks to a multiple
/// of 8 bytes and carries the metadata {"format": "pt"}, without which Hugging Face readers refuse a file.
class SafetensorsWriter {
 public:
  /// Adds a floating tensor, stored as F64, F32, F16 or BF16: each number rounded to the nearest, a tie to even.
  /// @throws std::invalid_argument if the name is taken, "__metadata__" or not UTF-8, if the numbers don't fit the
  /// shape, if the element type is not floating, or if a finite number is infinite in it
  template <Real Scalar>
  void add(const std::string& name, const std::vector<Index>& shape, std::span<const Scalar> values,
           DataType dtype = data_type_of<Scalar>) {
    check_argument(is_floating(dtype), "SafetensorsWriter::add", "dtype", name_of(dtype), "F64, F32, F16 or BF16");
    check_range(name, values, dtype);
    append(name, shape, values.size(), dtype, [values, dtype](AtomicFile& file) {
      if (dtype == data_type_of<Scalar>)
        file.write(std::as_bytes(values));
      else if (dtype == DataType::f64)
        write_converted<double>(file, values, [](Scalar value) { return static_cast<double>(value); });
      else if (dtype == DataType::f32)
        write_converted<float>(file, values, [](Scalar value) { return static_cast<float>(value); });
      else if (dtype == DataType::f16)
        write_converted<std::uint16_t>(file, values, rounded_to_half<Scalar>);
      else
        write_converted<std::uint16_t>(file, values, rounded_to_bfloat16<Scalar>);
    });
  }

  /// Adds a parameter under a name.
  /// @throws std::invalid_argument as the general form
  template <Real Scalar>
  void add(const std::string& name, const ParameterView<Scalar>& parameter, DataType dtype = data_type_of<Scalar>) {
    add(name, parameter.shape(), std::span<const Scalar>(parameter.data, static_cast<std::size_t>(parameter.size())),
        dtype);
  }

  /// Adds an integer tensor, stored as I64.
  /// @throws std::invalid_argument as for floating tensors
  void add(const std::string& name, const std::vector<Index>& shape, std::span<const std::int64_t> values) {
    append(name, shape, values.size(), DataType::i64,
           [values](AtomicFile& file) { file.write(std::as_bytes(values)); });
  }

  /// Sets a free text of the file.
  /// @throws std::invalid_argument if key or text is not UTF-8
  void set_metadata(std::string key, std::string text) {
    quoted(key);
    quoted(text);
    metadata_.insert_or_assign(std::move(key), std::move(text));
  }

  /// Writes the file, all of it or nothing (see `AtomicFile`).
  /// @throws IoError if the file can't be written
  void write(const std::filesystem::path& path) const {
    write_file_atomically(path, [this](AtomicFile& file) {
      const std::string text = header();
      const std::uint64_t length = text.size();
      file.write(std::as_bytes(std::span(&length, 1)));
      file.write(text);
      for (const Entry& entry : entries_) entry.write(file);
    });
  }

 private:
  struct Entry {
    std::string field;  // "name":{...}, as it stands in the header
    std::function<void(AtomicFile&)> write;
  };

  static std::string quoted(const std::string& text) {
    try {
      return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception&) {
      throw_invalid_argument("SafetensorsWriter", "text", "bytes that are not UTF-8", "UTF-8");
    }
  }

  template <Real Scalar>
  static std::uint16_t rounded_to_half(Scalar value) {
    return detail::half_of(detail::round_to_odd(value));
  }

  template <Real Scalar>
  static std::uint16_t rounded_to_bfloat16(Scalar value) {
    return detail::bfloat16_of(detail::round_to_odd(value));
  }

  /// Requires every finite number to be finite in the file as well.
  template <Real Scalar>
  static void check_range(const std::string& name, std::span<const Scalar> values, DataType dtype) {
    if (size_of(dtype) >= sizeof(Scalar)) return;
    // The smallest number that is rounded to infinity: half a unit above the largest of the type.
    const double limit = dtype == DataType::f32 ? 0x1.ffffffp127 : dtype == DataType::f16 ? 65520.0 : 0x1.ffp127;
    for (const Scalar value : values) {
      const double magnitude = std::abs(static_cast<double>(value));
      if (magnitude >= limit && magnitude <= std::numeric_limits<double>::max())
        throw_invalid_argument("SafetensorsWriter::add", name, value,
                               "numbers that " + std::string(name_of(dtype)) + " holds");
    }
  }

  template <class Target, Real Scalar, class Convert>
  static void write_converted(AtomicFile& file, std::span<const Scalar> values, Convert convert) {
    std::array<Target, 4096> chunk;
    while (!values.empty()) {
      const std::size_t count = std::min(values.size(), chunk.size());
      std::transform(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count), chunk.begin(), convert);
      file.write(std::as_bytes(std::span(chunk).first(count)));
      values = values.subspan(count);
    }
  }

  void append(const std::string& name, const std::vector<Index>& shape, std::size_t size, DataType dtype,
              std::function<void(AtomicFile&)> write) {
    const std::string quoted_name = quoted(name);
    check_argument(name != "__metadata__", "SafetensorsWriter::add", "name", name, "another name");
    const std::optional<Index> count = element_count(shape);
    check_argument(count && std::cmp_equal(*count, size), "SafetensorsWriter::add", name,
                   std::to_string(size) + " numbers", "as many as shape " + shape_text(shape) + " has");
    check_argument(names_.insert(name).second, "SafetensorsWriter::add", "name", name, "a name that is not taken");
    const std::size_t end = end_ + size * size_of(dtype);
    std::string field = quoted_name + R"(:{"dtype":")" + std::string(name_of(dtype)) + R"(","shape":[)";
    for (std::size_t i = 0; i < shape.size(); ++i) {
      field += i == 0 ? "" : ",";
      field += std::to_string(shape[i]);
    }
    field += R"(],"data_offsets":[)" + std::to_string(end_) + "," + std::to_string(end) + "]}";
    entries_.push_back({std::move(field), std::move(write)});
    end_ = end;
  }

  std::string header() const {
    std::string text = R"({"__metadata__":{)";
    for (bool first = true; const auto& [key, value] : metadata_) {
      text += first ? "" : ",";
      text += quoted(key) + ":" + quoted(value);
      first = false;
    }
    text += "}";
    for (const Entry& entry : entries_) text += "," + entry.field;
    text += "}";
    text.append((8 - text.size() % 8) % 8, ' ');
    return text;
  }

  std::vector<Entry> entries_;
  std::set<std::string> names_;
  std::map<std::string, std::string> metadata_{{"format", "pt"}};
  std::size_t end_ = 0;  // of the data so far, in bytes
};

}  // namespace merganser::io
