// Text to token ids and back, one token a byte, as in ByT5.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// Whether encoding ends with the end-of-sequence id.
enum class AddEos { no, yes };

/// One id a byte: id = byte + 3, after the special ids; the extra ids (sentinels, masks) follow the bytes.
///
/// Any bytes are valid text and come back exactly: no normalisation, no UTF-8 needed.
/// Source: Xue et al. 2022, ByT5, arXiv 2105.13626, section 3.
struct ByteTokenizer {
  static constexpr TokenId pad_id = 0;
  static constexpr TokenId eos_id = 1;
  static constexpr TokenId unk_id = 2;
  static constexpr TokenId byte_offset = 3;
  static constexpr TokenId first_extra_id = 259;
  static constexpr TokenId extra_ids = 125;
  static constexpr TokenId vocab_size = first_extra_id + extra_ids;

  static constexpr TokenId byte_to_id(char byte) { return static_cast<unsigned char>(byte) + byte_offset; }

  /// True for the 256 ids that stand for a byte.
  static constexpr bool is_byte_id(TokenId id) { return id >= byte_offset && id < first_extra_id; }

  /// Ids that begin a new segment for the fixed-rule gate: tab, newline, blank, ASCII punctuation, end of sequence.
  static Vector<TokenId> separator_ids() {
    Vector<TokenId> ids;
    for (const char byte : std::string_view("\t\n !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")) ids.push_back(byte_to_id(byte));
    ids.push_back(eos_id);
    return ids;
  }

  /// Every byte as it is; a string such as "</s>" inside the text is only its four bytes.
  std::vector<TokenId> encode(std::string_view bytes, AddEos add_eos = AddEos::yes) const {
    std::vector<TokenId> ids;
    ids.reserve(bytes.size() + 1);
    for (const char byte : bytes) ids.push_back(byte_to_id(byte));
    if (add_eos == AddEos::yes) ids.push_back(eos_id);
    return ids;
  }

  /// Like `encode`, but the strings <pad>, </s>, <unk> and <extra_id_0> ... <extra_id_124> become their single ids,
  /// and no second end of sequence is added after a final </s>.
  std::vector<TokenId> encode_with_special_strings(std::string_view bytes, AddEos add_eos = AddEos::yes) const {
    std::vector<TokenId> ids;
    ids.reserve(bytes.size() + 1);
    while (!bytes.empty()) {
      const auto [id, length] = match_special(bytes);
      ids.push_back(length > 0 ? id : byte_to_id(bytes.front()));
      bytes.remove_prefix(length > 0 ? length : 1);
    }
    if (add_eos == AddEos::yes && (ids.empty() || ids.back() != eos_id)) ids.push_back(eos_id);
    return ids;
  }

  /// N and the length of a string <extra_id_N> at the start of the text, N below `extra_ids`; or length 0.
  static std::pair<TokenId, std::size_t> match_extra_id(std::string_view text) {
    constexpr std::string_view prefix = "<extra_id_";
    if (!text.starts_with(prefix)) return {0, 0};
    const std::string_view rest = text.substr(prefix.size());
    unsigned number = 0;  // unsigned, so that from_chars takes no sign
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    const auto digits = static_cast<std::size_t>(end - rest.data());
    const bool canonical = error == std::errc() && (rest.front() != '0' || digits == 1);
    if (!canonical || std::cmp_greater_equal(number, extra_ids) || digits == rest.size() || rest[digits] != '>')
      return {0, 0};
    return {static_cast<TokenId>(number), prefix.size() + digits + 1};
  }

  /// The exact bytes; ids that stand for no byte are dropped, wherever they are.
  std::string decode(std::span<const TokenId> ids) const {
    std::string bytes;
    bytes.reserve(ids.size());
    for (const TokenId id : ids)
      if (is_byte_id(id)) bytes.push_back(static_cast<char>(static_cast<unsigned char>(id - byte_offset)));
    return bytes;
  }

 private:
  /// The special string at the start of the text: its id and its length, or length 0.
  static std::pair<TokenId, std::size_t> match_special(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, TokenId>, 3> names{
        {{"<pad>", pad_id}, {"</s>", eos_id}, {"<unk>", unk_id}}};
    for (const auto& [name, id] : names)
      if (text.starts_with(name)) return {id, name.size()};

    const auto [number, length] = match_extra_id(text);
    return {first_extra_id + number, length};
  }
};

}  // namespace merganser::data
