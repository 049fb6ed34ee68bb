// Windows of texts to train on: of one text, or of one in each of several languages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/data/text_task.hpp>
#include <merganser/data/training_windows.hpp>
#include <merganser/runs/data_files.hpp>
#include <merganser/runs/opened_data.hpp>
#include <merganser/runs/run_options.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

inline data::TextTaskMaker text_task(const DataOptions& options) {
  return {options.task == "span_corruption" ? data::TextTask::span_corruption : data::TextTask::denoise,
          options.noise.value_or(default_noise)};
}

/// @throws std::invalid_argument if the shortest window is longer than the longest
inline data::TrainingWindows training_windows(const DataOptions& options, Index batch) {
  const Index window = options.window.value_or(default_text_window),
              shortest = options.shortest_window.value_or(std::min(window, default_shortest_window));
  if (shortest > window)
    throw std::invalid_argument("--shortest-window " + std::to_string(shortest) + " is longer than the window of " +
                                std::to_string(window));
  return {window, shortest, batch};
}

namespace detail {

/// A text with at least one window.
inline data::TextCorpus text_with_windows(std::string bytes, Index window, const std::string& path) {
  data::TextCorpus corpus = data::TextCorpus::from_text(std::move(bytes), path);
  if (corpus.size() < window)
    throw IoError(path, "text", std::to_string(corpus.size()) + " bytes",
                  "at least one window of " + std::to_string(window) + " bytes");
  return corpus;
}

inline std::vector<data::Example> windows_of(const data::TextCorpus& corpus, Index window, Index most,
                                             const data::TextTaskMaker& make, std::uint64_t seed) {
  Rng rng(seed ^ evaluation_stream);
  const Index all = corpus.window_count(window), count = std::min(all, most);
  std::vector<data::Example> examples;
  for (Index i = 0; i < count; ++i) examples.push_back(make(corpus.window_at(i * all / count, window), rng));
  return examples;
}

/// Batches of windows from each of the texts equally often.
inline data::BatchSource window_batches(std::vector<data::TextCorpus> texts, const DataOptions& options,
                                        const DataRequest& request) {
  auto corpora = std::make_shared<const std::vector<data::TextCorpus>>(std::move(texts));
  data::BatchSource batches;
  const bool several = !options.texts.front().language.empty();
  batches.draw = [corpora, several, make = text_task(options),
                  windows = training_windows(options, request.batch_size)](data::DataCursor& cursor) {
    const auto draw = [&](Index bytes, Rng& r) {
      const data::TextCorpus& corpus = several ? (*corpora)[r.below(corpora->size())] : corpora->front();
      return make(corpus.random_window(bytes, r), r);
    };
    return windows(draw, cursor.random);
  };
  batches.cursor.random = Rng(request.seed);
  return batches;
}

inline TrainingData open_text(const DataOptions& options, const DataRequest& request) {
  const Index window = options.window.value_or(default_text_window);
  const data::TextTaskMaker make = text_task(options);
  const TextFile& file = options.texts.front();
  TrainingData result;
  data::TextCorpus trained = text_with_windows(read_file("--text", file, result.contents), window, file.path);
  const auto validate = [&](const data::TextCorpus& text) {
    result.validation = windows_of(text, window, request.windows, make, request.validation_seed);
  };
  if (const TextFile* valid = valid_of(options, "")) {
    validate(text_with_windows(read_file("--valid", *valid, result.contents), window, valid->path));
  } else {
    const Index held_back = std::max(trained.size() / held_back_share, window), left = trained.size() - held_back;
    if (left < window)
      throw IoError(file.path, "text", std::to_string(trained.size()) + " bytes",
                    "two windows of " + std::to_string(window) + " bytes, one of them held back, or --valid");
    const auto cut = static_cast<std::size_t>(left);
    validate(data::TextCorpus::from_text(trained.text().substr(cut)));
    trained = data::TextCorpus::from_text(trained.text().substr(0, cut));
  }
  const bool denoising = make.task == data::TextTask::denoise;
  result.name = denoising ? "denoise" : "span_corruption";
  result.description = std::string(denoising ? "denoising" : "span corruption") + " of " +
                       std::to_string(trained.size()) + " bytes in windows of " + std::to_string(window);
  result.longest = window + 1;  // and the end
  result.batch_tokens = request.batch_size * window;
  std::vector<data::TextCorpus> texts;
  texts.push_back(std::move(trained));
  result.batches = window_batches(std::move(texts), options, request);
  return result;
}

// ---- Several languages ----

using Lines = std::vector<std::string>;

inline std::string text_of(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text.append(line).append("\n");
  return text;
}

/// The last tenth of a text, whose lines belong together, is held back.
inline std::pair<Lines, Lines> hold_back_end(const Lines& all, const std::string& path) {
  if (all.size() < 2)
    throw IoError(path, "lines", all.size(), "at least 2, one to train on and one held back, or --valid");
  const auto held =
      static_cast<std::ptrdiff_t>(std::max<std::size_t>(all.size() / static_cast<std::size_t>(held_back_share), 1));
  return {{all.begin(), all.end() - held}, {all.end() - held, all.end()}};
}

/// The lines that are evaluated, from each language: all of them together have about so many bytes, and each has the
/// same lines if all have as many.
inline std::vector<Lines> choose_lines(const std::vector<Lines>& all, Index most_bytes) {
  const auto bytes_in = [](const Lines& lines) { return static_cast<double>(text_of(lines).size()); };
  const bool parallel =
      std::all_of(all.begin(), all.end(), [&](const Lines& lines) { return lines.size() == all.front().size(); });
  double together = 0;
  for (const Lines& lines : all) together += bytes_in(lines);
  const auto languages = static_cast<double>(all.size());
  std::vector<Lines> chosen;
  for (const Lines& lines : all) {
    const double own = parallel ? together / languages : bytes_in(lines);
    const double share = std::min(1.0, static_cast<double>(most_bytes) / languages / own);
    const auto count = static_cast<std::size_t>(share * static_cast<double>(lines.size()));
    chosen.push_back(spread(lines, std::clamp<std::size_t>(count, 1, lines.size())));
  }
  return chosen;
}

struct LanguageTexts {
  std::vector<data::TextCorpus> training;
  std::vector<Lines> validation;
};

inline LanguageTexts read_languages(const DataOptions& options, Index window, Settings& contents) {
  LanguageTexts texts;
  for (const TextFile& file : options.texts) {
    Lines lines = split(read_file("--text", file, contents), '\n');
    if (const TextFile* valid = valid_of(options, file.language)) {
      texts.validation.push_back(split(read_file("--valid", *valid, contents), '\n'));
    } else {
      auto [trained, held] = hold_back_end(lines, file.path);
      lines = std::move(trained);
      texts.validation.push_back(std::move(held));
    }
    texts.training.push_back(data::TextCorpus::from_text(text_of(lines), file.path));
    if (texts.training.back().size() < window)
      throw IoError(file.path, "text", std::to_string(texts.training.back().size()) + " bytes to train on",
                    "at least a window of " + std::to_string(window) + " bytes");
  }
  return texts;
}

inline TrainingData open_languages(const DataOptions& options, const DataRequest& request) {
  const Index window = options.window.value_or(default_text_window);
  const data::TextTaskMaker make = text_task(options);
  TrainingData result;
  LanguageTexts texts = read_languages(options, window, result.contents);
  const std::vector<Lines> lines = choose_lines(texts.validation, request.windows * window);
  Rng rng(request.validation_seed ^ evaluation_stream);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string text = text_of(lines[i]);
    std::vector<data::Example> examples;
    for (std::size_t begin = 0; begin < text.size(); begin += static_cast<std::size_t>(window))
      examples.push_back(make(std::string_view(text).substr(begin, static_cast<std::size_t>(window)), rng));
    result.validation.insert(result.validation.end(), examples.begin(), examples.end());
    result.languages.push_back(
        {options.texts[i].language,
         {static_cast<Index>(text.size()), evaluation::count_characters(text), static_cast<Index>(lines[i].size())},
         data::make_batches(examples)});
  }
  result.name = make.task == data::TextTask::denoise ? "denoise" : "span_corruption";
  result.description = result.name + " of " + std::to_string(texts.training.size()) + " languages in windows of " +
                       std::to_string(window) + " bytes";
  result.longest = window + 1;
  result.batch_tokens = request.batch_size * window;
  result.batches = window_batches(std::move(texts.training), options, request);
  return result;
}

}  // namespace detail

}  // namespace merganser::runs
