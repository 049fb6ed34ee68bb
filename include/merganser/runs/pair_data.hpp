// Lines of two columns to train on: a source and its target, or a label and a text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/runs/data_files.hpp>
#include <merganser/runs/opened_data.hpp>
#include <merganser/runs/run_options.hpp>

namespace merganser::inline MERGANSER_ISA::runs::detail {

/// Gives every label its class, in the order of their names.
class ClassNames {
 public:
  explicit ClassNames(const std::set<std::string>& names) : names_(names.begin(), names.end()) {}

  data::Example example(const data::TextPair& labelled, const std::string& path) const {
    const auto place = std::lower_bound(names_.begin(), names_.end(), labelled.source);
    if (place == names_.end() || *place != labelled.source)
      throw IoError(path, "label", labelled.source, "a label of the texts to train on");
    return {data::ByteTokenizer().encode(labelled.target), {static_cast<TokenId>(place - names_.begin())}};
  }

  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;  // sorted
};

struct PairFile {
  TextFile file;
  std::vector<data::TextPair> training, validation;
};

/// Moves about a tenth of the pairs of each file to its validation, by what the lines hold; of labels a tenth of each.
/// Files of as many lines are taken for translations of each other: the first says which lines go.
inline void hold_back_lines(std::vector<PairFile>& files, AnswerKind kind) {
  const bool parallel = std::all_of(files.begin(), files.end(), [&](const PairFile& file) {
    return file.training.size() == files.front().training.size();
  });
  std::vector<std::uint8_t> held;
  for (PairFile& file : files) {
    if (!parallel || held.empty()) {
      std::vector<std::string> lines, labels;
      for (const data::TextPair& pair : file.training) {
        lines.push_back(pair.source + "\t" + pair.target);
        if (kind == AnswerKind::classes) labels.push_back(pair.source);
      }
      held = hold_back(lines, labels, file.file.path);
    }
    std::vector<data::TextPair> training;
    for (std::size_t i = 0; i < held.size(); ++i)
      (held[i] != 0 ? file.validation : training).push_back(std::move(file.training[i]));
    file.training = std::move(training);
  }
}

inline std::vector<PairFile> read_pairs(const DataOptions& options, const std::vector<TextFile>& files, AnswerKind kind,
                                        Settings& contents) {
  const std::string option = kind == AnswerKind::classes ? "--labels" : "--tsv";
  std::vector<PairFile> result;
  for (const TextFile& file : files) {
    PairFile pairs{file, data::TsvCorpus::parse(read_file(option, file, contents), file.path).pairs(), {}};
    if (const TextFile* valid = valid_of(options, file.language))
      pairs.validation = data::TsvCorpus::parse(read_file("--valid", *valid, contents), valid->path).pairs();
    result.push_back(std::move(pairs));
  }
  if (options.valid.empty()) {
    hold_back_lines(result, kind);
    contents[std::string(content_prefix) + "held back"] = "by hash";
  }
  return result;
}

inline TrainingData open_pairs(const DataOptions& options, const std::vector<TextFile>& files, AnswerKind kind,
                               const DataRequest& request) {
  const bool labelled = kind == AnswerKind::classes;
  TrainingData result;
  const std::vector<PairFile> pair_files = read_pairs(options, files, kind, result.contents);
  std::set<std::string> names;
  if (labelled)
    for (const PairFile& file : pair_files)
      for (const data::TextPair& pair : file.training) names.insert(pair.source);
  const ClassNames classes(names);
  const auto example_of = [&](const data::TextPair& pair, const std::string& path) -> data::Example {
    if (labelled) return classes.example(pair, path);
    return {data::ByteTokenizer().encode(pair.source), data::ByteTokenizer().encode(pair.target)};
  };
  const auto most = static_cast<std::size_t>(std::max<Index>(1, request.windows / std::ssize(pair_files)));
  std::vector<data::Example> training;
  for (const PairFile& file : pair_files) {
    for (const data::TextPair& pair : file.training) training.push_back(example_of(pair, file.file.path));
    std::vector<data::Example> examples;
    evaluation::TextExtent extent;
    for (const data::TextPair& pair : spread(file.validation, most)) {
      examples.push_back(example_of(pair, file.file.path));
      const std::string& text = labelled ? pair.target : pair.source;
      extent.bytes += static_cast<Index>(text.size());
      extent.characters += evaluation::count_characters(text);
      ++extent.lines;
    }
    result.validation.insert(result.validation.end(), examples.begin(), examples.end());
    if (!file.file.language.empty())
      result.languages.push_back({file.file.language, extent, data::make_batches(examples)});
  }
  for (const data::Example& example : training)
    result.longest = std::max({result.longest, std::ssize(example.source), std::ssize(example.target)});
  result.kind = kind;
  result.name = labelled ? "labels" : "pairs";
  result.description = std::to_string(training.size()) + (labelled ? " texts of " : " pairs of texts");
  if (labelled) result.description += std::to_string(names.size()) + " classes";
  result.batches = data::epochs_of(std::move(training), request.batch_size, request.seed);
  result.classes = classes.names();
  return result;
}

}  // namespace merganser::runs::detail
