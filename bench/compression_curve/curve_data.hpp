// The data of a curve: batches to train on, and what all of its runs are evaluated on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <merganser/data/example.hpp>
#include <merganser/evaluation/language_report.hpp>

#include <corpus.hpp>

#include "curve_options.hpp"
#include "settings_hash.hpp"

namespace compression_curve {

/// What a model answers with.
enum class TaskKind {
  texts,    ///< bits per byte is the figure to look at
  answers,  ///< sequences that are right or wrong
  classes,  ///< a SequenceClassifier
};

struct CurveData {
  TaskKind kind = TaskKind::texts;
  std::string name;         ///< denoise, vowel_removal, pairs, labels, ...
  std::string description;  ///< one line for people
  Settings contents;        ///< every file's size and checksum
  merganser::data::BatchSource batches;
  std::vector<merganser::data::Example> validation;
  std::vector<merganser::evaluation::LanguageText> languages;  ///< of the validation; none with a file without a name
  std::vector<std::string> classes;
};

/// `seed` is that of the batches; the validation is the same for all of them. Several languages have an equal share of
/// the batches and, as near as lines allow, of the validation's bytes; where they have as many lines, the same lines.
/// Without --valid a tenth of every file is held back: the end of a text; of lines those that `byte_demo::hold_back`
/// chooses.
/// @throws merganser::IoError or std::invalid_argument if files do not do
CurveData open_data(const CurveOptions& options, std::uint64_t seed);

}  // namespace compression_curve
