// What a directory has that no model of ours is read from: weights in another format, another tokenizer.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/strict_json.hpp>

namespace merganser::inline MERGANSER_ISA::io {

inline constexpr std::string_view tokenizer_config_name = "tokenizer_config.json";

namespace detail {

/// The names in a directory, sorted; none if it can't be read.
inline std::set<std::string> names_in(const std::filesystem::path& directory) {
  std::set<std::string> names;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
       entry.increment(failure))
    names.insert(entry->path().filename().string());
  return names;
}

/// Says of a directory without the file that a model is read from, `wanted`, what is there in its place.
/// @throws IoError always
[[noreturn]] inline void fail_for_missing(const std::filesystem::path& directory, std::string_view wanted) {
  const std::set<std::string> names = names_in(directory);
  const auto fail = [&](const std::string& there, const std::string& expected) {
    throw IoError((directory / wanted).string(), "file", "no such file but " + there, expected);
  };
  const std::string convert = "safetensors: in Python, transformers.AutoModelForSeq2SeqLM.from_pretrained(\"" +
                              directory.string() + "\").save_pretrained(\"DIRECTORY\") writes them, and a config.json";
  for (const std::string& name : names)
    if (name == "adapter_config.json" || name == "adapter_model.safetensors")
      fail(name + ", an adapter to another model",
           "a whole model: in Python, peft.AutoPeftModelForSeq2SeqLM.from_pretrained(\"" + directory.string() +
               "\").merge_and_unload().save_pretrained(\"DIRECTORY\") makes one");
  for (const std::string& name : names) {
    if (name.ends_with(".gguf"))
      fail(name + ", quantised weights of llama.cpp", convert + " of the model it came from");
    if (name == "pytorch_model.bin" || name == "pytorch_model.bin.index.json" || name.ends_with(".ckpt"))
      fail(name + ", weights of PyTorch", convert);
    if (name == "tf_model.h5" || name == "flax_model.msgpack") fail(name + ", weights of another framework", convert);
    if (name.starts_with("model-") && name.ends_with(".safetensors"))
      fail(name + ", a shard", "model.safetensors.index.json beside the shards, which says what is in each");
  }
  throw IoError((directory / wanted).string(), "file", "no such file", "a file");
}

/// Files of tokenizers that make no ids of bytes.
inline constexpr const char* foreign_tokenizer_files[] = {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
                                                          "tokenizer.json"};

/// One of those that the directory has, if any; else empty.
inline std::string foreign_tokenizer_file(const std::filesystem::path& directory) {
  const std::set<std::string> names = names_in(directory);
  for (const char* name : foreign_tokenizer_files)
    if (names.contains(name)) return name;
  return {};
}

/// The value of tokenizer_class in the text of a config.json or a tokenizer_config.json; empty if there is none.
/// @throws IoError if the text is no JSON object
inline std::string tokenizer_class(std::string_view text, const std::string& file) {
  const nlohmann::json object = parse_json_object(text, file, "file", small_json_size_limit);
  const auto place = object.find("tokenizer_class");
  return place != object.end() && place->is_string() ? place->get<std::string>() : std::string();
}

/// True for the classes that make ids of bytes, as data::ByteTokenizer does.
inline bool reads_bytes(const std::string& tokenizer_class) {
  return tokenizer_class == "ByT5Tokenizer" || tokenizer_class == "MrT5Tokenizer";
}

}  // namespace detail

}  // namespace merganser::io
