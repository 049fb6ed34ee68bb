// The tokens of a task that stand for no text, such as masks: how they are typed and how they are shown.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// What a text may name besides its bytes; empty: nothing, every byte is only itself.
///
/// A mask is <mask>, or <extra_id_0>, as Hugging Face calls its id. Sentinels are <extra_id_0>, <extra_id_1> and so on,
/// with ids that count down: those of published byte models start at 258, which is also the byte 0xFF. They are not the
/// ids that a Hugging Face tokenizer makes of these strings (`ByteTokenizer::encode_with_special_strings`).
struct SpecialTokens {
  std::optional<TokenId> mask;            ///< of denoising
  std::optional<TokenId> first_sentinel;  ///< of span corruption

  bool operator==(const SpecialTokens&) const = default;

  /// One id for each name, and one for each other byte. Whoever wants the bytes of a name, encodes by `ByteTokenizer`.
  std::vector<TokenId> encode(std::string_view text, AddEos add_eos = AddEos::yes) const {
    std::vector<TokenId> ids;
    ids.reserve(text.size() + 1);
    while (!text.empty()) {
      const auto [id, length] = match(text);
      ids.push_back(length > 0 ? id : ByteTokenizer::byte_to_id(text.front()));
      text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    if (add_eos == AddEos::yes) ids.push_back(ByteTokenizer::eos_id);
    return ids;
  }

 private:
  /// The name at the start of the text: its id and its length, or length 0.
  std::pair<TokenId, std::size_t> match(std::string_view text) const {
    constexpr std::string_view mask_name = "<mask>";
    if (mask && text.starts_with(mask_name)) return {*mask, mask_name.size()};
    const auto [number, length] = ByteTokenizer::match_extra_id(text);
    if (mask && number == 0) return {*mask, length};
    if (first_sentinel && *first_sentinel - number >= ByteTokenizer::byte_offset)
      return {*first_sentinel - number, length};
    return {0, 0};
  }
};

/// Names the special tokens of one sequence, read from its start.
///
/// The id of a sentinel is also that of a byte. So only those are asked about that belong to no UTF-8 character. Bytes
/// that UTF-8 never has, 0xF5 to 0xFF, are always sentinels; the ones after them when the one before them has come.
class SpecialTokenNames {
 public:
  explicit SpecialTokenNames(const SpecialTokens& special = {}) : special_(special) {}

  /// The name of the next id that is no part of a character; empty if it has none.
  std::string name(TokenId id) {
    if (special_.mask == id) return "<mask>";
    if (!special_.first_sentinel || id < ByteTokenizer::byte_offset || id > *special_.first_sentinel) return {};
    const TokenId number = *special_.first_sentinel - id;
    if (number > next_) return {};
    next_ = std::max(next_, number + 1);
    return "<extra_id_" + std::to_string(number) + ">";
  }

 private:
  static constexpr TokenId bytes_without_utf8 = 11;

  SpecialTokens special_;
  TokenId next_ = bytes_without_utf8;  // the largest number that may come
};

}  // namespace merganser::data
