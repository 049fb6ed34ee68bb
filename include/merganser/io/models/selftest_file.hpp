// The selftest.json of a model directory: some inputs and what the model must make of them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/check.hpp>
#include <merganser/core/io_error.hpp>
#include <merganser/core/types.hpp>
#include <merganser/io/files/atomic_file.hpp>
#include <merganser/io/files/strict_json.hpp>
#include <merganser/merge/deletion_options.hpp>

namespace merganser::inline MERGANSER_ISA::io {

inline constexpr std::string_view selftest_file_name = "selftest.json";

/// The logits behind one token that the decoder has read.
struct SelftestLogits {
  Index position = 0;          ///< of the token in the target, from 0
  std::vector<double> values;  ///< for the ids from 0 on, at least one

  bool operator==(const SelftestLogits&) const = default;
};

/// One input and what the model must make of it.
struct SelftestCase {
  std::vector<TokenId> source;
  merge::DeletionMode mode = merge::DeletionMode::hard;  ///< none, soft or hard, all other options as they are
  std::vector<Position> kept;                            ///< positions in the source that the encoder hands on, rising
  std::vector<TokenId> target;  ///< what greedy generation begins with, the start id first; at least one
  std::vector<SelftestLogits> logits;

  bool operator==(const SelftestCase&) const = default;
};

/// What a selftest.json says.
struct Selftest {
  /// Logits may differ by this times max(1, |expected|); positions and ids may not differ.
  double tolerance = 1e-3;
  std::uint64_t seed = 1;  ///< of a random gate, anew in every case; below 2^63
  std::vector<SelftestCase> cases;

  bool operator==(const Selftest&) const = default;
};

namespace detail {

inline constexpr Index selftest_version = 1;

inline constexpr std::array<Choice<merge::DeletionMode>, 3> selftest_modes{
    {{"none", merge::DeletionMode::none}, {"soft", merge::DeletionMode::soft}, {"hard", merge::DeletionMode::hard}}};

inline std::vector<double> finite_numbers(const nlohmann::json& object, const JsonFields& fields,
                                          const std::string& key) {
  if (!fields.is_array(key)) fields.fail(key, object.contains(key) ? "no array" : "no such key", "an array of numbers");
  std::vector<double> numbers;
  for (const nlohmann::json& element : object[key]) {
    if (!element.is_number() || !std::isfinite(element.get<double>()))
      fields.fail(key, describe(element), "finite numbers");
    numbers.push_back(element.get<double>());
  }
  return numbers;
}

/// An array of whole numbers in [0, largest] as the type that holds them.
template <class Value>
std::vector<Value> whole_numbers(const JsonFields& fields, const std::string& key, Index largest) {
  const std::vector<Index> numbers =
      fields.required(fields.integers(key, 0, largest), key, "an array of whole numbers");
  return {numbers.begin(), numbers.end()};
}

inline SelftestCase parse_selftest_case(const JsonFields& fields, const nlohmann::json& object, const std::string& file,
                                        const std::string& prefix) {
  fields.allow_only({"source", "mode", "kept", "target", "logits"});
  SelftestCase result;
  result.source = whole_numbers<TokenId>(fields, "source", std::numeric_limits<TokenId>::max());
  result.mode = fields.required(fields.choice("mode", selftest_modes), "mode", R"("none" or "soft" or "hard")");
  result.kept = whole_numbers<Position>(fields, "kept", std::numeric_limits<Position>::max());
  const std::vector<Position>& kept = result.kept;
  if (std::adjacent_find(kept.begin(), kept.end(), std::greater_equal<>()) != kept.end() ||
      (!kept.empty() && std::cmp_greater_equal(kept.back(), result.source.size())))
    fields.fail("kept", "positions out of order or beyond the source", "rising positions of the source");
  result.target = whole_numbers<TokenId>(fields, "target", std::numeric_limits<TokenId>::max());
  if (result.target.empty()) fields.fail("target", "no ids", "the start id at least");
  for_each_object(object, fields, "logits", file, prefix, [&](const JsonFields& row, const nlohmann::json& element) {
    row.allow_only({"position", "values"});
    const auto last = std::ssize(result.target) - 1;
    SelftestLogits logits;
    logits.position = row.required(row.integer("position", 0, last), "position", "a position of the target");
    logits.values = finite_numbers(element, row, "values");
    if (logits.values.empty()) row.fail("values", "no numbers", "one at least");
    result.logits.push_back(std::move(logits));
  });
  return result;
}

}  // namespace detail

/// Reads the text of a selftest.json; `file_name` stands for it in errors.
/// @throws IoError if the text is no JSON object, a key is missing or unknown, or a value is out of its range
inline Selftest parse_selftest(std::string_view text, const std::string& file_name) {
  const nlohmann::json object = detail::parse_json_object(text, file_name, "file");
  const detail::JsonFields fields(object, file_name);
  const std::string version = std::to_string(detail::selftest_version);
  fields.required(fields.integer("version", detail::selftest_version, detail::selftest_version), "version", version);
  fields.allow_only({"version", "tolerance", "seed", "cases"});
  const auto is_positive = [](double value) { return value > 0 && std::isfinite(value); };
  const std::string positive = "a positive number";
  Selftest selftest;
  selftest.tolerance = fields.required(fields.number("tolerance", is_positive, positive), "tolerance", positive);
  selftest.seed = static_cast<std::uint64_t>(
      fields.required(fields.integer("seed", 0, std::numeric_limits<Index>::max()), "seed", "a whole number from 0"));
  detail::for_each_object(object, fields, "cases", file_name, "",
                          [&](const detail::JsonFields& of_case, const nlohmann::json& element) {
                            const std::string prefix = "cases[" + std::to_string(selftest.cases.size()) + "].";
                            selftest.cases.push_back(detail::parse_selftest_case(of_case, element, file_name, prefix));
                          });
  return selftest;
}

/// Reads `directory`/selftest.json.
/// @throws IoError if the file can't be read, or as `parse_selftest`
inline Selftest read_selftest(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / selftest_file_name;
  return parse_selftest(read_text_file(path, detail::json_size_limit), path.string());
}

/// The text of a selftest.json that `parse_selftest` reads, a case a line.
/// @throws std::invalid_argument if a field is out of its range
inline std::string to_json(const Selftest& selftest) {
  std::string text =
      nlohmann::json{{"version", detail::selftest_version}, {"tolerance", selftest.tolerance}, {"seed", selftest.seed}}
          .dump();
  text.back() = ',';
  text += "\"cases\":[";
  for (const SelftestCase& one : selftest.cases) {
    nlohmann::json object = {{"source", one.source}, {"kept", one.kept}, {"target", one.target}};
    object["mode"] = detail::word_of(one.mode, detail::selftest_modes);
    nlohmann::json& logits = object["logits"] = nlohmann::json::array();
    for (const SelftestLogits& row : one.logits) logits.push_back({{"position", row.position}, {"values", row.values}});
    text += (&one == selftest.cases.data() ? "\n" : ",\n") + object.dump();
  }
  text += "\n]}\n";
  try {
    if (parse_selftest(text, "selftest") == selftest) return text;
  } catch (const IoError& error) {
    throw std::invalid_argument("to_json: " + std::string(error.what()));
  }
  throw_invalid_argument("to_json", "selftest", "a field that is not finite", "finite numbers");
}

}  // namespace merganser::io
