// Reading the fields of JSON objects strictly: for the inside of this room, never part of a public signature.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/json_parser.hpp>

namespace merganser::inline MERGANSER_ISA::io::detail {

/// Ranges of numbers that are handed on as float.
inline bool is_finite_as_float(double value) { return std::abs(value) <= std::numeric_limits<float>::max(); }
inline bool is_positive_as_float(double value) { return is_finite_as_float(value) && static_cast<float>(value) > 0; }

/// A value in the words of an error message. (To dump it would double what this header costs to compile.)
inline std::string describe(const nlohmann::json& value) {
  if (value.is_structured()) return value.is_array() ? "an array" : "an object";
  if (value.is_null()) return "null";
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number_unsigned()) return to_text(value.get<std::uint64_t>());
  if (value.is_number_integer()) return to_text(value.get<std::int64_t>());
  if (value.is_number()) {
    const std::string text = exact_text(value.get<double>());
    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;  // it is not one of the whole numbers
  }
  constexpr std::size_t longest = 80;
  const auto& text = value.get_ref<const std::string&>();
  return "\"" + text.substr(0, longest) + (text.size() > longest ? "..." : "\"");
}

/// Whether a list of keys has this one.
inline bool is_among(std::string_view key, std::span<const std::string_view> keys) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

/// One word of a file format and the value that it stands for.
template <class Value>
struct Choice {
  std::string_view word;
  Value value;
};

/// The word of a value.
/// @throws std::invalid_argument if it has none
template <class Value, std::size_t Count>
std::string word_of(Value value, const std::array<Choice<Value>, Count>& choices) {
  for (const Choice<Value>& choice : choices)
    if (choice.value == value) return std::string(choice.word);
  throw_invalid_argument("to_json", "config", static_cast<int>(value), "a named value of the enumeration");
}

/// Reads the fields of a JSON object. A key that is missing or null gives an empty result.
class JsonFields {
 public:
  using Accept = bool (*)(double);
  using Keys = std::initializer_list<std::string_view>;

  /// `prefix` stands before the field names in errors.
  JsonFields(const nlohmann::json& object, std::string file, std::string prefix = "")
      : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  /// @throws IoError if the value is no whole number in [low, high]
  std::optional<Index> integer(std::string_view key, Index low, Index high) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    return integer_of(*value, key, low, high);
  }

  /// @throws IoError if the value is no number or `accept` refuses it; `expected` says in words what is accepted
  std::optional<double> number(std::string_view key, Accept accept, std::string_view expected) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number() || !accept(value->get<double>())) fail(key, describe(*value), expected);
    return value->get<double>();
  }

  /// @throws IoError if the value is neither true nor false
  std::optional<bool> flag(std::string_view key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_boolean()) fail(key, describe(*value), "true or false");
    return value->get<bool>();
  }

  /// @throws IoError if the value is no text
  std::optional<std::string> text(std::string_view key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) fail(key, describe(*value), "a text");
    return value->get<std::string>();
  }

  /// @throws IoError if the value is none of the words
  template <class Value, std::size_t Count>
  std::optional<Value> choice(std::string_view key, const std::array<Choice<Value>, Count>& choices) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    std::string expected;
    for (const Choice<Value>& choice : choices) {
      if (value->is_string() && value->get_ref<const std::string&>() == choice.word) return choice.value;
      expected.append(expected.empty() ? "\"" : " or \"").append(choice.word).append("\"");
    }
    fail(key, describe(*value), expected);
  }

  /// @throws IoError if the value is no array of whole numbers in [low, high]
  std::optional<std::vector<Index>> integers(std::string_view key, Index low, Index high) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_array()) fail(key, describe(*value), "an array of whole numbers");
    std::vector<Index> result;
    for (const nlohmann::json& element : *value) result.push_back(integer_of(element, key, low, high));
    return result;
  }

  /// @throws IoError if the value is no array of texts
  std::optional<std::vector<std::string>> texts(std::string_view key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_array()) fail(key, describe(*value), "an array of texts");
    std::vector<std::string> result;
    for (const nlohmann::json& element : *value) {
      if (!element.is_string()) fail(key, describe(element), "an array of texts");
      result.push_back(element.get<std::string>());
    }
    return result;
  }

  /// The object under the key, or null if the key is missing or null.
  /// @throws IoError if the value is no object
  const nlohmann::json* object(std::string_view key) const {
    const nlohmann::json* value = find(key);
    if (value != nullptr && !value->is_object()) fail(key, describe(*value), "an object");
    return value;
  }

  /// True if there is an array under the key.
  bool is_array(std::string_view key) const {
    const nlohmann::json* value = find(key);
    return value != nullptr && value->is_array();
  }

  /// True if there is a null under the key.
  bool is_null(std::string_view key) const {
    const nlohmann::json* value = at(key);
    return value != nullptr && value->is_null();
  }

  /// True if there is a text under the key.
  bool is_text(std::string_view key) const {
    const nlohmann::json* value = find(key);
    return value != nullptr && value->is_string();
  }

  /// @throws IoError if there is a value under the key, and another one
  void require_value(std::string_view key, const nlohmann::json& expected, std::string_view reason = "") const {
    const nlohmann::json* value = find(key);
    if (value == nullptr || *value == expected) return;
    fail(key, describe(*value),
         (expected.is_structured() ? "none or an empty one" : describe(expected)).append(reason));
  }

  /// @throws IoError if there is a value under the key other than false or an empty array or object
  void require_nothing(std::string_view key, std::string_view reason) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr || *value == false || (value->is_structured() && value->empty())) return;
    fail(key, describe(*value), std::string("none").append(reason));
  }

  /// @throws IoError if the object has a key that is not in the list
  void allow_only(Keys keys) const {
    for (const auto& [key, value] : object_->items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) fail(key, "an unknown key", "a key of this version");
  }

  /// @throws IoError if the value is empty: the key is missing
  template <class Value>
  Value required(std::optional<Value> value, std::string_view key, std::string_view expected) const {
    if (!value) fail(key, at(key) != nullptr ? "null" : "no such key", expected);
    return *std::move(value);
  }

  /// @throws IoError always
  [[noreturn, gnu::cold]] void fail(std::string_view key, ErrorText got, ErrorText expected) const {
    throw IoError(file_, std::string(prefix_).append(key), got, expected);
  }

 private:
  /// The value under the key, or null if there is none.
  const nlohmann::json* at(std::string_view key) const {
    const auto place = object_->find(std::string(key));
    return place == object_->end() ? nullptr : &*place;
  }

  /// The same for a value other than null.
  const nlohmann::json* find(std::string_view key) const {
    const nlohmann::json* value = at(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  Index integer_of(const nlohmann::json& value, std::string_view key, Index low, Index high) const {
    // Unsigned values above the range of Index would turn negative.
    const bool fits =
        value.is_number_unsigned() ? std::in_range<Index>(value.get<std::uint64_t>()) : value.is_number_integer();
    if (!fits || value.get<Index>() < low || value.get<Index>() > high)
      fail(key, describe(value), "a whole number in " + std::to_string(low) + " .. " + std::to_string(high));
    return value.get<Index>();
  }

  const nlohmann::json* object_;
  std::string file_;
  std::string prefix_;
};

/// Calls read(fields, object) for each object of the array under a key.
template <class Read>
void for_each_object(const nlohmann::json& object, const JsonFields& fields, const std::string& key,
                     const std::string& file, const std::string& prefix, Read read) {
  if (!fields.is_array(key)) fields.fail(key, object.contains(key) ? "no array" : "no such key", "an array of objects");
  const nlohmann::json& elements = object[key];
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const std::string place = key + "[" + std::to_string(i) + "]";
    if (!elements[i].is_object()) fields.fail(place, describe(elements[i]), "an object");
    read(JsonFields(elements[i], file, prefix + place + "."), elements[i]);
  }
}

}  // namespace merganser::io::detail
