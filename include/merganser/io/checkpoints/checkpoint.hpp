// One training checkpoint: writing all of a run into a directory, and going on from there bit for bit.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/data_cursor.hpp>
#include <merganser/io/checkpoints/checkpoint_manifest.hpp>
#include <merganser/io/checkpoints/checkpoint_record.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/safetensors.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/files/tensor_table.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/io/models/weight_files.hpp>
#include <merganser/io/models/weight_files_writer.hpp>
#include <merganser/training/trainer_state.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// What a checkpoint holds besides the weights of the model.
template <class Model>
struct Checkpoint {
  training::TrainerState<Model> trainer;
  data::DataCursor data = {};
  std::optional<double> metric = {};                 ///< of these weights, as the caller measures
  std::optional<RatedStep> best = {};                ///< of the run so far
  std::map<std::string, std::string> settings = {};  ///< whatever the caller wants to find again; any bytes
};

namespace detail {

inline constexpr std::string_view optimizer_file_name = "optimizer.safetensors";
inline constexpr std::array<std::string_view, 2> moment_names{"first_moment.", "second_moment."};

/// A model of another kind has no config.json: its weights alone are written.
template <class Model>
void save_checkpoint_model(const Model& model, const std::filesystem::path& directory) {
  save_weights(model, directory);
}

template <Real Scalar>
void save_checkpoint_model(const models::EncoderDecoder<Scalar>& model, const std::filesystem::path& directory) {
  save_model(model, directory);
}

template <class Model>
void check_checkpoint_config(const Model&, const std::filesystem::path&) {}

/// Requires the config.json of a checkpoint to be that of the model.
template <Real Scalar>
void check_checkpoint_config(const models::EncoderDecoder<Scalar>& model, const std::filesystem::path& directory) {
  const std::string file = (directory / config_file_name).string();
  const std::string text = read_text_file(file, small_json_size_limit);
  nlohmann::json got = parse_json_object(text, file, "file", small_json_size_limit);
  got.update(nlohmann::json::parse(to_json(parse_hf_config(text, file))));  // and the keys that came later
  const nlohmann::json expected = nlohmann::json::parse(to_json(hf_config(model)));
  const auto value_of = [](const nlohmann::json& object, const std::string& key) {
    const auto place = object.find(key);
    return place == object.end() ? std::string("no such key") : describe(*place);
  };
  for (const nlohmann::json* side : std::array<const nlohmann::json*, 2>{&got, &expected})
    for (const auto& [key, value] : side->items())
      if (!got.contains(key) || !expected.contains(key) || got[key] != expected[key])
        throw IoError(file, key, value_of(got, key), value_of(expected, key) + ", as the model to go on with has");
}

/// Requires weights or moments to be stored with all bits of the model.
template <Real Scalar>
void require_own_precision(const TensorTable& table, std::string_view except = "") {
  for (const std::string& name : table.names())
    if (name != except && table.tensor(name).dtype != data_type_of<Scalar>)
      throw IoError(table.file_of(name), name, name_of(table.tensor(name).dtype), name_of(data_type_of<Scalar>));
}

template <class Model>
void save_optimizer(const training::TrainerState<Model>& state, const std::filesystem::path& path) {
  SafetensorsWriter writer;
  const std::array<const Model*, 2> moments{&state.first_moment, &state.second_moment};
  for (std::size_t i = 0; i < moments.size(); ++i)
    // Parameter views are mutable by type; these are only read.
    for (const auto& view : parameter_views(const_cast<Model&>(*moments[i]), std::string(moment_names[i])))
      writer.add(view.name, view);
  const std::array<std::int64_t, 1> updates{state.updates};
  writer.add("updates", {}, std::span<const std::int64_t>(updates));
  writer.write(path);
}

/// Fills the moments, which have the model's shape, and the number of updates.
template <class Model>
void load_optimizer(training::TrainerState<Model>& state, const SafetensorsFile& file) {
  // A checkpoint goes on as the run would have, whatever its numbers are; damage shows in the checksums.
  const LoadOptions options{.aliases = {}, .ignored = {}, .non_finite = NonFinite::accept};
  for (const std::string& name : file.names())
    if (!name.starts_with(moment_names[0]) && !name.starts_with(moment_names[1]) && name != "updates")
      throw IoError(file.file_name(), name, "an unknown tensor", "first_moment.*, second_moment.* and updates");
  require_own_precision<typename Model::ScalarType>(file, "updates");
  load_fresh_parameters(state.first_moment, file, std::string(moment_names[0]), options);
  load_fresh_parameters(state.second_moment, file, std::string(moment_names[1]), options);
  const auto updates = file.integers("updates");
  const char* const expected = "one number from 0";
  if (updates.size() != 1)
    throw IoError(file.file_name(), "updates", "shape " + shape_text(file.tensor("updates").shape), expected);
  if (updates[0] < 0) throw IoError(file.file_name(), "updates", updates[0], expected);
  state.updates = static_cast<Index>(updates[0]);
}

}  // namespace detail

/// Writes a checkpoint into an existing directory: the model as `save_model` writes it, optimizer.safetensors,
/// trainer.json and, last, manifest.json. Each file is flushed; `CheckpointDirectory` makes it one whole.
/// @throws IoError if something can't be written
/// @throws std::invalid_argument if the state is not one of this model, or as `save_model`
template <class Model>
void write_checkpoint(const Model& model, const Checkpoint<Model>& checkpoint, const std::filesystem::path& directory) {
  const training::TrainerState<Model>& state = checkpoint.trainer;
  training::check_trainer_state(state, model);
  detail::save_checkpoint_model(model, directory);
  detail::save_optimizer(state, directory / detail::optimizer_file_name);
  CheckpointRecord record;
  record.scalar = data_type_of<typename Model::ScalarType>;
  record.step = state.step;
  record.attempts = state.attempts;
  record.collapsed_steps = state.collapsed_steps;
  record.controller = state.controller;
  record.rng = state.rng;
  record.data = checkpoint.data;
  record.metric = checkpoint.metric;
  record.best = checkpoint.best;
  record.settings = checkpoint.settings;
  write_file_atomically(directory / CheckpointRecord::file_name, to_json(record));
  write_checkpoint_manifest(directory);
}

/// Requires a directory to hold a complete checkpoint and reads its trainer.json. A model that has no config.json is
/// complete without.
/// @throws IoError if the manifest, a file that every checkpoint has, or a file that the manifest names is missing or
/// damaged, or trainer.json can't be read
inline CheckpointRecord read_checkpoint_record(const std::filesystem::path& directory,
                                               ManifestCheck check = ManifestCheck::contents) {
  const CheckpointManifest manifest = check_manifest(directory, check);
  for (const std::string_view name : {CheckpointRecord::file_name, weights_file_name, detail::optimizer_file_name})
    if (!manifest.files.contains(std::string(name)))
      throw IoError((directory / CheckpointManifest::file_name).string(), "files." + std::string(name), "no such key",
                    "a file that every checkpoint has");
  const std::filesystem::path path = directory / CheckpointRecord::file_name;
  return parse_checkpoint_record(read_text_file(path, detail::json_size_limit), path.string());
}

/// Reads a complete checkpoint: gives the model its weights, all of them or on an error none, and returns the rest.
///
/// The model must have been made with the Config of the run; its weights may be any. With `Trainer::set_state` and
/// the data cursor the run goes on as if it had never stopped.
/// @throws IoError as `read_checkpoint_record`, or if the checkpoint is one of another model or another precision
template <class Model>
Checkpoint<Model> load_checkpoint(Model& model, const std::filesystem::path& directory) {
  using Scalar = typename Model::ScalarType;
  CheckpointRecord record = read_checkpoint_record(directory);
  if (record.scalar != data_type_of<Scalar>)
    throw IoError((directory / CheckpointRecord::file_name).string(), "scalar", name_of(record.scalar),
                  std::string(name_of(data_type_of<Scalar>)) + ", the precision of the model to go on with");
  detail::check_checkpoint_config(model, directory);
  Checkpoint<Model> checkpoint{{zeros_like(model), zeros_like(model)}};
  detail::load_optimizer(checkpoint.trainer, SafetensorsFile::open(directory / detail::optimizer_file_name));
  checkpoint.trainer.controller = record.controller;
  checkpoint.trainer.rng = record.rng;
  checkpoint.trainer.step = record.step;
  checkpoint.trainer.attempts = record.attempts;
  checkpoint.trainer.collapsed_steps = record.collapsed_steps;
  checkpoint.data = record.data;
  checkpoint.metric = record.metric;
  checkpoint.best = record.best;
  checkpoint.settings = std::move(record.settings);
  const SafetensorsFile weights = SafetensorsFile::open(directory / weights_file_name);
  detail::require_own_precision<Scalar>(weights);
  load_parameters(model, weights, "", {.aliases = {}, .ignored = {}, .non_finite = NonFinite::accept});
  return checkpoint;
}

}  // namespace merganser::io
