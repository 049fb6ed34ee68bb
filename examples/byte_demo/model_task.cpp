// The task of a model, and how a text becomes what it reads.
#include <model_task.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/denoising.hpp>
#include <merganser/data/span_corruption.hpp>
#include <merganser/evaluation/deletion_layout.hpp>

#include <corpus.hpp>
#include <terminal.hpp>

namespace byte_demo {

namespace evaluation = merganser::evaluation;
using merganser::TokenId;
using Ids = std::vector<TokenId>;
using Tokenizer = data::ByteTokenizer;

namespace {

constexpr const char *denoise = "denoise", *span_corruption = "span_corruption";

/// Where the piece that begins at `begin` ends: behind a blank in its second half, or else between characters.
std::size_t piece_end(std::span<const TokenId> ids, std::size_t begin, std::size_t window) {
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
data::Example corrupted(const Ids& clean, const data::TextTaskMaker& make, merganser::Rng& rng) {
  const std::string bytes = Tokenizer().decode(clean);
  data::Example example = make(bytes, rng);
  while (!bytes.empty() && make.task == data::TextTask::denoise && example.source == example.target)
    example = make(bytes, rng);
  return example;
}

std::string what_was_masked(const ModelTask& task, double noise) {
  if (task.name == span_corruption)
    return "Took spans out, to fill in; type <extra_id_0> to choose, or give --verbatim";
  return "Masked " + percent(noise, 0) + " to be put back; type <mask> to choose, or give --verbatim";
}

}  // namespace

ModelTask task_of(const DataOptions& options) {
  ModelTask task;
  if (!options.tsv.empty()) {
    task.name = "pairs";
  } else if (options.text.empty()) {
    task.name = options.task;
  } else {
    const bool spans = text_task(options).task == data::TextTask::span_corruption;
    task.name = spans ? span_corruption : denoise;
    const data::TrainingWindows windows = training_windows(options, 1);
    task.window = windows.window();
    task.shortest_window = windows.shortest();
    if (spans)
      task.special.first_sentinel = data::SpanCorruption::Config().first_sentinel;
    else
      task.special.mask = data::DenoisingConfig().mask_id;
    if (!spans) task.noise = options.noise;
  }
  return task;
}

ModelTask task_of(const ModelSource& model) {
  if (auto task = merganser::io::read_task(model.directory)) return *std::move(task);
  ModelTask unknown;
  unknown.special.first_sentinel = data::SpanCorruption::Config().first_sentinel;
  return unknown;
}

ModelTask task_of(const ModelSource& source, const Model& model) {
  ModelTask task = task_of(source);
  const auto check = [&](const char* key, const std::optional<TokenId>& id) {
    if (id && *id >= model.config().vocabulary)
      throw merganser::IoError(
          source.directory + "/" + std::string(merganser::io::task_file_name), key, *id,
          "an id below " + std::to_string(model.config().vocabulary) + ", the vocabulary of the model");
  };
  check("mask_id", task.special.mask);
  check("first_sentinel_id", task.special.first_sentinel);
  return task;
}

DataOptions with_task_of(const ModelSource& model, DataOptions options) {
  const std::string name = task_of(model).name;
  if (!options.text.empty() && options.task.empty() && (name == denoise || name == span_corruption))
    options.task = name;
  return options;
}

std::vector<evaluation::DeletionSegment> as_given(const data::Example& example, const data::SpecialTokens& special) {
  const Ids source(example.source.begin(), example.source.end() - 1);  // without the end
  const std::vector<std::uint8_t> all_kept(source.size(), 1);
  const bool denoised = special.mask && example.source.size() == example.target.size();
  if (!denoised) return evaluation::character_units(source, all_kept, special);
  // Flags in place of fates: a character is kept if none of its bytes is masked.
  const Ids clean(example.target.begin(), example.target.end() - 1);
  std::vector<std::uint8_t> given;
  for (const TokenId id : source) given.push_back(id == special.mask ? 0 : 1);
  auto units = evaluation::character_units(clean, given);
  for (evaluation::DeletionSegment& unit : units)
    if (std::exchange(unit.fate, evaluation::TokenFate::kept) != evaluation::TokenFate::kept) unit.text = "_";
  return units;
}

Index Prompts::longest() const {
  std::size_t most = 0;
  for (const Piece& piece : pieces) most = std::max(most, piece.source.size());
  return static_cast<Index>(most);
}

Prompts make_prompts(std::span<const std::string> texts, const ModelTask& task, TextReading reading,
                     std::uint64_t seed) {
  const data::SpecialTokens special = reading == TextReading::verbatim ? data::SpecialTokens() : task.special;
  Prompts prompts;
  bool named = false;  // a special token
  for (std::size_t text = 0; text < texts.size(); ++text) {
    const Ids ids = special.encode(texts[text], data::AddEos::no);
    named = named || ids.size() != texts[text].size();
    const bool windows = task.name == denoise && task.window;
    std::size_t begin = 0;
    do {
      const std::size_t end = windows ? piece_end(ids, begin, static_cast<std::size_t>(*task.window)) : ids.size();
      prompts.pieces.push_back(
          {Ids(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)),
           text});
      begin = end;
    } while (begin < ids.size());
  }
  if (prompts.pieces.size() > texts.size())
    prompts.notices.push_back("Cut into " + std::to_string(prompts.pieces.size()) + " pieces of at most " +
                              std::to_string(*task.window) + " bytes, as in training");
  const bool spans = task.name == span_corruption;
  const data::TextTaskMaker make{spans ? data::TextTask::span_corruption : data::TextTask::denoise,
                                 task.noise.value_or(DataOptions().noise),
                                 task.special.mask.value_or(data::DenoisingConfig().mask_id)};
  const bool empty = std::all_of(texts.begin(), texts.end(), [](const std::string& text) { return text.empty(); });
  const bool corrupts =
      reading == TextReading::names && !named && !empty && (spans || (task.name == denoise && make.noise > 0));
  const auto short_text = [&](const std::string& text) {
    return !text.empty() && std::cmp_less(text.size(), task.shortest_window.value_or(0));
  };
  if (std::any_of(texts.begin(), texts.end(), short_text))
    prompts.notices.push_back("The model was trained on no text of less than " + std::to_string(*task.shortest_window) +
                              " bytes: expect little of short ones");
  if (corrupts) prompts.notices.push_back(what_was_masked(task, make.noise));
  merganser::Rng rng(seed);
  for (Prompts::Piece& piece : prompts.pieces) {
    if (corrupts) {
      const data::Example example = corrupted(piece.source, make, rng);
      if (prompts.pieces.size() == 1) prompts.given = as_given(example, special);
      piece.source = example.source;
    } else {
      piece.source.push_back(Tokenizer::eos_id);
    }
  }
  return prompts;
}

}  // namespace byte_demo
