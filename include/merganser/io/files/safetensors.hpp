// Saving and loading the parameters of a layer as safetensors files; brings in the reader and the writer.
#pragma once

#include <filesystem>
#include <string>

#include <merganser/core/parameter.hpp>
#include <merganser/io/files/parameter_loading.hpp>
#include <merganser/io/files/safetensors_reader.hpp>
#include <merganser/io/files/safetensors_writer.hpp>

namespace merganser::inline MERGANSER_ISA::io {

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
