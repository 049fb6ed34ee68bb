// What must hold for every safetensors file that the reader takes.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/types.hpp>
#include <merganser/io/files/safetensors_reader.hpp>
#include <merganser/io/files/tensor_data.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

/// A file of this header, its length right, and these data.
inline std::vector<std::byte> safetensors_file(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::vector<std::byte> bytes(sizeof length);
  std::memcpy(bytes.data(), &length, sizeof length);
  for (const std::string_view part : {header, data}) {
    const std::vector<std::byte> more = as_bytes(part);
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  return bytes;
}

template <Real Scalar>
void check_numbers(const io::SafetensorsFile& file, const std::string& name) {
  const Matrix<Scalar> numbers = file.folded_matrix<Scalar>(name);
  require(numbers.size() == file.tensor(name).size(), "a matrix has all numbers");
  bool finite = true;
  for (Index i = 0; i < numbers.size(); ++i) finite = finite && std::isfinite(numbers.data()[i]);
  require(throws<IoError>([&] { file.require_finite<Scalar>(name); }) != finite, "numbers are refused if not finite");
  const bool is_matrix = file.tensor(name).shape.size() <= 2;
  require(throws<IoError>([&] { file.matrix<Scalar>(name); }) != is_matrix, "matrices have at most two extents");
}

inline void check_tensor(const io::SafetensorsFile& file, const std::string& name) {
  const io::TensorInfo& tensor = file.tensor(name);
  const std::optional<Index> count = io::element_count(tensor.shape);
  require(count && *count == tensor.size(), "the shape fits the bytes");
  if (tensor.dtype == io::DataType::other) {
    require(throws<IoError>([&] { file.integers(name); }) && throws<IoError>([&] { file.folded_matrix<float>(name); }),
            "no numbers are read of another type");
    return;
  }
  require(tensor.bytes.size() == static_cast<std::size_t>(*count) * io::size_of(tensor.dtype), "no half element");
  if (io::is_floating(tensor.dtype)) {
    check_numbers<float>(file, name);
    check_numbers<double>(file, name);
    require(throws<IoError>([&] { file.integers(name); }), "floating tensors are no integers");
  } else {
    require(std::cmp_equal(file.integers(name).size(), *count), "all integers are read");
    require(throws<IoError>([&] { file.folded_matrix<float>(name); }), "integer tensors are no matrices");
  }
}

/// The same tensors in a file that is written another way.
inline io::SafetensorsFile rewritten(const io::SafetensorsFile& file, std::string_view data) {
  nlohmann::json header = nlohmann::json::object();
  if (!file.metadata().empty()) header["__metadata__"] = file.metadata();
  std::size_t end = 0;
  for (const std::string& name : file.names()) {
    const io::TensorInfo& tensor = file.tensor(name);
    const std::size_t begin = end;
    end += tensor.bytes.size();
    header[name] = {{"dtype", tensor.type_name()}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  return io::SafetensorsFile::parse(safetensors_file(header.dump(), data), "rewritten");
}

/// Reads the bytes of a file; if they are taken, its tensors tile the data, can all be read, and survive rewriting.
inline void check_safetensors(const std::vector<std::byte>& bytes) {
  const auto file = unless_refused([&] { return io::SafetensorsFile::parse(bytes, "memory"); });
  if (!file) return;
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::size_t end = sizeof header + static_cast<std::size_t>(header);
  const auto all = std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view data = all.substr(end);
  for (const std::string& name : file->names()) {
    const std::span<const std::byte> part = file->tensor(name).bytes;
    require(part.size() <= bytes.size() - end, "tensors lie in the file");
    require(part.empty() || std::memcmp(part.data(), bytes.data() + end, part.size()) == 0, "tensors tile the data");
    end += part.size();
    check_tensor(*file, name);
  }
  require(end == bytes.size(), "no byte is left over");
  const io::SafetensorsFile again = rewritten(*file, data);
  require(again.metadata() == file->metadata(), "metadata come back");
  require(again.names().size() == file->names().size(), "all tensors come back");
  for (const std::string& name : file->names())
    require(again.tensor(name) == file->tensor(name), "a tensor comes back as it was");
}

}  // namespace merganser::fuzz
