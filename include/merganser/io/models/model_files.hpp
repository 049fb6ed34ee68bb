// The files of a model, from a directory or from memory, and the tensors in them.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/mapped_file.hpp>
#include <merganser/io/files/safetensors_reader.hpp>
#include <merganser/io/files/tensor_table.hpp>
#include <merganser/io/models/foreign_files.hpp>
#include <merganser/io/models/weight_files.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// The names of Hugging Face.
inline constexpr std::string_view config_file_name = "config.json";
inline constexpr std::string_view generation_config_name = "generation_config.json";

/// Everything that a model is read from, as bytes: `open_model_files` takes them from a directory, a caller that has
/// them elsewhere (in the program itself, an archive, a network) fills them in.
///
/// A value: copies share the weights. Texts are copied; weights are held as `FileBytes` says, so that borrowed ones
/// must stay while this or a table made of it lives. A loaded model needs none of it.
struct ModelFiles {
  std::filesystem::path origin = "memory";       ///< the directory; stands before the names of the files in errors
  std::string config;                            ///< the text of config.json
  std::optional<std::string> generation_config;  ///< the text of generation_config.json
  std::optional<std::string> tokenizer_config;   ///< the text of tokenizer_config.json
  std::string foreign_tokenizer;                 ///< a file of a tokenizer that makes no ids of bytes; or empty
  std::optional<std::string> shard_index;        ///< the text of model.safetensors.index.json
  /// Safetensors files by name. With an index, the shards that it names and no others; without, all of them together,
  /// each tensor once: "model.safetensors" is one.
  std::map<std::string, FileBytes> weights;

  /// What a file is called in errors.
  std::string path_of(std::string_view file) const { return (origin / file).string(); }
};

namespace detail {

inline bool is_there(const std::filesystem::path& path) {
  std::error_code failure;
  return std::filesystem::status(path, failure).type() != std::filesystem::file_type::not_found;
}

/// Opens model.safetensors or, if there is none, the shards of model.safetensors.index.json, as far as they exist.
inline void open_weight_files(ModelFiles& files, Mapping mapping) {
  const std::filesystem::path single = files.origin / weights_file_name, index = files.origin / shard_index_name;
  if (is_there(single)) {
    files.weights.emplace(weights_file_name, FileBytes::open(single, mapping));
    return;
  }
  if (!is_there(index)) fail_for_missing(files.origin, weights_file_name);
  files.shard_index = read_text_file(index, json_size_limit);
  std::error_code failure;
  for (const std::string& shard : parse_shard_index(*files.shard_index, index.string()).files())
    if (std::filesystem::exists(files.origin / shard, failure))
      files.weights.emplace(shard, FileBytes::open(files.origin / shard, mapping));
}

/// The text of a file that need not be there.
inline std::optional<std::string> open_small_file(const ModelFiles& files, std::string_view name) {
  const std::filesystem::path path = files.origin / name;
  if (!is_there(path)) return std::nullopt;
  return read_text_file(path, small_json_size_limit);
}

inline TensorTable open_shards(const ModelFiles& files) {
  const std::string index_name = files.path_of(shard_index_name);
  const ShardIndex index = parse_shard_index(*files.shard_index, index_name);
  const std::set<std::string> named = index.files();
  TensorTable table(index_name);
  for (const std::string& file : named) {
    const std::string path = files.path_of(file);
    const auto bytes = files.weights.find(file);
    if (bytes == files.weights.end())
      throw IoError(path, "file", "no such file", "a shard, which " + index_name + " names");
    const SafetensorsFile shard = SafetensorsFile::parse(bytes->second, path);
    for (const std::string& tensor : shard.names()) {
      const auto place = index.weight_map.find(tensor);
      if (place == index.weight_map.end())
        throw IoError(path, tensor, "a tensor that is not in weight_map of " + index_name, "only tensors that are");
      if (place->second != file)
        throw IoError(path, tensor, "a tensor that belongs to " + place->second, "a tensor in one shard only");
    }
    table.append(shard);
  }
  for (const auto& [file, bytes] : files.weights)
    if (!named.contains(file))
      throw IoError(files.path_of(file), "file", "a file that " + index_name + " does not name", "only its shards");
  for (const auto& [tensor, file] : index.weight_map)
    if (!table.contains(tensor))
      throw IoError(files.path_of(file), tensor, "no such tensor",
                    "this tensor, as weight_map of " + index_name + " says");
  return table;
}

}  // namespace detail

/// The files of a model directory: its config.json, model.safetensors or, if there is none, the shards of
/// model.safetensors.index.json, and generation_config.json and tokenizer_config.json if they are there.
/// @throws IoError if a file that is not optional is missing, and it says what is there in its place; if a file can't
/// be read or is too large for what it is, or the index is none
inline ModelFiles open_model_files(const std::filesystem::path& directory, Mapping mapping = Mapping::mapped) {
  ModelFiles files;
  std::error_code failure;
  files.origin = directory;
  if (std::filesystem::is_directory(directory, failure) && !detail::is_there(directory / config_file_name))
    detail::fail_for_missing(directory, config_file_name);
  files.config = read_text_file(directory / config_file_name, detail::small_json_size_limit);
  detail::open_weight_files(files, mapping);
  files.generation_config = detail::open_small_file(files, generation_config_name);
  files.tokenizer_config = detail::open_small_file(files, tokenizer_config_name);
  files.foreign_tokenizer = detail::foreign_tokenizer_file(directory);
  return files;
}

/// The tensors of all weight files, as one table.
/// @throws IoError if there is no weight file, one breaks a rule of the format, a tensor is in two of them, or with an
/// index: a shard is missing or not named, or a tensor is not in the file that the index names for it or is in
/// another one
inline TensorTable open_weights(const ModelFiles& files) {
  if (files.shard_index) return detail::open_shards(files);
  if (files.weights.empty()) throw IoError(files.path_of(weights_file_name), "file", "no such file", "a file");
  if (files.weights.size() == 1) {
    const auto& [name, bytes] = *files.weights.begin();
    return SafetensorsFile::parse(bytes, files.path_of(name));  // NOLINT(cppcoreguidelines-slicing): without metadata
  }
  TensorTable table(files.origin.string());
  for (const auto& [name, bytes] : files.weights) table.append(SafetensorsFile::parse(bytes, files.path_of(name)));
  return table;
}

/// The tensors of the weight files of a directory, which needs nothing else.
/// @throws IoError if there are none, or as `open_model_files` and the other form
inline TensorTable open_weights(const std::filesystem::path& directory, Mapping mapping = Mapping::mapped) {
  ModelFiles files;
  files.origin = directory;
  detail::open_weight_files(files, mapping);
  return open_weights(files);
}

}  // namespace merganser::io
