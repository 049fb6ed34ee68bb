// Span corruption: spans of the text are replaced by sentinels, and the target holds what was taken out.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/example.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// The pre-training task of T5, ByT5 and MrT5, with the arithmetic of their implementations.
///
/// Every noise span of the source becomes one sentinel, every span between them likewise in the target; sentinels count
/// down from `first_sentinel` on each side, and both sides end with the end of sequence. The default first sentinel is
/// 258, which is also the id of the byte 0xFF: published models were trained that way.
/// All rounding is half to even. Immutable; may be shared between threads.
/// Source: Raffel et al. 2020, arXiv 1910.10683, section 3.1.4; settings of Xue et al. 2022, arXiv 2105.13626.
class SpanCorruption {
 public:
  struct Config {
    double noise_density = 0.15;  ///< fraction of tokens taken out, in (0, 1)
    double mean_span = 20.0;      ///< mean length of a noise span, tokens, at least 1
    TokenId first_sentinel = ByteTokenizer::first_extra_id - 1;
    TokenId eos_id = ByteTokenizer::eos_id;
  };

  /// How long the pieces are when a source of a wanted length is made.
  struct Lengths {
    Index tokens;   ///< clean tokens to start from
    Index targets;  ///< length of the target, end of sequence included
  };

  /// How much of a sequence is noise.
  struct NoiseCounts {
    Index tokens;
    Index spans;
  };

  SpanCorruption() : SpanCorruption(Config()) {}

  /// @throws std::invalid_argument if the density is not in (0, 1), the mean span below 1, or the first sentinel
  /// special
  explicit SpanCorruption(const Config& config) : config_(config) {
    check_argument(config.noise_density > 0 && config.noise_density < 1, "SpanCorruption", "noise_density",
                   config.noise_density, "a fraction between 0 and 1");
    check_argument(config.mean_span >= 1 && std::isfinite(config.mean_span), "SpanCorruption", "mean_span",
                   config.mean_span, "at least 1");
    check_argument(config.first_sentinel > ByteTokenizer::unk_id, "SpanCorruption", "first_sentinel",
                   config.first_sentinel, "above the special ids 0, 1, 2");
  }

  const Config& config() const { return config_; }

  /// The number of clean tokens whose source is as long as possible within `inputs_length` (end of sequence included),
  /// but never below `inputs_length` itself, and the length of their target.
  /// Cost: linear in the result. @throws std::invalid_argument if inputs_length is below 1
  Lengths lengths(Index inputs_length) const {
    check_argument(inputs_length >= 1, "SpanCorruption::lengths", "inputs_length", inputs_length, "at least 1");
    Index tokens = inputs_length;
    while (sides_of(tokens + 1).source <= inputs_length) ++tokens;
    Sides sides = sides_of(tokens);
    if (config_.noise_density == 0.5 && sides.target > sides.source) {
      --tokens;
      --sides.target;
    }
    return {tokens, sides.target};
  }

  /// Noise tokens and spans of a sequence: at least one of each, and at least one clean token. A sequence shorter than
  /// 2 has no noise. @throws std::invalid_argument if length is negative
  NoiseCounts noise_counts(Index length) const {
    check_argument(length >= 0, "SpanCorruption::noise_counts", "length", length, "at least 0");
    if (length < 2) return {0, 0};
    const Index rounded = round_half_even(static_cast<double>(length) * config_.noise_density);
    const Index noise = std::min(std::max(rounded, Index{1}), length - 1);
    const Index spans = round_half_even(static_cast<double>(std::min(noise, length - rounded)) / config_.mean_span);
    return {noise, std::max(spans, Index{1})};
  }

  /// Draws which tokens are noise: `noise_counts(length)` exactly, a clean span first and a noise span last, every way
  /// of cutting them into spans equally likely. Shape [length].
  std::vector<bool> noise_mask(Index length, Rng& rng) const {
    const NoiseCounts counts = noise_counts(length);
    const std::vector<Index> noise = random_segments(counts.tokens, counts.spans, rng);
    const std::vector<Index> clean = random_segments(length - counts.tokens, counts.spans, rng);
    std::vector<bool> mask;
    mask.reserve(static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < clean.size(); ++i) {
      mask.insert(mask.end(), static_cast<std::size_t>(clean[i]), false);
      mask.insert(mask.end(), static_cast<std::size_t>(noise[i]), true);
    }
    mask.resize(static_cast<std::size_t>(length), false);
    return mask;
  }

  /// Source and target for a given mask (true: noise), which may have any form.
  /// @throws std::invalid_argument if the sizes differ or there are more spans than ids above the special ones
  Example apply(std::span<const TokenId> ids, const std::vector<bool>& mask) const {
    check_equal("SpanCorruption::apply", "mask.size()", mask.size(), ids.size());
    return {replace_spans(ids, mask, true), replace_spans(ids, mask, false)};
  }

  /// Corrupts a sequence (without end of sequence, which is added to both sides).
  /// @throws std::invalid_argument if there are more spans than ids above the special ones
  Example corrupt(std::span<const TokenId> ids, Rng& rng) const {
    return apply(ids, noise_mask(static_cast<Index>(ids.size()), rng));
  }

 private:
  struct Sides {
    Index source;
    Index target;
  };

  static Index round_half_even(double value) { return static_cast<Index>(std::nearbyint(value)); }

  /// Lengths of both sides, sentinels and end of sequence included.
  Sides sides_of(Index tokens) const {
    const Index noise = round_half_even(static_cast<double>(tokens) * config_.noise_density);
    const Index spans = round_half_even(static_cast<double>(noise) / config_.mean_span);
    return {tokens - noise + spans + 1, noise + spans + 1};
  }

  /// Cuts `items` into `segments` non-empty pieces, every way equally likely.
  static std::vector<Index> random_segments(Index items, Index segments, Rng& rng) {
    std::vector<Index> lengths;
    if (segments == 0) return lengths;
    lengths.push_back(1);
    // Selection sampling: each of the gaps left is one of the cuts still needed with equal chance.
    auto cuts_needed = static_cast<std::uint64_t>(segments - 1);
    for (auto gaps_left = static_cast<std::uint64_t>(items - 1); gaps_left > 0; --gaps_left) {
      if (rng.below(gaps_left) < cuts_needed) {
        lengths.push_back(1);
        --cuts_needed;
      } else {
        ++lengths.back();
      }
    }
    return lengths;
  }

  /// Every run where the mask has the given value becomes one sentinel.
  std::vector<TokenId> replace_spans(std::span<const TokenId> ids, const std::vector<bool>& mask, bool replaced) const {
    std::vector<TokenId> result;
    TokenId sentinel = config_.first_sentinel;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (mask[i] != replaced) {
        result.push_back(ids[i]);
      } else if (i == 0 || mask[i - 1] != replaced) {
        check_argument(sentinel > ByteTokenizer::unk_id, "SpanCorruption::apply", "mask", "more spans",
                       "at most as many spans as ids from first_sentinel down to 3");
        result.push_back(sentinel--);
      }
    }
    result.push_back(config_.eos_id);
    return result;
  }

  Config config_;
};

/// Encodes each text with its end of sequence, joins them, and cuts the ids into chunks; an incomplete rest is dropped.
/// @throws std::invalid_argument if chunk_size is below 1
inline std::vector<std::vector<TokenId>> chunk_texts(std::span<const std::string> texts, Index chunk_size) {
  check_argument(chunk_size >= 1, "chunk_texts", "chunk_size", chunk_size, "at least 1");
  std::vector<std::vector<TokenId>> chunks;
  std::vector<TokenId> open;
  for (const std::string& text : texts)
    for (const TokenId id : ByteTokenizer().encode(text, AddEos::yes)) {
      open.push_back(id);
      if (static_cast<Index>(open.size()) == chunk_size) {
        chunks.push_back(std::move(open));
        open.clear();
      }
    }
  return chunks;
}

}  // namespace merganser::data
