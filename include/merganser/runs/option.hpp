// Options of a run by name: one entry says how an option is read, written, explained, and what it matters to.
#pragma once

#include <charconv>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// What an option matters to. From it follows what must be the same when a run is gone on with, what tells two runs of
/// a curve apart, and what has no effect on a model without gates.
enum class OptionRole {
  input,         ///< a file to read; what it holds counts, not where it is
  data,          ///< what is made of the files
  start,         ///< the model to begin with
  model,         ///< what is to be trained
  policy,        ///< what chooses the tokens to delete, and how many
  gate,          ///< how gates of any kind are applied
  learned_gate,  ///< how a gate that learns is steered
  training,      ///< of every model
  length,        ///< how long a run is, and its seed
  evaluation,    ///< what is measured at the end: changes no weight
  output,        ///< where the run writes
  saving,        ///< how often it does: changes no result
  process,       ///< of this one process; remembered nowhere
};

/// How many values an option takes, if it is no flag.
enum class OptionValues {
  one,
  several,   ///< one after another
  repeated,  ///< one each time that the option is given
};

struct Option {
  std::string name;   ///< "--width"
  std::string value;  ///< what its value is called in help: FILE, N, X, NAME; empty: a flag, which has none
  std::string help;
  OptionRole role = OptionRole::process;
  std::string group;               ///< of the help
  std::set<std::string> excludes;  ///< names of options that may not be given with it

  /// Takes the value from a text; that of a flag is empty.
  /// @throws std::invalid_argument: what was got and what is expected
  std::function<void(const std::string&)> read;
  /// The value in force, as `read` takes it; nothing: the option is as if it were not given.
  std::function<std::optional<std::string>()> text;

  /// Of several or repeated values `read` takes one after another, and `text` has all of them with spaces between.
  OptionValues values = OptionValues::one;
};

using OptionTable = std::vector<Option>;

/// Every option of a table that is in force, by name.
using Settings = std::map<std::string, std::string>;

namespace detail {

template <class Value>
Value held_by(const std::optional<Value>&);
template <class Value>
Value held_by(const Value&);

/// The type of a value that may be optional.
template <class Place>
using Held = decltype(held_by(std::declval<const Place&>()));

template <class Value>
std::optional<Value> value_in(const std::optional<Value>& place) {
  return place;
}
template <class Value>
std::optional<Value> value_in(const Value& place) {
  return place;
}

[[noreturn]] inline void refuse_value(const std::string& got, const std::string& expected) {
  throw std::invalid_argument("got " + (got.empty() ? "nothing" : got) + ", expected " + expected);
}

template <class Number>
Number read_number(const std::string& text, Number least, Number most, const char* kind) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= least && number <= most) return number;
  if constexpr (std::is_floating_point_v<Number>)
    refuse_value(text, std::string(kind) + " from " + to_text(least) + " to " + to_text(most));
  else
    refuse_value(text, std::string(kind) + " from " + std::to_string(least) + " to " + std::to_string(most));
}

inline double read_real(const std::string& text, double least, double most) {
  return read_number(text, least, most, "a number");
}

/// One that reads and writes nothing yet.
inline Option blank_option(std::string name, std::string value, std::string help, OptionRole role) {
  Option option;
  option.name = std::move(name);
  option.value = std::move(value);
  option.help = std::move(help);
  option.role = role;
  return option;
}

/// The help with the default, where there is one.
template <class Place>
std::string with_default(std::string help, [[maybe_unused]] const Place& place, const std::string& text) {
  if constexpr (std::is_same_v<Place, Held<Place>>) help += (help.empty() ? "" : "; ") + text;
  return help;
}

}  // namespace detail

/// The words of an option and what they stand for.
template <class Value>
using Choices = std::vector<std::pair<std::string, Value>>;

/// The word of a value; empty: it has none.
template <class Value>
std::string word_of(const Value& value, const Choices<Value>& choices) {
  for (const auto& [word, meaning] : choices)
    if (meaning == value) return word;
  return "";
}

/// A whole number; `place` is one, or an optional one. It outlives the option, here and below.
template <class Place>
Option count_option(std::string name, std::string help, OptionRole role, Place& place, detail::Held<Place> least,
                    detail::Held<Place> most) {
  using Value = detail::Held<Place>;
  Option option = detail::blank_option(std::move(name), "N", std::move(help), role);
  option.read = [&place, least, most](const std::string& text) {
    place = detail::read_number<Value>(text, least, most, "a whole number");
  };
  option.text = [&place]() -> std::optional<std::string> {
    const std::optional<Value> value = detail::value_in(place);
    return value ? std::optional(std::to_string(*value)) : std::nullopt;
  };
  option.help = detail::with_default(option.help, place, option.text().value_or(""));
  return option;
}

/// A number, optional or not.
template <class Place>
Option number_option(std::string name, std::string help, OptionRole role, Place& place, double least, double most) {
  Option option = detail::blank_option(std::move(name), "X", std::move(help), role);
  option.read = [&place, least, most](const std::string& text) { place = detail::read_real(text, least, most); };
  option.text = [&place]() -> std::optional<std::string> {
    const std::optional<double> value = detail::value_in(place);
    return value ? std::optional(exact_text(*value)) : std::nullopt;
  };
  option.help = detail::with_default(option.help, place, option.text().value_or(""));
  return option;
}

/// One of some words.
template <class Place, class Value>
Option choice_option(std::string name, std::string help, OptionRole role, Place& place, const Choices<Value>& choices) {
  Option option = detail::blank_option(std::move(name), "NAME", std::move(help), role);
  option.read = [&place, choices](const std::string& text) {
    std::vector<std::string> words;
    for (const auto& [word, meaning] : choices) {
      if (word == text) return static_cast<void>(place = meaning);
      words.push_back(word);
    }
    detail::refuse_value(text, "one of " + joined(words, ", "));
  };
  option.text = [&place, choices]() -> std::optional<std::string> {
    const std::optional<Value> value = detail::value_in(place);
    const std::string word = value ? word_of(*value, choices) : "";
    return word.empty() ? std::nullopt : std::optional(word);
  };
  return option;
}

/// A flag that gives `place` a value.
template <class Place, class Value>
Option flag_option(std::string name, std::string help, OptionRole role, Place& place, const Value& meaning) {
  Option option = detail::blank_option(std::move(name), "", std::move(help), role);
  option.read = [&place, meaning](const std::string&) { place = meaning; };
  option.text = [&place, meaning] { return place == meaning ? std::optional(std::string()) : std::nullopt; };
  return option;
}

/// As settings name a file or directory, wherever the program goes on.
inline std::string absolute_path(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

/// The name of a file or directory. An empty one, such as that of a variable that is not set, is none. In settings it
/// is absolute.
inline Option path_option(std::string name, std::string kind, std::string help, OptionRole role, std::string& place) {
  Option option = detail::blank_option(std::move(name), std::move(kind), std::move(help), role);
  option.read = [&place](const std::string& text) {
    if (text.empty()) throw std::invalid_argument("the name is empty");
    place = text;
  };
  option.text = [&place]() -> std::optional<std::string> {
    if (place.empty()) return std::nullopt;
    return absolute_path(place);
  };
  return option;
}

/// One of some words, kept as such; empty: none.
inline Option word_option(std::string name, std::string help, OptionRole role, std::string& place,
                          const std::vector<std::string>& words) {
  Option option = detail::blank_option(std::move(name), "NAME", std::move(help), role);
  option.read = [&place, words](const std::string& text) {
    for (const std::string& word : words)
      if (word == text) return static_cast<void>(place = text);
    detail::refuse_value(text, "one of " + joined(words, ", "));
  };
  option.text = [&place] { return place.empty() ? std::nullopt : std::optional(place); };
  return option;
}

/// The options in force, but for those of one process.
inline Settings settings_of(const OptionTable& table) {
  Settings settings;
  for (const Option& option : table)
    if (option.role != OptionRole::process)
      if (std::optional<std::string> text = option.text()) settings[option.name] = *std::move(text);
  return settings;
}

/// Null unless the table has it.
inline const Option* find_option(const OptionTable& table, std::string_view name) {
  for (const Option& option : table)
    if (option.name == name) return &option;
  return nullptr;
}

/// Takes the value of an option from a text.
/// @throws std::invalid_argument with the name of the option, if there is none of that name or the value does not do
inline void read_option(const OptionTable& table, const std::string& name, const std::string& text) {
  const Option* option = find_option(table, name);
  if (option == nullptr) throw std::invalid_argument(name + ": there is no such option");
  try {
    option->read(text);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(name + ": " + error.what());
  }
}

}  // namespace merganser::runs
