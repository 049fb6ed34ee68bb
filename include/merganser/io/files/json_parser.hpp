// Parsing JSON strictly and in linear time: for the inside of this room, never part of a public signature.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/io_error.hpp>

namespace merganser::inline MERGANSER_ISA::io::detail {

/// Deeper nesting is refused; no file of ours needs more than four levels.
inline constexpr int json_depth_limit = 64;

/// Longer texts are refused, in bytes: parsed, one takes up to twenty times its size. The headers of files with a
/// hundred thousand tensors are shorter.
inline constexpr std::size_t json_size_limit = 32'000'000;

/// The same for a config.json, a generation_config.json and the like, which have some thousand bytes.
inline constexpr std::size_t small_json_size_limit = 1'000'000;

/// Builds a JSON value from what the parser sees, and refuses deep nesting and a key that is twice in one object. (The
/// parser's own callback would do that in quadratic time.) Names of functions and their results are the parser's.
class StrictJsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  StrictJsonBuilder(std::string_view file, std::string_view part) : file_(file), part_(part) {}

  nlohmann::json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& value) override { return add(std::move(value)); }
  bool start_object(std::size_t) override { return open(nlohmann::json::object()); }
  bool start_array(std::size_t) override { return open(nlohmann::json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [place, is_new] = open_.back()->get_ref<nlohmann::json::object_t&>().emplace(name, nullptr);
    if (!is_new) throw IoError(file_, name, "this key twice", "every key once in an object");
    member_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const nlohmann::json::exception& error) override {
    constexpr int out_of_range = 406;
    if (error.id == out_of_range) throw IoError(file_, part_, "a number out of range", "JSON");
    throw IoError(file_, part_, "an error at byte " + std::to_string(byte), "JSON");
  }

 private:
  /// Puts a value where the next one goes: into the open array, under the last key, or at the root.
  nlohmann::json& put(nlohmann::json value) {
    if (open_.empty()) return root_ = std::move(value);
    nlohmann::json& parent = *open_.back();
    if (parent.is_object()) return *member_ = std::move(value);
    auto& elements = parent.get_ref<nlohmann::json::array_t&>();
    return elements.emplace_back(std::move(value));
  }

  bool add(nlohmann::json value) {
    put(std::move(value));
    return true;
  }

  bool open(nlohmann::json value) {
    if (open_.size() == json_depth_limit)
      throw IoError(file_, part_, "deeper nesting", std::to_string(json_depth_limit) + " levels at most");
    open_.push_back(&put(std::move(value)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view file_, part_;
  nlohmann::json root_;
  std::vector<nlohmann::json*> open_;  // arrays and objects around the next value; only the last one grows
  nlohmann::json* member_ = nullptr;   // under the last key
};

/// Parses one JSON object; `part` names the text within the file.
/// @throws IoError if the text is no JSON object, is longer than `longest` bytes, is nested too deeply or has a key
/// twice in one object
inline nlohmann::json parse_json_object(std::string_view text, std::string_view file, std::string_view part,
                                        std::size_t longest = json_size_limit) {
  if (text.size() > longest)
    throw IoError(file, part, std::to_string(text.size()) + " bytes", "at most " + std::to_string(longest) + " bytes");
  // The parser takes a zero byte for the end of the text.
  if (text.find('\0') != std::string_view::npos) throw IoError(file, part, "a zero byte", "JSON");
  StrictJsonBuilder builder(file, part);
  // What nlohmann::json::sax_parse does for text; that also compiles the readers of its five binary formats, which
  // takes a tenth of the time of a unit that reads a model.
  using Input = decltype(nlohmann::detail::input_adapter(text.begin(), text.end()));
  nlohmann::detail::parser<nlohmann::json, Input>(nlohmann::detail::input_adapter(text.begin(), text.end()))
      .sax_parse(&builder);
  nlohmann::json parsed = builder.take();
  if (!parsed.is_object()) throw IoError(file, part, parsed.type_name(), "a JSON object");
  return parsed;
}

}  // namespace merganser::io::detail
