// Examples for training and for evaluation.
#include <corpus.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/diagnostic_tasks.hpp>
#include <merganser/data/held_out.hpp>
#include <merganser/data/text_corpus.hpp>
#include <merganser/io/file_digest.hpp>

namespace byte_demo {

using merganser::IoError;
using merganser::Rng;

data::TextTaskMaker text_task(const DataOptions& options) {
  return {options.task == "span_corruption" ? data::TextTask::span_corruption : data::TextTask::denoise, options.noise};
}

data::TrainingWindows training_windows(const DataOptions& options, Index batch) {
  const Index window = options.window.value_or(default_text_window),
              shortest = options.shortest_window.value_or(std::min(window, default_shortest_window));
  if (shortest > window)
    throw std::invalid_argument("--shortest-window " + std::to_string(shortest) + " is longer than the window of " +
                                std::to_string(window));
  return {window, shortest, batch};
}

std::string content_of(std::string_view text) {
  merganser::io::Crc64 crc;
  crc.update(text);
  return std::to_string(text.size()) + " bytes with checksum " + merganser::io::hexadecimal(crc.value());
}

std::vector<std::uint8_t> hold_back(const std::vector<std::string>& lines, const std::vector<std::string>& strata,
                                    const std::string& path) {
  std::vector<std::uint8_t> held = data::held_out(lines, held_back_share, strata);
  if (std::count(held.begin(), held.end(), std::uint8_t{1}) == 0)
    throw IoError(path, "lines", "no two that differ", "two at least, one of them held back, or --valid");
  return held;
}

std::vector<data::Example> spread(const std::vector<data::Example>& all, Index most) {
  const auto count = std::min(all.size(), static_cast<std::size_t>(most));
  std::vector<data::Example> examples;
  for (std::size_t i = 0; i < count; ++i) examples.push_back(all[i * all.size() / count]);
  return examples;
}

namespace {

constexpr Index default_letters = 32;

bool is_text_task(const std::string& task) { return task == "denoise" || task == "span_corruption"; }

void check_sources(const DataOptions& options) {
  const bool text = !options.text.empty(), tsv = !options.tsv.empty(), task = !options.task.empty();
  if (!text && !tsv && !task) throw std::invalid_argument("no examples: give --text FILE, --tsv FILE or --task NAME");
  if (text && tsv) throw std::invalid_argument("--text and --tsv exclude each other");
  if (tsv && task) throw std::invalid_argument("--tsv and --task exclude each other: the second column is the answer");
  if (task && is_text_task(options.task) && !text)
    throw std::invalid_argument("--task " + options.task + " needs --text FILE");
  if (task && !is_text_task(options.task) && text)
    throw std::invalid_argument("--task " + options.task + " makes its own texts and takes no --text");
  if (!options.valid.empty() && !text && !tsv)
    throw std::invalid_argument("--valid goes with --text or --tsv: generated tasks make fresh examples");
}

/// A text with at least one window.
data::TextCorpus read_text(const std::string& path, Index window) {
  data::TextCorpus corpus = data::TextCorpus::read(path);
  if (corpus.size() < window)
    throw IoError(path, "text", std::to_string(corpus.size()) + " bytes",
                  "at least one window of " + std::to_string(window) + " bytes");
  return corpus;
}

std::vector<data::Example> windows_of(const data::TextCorpus& corpus, Index window, Index most,
                                      const data::TextTaskMaker& make, std::uint64_t seed) {
  Rng rng(seed ^ evaluation_stream);
  const Index all = corpus.window_count(window), count = std::min(all, most);
  std::vector<data::Example> examples;
  for (Index i = 0; i < count; ++i) examples.push_back(make(corpus.window_at(i * all / count, window), rng));
  return examples;
}

std::vector<data::Example> generated(const DataOptions& options, Index count, std::uint64_t seed) {
  const auto task = data::diagnostic_task_from_name(options.task);
  Rng rng(seed ^ evaluation_stream);
  std::vector<data::Example> examples;
  const Index letters = options.window.value_or(default_letters);
  for (Index i = 0; i < count; ++i) examples.push_back(data::make_diagnostic_example(task, letters + 2, rng));
  return examples;
}

TrainingData open_text(const DataOptions& options, Index batch, Index most, std::uint64_t seed) {
  const Index window = options.window.value_or(default_text_window);
  const data::TextTaskMaker make = text_task(options);
  data::TextCorpus whole = read_text(options.text, window);
  TrainingData result;
  result.contents["content of --text"] = content_of(whole.text());
  std::shared_ptr<const data::TextCorpus> corpus;
  if (!options.valid.empty()) {
    const data::TextCorpus valid = read_text(options.valid, window);
    result.contents["content of --valid"] = content_of(valid.text());
    result.validation = windows_of(valid, window, most, make, seed);
    corpus = std::make_shared<const data::TextCorpus>(std::move(whole));
  } else {
    const Index held_back = std::max(whole.size() / held_back_share, window), trained = whole.size() - held_back;
    if (trained < window)
      throw IoError(options.text, "text", std::to_string(whole.size()) + " bytes",
                    "two windows of " + std::to_string(window) + " bytes, one of them held back, or --valid");
    const std::string& text = whole.text();
    const auto cut = static_cast<std::size_t>(trained);
    result.validation = windows_of(data::TextCorpus::from_text(text.substr(cut)), window, most, make, seed);
    corpus = std::make_shared<const data::TextCorpus>(data::TextCorpus::from_text(text.substr(0, cut)));
  }
  result.description = std::string(make.task == data::TextTask::denoise ? "denoising" : "span corruption") + " of " +
                       std::to_string(corpus->size()) + " bytes in windows of " + std::to_string(window);
  result.longest = window + 1;  // and the end
  result.batch_tokens = batch * window;
  result.batches.draw = [corpus, make, windows = training_windows(options, batch)](data::DataCursor& cursor) {
    return windows([&](Index bytes, Rng& r) { return make(corpus->random_window(bytes, r), r); }, cursor.random);
  };
  result.batches.cursor.random = Rng(seed);
  return result;
}

TrainingData open_tsv(const DataOptions& options, Index batch, Index most, std::uint64_t seed) {
  TrainingData result;
  const auto read_pairs = [&result](const std::string& option, const std::string& path) {
    const std::string text = data::read_text(path);
    result.contents["content of " + option] = content_of(text);
    return data::TsvCorpus::parse(text, path);
  };
  const data::TsvCorpus corpus = read_pairs("--tsv", options.tsv);
  std::vector<data::Example> examples = corpus.examples();
  if (!options.valid.empty()) {
    result.validation = spread(read_pairs("--valid", options.valid).examples(), most);
  } else {
    std::vector<std::string> lines;
    for (const data::TextPair& pair : corpus.pairs()) lines.push_back(pair.source + "\t" + pair.target);
    const std::vector<std::uint8_t> held = hold_back(lines, {}, options.tsv);
    std::vector<data::Example> trained, tested;
    for (std::size_t i = 0; i < examples.size(); ++i)
      (held[i] != 0 ? tested : trained).push_back(std::move(examples[i]));
    result.validation = spread(tested, most);
    examples = std::move(trained);
    result.contents["content of held back"] = "by hash";
  }
  for (const data::Example& example : examples)
    result.longest = std::max({result.longest, std::ssize(example.source), std::ssize(example.target)});
  result.description = std::to_string(examples.size()) + " pairs of texts";
  result.batches = data::epochs_of(std::move(examples), batch, seed);
  return result;
}

TrainingData open_task(const DataOptions& options, Index batch, Index most, std::uint64_t seed) {
  const auto task = data::diagnostic_task_from_name(options.task);
  const Index letters = options.window.value_or(default_letters);
  TrainingData result;
  result.longest = letters + 2;
  result.batch_tokens = batch * letters;
  result.description = options.task + " in sequences of " + std::to_string(letters) + " letters";
  result.validation = generated(options, most, seed);
  result.batches.draw = [task, letters, batch](data::DataCursor& cursor) {
    const auto draw = [&](Rng& r) { return data::make_diagnostic_example(task, letters + 2, r); };
    return data::make_random_batch(draw, batch, cursor.random);
  };
  result.batches.cursor.random = Rng(seed);
  return result;
}

}  // namespace

TrainingData open_training_data(const DataOptions& options, Index batch, Index windows, std::uint64_t seed) {
  check_sources(options);
  if (!options.text.empty()) return open_text(options, batch, windows, seed);
  if (!options.tsv.empty()) return open_tsv(options, batch, windows, seed);
  return open_task(options, batch, windows, seed);
}

std::vector<data::Example> open_evaluation_data(const DataOptions& options, Index windows, std::uint64_t seed) {
  check_sources(options);
  if (!options.tsv.empty()) return spread(data::TsvCorpus::read(options.tsv).examples(), windows);
  if (options.text.empty()) return generated(options, windows, seed);
  const Index window = options.window.value_or(default_text_window);
  return windows_of(read_text(options.text, window), window, windows, text_task(options), seed);
}

}  // namespace byte_demo
