// The keys of a config.json that say which pooling an encoder has.
#pragma once

#include <array>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include <merganser/core/types.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/models/encoder_policies.hpp>

namespace merganser::inline MERGANSER_ISA::io::detail {

enum class BoundaryPredictorType { gumbel };

inline constexpr std::array<Choice<BoundaryPredictorType>, 1> boundary_predictor_types{
    {{"gumbel", BoundaryPredictorType::gumbel}}};

/// The pooling of a config.json, if there is a `boundary_predictor_layer` or a `downsampling_layer`. The keys that go
/// with one of them have no default; without it they are passed over.
/// @throws IoError if a value is of the wrong type or out of its range, a key is missing, or both layers are there
inline std::optional<PoolingConfig> parse_pooling(const JsonFields& fields, Index encoder_blocks) {
  const std::optional<Index> boundary_layer = fields.integer("boundary_predictor_layer", 0, encoder_blocks - 1);
  const std::optional<Index> strided_layer = fields.integer("downsampling_layer", 0, encoder_blocks - 1);
  if (!boundary_layer && !strided_layer) return std::nullopt;
  if (boundary_layer && strided_layer)
    fields.fail("downsampling_layer", std::to_string(*strided_layer), "no such key beside boundary_predictor_layer");
  PoolingConfig pooling;
  if (strided_layer) {
    constexpr Index largest = 1 << 16;
    pooling.kind = PoolingKind::strided;
    pooling.block = *strided_layer;
    pooling.rate = fields.required(fields.integer("downsampling_rate", 1, largest), "downsampling_rate",
                                   "a positive whole number, as there is a downsampling_layer");
    return pooling;
  }
  const std::string reason = ", as there is a boundary_predictor_layer";
  const auto is_share = [](double value) { return is_positive_as_float(value) && static_cast<float>(value) < 1; };
  pooling.kind = PoolingKind::boundaries;
  pooling.block = *boundary_layer;
  fields.required(fields.choice("boundary_predictor_type", boundary_predictor_types), "boundary_predictor_type",
                  "\"gumbel\"" + reason);
  pooling.temperature = fields.required(fields.number("temperature", is_positive_as_float, "a positive number"),
                                        "temperature", "a positive number" + reason);
  pooling.prior = fields.required(fields.number("prior", is_share, "a number between 0 and 1"), "prior",
                                  "a number between 0 and 1" + reason);
  return pooling;
}

/// The same pooling with nothing set that its kind does not use, as `parse_pooling` gives it.
inline PoolingConfig used_settings(const PoolingConfig& pooling) {
  PoolingConfig used;
  used.kind = pooling.kind;
  used.block = pooling.block;
  if (pooling.kind == PoolingKind::strided) {
    used.rate = pooling.rate;
  } else {
    used.prior = pooling.prior;
    used.temperature = pooling.temperature;
  }
  return used;
}

/// Writes the keys that `parse_pooling` reads and the architecture that goes with them.
inline void put_pooling(nlohmann::json& object, const PoolingConfig& pooling) {
  if (pooling.kind == PoolingKind::strided) {
    object["architectures"] = nlohmann::json::array({"CanineT5ForConditionalGeneration"});
    object["downsampling_layer"] = pooling.block;
    object["downsampling_rate"] = pooling.rate;
    return;
  }
  object["architectures"] = nlohmann::json::array({"BPT5ForConditionalGeneration"});
  object["boundary_predictor_layer"] = pooling.block;
  object["boundary_predictor_type"] = boundary_predictor_types.front().word;
  object["temperature"] = pooling.temperature;
  object["prior"] = pooling.prior;
}

}  // namespace merganser::io::detail
