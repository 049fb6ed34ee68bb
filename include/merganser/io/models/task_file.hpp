// The task.json of a model directory: what the model was trained to do with a text.
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/strict_json.hpp>

namespace merganser::inline MERGANSER_ISA::io {

inline constexpr std::string_view task_file_name = "task.json";

/// What whoever gives a model a text must know of its training. Hugging Face passes the file over.
struct ModelTask {
  std::string name;                           ///< "denoise", "span_corruption" or another one
  data::SpecialTokens special;                ///< the mask or the sentinels of its sources
  std::optional<double> noise;                ///< share of the bytes that denoising masks, in [0, 1]
  std::optional<Index> window;                ///< bytes of the longest texts of the training, from 1
  std::optional<Index> shortest_window = {};  ///< and of the shortest

  bool operator==(const ModelTask&) const = default;
};

/// Reads the text of a task.json; `file_name` stands for it in errors.
/// @throws IoError if the text is no JSON object, a key is missing or unknown, or a value is out of its range
inline ModelTask parse_task(std::string_view text, const std::string& file_name) {
  constexpr Index version = 1;
  const nlohmann::json object = detail::parse_json_object(text, file_name, "file");
  const detail::JsonFields fields(object, file_name);
  fields.required(fields.integer("version", version, version), "version", "1");
  fields.allow_only({"version", "task", "mask_id", "first_sentinel_id", "noise", "window", "shortest_window"});
  if (!fields.is_text("task"))
    fields.fail("task", object.contains("task") ? detail::describe(object["task"]) : "no such key", "a name");
  // UTF-8 has no use for the bytes from 0xF5 on: their ids may be those of sentinels.
  const auto token = [&](const std::string& key) -> std::optional<TokenId> {
    const std::optional<Index> id =
        fields.integer(key, data::ByteTokenizer::byte_to_id('\xF5'), std::numeric_limits<TokenId>::max());
    return id ? std::optional(static_cast<TokenId>(*id)) : std::nullopt;
  };
  ModelTask task;
  task.name = object["task"].get<std::string>();
  task.special = {token("mask_id"), token("first_sentinel_id")};
  task.noise = fields.number(
      "noise", [](double value) { return value >= 0 && value <= 1; }, "a number in [0, 1]");
  task.window = fields.integer("window", 1, std::numeric_limits<Index>::max());
  task.shortest_window = fields.integer("shortest_window", 1, task.window.value_or(std::numeric_limits<Index>::max()));
  return task;
}

/// Reads `directory`/task.json; empty if there is no such file, as in the directories of others.
/// @throws IoError if the file can't be read, or as `parse_task`
inline std::optional<ModelTask> read_task(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / task_file_name;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  return parse_task(read_text_file(path), path.string());
}

/// The text of a task.json.
inline std::string to_json(const ModelTask& task) {
  nlohmann::ordered_json object = {{"version", 1}, {"task", task.name}};
  if (task.special.mask) object["mask_id"] = *task.special.mask;
  if (task.special.first_sentinel) object["first_sentinel_id"] = *task.special.first_sentinel;
  if (task.noise) object["noise"] = *task.noise;
  if (task.window) object["window"] = *task.window;
  if (task.shortest_window) object["shortest_window"] = *task.shortest_window;
  return object.dump(2) + "\n";
}

/// Writes `directory`/task.json, all of it or nothing.
/// @throws IoError if the file can't be written
inline void write_task(const ModelTask& task, const std::filesystem::path& directory) {
  write_file_atomically(directory / task_file_name, to_json(task));
}

}  // namespace merganser::io
