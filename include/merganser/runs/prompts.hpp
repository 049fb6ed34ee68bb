// What a model was trained to do, and how a text becomes what such a model reads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/io_error.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/text_format.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/denoising.hpp>
#include <merganser/data/example.hpp>
#include <merganser/data/span_corruption.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/data/text_task.hpp>
#include <merganser/evaluation/deletion_layout.hpp>
#include <merganser/io/models/task_file.hpp>
#include <merganser/runs/model_design.hpp>
#include <merganser/runs/run_options.hpp>
#include <merganser/runs/text_data.hpp>

namespace merganser::inline MERGANSER_ISA::runs {

namespace detail {

inline constexpr const char *denoise_task = "denoise", *span_task = "span_corruption";

}  // namespace detail

/// What a model learns from such data.
inline io::ModelTask task_of(const DataOptions& options) {
  io::ModelTask task;
  if (!options.pairs.empty()) {
    task.name = "pairs";
  } else if (options.texts.empty()) {
    task.name = options.task;
  } else {
    const bool spans = text_task(options).task == data::TextTask::span_corruption;
    task.name = spans ? detail::span_task : detail::denoise_task;
    const data::TrainingWindows windows = training_windows(options, 1);
    task.window = windows.window();
    task.shortest_window = windows.shortest();
    if (spans)
      task.special.first_sentinel = data::SpanCorruption::Config().first_sentinel;
    else
      task.special.mask = data::DenoisingConfig().mask_id;
    if (!spans) task.noise = options.noise.value_or(default_noise);
  }
  return task;
}

/// What task.json says; a model without it is taken to know the sentinels of published byte models.
/// @throws IoError if the file is damaged
inline io::ModelTask task_of(const std::string& directory) {
  if (auto task = io::read_task(directory)) return *std::move(task);
  io::ModelTask unknown;
  unknown.special.first_sentinel = data::SpanCorruption::Config().first_sentinel;
  return unknown;
}

/// The same. @throws IoError also if the model has no id of that number
inline io::ModelTask task_of(const std::string& directory, const TextModel& model) {
  io::ModelTask task = task_of(directory);
  const auto check = [&](const char* key, const std::optional<TokenId>& id) {
    if (id && *id >= model.config().vocabulary)
      throw IoError(directory + "/" + std::string(io::task_file_name), key, *id,
                    "an id below " + std::to_string(model.config().vocabulary) + ", the vocabulary of the model");
  };
  check("mask_id", task.special.mask);
  check("first_sentinel_id", task.special.first_sentinel);
  return task;
}

/// The data with the task of the model where it names none.
/// @throws IoError as `task_of`
inline DataOptions with_task_of(const std::string& directory, DataOptions options) {
  const std::string name = task_of(directory).name;
  if (!options.texts.empty() && options.task.empty() && (name == detail::denoise_task || name == detail::span_task))
    options.task = name;
  return options;
}

/// The source of an example as text, a character of which a byte is masked as _, and sentinels by their names.
inline std::vector<evaluation::DeletionSegment> as_given(const data::Example& example,
                                                         const data::SpecialTokens& special) {
  const std::span source = std::span(example.source).first(example.source.size() - 1);  // without the end
  const bool denoised = special.mask && example.source.size() == example.target.size();
  if (!denoised) return evaluation::character_units(source, std::vector<std::uint8_t>(source.size(), 1), special);
  // Flags in place of fates: a character is kept if none of its bytes is masked.
  const std::span clean = std::span(example.target).first(example.target.size() - 1);
  std::vector<std::uint8_t> given;
  for (const TokenId id : source) given.push_back(id == special.mask ? 0 : 1);
  auto units = evaluation::character_units(clean, given);
  for (evaluation::DeletionSegment& unit : units)
    if (std::exchange(unit.fate, evaluation::TokenFate::kept) != evaluation::TokenFate::kept) unit.text = "_";
  return units;
}

/// How a text that is typed becomes ids.
enum class TextReading {
  names,     ///< the names of special tokens, such as <mask>, are those tokens
  verbatim,  ///< every byte is only itself
};

/// Texts as the sequences that a model is given.
struct Prompts {
  struct Piece {
    std::vector<TokenId> source;  ///< with its end
    std::size_t text;             ///< the number of the text that it is of
  };

  std::vector<Piece> pieces;                       ///< at least one a text, in order
  std::vector<std::string> notices;                ///< a sentence each: what was done with the texts
  std::vector<evaluation::DeletionSegment> given;  ///< a single piece that was masked, as it was given

  Index longest() const {
    std::size_t most = 0;
    for (const Piece& piece : pieces) most = std::max(most, piece.source.size());
    return static_cast<Index>(most);
  }
};

namespace detail {

/// Where the piece that begins at `begin` ends: behind a blank in its second half, or else between characters.
inline std::size_t piece_end(std::span<const TokenId> ids, std::size_t begin, std::size_t window) {
  using Tokenizer = data::ByteTokenizer;
  if (ids.size() - begin <= window) return ids.size();
  const std::size_t half = begin + (window + 1) / 2;
  for (std::size_t end = begin + window; end > half; --end)
    if (ids[end - 1] == Tokenizer::byte_to_id(' ')) return end;
  const auto goes_on = [&](std::size_t i) {
    return ids[i] >= Tokenizer::byte_to_id('\x80') && ids[i] < Tokenizer::byte_to_id('\xC0');
  };
  for (std::size_t end = begin + window; end > half; --end)
    if (!goes_on(end)) return end;
  return begin + window;
}

/// An example of the task; one of denoising has something to put back.
inline data::Example corrupted(std::span<const TokenId> clean, const data::TextTaskMaker& make, Rng& rng) {
  const std::string bytes = data::ByteTokenizer().decode(clean);
  data::Example example = make(bytes, rng);
  while (!bytes.empty() && make.task == data::TextTask::denoise && example.source == example.target)
    example = make(bytes, rng);
  return example;
}

inline std::string what_was_masked(const io::ModelTask& task, double noise) {
  if (task.name == span_task) return "Took spans out, to fill in; type <extra_id_0> to choose, or give --verbatim";
  return "Masked " + percent_text(noise, 0) + " to be put back; type <mask> to choose, or give --verbatim";
}

/// Texts in pieces as long as the windows of the training, without their ends. Returns whether one names a token.
inline bool cut_into_pieces(std::span<const std::string> texts, const io::ModelTask& task,
                            const data::SpecialTokens& special, Prompts& prompts) {
  bool named = false;
  for (std::size_t text = 0; text < texts.size(); ++text) {
    const std::vector<TokenId> ids = special.encode(texts[text], data::AddEos::no);
    named = named || ids.size() != texts[text].size();
    const bool windows = task.name == denoise_task && task.window;
    std::size_t begin = 0;
    do {
      const std::size_t end = windows ? piece_end(ids, begin, static_cast<std::size_t>(*task.window)) : ids.size();
      const auto first = ids.begin();
      prompts.pieces.push_back(
          {{first + static_cast<std::ptrdiff_t>(begin), first + static_cast<std::ptrdiff_t>(end)}, text});
      begin = end;
    } while (begin < ids.size());
  }
  if (prompts.pieces.size() > texts.size())
    prompts.notices.push_back("Cut into " + std::to_string(prompts.pieces.size()) + " pieces of at most " +
                              std::to_string(*task.window) + " bytes, as in training");
  return named;
}

inline void note_short_texts(std::span<const std::string> texts, const io::ModelTask& task, Prompts& prompts) {
  const auto is_short = [&](const std::string& text) {
    return !text.empty() && std::cmp_less(text.size(), task.shortest_window.value_or(0));
  };
  if (std::any_of(texts.begin(), texts.end(), is_short))
    prompts.notices.push_back("The model was trained on no text of less than " + std::to_string(*task.shortest_window) +
                              " bytes: expect little of short ones");
}

}  // namespace detail

/// A model that puts back masked bytes gets texts in windows of the length that it was trained on, and if none of them
/// names a mask, masks as in training; one that fills in spans gets spans likewise. Others get the text.
/// @param reading verbatim: names are bytes, and nothing is masked
/// @param seed of the masks
inline Prompts make_prompts(std::span<const std::string> texts, const io::ModelTask& task, TextReading reading,
                            std::uint64_t seed) {
  const data::SpecialTokens special = reading == TextReading::verbatim ? data::SpecialTokens() : task.special;
  Prompts prompts;
  const bool named = detail::cut_into_pieces(texts, task, special, prompts), spans = task.name == detail::span_task;
  const data::TextTaskMaker make{spans ? data::TextTask::span_corruption : data::TextTask::denoise,
                                 task.noise.value_or(default_noise),
                                 task.special.mask.value_or(data::DenoisingConfig().mask_id)};
  const bool empty = std::all_of(texts.begin(), texts.end(), [](const std::string& text) { return text.empty(); });
  const bool corrupts = reading == TextReading::names && !named && !empty &&
                        (spans || (task.name == detail::denoise_task && make.noise > 0));
  detail::note_short_texts(texts, task, prompts);
  if (corrupts) prompts.notices.push_back(detail::what_was_masked(task, make.noise));
  Rng rng(seed);
  for (Prompts::Piece& piece : prompts.pieces) {
    if (corrupts) {
      const data::Example example = detail::corrupted(piece.source, make, rng);
      if (prompts.pieces.size() == 1) prompts.given = as_given(example, special);
      piece.source = example.source;
    } else {
      piece.source.push_back(data::ByteTokenizer::eos_id);
    }
  }
  return prompts;
}

}  // namespace merganser::runs
