// Writing the parameters of a layer as the weight files of a model directory: one file, or shards and their index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/safetensors_writer.hpp>
#include <merganser/io/files/tensor_data.hpp>
#include <merganser/io/models/weight_files.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// How weights are stored.
struct WeightFormat {
  std::optional<DataType> dtype = {};                 ///< F64, F32, F16 or BF16; the layer's own unless given
  std::optional<std::uint64_t> max_shard_bytes = {};  ///< bytes of tensors in one file at most; one file unless given
};

namespace detail {

/// The tensors of one file.
struct Shard {
  SafetensorsWriter writer;
  std::vector<std::string> tensors;
  std::uint64_t bytes = 0;
};

/// Fills shard after shard, in the order of the parameters. A tensor larger than a shard gets one of its own.
template <class Layer>
std::vector<Shard> plan_shards(const Layer& layer, const std::string& prefix, const WeightFormat& format) {
  const DataType dtype = format.dtype.value_or(data_type_of<typename Layer::ScalarType>);
  check_argument(format.max_shard_bytes != std::uint64_t{0}, "save_weights", "max_shard_bytes", 0, "at least 1");
  std::vector<Shard> shards(1);
  // Parameter views are mutable by type; these are only read.
  for (const auto& parameter : parameter_views(const_cast<Layer&>(layer), prefix)) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(parameter.size()) * size_of(dtype);
    if (format.max_shard_bytes && !shards.back().tensors.empty() &&
        shards.back().bytes + bytes > *format.max_shard_bytes)
      shards.emplace_back();
    shards.back().writer.add(parameter.name, parameter, dtype);
    shards.back().tensors.push_back(parameter.name);
    shards.back().bytes += bytes;
  }
  return shards;
}

/// model-00002-of-00003.safetensors for the second of three.
inline std::string shard_name(std::size_t number, std::size_t count) {
  return "model-" + padded_number(number, 5) + "-of-" + padded_number(count, 5) + ".safetensors";
}

/// The weight files of a directory, as far as they can be told.
inline std::set<std::string> present_weight_files(const std::filesystem::path& directory) {
  std::set<std::string> names{std::string(weights_file_name), std::string(shard_index_name)};
  try {
    const std::filesystem::path path = directory / shard_index_name;
    for (const std::string& file : parse_shard_index(read_text_file(path, json_size_limit), path.string()).files())
      if (file.ends_with(".safetensors")) names.insert(file);
  } catch (const IoError&) {
    // No index, or none of ours: then its shards are not ours to remove either.
  }
  return names;
}

}  // namespace detail

/// Writes the parameters of a layer into a directory, in the layout of Hugging Face: `model.safetensors` if they fit
/// one file, else `model-00001-of-00003.safetensors` and so on and `model.safetensors.index.json`.
///
/// Each file appears whole or not at all, and weight files that stood there before and are not part of the new ones go
/// last. A set of several files is not replaced at once: save into a new directory if the old one has to stay usable.
/// @throws IoError if a file can't be written
/// @throws std::invalid_argument if a number has no place in the element type, the type is not floating or
/// `max_shard_bytes` is 0; nothing is written then
template <class Layer>
void save_weights(const Layer& layer, const std::filesystem::path& directory, const WeightFormat& format = {},
                  const std::string& prefix = "") {
  const std::vector<detail::Shard> shards = detail::plan_shards(layer, prefix, format);
  std::set<std::string> superseded = detail::present_weight_files(directory);
  nlohmann::json weight_map = nlohmann::json::object();
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        shards.size() == 1 ? std::string(weights_file_name) : detail::shard_name(i + 1, shards.size());
    shards[i].writer.write(directory / name);
    superseded.erase(name);
    total += shards[i].bytes;
    for (const std::string& tensor : shards[i].tensors) weight_map[tensor] = name;
  }
  if (shards.size() > 1) {
    const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
    write_file_atomically(directory / shard_index_name, index.dump(2) + "\n");
    superseded.erase(std::string(shard_index_name));
  }
  for (const std::string& name : superseded) {
    std::error_code failure;
    std::filesystem::remove(directory / name, failure);
    if (failure) throw IoError((directory / name).string(), "file", failure.message(), "a file that can be removed");
  }
}

}  // namespace merganser::io
