// One run of a curve as a row: its figures, and where they come from.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/runs/option.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

/// The number of a figure that a run does not have: an empty cell, null in JSON.
inline constexpr double no_figure = std::numeric_limits<double>::quiet_NaN();

/// A column that rows of older versions lack.
inline constexpr const char* policy_milliseconds = "policy_ms_hard";

/// Everything in one mode of deletion.
struct ModeFigures {
  double deletion_rate = no_figure, bits_per_byte = no_figure;
  double token_accuracy = no_figure, sequence_accuracy = no_figure;  ///< not of classes
  double class_accuracy = no_figure;                                 ///< only of classes
};

/// One language of a run. Tokens are those of all its lines, ends of sequence included.
struct LanguageRow {
  std::string language;
  Index bytes = 0, characters = 0, lines = 0, tokens = 0, kept_tokens = 0;
  double deletion_rate = no_figure;
  double bits_per_byte_before = no_figure, bits_per_byte_after = no_figure;
  double accuracy_before = no_figure, accuracy_after = no_figure;  ///< of tokens, or of classes
  double bytes_per_character = no_figure, tokens_per_character = no_figure, kept_tokens_per_character = no_figure;
  double premium_before = no_figure, premium_after = no_figure;  ///< over the reference language; of parallel lines

  template <class Row, class Visitor>
  static void visit(Row& row, Visitor&& visitor);
};

/// Where a row comes from: what measured it, and how.
struct RowOrigin {
  std::string evaluation;                ///< hash of what decides what is measured of the trained model, and how
  std::string version, instruction_set;  ///< of merganser
  std::string machine;                   ///< the processor
  std::string date;                      ///< of the measurement, by UTC: 2026-11-30
  Settings options;                      ///< of the command; files by their absolute paths

  /// Calls visitor(name, field) for every text, in the order of the columns.
  template <class Origin, class Visitor>
  static void visit(Origin& origin, Visitor&& visitor) {
    visitor("evaluation", origin.evaluation);
    visitor("version", origin.version);
    visitor("instruction_set", origin.instruction_set);
    visitor("machine", origin.machine);
    visitor("date", origin.date);
  }
};

struct RunRow {
  std::string settings;  ///< hash of everything that decides the trained model
  std::string base;      ///< the same without policy, target and seed
  std::string task, data;
  std::string policy;
  double target = 0.0;
  std::uint64_t seed = 0;
  ModeFigures none, soft, hard, hard_reference, everything;
  double soft_hard_gap = no_figure;
  double late_rate = no_figure;       ///< mean deletion rate of the last quarter of training, gated steps
  double late_deviation = no_figure;  ///< there, the furthest that the mean of a twentieth of the run is from target
  double encoder_ms_none = no_figure, encoder_ms_hard = no_figure;
  double policy_ms_hard = no_figure;  ///< of it in policies, what they ask of attention included
  double total_ms_none = no_figure, total_ms_soft = no_figure, total_ms_hard = no_figure;
  double predicted_cost_ratio = no_figure;  ///< floating-point operations of hard / none
  double peak_memory_mb = no_figure;
  Index parameters = 0, steps = 0;
  double seconds = 0.0;  ///< of training
  Index sequences = 0, source_bytes = 0, source_tokens = 0, target_tokens = 0;
  double bytes_per_character_spread = no_figure;   ///< between languages, largest / smallest
  double tokens_per_character_spread = no_figure;  ///< without merging
  double kept_per_character_spread = no_figure;    ///< with
  double premium_spread = no_figure;               ///< of tokens a parallel line, without merging
  double kept_premium_spread = no_figure;          ///< with
  RowOrigin origin;
  std::vector<LanguageRow> languages;

  /// Calls visitor(name, field) for every figure but those of languages, in the order of the columns.
  template <class Row, class Visitor>
  static void visit(Row& row, Visitor&& visitor);

 private:
  template <class Row, class Visitor>
  static void visit_rest(Row& row, Visitor& visitor);
};

template <class Row, class Visitor>
void LanguageRow::visit(Row& row, Visitor&& visitor) {
  visitor("language", row.language);
  visitor("bytes", row.bytes);
  visitor("characters", row.characters);
  visitor("lines", row.lines);
  visitor("tokens", row.tokens);
  visitor("kept_tokens", row.kept_tokens);
  visitor("deletion_rate", row.deletion_rate);
  visitor("bits_per_byte_before", row.bits_per_byte_before);
  visitor("bits_per_byte_after", row.bits_per_byte_after);
  visitor("accuracy_before", row.accuracy_before);
  visitor("accuracy_after", row.accuracy_after);
  visitor("bytes_per_character", row.bytes_per_character);
  visitor("tokens_per_character", row.tokens_per_character);
  visitor("kept_tokens_per_character", row.kept_tokens_per_character);
  visitor("premium_before", row.premium_before);
  visitor("premium_after", row.premium_after);
}

template <class Row, class Visitor>
void RunRow::visit(Row& row, Visitor&& visitor) {
  visitor("settings", row.settings);
  visitor("base", row.base);
  visitor("task", row.task);
  visitor("data", row.data);
  visitor("policy", row.policy);
  visitor("target", row.target);
  visitor("seed", row.seed);
  visitor("deletion_rate", row.hard.deletion_rate);
  const auto visit_modes = [&](const std::string& name, auto member) {
    visitor(name + "_none", row.none.*member);
    visitor(name + "_soft", row.soft.*member);
    visitor(name + "_hard", row.hard.*member);
    visitor(name + "_hard_reference", row.hard_reference.*member);
    visitor(name + "_everything", row.everything.*member);
  };
  visit_modes("bits_per_byte", &ModeFigures::bits_per_byte);
  visit_modes("token_accuracy", &ModeFigures::token_accuracy);
  visit_modes("sequence_accuracy", &ModeFigures::sequence_accuracy);
  visit_modes("class_accuracy", &ModeFigures::class_accuracy);
  visit_rest(row, visitor);
}

template <class Row, class Visitor>
void RunRow::visit_rest(Row& row, Visitor& visitor) {
  visitor("soft_hard_gap", row.soft_hard_gap);
  visitor("late_rate", row.late_rate);
  visitor("late_deviation", row.late_deviation);
  visitor("encoder_ms_none", row.encoder_ms_none);
  visitor("encoder_ms_hard", row.encoder_ms_hard);
  visitor(policy_milliseconds, row.policy_ms_hard);
  visitor("total_ms_none", row.total_ms_none);
  visitor("total_ms_soft", row.total_ms_soft);
  visitor("total_ms_hard", row.total_ms_hard);
  visitor("predicted_cost_ratio", row.predicted_cost_ratio);
  visitor("peak_memory_mb", row.peak_memory_mb);
  visitor("parameters", row.parameters);
  visitor("steps", row.steps);
  visitor("seconds", row.seconds);
  visitor("sequences", row.sequences);
  visitor("source_bytes", row.source_bytes);
  visitor("source_tokens", row.source_tokens);
  visitor("target_tokens", row.target_tokens);
  visitor("bytes_per_character_spread", row.bytes_per_character_spread);
  visitor("tokens_per_character_spread", row.tokens_per_character_spread);
  visitor("kept_per_character_spread", row.kept_per_character_spread);
  visitor("premium_spread", row.premium_spread);
  visitor("kept_premium_spread", row.kept_premium_spread);
}

}  // namespace merganser::runs
