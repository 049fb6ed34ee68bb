// The weight files of a model directory: one safetensors file, or shards and the index that says what is where.
#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/atomic_file.hpp>
#include <merganser/io/mapped_file.hpp>
#include <merganser/io/safetensors_reader.hpp>
#include <merganser/io/strict_json.hpp>
#include <merganser/io/tensor_table.hpp>

namespace merganser::io {

/// The names of Hugging Face.
inline constexpr std::string_view weights_file_name = "model.safetensors";
inline constexpr std::string_view shard_index_name = "model.safetensors.index.json";

/// What a model.safetensors.index.json says.
struct ShardIndex {
  std::map<std::string, std::string> weight_map;  ///< tensor to file name, a path below the directory of the index
  std::optional<Index> total_size;                ///< bytes of all tensors

  /// The files, each once.
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& [tensor, file] : weight_map) names.insert(file);
    return names;
  }
};

namespace detail {

/// True for a relative path that stays below the place where it begins.
inline bool stays_below(const std::string& text) {
  if (text.empty() || text.find('\0') != std::string::npos) return false;
  const std::filesystem::path path(text);
  if (path.has_root_path() || !path.has_filename()) return false;
  for (const std::filesystem::path& part : path)
    if (part == ".." || part == ".") return false;
  return true;
}

}  // namespace detail

/// Reads the text of a model.safetensors.index.json; `file_name` stands for it in errors.
/// @throws IoError if the text is no JSON object of `weight_map` and `metadata`, a file is not named by a path below
/// the directory, or `metadata.total_size` is no size
inline ShardIndex parse_shard_index(std::string_view text, const std::string& file_name) {
  const nlohmann::json object = detail::parse_json_object(text, file_name, "file");
  const detail::JsonFields fields(object, file_name);
  fields.allow_only({"metadata", "weight_map"});
  ShardIndex index;
  const nlohmann::json* files = fields.object("weight_map");
  if (files == nullptr) fields.fail("weight_map", "no such key", "an object of file names");
  for (const auto& [tensor, file] : files->items()) {
    if (!file.is_string() || !detail::stays_below(file.get_ref<const std::string&>()))
      fields.fail("weight_map." + tensor, detail::describe(file), "the name of a file in the directory of the index");
    index.weight_map.emplace(tensor, file.get<std::string>());
  }
  if (const nlohmann::json* metadata = fields.object("metadata"); metadata != nullptr)
    index.total_size = detail::JsonFields(*metadata, file_name, "metadata.")
                           .integer("total_size", 0, std::numeric_limits<Index>::max());
  return index;
}

/// Opens all shards that an index names, as one table.
/// @throws IoError if the index or a shard can't be read, a shard is missing, a tensor is not in the file that the
/// index names for it or is in another one, or the tensors have not `metadata.total_size` bytes
inline TensorTable open_shards(const std::filesystem::path& index_path, Mapping mapping = Mapping::mapped) {
  const std::string index_name = index_path.string();
  const ShardIndex index = parse_shard_index(read_text_file(index_path), index_name);
  TensorTable table(index_name);
  Index total = 0;
  for (const std::string& file : index.files()) {
    const std::filesystem::path path = index_path.parent_path() / file;
    std::error_code failure;
    if (!std::filesystem::exists(path, failure))
      throw IoError(path.string(), "file", "no such file", "a shard, which " + index_name + " names");
    const SafetensorsFile shard = SafetensorsFile::open(path, mapping);
    for (const std::string& tensor : shard.names()) {
      const auto place = index.weight_map.find(tensor);
      if (place == index.weight_map.end())
        throw IoError(path.string(), tensor, "a tensor that is not in weight_map of " + index_name,
                      "only tensors that are");
      if (place->second != file)
        throw IoError(path.string(), tensor, "a tensor that belongs to " + place->second, "a tensor in one shard only");
      total += static_cast<Index>(shard.tensor(tensor).bytes.size());
    }
    table.append(shard);
  }
  for (const auto& [tensor, file] : index.weight_map)
    if (!table.contains(tensor))
      throw IoError((index_path.parent_path() / file).string(), tensor, "no such tensor",
                    "this tensor, as weight_map of " + index_name + " says");
  if (index.total_size && *index.total_size != total)
    throw IoError(index_name, "metadata.total_size", *index.total_size,
                  std::to_string(total) + ", the bytes of all tensors");
  return table;
}

/// Opens model.safetensors of a directory or, if there is none, the shards of model.safetensors.index.json.
/// @throws IoError if neither is there or as `SafetensorsFile::open` and `open_shards`
inline TensorTable open_weights(const std::filesystem::path& directory, Mapping mapping = Mapping::mapped) {
  const std::filesystem::path single = directory / weights_file_name, index = directory / shard_index_name;
  std::error_code failure;
  if (!std::filesystem::exists(single, failure) && std::filesystem::exists(index, failure))
    return open_shards(index, mapping);
  return SafetensorsFile::open(single, mapping);
}

}  // namespace merganser::io
