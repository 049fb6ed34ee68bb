// What stands in a model directory besides the model, so that saving it elsewhere does not lose it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/json_parser.hpp>
#include <merganser/io/models/foreign_files.hpp>
#include <merganser/io/models/hf_foreign_keys.hpp>
#include <merganser/io/models/model_files.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// Texts that belong to a model and that no weight or size is in: `read_model_extras` takes them from a directory,
/// `save_model` writes them into another. Empty: there are none.
struct ModelExtras {
  /// A JSON object of the keys of config.json that models are not made of here, or empty.
  std::string config_keys;
  /// Whole files by name: generation_config.json, those of the tokenizer, task.json, calibration.json.
  std::map<std::string, std::string> files;
};

namespace detail {

inline constexpr std::string_view carried_files[] = {
    generation_config_name, tokenizer_config_name, "special_tokens_map.json",
    "added_tokens.json",    "task.json",           "calibration.json"};

/// The text of a config.json with further keys; those that it has stay.
inline std::string with_config_keys(const std::string& config, const std::string& keys) {
  if (keys.empty()) return config;
  nlohmann::json object = parse_json_object(config, "config.json", "file");
  const nlohmann::json more = parse_json_object(keys, "ModelExtras", "config_keys");
  for (const auto& [key, value] : more.items()) object.emplace(key, value);
  return object.dump(2) + "\n";
}

}  // namespace detail

/// Reads what a model directory has besides the model. Left behind are the self-test, as other weights have other
/// answers, and keys that say what the model or its weights are, which saving writes itself.
/// @throws IoError if config.json is missing or no JSON object, or a file can't be read or is larger than 32 MB
inline ModelExtras read_model_extras(const std::filesystem::path& directory) {
  ModelExtras extras;
  const std::filesystem::path config = directory / config_file_name;
  const nlohmann::json object = detail::parse_json_object(read_text_file(config, detail::small_json_size_limit),
                                                          config.string(), "file", detail::small_json_size_limit);
  nlohmann::json keys = nlohmann::json::object();
  for (const auto& [key, value] : object.items()) {
    const detail::KeyUse use = detail::use_of_key(key);
    if (use == detail::KeyUse::silent || use == detail::KeyUse::unknown || key == "tokenizer_class") keys[key] = value;
  }
  if (!keys.empty()) extras.config_keys = keys.dump();
  for (const std::string_view name : detail::carried_files) {
    std::error_code failure;
    const std::filesystem::path path = directory / name;
    if (std::filesystem::status(path, failure).type() != std::filesystem::file_type::not_found)
      extras.files.emplace(name, read_text_file(path, detail::json_size_limit));
  }
  return extras;
}

/// Removes the files of a directory that say something about the model in it, before another one is written over that:
/// those that `read_model_extras` reads, and a tokenizer that makes no ids of bytes. What cannot be removed stays.
inline void remove_model_extras(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const std::string_view name : detail::carried_files) std::filesystem::remove(directory / name, ignored);
  for (const char* name : detail::foreign_tokenizer_files) std::filesystem::remove(directory / name, ignored);
}

}  // namespace merganser::io
