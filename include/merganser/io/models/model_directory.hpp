// Model directories: config.json beside the weight files, in the layout of Hugging Face. Saving them; brings in
// loading.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include <merganser/core/io_error.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/models/hf_config_writer.hpp>
#include <merganser/io/models/hf_model.hpp>
#include <merganser/io/models/model_extras.hpp>
#include <merganser/io/models/model_loading.hpp>
#include <merganser/io/models/weight_files_writer.hpp>
#include <merganser/models/encoder_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// Writes `directory`/config.json and the weights (see `save_weights`), each file whole or not at all, and what
/// `extras` has (see `read_model_extras`); makes the directory. Other files that are there stay.
/// @throws IoError if something cannot be written, or the extras are damaged
/// @throws std::invalid_argument if no config.json describes the model or its weights do not fit the format; nothing is
/// written then
template <Real Scalar>
void save_model(const models::EncoderDecoder<Scalar>& model, const std::filesystem::path& directory,
                const WeightFormat& format = {}, const ModelExtras& extras = {}) {
  const std::string config = detail::with_config_keys(to_json(hf_config(model)), extras.config_keys);
  detail::plan_shards(model, "", format);  // throws before the directory is made
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw IoError(directory.string(), "directory", error.message(), "a directory that can be made");
  save_weights(model, directory, format);
  for (const auto& [name, text] : extras.files) write_file_atomically(directory / name, text);
  write_file_atomically(directory / config_file_name, config);
}

#if MERGANSER_COMPILED
extern template void save_model<float>(const models::EncoderDecoder<float>&, const std::filesystem::path&,
                                       const WeightFormat&, const ModelExtras&);
#endif

}  // namespace merganser::io
