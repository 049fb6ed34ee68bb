// The data of a curve.
#include "curve_data.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <merganser/core/io_error.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/text_corpus.hpp>

namespace compression_curve {

namespace data = merganser::data;
namespace evaluation = merganser::evaluation;
using merganser::IoError;
using merganser::Rng;
using merganser::TokenId;

namespace {

constexpr std::uint64_t validation_seed = 1;

using Lines = std::vector<std::string>;

Lines lines_of(std::string_view text) {
  Lines lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

std::string joined(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// So many, evenly from all.
template <class Value>
std::vector<Value> spread_over(const std::vector<Value>& all, std::size_t count) {
  std::vector<Value> chosen;
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(all[i * all.size() / count]);
  return chosen;
}

/// The last tenth of a text, whose lines belong together, is held back.
std::pair<Lines, Lines> hold_back_end(const Lines& all, const std::string& path) {
  if (all.size() < 2)
    throw IoError(path, "lines", all.size(), "at least 2, one to train on and one held back, or --valid");
  const auto held = static_cast<std::ptrdiff_t>(
      std::max<std::size_t>(all.size() / static_cast<std::size_t>(byte_demo::held_back_share), 1));
  return {{all.begin(), all.end() - held}, {all.end() - held, all.end()}};
}

/// The file of --valid for a language; null without any.
const LanguageFile* valid_of(const CurveOptions& options, const std::string& language) {
  if (options.valid.empty()) return nullptr;
  for (const LanguageFile& file : options.valid)
    if (file.language == language) return &file;
  throw std::invalid_argument(language.empty() ? std::string("--valid names a language and the text has none")
                                               : "--valid has no file for " + language);
}

void check_names(const CurveOptions& options, const std::vector<LanguageFile>& files) {
  std::set<std::string> names;
  for (const LanguageFile& file : files)
    if (!names.insert(file.language).second)
      throw std::invalid_argument(file.language.empty() ? std::string("several files need names, such as en=FILE")
                                                        : "two files for " + file.language);
  for (const LanguageFile& file : options.valid)
    if (!names.contains(file.language)) throw std::invalid_argument("--valid " + file.path + " belongs to no text");
  if (options.valid.size() > files.size()) throw std::invalid_argument("--valid has several files for one text");
  if (!options.reference_language.empty() && !names.contains(options.reference_language))
    throw std::invalid_argument("--reference " + options.reference_language + " is none of the languages");
}

std::string read(const std::string& option, const LanguageFile& file, Settings& contents) {
  std::string text = data::read_text(file.path);
  contents["content of " + option + " " + file.language] = byte_demo::content_of(text);
  return text;
}

// ---- Several texts ----

struct Texts {
  std::vector<data::TextCorpus> training;
  std::vector<Lines> validation;
};

Texts read_texts(const CurveOptions& options, Index window, Settings& contents) {
  Texts texts;
  for (const LanguageFile& file : options.texts) {
    Lines lines = lines_of(read("--text", file, contents));
    if (const LanguageFile* valid = valid_of(options, file.language)) {
      texts.validation.push_back(lines_of(read("--valid", *valid, contents)));
    } else {
      auto [trained, held] = hold_back_end(lines, file.path);
      lines = std::move(trained);
      texts.validation.push_back(std::move(held));
    }
    texts.training.push_back(data::TextCorpus::from_text(joined(lines), file.path));
    if (texts.training.back().size() < window)
      throw IoError(file.path, "text", std::to_string(texts.training.back().size()) + " bytes to train on",
                    "at least a window of " + std::to_string(window) + " bytes");
  }
  return texts;
}

/// The lines that are evaluated, from each language: all of them together have about so many bytes, and each has the
/// same lines if all have as many.
std::vector<Lines> choose_lines(const std::vector<Lines>& all, Index most_bytes) {
  const auto bytes_in = [](const Lines& lines) {
    std::size_t bytes = 0;
    for (const std::string& line : lines) bytes += line.size() + 1;
    return static_cast<double>(bytes);
  };
  const bool parallel =
      std::all_of(all.begin(), all.end(), [&](const Lines& lines) { return lines.size() == all.front().size(); });
  double together = 0;
  for (const Lines& lines : all) together += bytes_in(lines);
  std::vector<Lines> chosen;
  for (const Lines& lines : all) {
    const double own = parallel ? together / static_cast<double>(all.size()) : bytes_in(lines);
    const double share = std::min(1.0, static_cast<double>(most_bytes) / static_cast<double>(all.size()) / own);
    const auto count = static_cast<std::size_t>(share * static_cast<double>(lines.size()));
    chosen.push_back(spread_over(lines, std::clamp<std::size_t>(count, 1, lines.size())));
  }
  return chosen;
}

CurveData open_texts(const CurveOptions& options, std::uint64_t seed) {
  const byte_demo::TrainOptions& train = options.train;
  const Index window = train.data.window.value_or(byte_demo::default_text_window);
  const data::TextTaskMaker make = byte_demo::text_task(train.data);
  CurveData result;
  Texts texts = read_texts(options, window, result.contents);
  const std::vector<Lines> lines = choose_lines(texts.validation, train.windows * window);
  Rng rng(validation_seed ^ byte_demo::evaluation_stream);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string text = joined(lines[i]);
    std::vector<data::Example> examples;
    for (std::size_t begin = 0; begin < text.size(); begin += static_cast<std::size_t>(window))
      examples.push_back(make(std::string_view(text).substr(begin, static_cast<std::size_t>(window)), rng));
    result.validation.insert(result.validation.end(), examples.begin(), examples.end());
    result.languages.push_back(
        {options.texts[i].language,
         {static_cast<Index>(text.size()), evaluation::count_characters(text), static_cast<Index>(lines[i].size())},
         data::make_batches(examples)});
  }
  auto corpora = std::make_shared<const std::vector<data::TextCorpus>>(std::move(texts.training));
  const data::TrainingWindows windows = byte_demo::training_windows(train.data, train.recipe.batch_size);
  result.batches.draw = [corpora, make, windows](data::DataCursor& cursor) {
    const auto draw = [&](Index bytes, Rng& r) {
      const data::TextCorpus& corpus = (*corpora)[r.below(corpora->size())];
      return make(corpus.random_window(bytes, r), r);
    };
    return windows(draw, cursor.random);
  };
  result.batches.cursor.random = Rng(seed);
  result.name = train.data.task.empty() ? "denoise" : train.data.task;
  result.description = result.name + " of " + std::to_string(corpora->size()) + " languages in windows of " +
                       std::to_string(window) + " bytes";
  return result;
}

// ---- Lines of two columns ----

/// Gives every label its class, in the order of their names.
class Classes {
 public:
  explicit Classes(std::vector<std::string> names) : names_(std::move(names)) {}

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
  std::string path;
  std::vector<data::TextPair> training, validation;
};

/// Moves about a tenth of the pairs of each file to its validation, by what the lines hold; of labels a tenth of each.
/// Files of as many lines are taken for translations of each other: the first says which lines go.
void hold_back_lines(std::vector<PairFile>& files, TaskKind kind) {
  const bool parallel = std::all_of(files.begin(), files.end(), [&](const PairFile& file) {
    return file.training.size() == files.front().training.size();
  });
  std::vector<std::uint8_t> held;
  for (PairFile& file : files) {
    if (!parallel || held.empty()) {
      std::vector<std::string> lines, labels;
      for (const data::TextPair& pair : file.training) {
        lines.push_back(pair.source + "\t" + pair.target);
        if (kind == TaskKind::classes) labels.push_back(pair.source);
      }
      held = byte_demo::hold_back(lines, labels, file.path);
    }
    std::vector<data::TextPair> training;
    for (std::size_t i = 0; i < held.size(); ++i)
      (held[i] != 0 ? file.validation : training).push_back(std::move(file.training[i]));
    file.training = std::move(training);
  }
}

std::vector<PairFile> read_pairs(const CurveOptions& options, const std::vector<LanguageFile>& files, TaskKind kind,
                                 Settings& contents) {
  const std::string option = kind == TaskKind::classes ? "--labels" : "--tsv";
  std::vector<PairFile> result;
  for (const LanguageFile& file : files) {
    PairFile pairs{file.path, data::TsvCorpus::parse(read(option, file, contents), file.path).pairs(), {}};
    if (const LanguageFile* valid = valid_of(options, file.language))
      pairs.validation = data::TsvCorpus::parse(read("--valid", *valid, contents), valid->path).pairs();
    result.push_back(std::move(pairs));
  }
  if (options.valid.empty()) {
    hold_back_lines(result, kind);
    contents["content of held back"] = "by hash";
  }
  return result;
}

CurveData open_pairs(const CurveOptions& options, TaskKind kind, std::uint64_t seed) {
  const bool labelled = kind == TaskKind::classes;
  const std::vector<LanguageFile>& files = labelled ? options.labels : options.pairs;
  CurveData result;
  const std::vector<PairFile> pair_files = read_pairs(options, files, kind, result.contents);
  std::set<std::string> names;
  if (labelled)
    for (const PairFile& file : pair_files)
      for (const data::TextPair& pair : file.training) names.insert(pair.source);
  const Classes classes({names.begin(), names.end()});
  const auto example_of = [&](const data::TextPair& pair, const std::string& path) -> data::Example {
    if (labelled) return classes.example(pair, path);
    return {data::ByteTokenizer().encode(pair.source), data::ByteTokenizer().encode(pair.target)};
  };
  std::vector<data::Example> training;
  for (std::size_t i = 0; i < pair_files.size(); ++i) {
    const PairFile& file = pair_files[i];
    for (const data::TextPair& pair : file.training) training.push_back(example_of(pair, file.path));
    const auto most = static_cast<std::size_t>(std::max<Index>(1, options.train.windows / std::ssize(pair_files)));
    std::vector<data::Example> examples;
    evaluation::TextExtent extent;
    for (const data::TextPair& pair : spread_over(file.validation, std::min(most, file.validation.size()))) {
      examples.push_back(example_of(pair, file.path));
      const std::string& text = labelled ? pair.target : pair.source;
      extent.bytes += static_cast<Index>(text.size());
      extent.characters += evaluation::count_characters(text);
      ++extent.lines;
    }
    result.validation.insert(result.validation.end(), examples.begin(), examples.end());
    if (!files[i].language.empty())
      result.languages.push_back({files[i].language, extent, data::make_batches(examples)});
  }
  result.description = std::to_string(training.size()) + (labelled ? " texts of " : " pairs of texts");
  if (labelled) result.description += std::to_string(names.size()) + " classes";
  result.batches = data::epochs_of(std::move(training), options.train.recipe.batch_size, seed);
  result.kind = kind;
  result.name = labelled ? "labels" : "pairs";
  result.classes = classes.names();
  return result;
}

// ---- What byte_demo can open ----

CurveData open_one(const CurveOptions& options, std::uint64_t seed) {
  byte_demo::DataOptions files = options.train.data;
  if (!options.texts.empty()) files.text = options.texts.front().path;
  if (!options.valid.empty()) files.valid = options.valid.front().path;
  const Index batch = options.train.recipe.batch_size, windows = options.train.windows;
  byte_demo::TrainingData opened = byte_demo::open_training_data(files, batch, windows, seed);
  CurveData result;
  result.kind = options.texts.empty() ? TaskKind::answers : TaskKind::texts;
  result.name = files.task.empty() ? "denoise" : files.task;
  result.description = opened.description;
  result.contents = std::move(opened.contents);
  result.batches = std::move(opened.batches);
  result.validation = byte_demo::open_training_data(files, batch, windows, validation_seed).validation;
  return result;
}

}  // namespace

CurveData open_data(const CurveOptions& options, std::uint64_t seed) {
  const int sources = static_cast<int>(!options.texts.empty()) + static_cast<int>(!options.pairs.empty()) +
                      static_cast<int>(!options.labels.empty());
  const std::string& task = options.train.data.task;
  if (sources > 1) throw std::invalid_argument("--text, --tsv and --labels exclude each other");
  if (sources == 0 && task.empty())
    throw std::invalid_argument("no examples: give --text, --tsv or --labels FILE, or --task NAME");
  if ((!options.pairs.empty() || !options.labels.empty()) && !task.empty())
    throw std::invalid_argument("--task does not go with --tsv or --labels: the lines are the task");
  for (const auto* files : {&options.texts, &options.pairs, &options.labels})
    if (!files->empty()) check_names(options, *files);
  if (!options.pairs.empty()) return open_pairs(options, TaskKind::answers, seed);
  if (!options.labels.empty()) return open_pairs(options, TaskKind::classes, seed);
  const bool named = !options.texts.empty() && !options.texts.front().language.empty();
  if (named && !task.empty() && task != "denoise" && task != "span_corruption")
    throw std::invalid_argument("--task " + task + " makes its own texts and takes no --text");
  return named ? open_texts(options, seed) : open_one(options, seed);
}

}  // namespace compression_curve
