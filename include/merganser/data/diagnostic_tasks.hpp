// Small artificial tasks with a known answer to which bytes can go: copy, vowel removal, sequence merge.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/example.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// The tasks of Kallini et al. 2025, arXiv 2410.20771, section 4. Every input is '#' followed by random letters.
enum class DiagnosticTask {
  copy,                      ///< the target is the input: nothing can go
  vowel_removal,             ///< every vowel goes
  contextual_vowel_removal,  ///< a vowel goes if a lower-case consonant stands before it
  sequence_merge             ///< every "ABC" becomes "D"
};

inline constexpr std::array<std::pair<DiagnosticTask, std::string_view>, 4> diagnostic_tasks{
    {{DiagnosticTask::copy, "copy"},
     {DiagnosticTask::vowel_removal, "vowel_removal"},
     {DiagnosticTask::contextual_vowel_removal, "contextual_vowel_removal"},
     {DiagnosticTask::sequence_merge, "sequence_merge"}}};

inline std::string_view diagnostic_task_name(DiagnosticTask task) {
  for (const auto& [known, name] : diagnostic_tasks)
    if (known == task) return name;
  throw_invalid_argument("diagnostic_task_name", "task", static_cast<int>(task), "one of the tasks");
}

/// The task of a name; "merge_ABC", the reference's name of sequence_merge, is understood too.
/// @throws std::invalid_argument if there is no such task
inline DiagnosticTask diagnostic_task_from_name(std::string_view name) {
  for (const auto& [task, known] : diagnostic_tasks)
    if (known == name) return task;
  if (name == "merge_ABC") return DiagnosticTask::sequence_merge;
  throw_invalid_argument("diagnostic_task_from_name", "name", name,
                         "copy, vowel_removal, contextual_vowel_removal or sequence_merge");
}

/// One of aeiouAEIOU.
constexpr bool is_vowel(char letter) { return std::string_view("aeiouAEIOU").find(letter) != std::string_view::npos; }

/// One of the 21 lower-case letters that are no vowels.
constexpr bool is_lower_consonant(char letter) { return letter >= 'a' && letter <= 'z' && !is_vowel(letter); }

/// The right answer to an input text; any bytes are taken, and those that are no letters stay.
inline std::string diagnostic_target(DiagnosticTask task, std::string_view input) {
  std::string target;
  target.reserve(input.size());
  for (std::size_t i = 0; i < input.size(); ++i) {
    const bool vowel = is_vowel(input[i]);
    if (task == DiagnosticTask::vowel_removal && vowel) continue;
    if (task == DiagnosticTask::contextual_vowel_removal && vowel && i > 0 && is_lower_consonant(input[i - 1]))
      continue;
    if (task == DiagnosticTask::sequence_merge && input.substr(i, 3) == "ABC") {
      target.push_back('D');
      i += 2;
      continue;
    }
    target.push_back(input[i]);
  }
  return target;
}

namespace detail {

inline char draw_from(std::string_view alphabet, Rng& rng) { return alphabet[rng.below(alphabet.size())]; }

/// How often and where a task plants its pattern among the letters.
struct Planting {
  double mean;      ///< mean number of patterns; the standard deviation is half of it
  Index width;      ///< letters of a pattern, and the least distance between two
  Index max_draws;  ///< places tried before giving up
};

/// Draws places until enough are kept or the draws are used up. The last letter is never covered, as in the reference.
inline std::vector<Index> draw_places(Index letters, const Planting& planting, Rng& rng) {
  std::vector<Index> places;
  const Index choices = letters - planting.width;
  if (choices < 1) return places;
  const double wanted = std::max(1.0, std::trunc(planting.mean * (1.0 + 0.5 * rng.normal())));
  for (Index draw = 0; draw < planting.max_draws && static_cast<double>(places.size()) < wanted; ++draw) {
    const auto place = static_cast<Index>(rng.below(static_cast<std::uint64_t>(choices)));
    const bool apart = std::all_of(places.begin(), places.end(), [&](Index kept) {
      return place - kept >= planting.width || kept - place >= planting.width;
    });
    if (apart) places.push_back(place);
  }
  return places;
}

}  // namespace detail

/// Draws an input and its target as text, without end of sequence.
///
/// Contextual vowel removal plants about 25 pairs of consonant and vowel, sequence merge about 5 times "ABC", whatever
/// the length (the reference's numbers, made for length 64), or as many as find a place.
/// @param length L, the ids of the encoded input, '#' and end of sequence included: the text has L - 1 characters
/// @throws std::invalid_argument if length is below 3
inline std::pair<std::string, std::string> make_diagnostic_text(DiagnosticTask task, Index length, Rng& rng) {
  check_argument(length >= 3, "make_diagnostic_text", "length", length, "at least 3: '#', a letter, end of sequence");
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr std::string_view consonants = "bcdfghjklmnpqrstvwxyzBCDFGHJKLMNPQRSTVWXYZ";
  constexpr std::string_view vowels = "aeiouAEIOU";
  std::string input = "#";
  for (Index i = 0; i < length - 2; ++i) input.push_back(detail::draw_from(letters, rng));
  if (task == DiagnosticTask::contextual_vowel_removal) {
    for (const Index place : detail::draw_places(length - 2, {.mean = 25, .width = 2, .max_draws = 501}, rng)) {
      const auto at = static_cast<std::size_t>(place) + 1;
      input[at] = detail::draw_from(consonants, rng);
      input[at + 1] = detail::draw_from(vowels, rng);
    }
  } else if (task == DiagnosticTask::sequence_merge) {
    for (const Index place : detail::draw_places(length - 2, {.mean = 5, .width = 3, .max_draws = 501}, rng))
      input.replace(static_cast<std::size_t>(place) + 1, 3, "ABC");
  }
  std::string target = diagnostic_target(task, input);
  return {std::move(input), std::move(target)};
}

/// Draws an example: L source ids and the target's ids, each with its end of sequence, without padding.
/// Arguments and errors as in `make_diagnostic_text`.
inline Example make_diagnostic_example(DiagnosticTask task, Index length, Rng& rng) {
  const auto [input, target] = make_diagnostic_text(task, length, rng);
  return {ByteTokenizer().encode(input, AddEos::yes), ByteTokenizer().encode(target, AddEos::yes)};
}

}  // namespace merganser::data
