// What a model learns from plain text.
#pragma once

#include <string_view>

#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/denoising.hpp>
#include <merganser/data/example.hpp>
#include <merganser/data/span_corruption.hpp>

namespace merganser::inline MERGANSER_ISA::data {

enum class TextTask { denoise, span_corruption };

/// Turns a window of text, any bytes, into an example.
struct TextTaskMaker {
  TextTask task = TextTask::denoise;
  double noise = DenoisingConfig().rate;     ///< of denoising: chance of a byte to be masked
  TokenId mask = DenoisingConfig().mask_id;  ///< of denoising

  /// @throws std::invalid_argument as `denoise` or `SpanCorruption::corrupt`
  Example operator()(std::string_view window, Rng& rng) const {
    const auto ids = ByteTokenizer().encode(window, AddEos::no);
    if (task == TextTask::span_corruption) return SpanCorruption().corrupt(ids, rng);
    DenoisingConfig config;
    config.rate = noise;
    config.mask_id = mask;
    return denoise(ids, config, rng);
  }
};

}  // namespace merganser::data
