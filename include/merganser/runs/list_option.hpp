// Options that hold several values: with commas between them, one after another, or given again.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>
#include <merganser/runs/option.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// Whole numbers with commas between them; none: not given.
inline Option counts_option(std::string name, std::string help, OptionRole role, std::vector<Index>& place, Index least,
                            Index most) {
  Option option = detail::blank_option(std::move(name), "N,...", std::move(help), role);
  option.read = [&place, least, most](const std::string& text) {
    place.clear();
    if (text.empty()) detail::refuse_value(text, "whole numbers with commas between them");
    for (const std::string& part : split(text, ','))
      place.push_back(detail::read_number<Index>(part, least, most, "whole numbers"));
  };
  option.text = [&place]() -> std::optional<std::string> {
    std::vector<std::string> parts;
    parts.reserve(place.size());
    for (const Index number : place) parts.push_back(std::to_string(number));
    return parts.empty() ? std::nullopt : std::optional(joined(parts));
  };
  return option;
}

namespace detail {

/// Values with commas between them, in place of those that are there.
template <class Value, class ValueOf, class TextOf>
Option list_option(std::string name, std::string value, std::string help, OptionRole role, std::vector<Value>& place,
                   ValueOf value_of, TextOf text_of) {
  Option option = blank_option(std::move(name), std::move(value), std::move(help), role);
  option.read = [&place, value_of](const std::string& text) {
    place.clear();
    for (const std::string& part : split(text, ',')) place.push_back(value_of(part));
  };
  option.text = [&place, text_of]() -> std::optional<std::string> {
    std::vector<std::string> parts;
    parts.reserve(place.size());
    for (const Value& one : place) parts.push_back(text_of(one));
    return joined(parts);
  };
  return option;
}

/// An argument for each value, added to those that are there; none: not given.
template <class Value, class ValueOf, class TextOf>
Option several_option(std::string name, std::string value, std::string help, OptionRole role, std::vector<Value>& place,
                      ValueOf value_of, TextOf text_of) {
  Option option = blank_option(std::move(name), std::move(value), std::move(help), role);
  option.values = OptionValues::several;
  option.read = [&place, value_of](const std::string& text) { place.push_back(value_of(text)); };
  option.text = [&place, text_of]() -> std::optional<std::string> {
    std::vector<std::string> parts;
    parts.reserve(place.size());
    for (const Value& one : place) parts.push_back(text_of(one));
    return parts.empty() ? std::nullopt : std::optional(joined(parts, " "));
  };
  return option;
}

}  // namespace detail

/// Texts, one each time that the option is given, such as the names of policies.
inline Option texts_option(std::string name, std::string value, std::string help, OptionRole role,
                           std::vector<std::string>& place) {
  const auto same = [](const std::string& text) { return text; };
  Option option = detail::several_option(std::move(name), std::move(value), std::move(help), role, place, same, same);
  option.values = OptionValues::repeated;
  return option;
}

}  // namespace merganser::runs
