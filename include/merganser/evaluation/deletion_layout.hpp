// Source text with its deleted bytes marked, character by character, in lines of a width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/character_columns.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/evaluation/deletion_view.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// A character that cannot be shown as it is: \n, \r, \t, \\, \x1B, \u{200D}.
inline std::string escape_character(std::string_view character) {
  if (character.size() == 1) return escape_byte(character.front());
  char text[16];
  std::snprintf(text, sizeof text, "\\u{%04X}", static_cast<unsigned>(data::code_point(character)));
  return text;
}

/// Makes one segment of each character, for `character_units`.
class CharacterUnits {
 public:
  CharacterUnits(std::span<const TokenId> ids, std::span<const std::uint8_t> kept, const data::SpecialTokens& special)
      : kept_(kept), names_(special) {
    const auto is_byte = [&](std::size_t i) { return data::ByteTokenizer::is_byte_id(ids[i]); };
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::size_t end = i;
      while (end < ids.size() && is_byte(end)) ++end;
      add_bytes(data::ByteTokenizer().decode(ids.subspan(i, end - i)), i);
      if (end < ids.size()) add_token(ids[end], end);
      i = end;
    }
  }

  std::vector<DeletionSegment> take() { return std::move(units_); }

 private:
  void add_bytes(std::string_view bytes, std::size_t first) {
    data::for_each_character(
        bytes,
        [&](std::size_t begin, std::size_t end) {
          add_character(bytes.substr(begin, end - begin), first + begin, first + end);
        },
        [&](std::size_t i) { add_token(data::ByteTokenizer::byte_to_id(bytes[i]), first + i); });
  }

  void add_character(std::string_view character, std::size_t begin, std::size_t end) {
    TokenFate fate = fate_of(kept_[begin]);
    for (std::size_t i = begin; i < end; ++i) fate = both(fate, fate_of(kept_[i]));
    const bool showable = is_showable(character) && character != "\\";
    if (showable && base_ && data::joins_previous(data::code_point(character))) {
      units_.back().text += character;
      units_.back().fate = both(units_.back().fate, fate);
    } else {
      units_.push_back({showable ? std::string(character) : escape_character(character), fate});
      base_ = showable;
    }
  }

  /// A special token, or a byte that belongs to no character.
  void add_token(TokenId id, std::size_t i) {
    std::string name = names_.name(id);
    if (name.empty())
      name = data::ByteTokenizer::is_byte_id(id) ? escape_byte(data::ByteTokenizer().decode({&id, 1}).front())
                                                 : id_name(id);
    units_.push_back({name, fate_of(kept_[i])});
    base_ = false;
  }

  static TokenFate both(TokenFate a, TokenFate b) { return a == b ? a : TokenFate::partly_deleted; }

  std::span<const std::uint8_t> kept_;
  data::SpecialTokenNames names_;
  std::vector<DeletionSegment> units_;
  bool base_ = false;  // the last unit is a character that marks may join
};

/// The text as a reader sees it, one segment a character with its combining marks. One of which only some bytes were
/// deleted is whole all the same, and its fate says so; which bytes they were, `visible_segments` shows.
///
/// Bytes that are not UTF-8 become \xNN, characters that act on a terminal \n, \x1B or \u{200D}, a backslash \\.
/// Special tokens have the names by which they are typed, and other ids those of `id_name`.
/// @param kept one flag an id, not 0 where it was kept
/// @throws std::invalid_argument if the sizes differ
inline std::vector<DeletionSegment> character_units(std::span<const TokenId> ids, std::span<const std::uint8_t> kept,
                                                    const data::SpecialTokens& special = {}) {
  check_equal("character_units", "kept.size()", kept.size(), ids.size());
  return CharacterUnits(ids, kept, special).take();
}

/// Lines of at most so many columns when they are rendered: broken behind a blank in their second half, or else between
/// units. Each line is complete in itself. A unit that is wider than a line has one of its own.
/// @param units segments that are not broken, as those of `character_units` and `visible_units`
/// @throws std::invalid_argument if columns is below 1
inline std::vector<std::vector<DeletionSegment>> wrapped(std::span<const DeletionSegment> units, Index columns) {
  check_argument(columns >= 1, "wrapped", "columns", columns, "at least 1");
  const auto line = [&](std::size_t begin, std::size_t end) { return joined(units.subspan(begin, end - begin)); };
  std::vector<std::vector<DeletionSegment>> lines;
  for (std::size_t begin = 0, end = 0; begin < units.size(); begin = end) {
    for (++end; end < units.size() && data::columns_of(render(line(begin, end + 1))) <= columns;) ++end;
    if (end < units.size())
      for (std::size_t blank = end; blank > begin + (end - begin) / 2; --blank)
        if (units[blank - 1].text == " ") {
          end = blank;
          break;
        }
    lines.push_back(line(begin, end));
  }
  return lines;
}

}  // namespace merganser::evaluation
