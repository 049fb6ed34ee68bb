// Saving and loading the parameters of a layer as a safetensors file; brings in the reader and the writer.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/io/safetensors_reader.hpp>
#include <merganser/io/safetensors_writer.hpp>

namespace merganser::io {

/// A second name under which a file may store a tensor again, such as "encoder.embed_tokens.weight" for
/// "shared.weight".
struct TensorAlias {
  std::string alias;
  std::string original;
};

/// What `load_parameters` tolerates.
struct LoadOptions {
  /// Tensors that are no parameters but may be there if they equal another one, bit by bit.
  std::vector<TensorAlias> aliases;
};

/// Fills the parameters of a layer from a file: all of them or, on an error, none.
///
/// The parameter named p comes from the tensor prefix + p. Tensors whose names begin with the prefix must all be used;
/// others are left alone. Half types, F32 and F64 become the layer's scalar. Parameters stay where they are in memory.
/// @throws IoError if a tensor is missing, unknown, of another shape or not floating, or an alias differs from its
/// original; the layer is then unchanged
template <class Layer>
void load_parameters(Layer& layer, const SafetensorsFile& file, const std::string& prefix = "",
                     const LoadOptions& options = {}) {
  const auto parameters = parameter_views(layer, prefix);
  std::set<std::string> known;
  for (const auto& parameter : parameters) {
    file.require_fit(parameter.name, parameter);
    known.insert(parameter.name);
  }
  for (const TensorAlias& alias : options.aliases) {
    if (!file.contains(alias.alias)) continue;
    if (!(file.tensor(alias.alias) == file.tensor(alias.original)))
      throw IoError(file.file_name(), alias.alias, "a tensor of its own", "a copy of " + alias.original);
    known.insert(alias.alias);
  }
  for (const std::string& name : file.names())
    if (name.starts_with(prefix) && !known.contains(name))
      throw IoError(file.file_name(), name, "an unknown tensor", "only the parameters of the model");
  // Nothing can fail from here on, so that the layer changes whole or not at all.
  for (const auto& parameter : parameters) file.read_into(parameter.name, parameter);
}

/// Writes the parameters of a layer in its own precision, all of them or nothing (see `AtomicFile`).
/// @throws IoError if the file can't be written
/// @throws std::invalid_argument if two parameters have one name
template <class Layer>
void save_parameters(const Layer& layer, const std::filesystem::path& path, const std::string& prefix = "") {
  SafetensorsWriter writer;
  // Parameter views are mutable by type; these are only read.
  for (const auto& parameter : parameter_views(const_cast<Layer&>(layer), prefix))
    writer.add(parameter.name, parameter);
  writer.write(path);
}

}  // namespace merganser::io
