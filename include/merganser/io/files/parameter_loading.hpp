// Filling the parameters of a layer from the tensors of safetensors files.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/parameter.hpp>
#include <merganser/io/files/tensor_table.hpp>
#include <merganser/io/files/warning.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// A second name under which a file may store a tensor again, such as "encoder.embed_tokens.weight" for
/// "shared.weight".
struct TensorAlias {
  std::string alias;
  std::string original;
};

/// What `load_parameters` tolerates.
struct LoadOptions {
  /// Tensors that may be there besides a parameter, if they equal it bit by bit, or in its place.
  std::vector<TensorAlias> aliases = {};
  /// Tensors that may be there and are not read.
  std::vector<std::string> ignored = {};
  NonFinite non_finite = NonFinite::refuse;
  WarningCallback on_warning = {};  ///< told of tensors that are passed over
};

namespace detail {

/// The tensor of each parameter, in the order of the parameters, after all has been checked but the numbers.
template <Real Scalar>
Vector<std::string> match_tensors(const Vector<ParameterView<Scalar>>& parameters, const TensorTable& table,
                                  const std::string& prefix, const LoadOptions& options) {
  std::set<std::string> known(options.ignored.begin(), options.ignored.end());
  for (const auto& parameter : parameters) known.insert(parameter.name);
  std::map<std::string, std::string> stand_ins;
  for (const auto& [alias, original] : options.aliases) {
    if (!table.contains(alias)) continue;
    std::string stored = original;
    if (!table.contains(original) && known.contains(original))
      stored = stand_ins.try_emplace(original, alias).first->second;
    if (!table.same_bits(alias, stored))
      throw IoError(table.file_of(alias), alias, "a tensor of its own", "a copy of " + stored);
    known.insert(alias);
  }
  Vector<std::string> tensors;
  for (const auto& parameter : parameters) {
    const auto stand_in = stand_ins.find(parameter.name);
    tensors.push_back(stand_in == stand_ins.end() ? parameter.name : stand_in->second);
    table.require_fit(tensors.back(), parameter);
  }
  for (const std::string& name : table.names()) {
    if (!name.starts_with(prefix) || known.contains(name)) continue;
    const TensorInfo& tensor = table.tensor(name);
    if (is_floating(tensor.dtype))
      throw IoError(table.file_of(name), name, "an unknown tensor", "only the parameters of the model");
    warn(options.on_warning, table.file_of(name), name, "is passed over: no parameter is " + tensor.type_name());
  }
  return tensors;
}

/// As `load_parameters`, but leaves the layer undefined if a number is not finite: one pass over the numbers, not two.
template <class Layer>
void load_fresh_parameters(Layer& layer, const TensorTable& table, const std::string& prefix,
                           const LoadOptions& options) {
  const auto parameters = parameter_views(layer, prefix);
  const Vector<std::string> tensors = match_tensors(parameters, table, prefix, options);
  for (Index i = 0; i < tensors.size(); ++i) table.read_into(tensors[i], parameters[i], options.non_finite);
}

}  // namespace detail

/// Fills the parameters of a layer from the tensors of a file or of several: all of them or, on an error, none.
///
/// The parameter named p comes from the tensor prefix + p. Floating tensors whose names begin with the prefix must all
/// be used; others are left alone. Half types, F32 and F64 become the layer's scalar. Parameters stay where they are in
/// memory.
/// @throws IoError if a tensor is missing, unknown, of another shape or not floating, an alias differs from its
/// original, or a number is not finite and not accepted; the layer is then unchanged
template <class Layer>
void load_parameters(Layer& layer, const TensorTable& table, const std::string& prefix = "",
                     const LoadOptions& options = {}) {
  const auto parameters = parameter_views(layer, prefix);
  const Vector<std::string> tensors = detail::match_tensors(parameters, table, prefix, options);
  if (options.non_finite == NonFinite::refuse)
    for (const std::string& tensor : tensors) table.require_finite<typename Layer::ScalarType>(tensor);
  // Nothing can fail from here on, so that the layer changes whole or not at all.
  for (Index i = 0; i < tensors.size(); ++i) table.read_into(tensors[i], parameters[i], NonFinite::accept);
}

}  // namespace merganser::io
