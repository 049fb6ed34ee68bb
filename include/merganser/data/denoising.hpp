// Denoising: bytes are masked or replaced, and the target is the clean text.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/example.hpp>

namespace merganser::inline MERGANSER_ISA::data {

struct DenoisingConfig {
  double rate = 0.1;        ///< chance of each token to be corrupted, in [0, 1]
  double mask_share = 1.0;  ///< share of the corrupted tokens that become `mask_id`; the others become another byte
  TokenId mask_id = ByteTokenizer::first_extra_id;
};

/// Corrupts each token on its own; unlike span corruption the source is as long as the target, and the task cannot be
/// done without reading it.
///
/// A replaced byte is never the byte it was, so `rate` is the share of tokens that differ. Ends of sequence are never
/// corrupted.
/// @param clean ids without the final end of sequence, which is added to both sides
/// @return source: the corrupted ids; target: the clean ids; both of length clean.size() + 1
/// @throws std::invalid_argument if the rate or the share is not in [0, 1]
inline Example denoise(std::span<const TokenId> clean, const DenoisingConfig& config, Rng& rng) {
  check_argument(config.rate >= 0 && config.rate <= 1, "denoise", "rate", config.rate, "a fraction from 0 to 1");
  check_argument(config.mask_share >= 0 && config.mask_share <= 1, "denoise", "mask_share", config.mask_share,
                 "a fraction from 0 to 1");
  const auto other_byte = [&rng](TokenId id) {
    constexpr std::uint64_t bytes = 256;
    if (!ByteTokenizer::is_byte_id(id)) return static_cast<TokenId>(rng.below(bytes)) + ByteTokenizer::byte_offset;
    const TokenId drawn = static_cast<TokenId>(rng.below(bytes - 1)) + ByteTokenizer::byte_offset;
    return drawn < id ? drawn : drawn + 1;
  };

  Example example{{clean.begin(), clean.end()}, {clean.begin(), clean.end()}};
  for (TokenId& id : example.source) {
    if (id == ByteTokenizer::eos_id || !rng.bernoulli(config.rate)) continue;
    id = rng.bernoulli(config.mask_share) ? config.mask_id : other_byte(id);
  }
  example.source.push_back(ByteTokenizer::eos_id);
  example.target.push_back(ByteTokenizer::eos_id);
  return example;
}

}  // namespace merganser::data
