// Examples for training and for evaluation, from files or from a task that makes its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/data/diagnostic_tasks.hpp>
#include <merganser/runs/data_files.hpp>
#include <merganser/runs/opened_data.hpp>
#include <merganser/runs/pair_data.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/runs/text_data.hpp>
#include <merganser/runs/train_option_table.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

inline bool is_text_task(const std::string& task) {
  return std::find(text_tasks.begin(), text_tasks.end(), task) != text_tasks.end();
}

/// Why options have no effect on these examples; nullptr: they have one.
struct IdleOptions {
  const char *noise, *window, *shortest_window;
};

inline IdleOptions idle_options(const DataOptions& options) {
  const bool texts = !options.texts.empty(), pairs = !options.pairs.empty() || !options.labels.empty();
  return {!texts || options.task == "span_corruption" ? "it is that of denoising" : nullptr,
          pairs ? "lines are as long as they are" : nullptr, !texts ? "it is that of --text" : nullptr};
}

/// What is given and would be passed over.
inline void check_effects(const DataOptions& options) {
  const auto refuse = [](bool given, const char* option, const char* reason) {
    if (given && reason != nullptr) throw std::invalid_argument(std::string(option) + " has no effect: " + reason);
  };
  const IdleOptions idle = idle_options(options);
  refuse(options.noise.has_value(), "--noise", idle.noise);
  refuse(options.window.has_value(), "--window", idle.window);
  refuse(options.shortest_window.has_value(), "--shortest-window", idle.shortest_window);
}

inline void check_sources(const DataOptions& options) {
  const bool text = !options.texts.empty(), tsv = !options.pairs.empty(), labels = !options.labels.empty(),
             task = !options.task.empty();
  if (!text && !tsv && !labels && !task)
    throw std::invalid_argument("no examples: give --text FILE, --tsv FILE or --task NAME");
  if (int{text} + int{tsv} + int{labels} > 1)
    throw std::invalid_argument("--text, --tsv and --labels exclude each other: examples come from one of them");
  if ((tsv || labels) && task)
    throw std::invalid_argument("--task does not go with --tsv or --labels: their lines are the task");
  if (task && is_text_task(options.task) && !text)
    throw std::invalid_argument("--task " + options.task + " needs --text FILE");
  if (task && !is_text_task(options.task) && text)
    throw std::invalid_argument("--task " + options.task + " makes its own texts and takes no --text");
  if (!options.valid.empty() && !text && !tsv && !labels)
    throw std::invalid_argument("--valid goes with --text or --tsv: generated tasks make fresh examples");
  for (const auto* files : {&options.texts, &options.pairs, &options.labels})
    if (!files->empty()) check_names(options, *files);
  check_effects(options);
}

inline std::vector<data::Example> generated_examples(const DataOptions& options, Index count, std::uint64_t seed) {
  const auto task = data::diagnostic_task_from_name(options.task);
  Rng rng(seed ^ evaluation_stream);
  std::vector<data::Example> examples;
  const Index letters = options.window.value_or(default_letters);
  for (Index i = 0; i < count; ++i) examples.push_back(data::make_diagnostic_example(task, letters + 2, rng));
  return examples;
}

inline TrainingData open_task(const DataOptions& options, const DataRequest& request) {
  const auto task = data::diagnostic_task_from_name(options.task);
  const Index letters = options.window.value_or(default_letters), batch = request.batch_size;
  TrainingData result;
  result.kind = AnswerKind::answers;
  result.name = options.task;
  result.longest = letters + 2;
  result.batch_tokens = batch * letters;
  result.description = options.task + " in sequences of " + std::to_string(letters) + " letters";
  result.validation = generated_examples(options, request.windows, request.validation_seed);
  result.batches.draw = [task, letters, batch](data::DataCursor& cursor) {
    const auto draw = [&](Rng& r) { return data::make_diagnostic_example(task, letters + 2, r); };
    return data::make_random_batch(draw, batch, cursor.random);
  };
  result.batches.cursor.random = Rng(request.seed);
  return result;
}

}  // namespace detail

/// Takes back what has no effect: programs of before stored every option, also such.
inline void drop_idle_options(DataOptions& options) {
  const detail::IdleOptions idle = detail::idle_options(options);
  if (idle.noise != nullptr) options.noise.reset();
  if (idle.window != nullptr) options.window.reset();
  if (idle.shortest_window != nullptr) options.shortest_window.reset();
}

/// Without files to evaluate on a tenth of each is held back: the end of a text, and of lines those that `hold_back`
/// chooses. Several languages have an equal share of the batches and, as near as lines allow, of the bytes of the
/// evaluation; where they have as many lines, the same lines.
/// @throws IoError if a file does not do
/// @throws std::invalid_argument if options contradict each other or have no effect
inline TrainingData open_training_data(const DataOptions& options, const DataRequest& request) {
  detail::check_sources(options);
  if (!options.pairs.empty()) return detail::open_pairs(options, options.pairs, AnswerKind::answers, request);
  if (!options.labels.empty()) return detail::open_pairs(options, options.labels, AnswerKind::classes, request);
  if (options.texts.empty()) return detail::open_task(options, request);
  return options.texts.front().language.empty() ? detail::open_text(options, request)
                                                : detail::open_languages(options, request);
}

/// At most `windows` examples spread evenly over one file, or as many freshly made ones.
/// @param seed of the noise
/// @throws as `open_training_data`
inline std::vector<data::Example> open_evaluation_data(const DataOptions& options, Index windows, std::uint64_t seed) {
  detail::check_sources(options);
  if (!options.pairs.empty())
    return spread(data::TsvCorpus::read(options.pairs.front().path).examples(), static_cast<std::size_t>(windows));
  if (options.texts.empty()) return detail::generated_examples(options, windows, seed);
  const Index window = options.window.value_or(default_text_window);
  const data::TextCorpus text =
      detail::text_with_windows(data::read_text(options.texts.front().path), window, options.texts.front().path);
  return detail::windows_of(text, window, windows, text_task(options), seed);
}

}  // namespace merganser::runs
