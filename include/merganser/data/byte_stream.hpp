// Generated ids as chunks of bytes that never split a character.
#pragma once

#include <span>
#include <string>

#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/utf8_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// What one sequence of byte ids says, while it is being generated: bytes that can be shown or sent at once.
///
/// The chunks, joined, are `ByteTokenizer::decode` of all ids. A UTF-8 character comes in one chunk, with its last
/// byte; bytes that are not UTF-8 come as they are, at the latest when the next byte shows that they are none. At most
/// 3 bytes wait. Ids that stand for no byte add nothing, except that the end of sequence lets go of what waits.
///
///     data::ByteStream stream;
///     options.on_tokens = [&](Index, std::span<const TokenId> ids) {
///       std::cout << stream.push(ids) << std::flush;
///       return models::Continue::yes;  // no: enough
///     };
///     models::generate(model, source, options);
///     std::cout << stream.finish();
class ByteStream {
 public:
  /// What can be shown after these ids, often nothing.
  std::string push(std::span<const TokenId> ids) {
    std::string chunk;
    for (const TokenId id : ids) {
      if (id == ByteTokenizer::eos_id)
        chunk += characters_.finish();
      else
        chunk += characters_.push(ByteTokenizer().decode({&id, 1}));
    }
    return chunk;
  }

  /// What waits when the sequence was cut off before its end. The stream is then as new.
  std::string finish() { return characters_.finish(); }

 private:
  Utf8Decoder characters_{InvalidUtf8::keep};
};

}  // namespace merganser::data
