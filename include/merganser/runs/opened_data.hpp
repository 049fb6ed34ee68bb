// Endless batches and a fixed set to evaluate on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/data/batch_source.hpp>
#include <merganser/data/example.hpp>
#include <merganser/evaluation/language_report.hpp>
#include <merganser/runs/option.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

inline constexpr std::uint64_t evaluation_stream = 0x65766170;  // keeps evaluation apart from training, same seed

/// What a model answers with.
enum class AnswerKind {
  texts,    ///< bits per byte is the figure to look at
  answers,  ///< sequences that are right or wrong
  classes,  ///< of a classifier
};

struct DataRequest {
  Index batch_size = 32;              ///< sequences
  Index windows = 512;                ///< most examples of the evaluation
  std::uint64_t seed = 1;             ///< of the batches
  std::uint64_t validation_seed = 1;  ///< of the examples to evaluate on
};

struct TrainingData {
  AnswerKind kind = AnswerKind::texts;
  std::string name;         ///< denoise, vowel_removal, pairs, labels, ...
  std::string description;  ///< one line for people
  Settings contents;        ///< `content_prefix` and an option: size and checksum of each file
  data::BatchSource batches;
  std::vector<data::Example> validation;
  std::vector<evaluation::LanguageText> languages;  ///< of the validation; none with a file without a name
  std::vector<std::string> classes;
  Index longest = 0;       ///< tokens of the longest sequence to train on
  Index batch_tokens = 0;  ///< that a batch has at least
};

}  // namespace merganser::runs
