// The names of the weight files of a model, and the index that says which tensor is in which shard.
#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <merganser/core/types.hpp>
#include <merganser/io/strict_json.hpp>

namespace merganser::inline MERGANSER_ISA::io {

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

}  // namespace merganser::io
