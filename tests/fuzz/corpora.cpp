// Any bytes as a file of text pairs and as a plain text. The first two bytes choose a window.
#include <algorithm>
#include <string>

#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/denoising.hpp>
#include <merganser/data/span_corruption.hpp>
#include <merganser/data/text_corpus.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

namespace {

void check_pairs(std::string_view text) {
  const auto corpus = unless_refused([&] { return data::TsvCorpus::parse(text, "pairs"); });
  if (!corpus) return;
  require(!corpus->pairs().empty(), "a corpus has a pair");
  std::string joined;
  for (const data::TextPair& pair : corpus->pairs()) {
    const std::string line = pair.source + "\t" + pair.target;
    require(std::count(line.begin(), line.end(), '\t') == 1, "one tab a line");
    require(line.find('\n') == std::string::npos, "no line end inside");
    joined += line + "\r\n";
  }
  require(data::TsvCorpus::parse(joined, "again").pairs() == corpus->pairs(), "pairs come back");
  const std::vector<data::Example> examples = corpus->examples();
  require(examples.size() == corpus->pairs().size(), "an example a pair");
  for (std::size_t i = 0; i < examples.size(); ++i)
    require(data::ByteTokenizer().decode(examples[i].source) == corpus->pairs()[i].source, "examples are the pairs");
}

void check_windows(std::string_view text, Index begin, Index length) {
  const auto corpus = unless_refused([&] { return data::TextCorpus::from_text(std::string(text), "text"); });
  require(corpus.has_value() == !text.empty(), "a text of any bytes but none");
  if (!corpus) return;
  require(corpus->text() == text, "a text is its bytes");
  const bool fits = length >= 1 && length <= corpus->size();
  const bool inside = fits && begin >= 0 && begin <= corpus->size() - length;
  require(throws<std::invalid_argument>([&] { corpus->window(begin, length); }) != inside, "windows lie in the text");
  if (inside)
    require(
        corpus->window(begin, length) == text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(length)),
        "a window is its bytes");
  require(throws<std::invalid_argument>([&] { corpus->window_count(length); }) != fits, "windows fit");
  if (!fits) return;
  Rng rng(static_cast<std::uint64_t>(begin));
  require(std::cmp_equal(corpus->random_window(length, rng).size(), length), "a window has its length");
  std::string joined;
  for (Index i = 0; i < corpus->window_count(length); ++i) joined += corpus->window_at(i, length);
  require(text.starts_with(joined) && std::cmp_less(text.size() - joined.size(), length), "windows lie side by side");
}

void check_noise(std::string_view text, double rate, Index seed) {
  const std::vector<TokenId> clean = data::ByteTokenizer().encode(text, data::AddEos::no);
  Rng rng(static_cast<std::uint64_t>(seed));
  const data::Example noisy = data::denoise(clean, {.rate = rate, .mask_share = 0.5}, rng);
  require(noisy.source.size() == clean.size() + 1 && noisy.target.size() == clean.size() + 1, "as long as before");
  require(data::ByteTokenizer().decode(noisy.target) == text, "the target is the clean text");
  for (const TokenId id : noisy.source) require(id >= 0 && id < data::ByteTokenizer::vocab_size, "ids that exist");
}

/// The clean text from both sides: the source has its clean spans, the target its noise spans, in turns.
std::vector<TokenId> joined_spans(const data::Example& example, TokenId last_byte) {
  std::vector<TokenId> clean;
  std::size_t s = 0, t = 0;
  while (s + 1 < example.source.size() || t + 1 < example.target.size()) {
    while (example.source.at(s) <= last_byte && s + 1 < example.source.size()) clean.push_back(example.source[s++]);
    if (s + 1 < example.source.size()) ++s;
    if (t + 1 < example.target.size()) ++t;
    while (example.target.at(t) <= last_byte && t + 1 < example.target.size()) clean.push_back(example.target[t++]);
  }
  return clean;
}

void check_spans(std::string_view text, double density, Index seed) {
  constexpr std::size_t most = 300;  // bytes, so that sentinels do not run out
  const std::vector<TokenId> clean = data::ByteTokenizer().encode(text.substr(0, most), data::AddEos::no);
  constexpr TokenId last_id = data::ByteTokenizer::vocab_size - 1, last_byte = data::ByteTokenizer::first_extra_id - 1;
  const data::SpanCorruption corruption({.noise_density = density, .mean_span = 3.0, .first_sentinel = last_id});
  Rng rng(static_cast<std::uint64_t>(seed));
  const data::Example example = corruption.corrupt(clean, rng);
  require(example.source.back() == data::ByteTokenizer::eos_id, "a source ends");
  require(example.target.back() == data::ByteTokenizer::eos_id, "a target ends");
  require(joined_spans(example, last_byte) == clean, "both sides make the text");
}

}  // namespace

void run(std::string_view input) {
  const auto number = [&](std::size_t i) { return i < input.size() ? static_cast<unsigned char>(input[i]) : 0; };
  const Index begin = number(0) - 8, length = number(1) - 8;
  const std::string_view text = input.substr(std::min<std::size_t>(2, input.size()));
  check_pairs(text);
  check_windows(text, begin, length);
  check_noise(text, number(1) / 255.0, begin);
  check_spans(text, (number(1) + 1) / 257.0, begin);
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
