// The names of the weight files of a model, and the index that says which tensor is in which shard.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/strict_json.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// The names of Hugging Face.
inline constexpr std::string_view weights_file_name = "model.safetensors";
inline constexpr std::string_view shard_index_name = "model.safetensors.index.json";

/// What a model.safetensors.index.json says.
struct ShardIndex {
  std::map<std::string, std::string> weight_map;  ///< tensor to file name, a path below the directory of the index

  /// The files, each once.
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& [tensor, file] : weight_map) names.insert(file);
    return names;
  }
};

namespace detail {

/// A number of `digits` digits at least, zeros in front: 00042. (Streams would follow the program's locale.)
inline std::string padded_number(std::uint64_t number, std::size_t digits) {
  const std::string text = std::to_string(number);
  return std::string(digits - std::min(digits, text.size()), '0') + text;
}

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
/// @throws IoError if the text is no JSON object of `weight_map` and `metadata`, or a file is not named by a path below
/// the directory. What `metadata` says, nobody reads.
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
  fields.object("metadata");
  return index;
}

namespace detail {

/// The names of the weight files that a model directory is read from: model.safetensors or, if there is none, the
/// shards of its index; none if there is neither.
/// @throws IoError if the index is none
inline std::set<std::string> weight_file_names(const std::filesystem::path& directory) {
  std::error_code failure;
  if (std::filesystem::exists(directory / weights_file_name, failure)) return {std::string(weights_file_name)};
  const std::filesystem::path index = directory / shard_index_name;
  if (!std::filesystem::exists(index, failure)) return {};
  return parse_shard_index(read_text_file(index, json_size_limit), index.string()).files();
}

}  // namespace detail

}  // namespace merganser::io
