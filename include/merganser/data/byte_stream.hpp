// Generated ids as chunks of bytes that never split a character.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/data/utf8_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// What one sequence of byte ids says, while it is being generated: bytes that can be shown or sent at once.
///
/// The chunks, joined, are `ByteTokenizer::decode` of all ids, with the names of special tokens where they stand. A
/// UTF-8 character comes in one chunk, with its last byte; bytes that are not UTF-8 come as they are, at the latest
/// when the next byte shows that they are none. At most 3 bytes wait. Ids that stand for no byte and have no name add
/// nothing, except that the end of sequence lets go of what waits.
///
///     data::ByteStream stream;
///     options.on_tokens = [&](Index, std::span<const TokenId> ids) {
///       std::cout << stream.push(ids) << std::flush;
///       return merganser::Continue::yes;  // no: enough
///     };
///     models::generate(model, source, options);
///     std::cout << stream.finish();
class ByteStream {
 public:
  explicit ByteStream(const SpecialTokens& special = {}) : names_(special) {}

  /// What can be shown after these ids, often nothing.
  std::string push(std::span<const TokenId> ids) {
    std::string chunk;
    for (const TokenId id : ids) {
      if (ByteTokenizer::is_byte_id(id)) {
        take(id, chunk);
        continue;
      }
      const std::string name = names_.name(id);
      if (id == ByteTokenizer::eos_id || !name.empty()) chunk += finish();
      chunk += name;
    }
    return chunk;
  }

  /// What waits when the sequence was cut off before its end; a new text may follow.
  std::string finish() {
    std::string chunk;
    let_go(waiting_.size(), chunk);
    characters_.finish();
    return chunk;
  }

 private:
  void take(TokenId id, std::string& chunk) {
    waiting_.push_back(id);
    const std::string character = characters_.push(ByteTokenizer().decode({&id, 1}));
    let_go(waiting_.size() - character.size() - characters_.tail().size(), chunk);
    chunk += character;
    if (!character.empty()) waiting_.clear();
  }

  /// The first ids that wait are part of no character.
  void let_go(std::size_t count, std::string& chunk) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name = names_.name(waiting_[i]);
      chunk += name.empty() ? ByteTokenizer().decode({&waiting_[i], 1}) : name;
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
  }

  SpecialTokenNames names_;
  Utf8Decoder characters_;        // hands out whole characters and drops the rest,
  std::vector<TokenId> waiting_;  // which is still here: the ids since the last character
};

}  // namespace merganser::data
