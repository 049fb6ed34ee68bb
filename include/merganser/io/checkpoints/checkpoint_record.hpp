// trainer.json of a checkpoint: everything of a training run but its tensors.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/data_cursor.hpp>
#include <merganser/io/checkpoints/checkpoint_manifest.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/io/files/tensor_data.hpp>
#include <merganser/merge/pi_controller.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// A step and what its weights are worth.
struct RatedStep {
  Index step = 0;
  double metric = 0.0;

  bool operator==(const RatedStep&) const = default;
};

/// What a trainer.json says. Integers are exact and doubles come back with all their bits.
struct CheckpointRecord {
  static constexpr std::string_view file_name = "trainer.json";
  static constexpr Index version = 1;

  DataType scalar = DataType::f32;  ///< of weights and moments: F32 or F64
  Index step = 0;                   ///< these five as in training::TrainerState
  Index attempts = 0;
  Index collapsed_steps = 0;
  merge::PiController::State controller = {};
  Rng rng = Rng();
  data::DataCursor data;
  std::optional<double> metric;                 ///< of these weights, as the caller measures
  std::optional<RatedStep> best;                ///< of the run so far, this checkpoint included
  std::map<std::string, std::string> settings;  ///< whatever the caller wants to find again; any bytes
};

namespace detail {

/// A double that JSON has no number for is a word.
inline nlohmann::ordered_json json_of(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

inline std::optional<double> double_of(const nlohmann::json& value) {
  if (value.is_number()) return value.get<double>();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (value == "inf") return infinity;
  if (value == "-inf") return -infinity;
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  return std::nullopt;
}

/// JSON holds Unicode, and paths may be any bytes: a byte becomes the character of its number.
inline std::string utf8_of_bytes(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xc0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return text;
}

/// The other way round; nothing if there is a character above 255.
inline std::optional<std::string> bytes_of_utf8(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      bytes += text[i];
    } else if ((lead == 0xc2 || lead == 0xc3) && i + 1 < text.size()) {
      const auto next = static_cast<unsigned char>(text[++i]);
      bytes += static_cast<char>(((lead & 3) << 6) | (next & 0x3f));
    } else {
      return std::nullopt;
    }
  }
  return bytes;
}

/// Reads the values that JsonFields does not know. Every key must be there.
class RecordFields {
 public:
  RecordFields(const nlohmann::json& object, const std::string& file, const std::string& prefix)
      : object_(&object), fields_(object, file, prefix) {}

  const nlohmann::json& at(const std::string& key) const {
    const auto place = object_->find(key);
    if (place == object_->end()) fields_.fail(key, "no such key", "a value");
    return *place;
  }

  Index count(const std::string& key) const {
    return fields_.required(fields_.integer(key, 0, std::numeric_limits<Index>::max()), key, "a whole number");
  }

  std::uint64_t unsigned_number(const std::string& key) const {
    const std::optional<std::uint64_t> value = unsigned_of(at(key));
    if (!value) fields_.fail(key, describe(at(key)), "a whole number of 64 bits");
    return *value;
  }

  double number(const std::string& key) const {
    const std::optional<double> value = double_of(at(key));
    if (!value) fields_.fail(key, describe(at(key)), R"(a number, "inf", "-inf" or "nan")");
    return *value;
  }

  Rng random(const std::string& key) const {
    const nlohmann::json& words = at(key);
    Rng::State state{};
    const bool right_count = words.is_array() && words.size() == state.size();
    for (std::size_t i = 0; right_count && i < state.size(); ++i) {
      const std::optional<std::uint64_t> word = unsigned_of(words[i]);
      if (!word) fields_.fail(key, describe(words[i]), "whole numbers of 64 bits");
      state[i] = *word;
    }
    // The generator would never leave a state of zeros.
    if (!right_count || state == Rng::State{})
      fields_.fail(key, right_count ? "4 zeros" : describe(words), "4 whole numbers of 64 bits, not all of them 0");
    return Rng::from_state(state);
  }

  const JsonFields& fields() const { return fields_; }

 private:
  const nlohmann::json* object_;
  JsonFields fields_;
};

inline std::map<std::string, std::string> read_settings(const nlohmann::json& object, const JsonFields& fields) {
  std::map<std::string, std::string> settings;
  for (const auto& [key, value] : object.items()) {
    const std::optional<std::string> name = bytes_of_utf8(key);
    const std::optional<std::string> text =
        value.is_string() ? bytes_of_utf8(value.get_ref<const std::string&>()) : std::nullopt;
    if (!name || !text) fields.fail("settings." + key, describe(value), "a text of characters up to 255");
    settings.emplace(*name, *text);
  }
  return settings;
}

}  // namespace detail

/// The text of a trainer.json.
inline std::string to_json(const CheckpointRecord& record) {
  nlohmann::ordered_json object;
  object["format"] = "merganser checkpoint";
  object["version"] = CheckpointRecord::version;
  object["scalar"] = name_of(record.scalar);
  object["step"] = record.step;
  object["attempts"] = record.attempts;
  object["collapsed_steps"] = record.collapsed_steps;
  object["controller"] = {{"proportional", detail::json_of(record.controller.proportional)},
                          {"integral", detail::json_of(record.controller.integral)}};
  object["rng"] = record.rng.state();
  object["data"] = {
      {"random", record.data.random.state()}, {"epoch", record.data.epoch}, {"position", record.data.position}};
  object["metric"] = nullptr;
  object["best"] = nullptr;
  if (record.metric) object["metric"] = detail::json_of(*record.metric);
  if (record.best) object["best"] = {{"step", record.best->step}, {"metric", detail::json_of(record.best->metric)}};
  auto& settings = object["settings"] = nlohmann::ordered_json::object();
  for (const auto& [key, value] : record.settings) settings[detail::utf8_of_bytes(key)] = detail::utf8_of_bytes(value);
  return object.dump(2, ' ', true) + "\n";
}

/// Reads the text of a trainer.json; `file_name` stands for it in errors.
/// @throws IoError if the text is no JSON object of exactly these keys, or a value is of another type or out of range
inline CheckpointRecord parse_checkpoint_record(std::string_view text, const std::string& file_name) {
  const nlohmann::json object = detail::parse_json_object(text, file_name, "file");
  const detail::RecordFields top(object, file_name, "");
  const detail::JsonFields& fields = top.fields();
  if (top.at("format") != "merganser checkpoint")
    fields.fail("format", detail::describe(top.at("format")), "\"merganser checkpoint\"");
  fields.required(fields.integer("version", CheckpointRecord::version, CheckpointRecord::version), "version", "1");
  fields.allow_only({"format", "version", "scalar", "step", "attempts", "collapsed_steps", "controller", "rng", "data",
                     "metric", "best", "settings"});
  const auto part = [&](const std::string& key) -> const nlohmann::json& {
    if (!top.at(key).is_object()) fields.fail(key, detail::describe(top.at(key)), "an object");
    return top.at(key);
  };
  CheckpointRecord record;
  constexpr std::array<detail::Choice<DataType>, 2> scalars{{{"F32", DataType::f32}, {"F64", DataType::f64}}};
  record.scalar = fields.required(fields.choice("scalar", scalars), "scalar", "\"F32\" or \"F64\"");
  record.step = top.count("step");
  record.attempts = top.count("attempts");
  if (record.attempts < record.step)
    fields.fail("attempts", std::to_string(record.attempts), "at least the " + std::to_string(record.step) + " steps");
  record.collapsed_steps = top.count("collapsed_steps");
  record.rng = top.random("rng");

  const detail::RecordFields controller(part("controller"), file_name, "controller.");
  controller.fields().allow_only({"proportional", "integral"});
  record.controller = {controller.number("proportional"), controller.number("integral")};

  const detail::RecordFields data(part("data"), file_name, "data.");
  data.fields().allow_only({"random", "epoch", "position"});
  record.data = {data.random("random"), data.unsigned_number("epoch"), data.count("position")};

  if (!top.at("metric").is_null()) record.metric = top.number("metric");
  if (!top.at("best").is_null()) {
    const detail::RecordFields best(part("best"), file_name, "best.");
    best.fields().allow_only({"step", "metric"});
    record.best = RatedStep{best.count("step"), best.number("metric")};
  }
  record.settings = detail::read_settings(part("settings"), fields);
  return record;
}

}  // namespace merganser::io
