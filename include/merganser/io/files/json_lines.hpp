// JSON objects for code that sees no JSON library: the lines of logs and rows, and reports.
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/json_parser.hpp>

namespace merganser::inline MERGANSER_ISA::io {

/// One JSON object that is put together key by key and keeps their order. Values are numbers, bool, texts of any bytes,
/// objects, optional values and vectors of those. What is no finite number, and an empty optional, is null.
class JsonObject {
 public:
  template <class Value>
  JsonObject& set(const std::string& key, const Value& value) {
    json_[key] = of(value);
    return *this;
  }

  /// Every key of another object, in place of those of the same name.
  JsonObject& add(const JsonObject& other) {
    json_.update(other.json_);
    return *this;
  }

  /// Without a line break.
  std::string line() const { return json_.dump(-1, ' ', false, Json::error_handler_t::replace); }

  /// A line for each key.
  std::string text() const { return json_.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

 private:
  using Json = nlohmann::ordered_json;

  static Json of(const JsonObject& value) { return value.json_; }
  static Json of(std::floating_point auto value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
  static Json of(std::integral auto value) { return value; }
  static Json of(std::string_view value) { return value; }
  template <class Value>
  static Json of(const std::optional<Value>& value) {
    return value ? of(*value) : Json(nullptr);
  }
  template <class Values>
  requires(!std::convertible_to<Values, std::string_view>) && requires(const Values& values) { values.begin(); }
  static Json of(const Values& values) {
    Json array = Json::array();
    for (const auto& value : values) array.push_back(of(value));
    return array;
  }

  Json json_ = Json::object();
};

/// The values of one JSON object.
class JsonRecord {
 public:
  /// @param file, part what the text is, for errors
  /// @throws IoError if the text is no JSON object, or a key is in it twice
  JsonRecord(std::string_view text, std::string_view file, std::string_view part)
      : json_(detail::parse_json_object(text, file, part)), file_(file), part_(part) {}

  bool has(const std::string& key) const { return json_.contains(key); }

  /// Sorted.
  std::vector<std::string> keys() const {
    std::vector<std::string> result;
    for (const auto& [key, value] : json_.items()) result.push_back(key);
    return result;
  }

  /// A number, text, bool, or record; a number that is null is none (NaN).
  /// @throws IoError if the key is missing or its value is of another kind
  template <class Value>
  Value get(const std::string& key) const {
    if (!has(key)) fail(key, "no such key");
    const nlohmann::json& value = json_[key];
    if constexpr (std::floating_point<Value>) {
      if (value.is_null()) return std::numeric_limits<Value>::quiet_NaN();
      if (value.is_number()) return value.get<Value>();
    } else if constexpr (std::same_as<Value, bool>) {
      if (value.is_boolean()) return value.get<bool>();
    } else if constexpr (std::integral<Value>) {
      if (value.is_number_unsigned() && std::in_range<Value>(value.get<std::uint64_t>())) return value.get<Value>();
      if (value.is_number_integer() && !value.is_number_unsigned() && std::in_range<Value>(value.get<std::int64_t>()))
        return value.get<Value>();
    } else if constexpr (std::same_as<Value, JsonRecord>) {
      if (value.is_object()) return JsonRecord(*this, value, key);
    } else {
      if (value.is_string()) return value.get<std::string>();
    }
    fail(key, "another kind of value");
  }

  /// What the key has; nothing if it is missing.
  template <class Value>
  std::optional<Value> find(const std::string& key) const {
    return has(key) ? std::optional(get<Value>(key)) : std::nullopt;
  }

  /// The objects of an array.
  /// @throws IoError if the key is missing or has something else
  std::vector<JsonRecord> records(const std::string& key) const {
    if (!has(key) || !json_[key].is_array()) fail(key, "no array");
    std::vector<JsonRecord> result;
    for (const nlohmann::json& element : json_[key]) {
      if (!element.is_object()) fail(key, "an array of something else");
      result.push_back(JsonRecord(*this, element, key));
    }
    return result;
  }

 private:
  JsonRecord(const JsonRecord& whole, const nlohmann::json& value, const std::string& key)
      : json_(value), file_(whole.file_), part_(whole.part_ + ": " + key) {}

  [[noreturn]] void fail(const std::string& key, const std::string& got) const {
    throw IoError(file_, part_ + ": " + key, got, "a value as merganser writes it");
  }

  nlohmann::json json_;
  std::string file_, part_;
};

}  // namespace merganser::io
