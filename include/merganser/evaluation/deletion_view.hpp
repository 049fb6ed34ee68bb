// Source text with its deleted bytes marked, for people to look at.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/character_columns.hpp>
#include <merganser/data/special_tokens.hpp>
#include <merganser/data/utf8_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

enum class TokenFate {
  kept,
  deleted,
  partly_deleted,  ///< a character of which some bytes were kept
};

/// A run of text of one fate.
struct DeletionSegment {
  std::string text;
  TokenFate fate = TokenFate::kept;

  bool operator==(const DeletionSegment&) const = default;
};

/// One flag a token of a sequence, 1 where it was kept, from the rows of the batch that survived (in any order) and the
/// rows of that sequence. Leave out the rows of fillers: they repeat a token.
inline std::vector<std::uint8_t> kept_flags(std::span<const Index> kept_rows, RowRange sequence) {
  std::vector<std::uint8_t> flags(static_cast<std::size_t>(sequence.length), 0);
  for (const Index row : kept_rows)
    if (row >= sequence.begin && row < sequence.begin + sequence.length)
      flags[static_cast<std::size_t>(row - sequence.begin)] = 1;
  return flags;
}

/// Runs of one fate out of shorter segments.
inline std::vector<DeletionSegment> joined(std::span<const DeletionSegment> segments) {
  std::vector<DeletionSegment> runs;
  for (const DeletionSegment& segment : segments)
    if (!runs.empty() && runs.back().fate == segment.fate)
      runs.back().text += segment.text;
    else
      runs.push_back(segment);
  return runs;
}

inline TokenFate fate_of(std::uint8_t kept) { return kept != 0 ? TokenFate::kept : TokenFate::deleted; }

/// The bytes as they are, cut where the fate changes: the texts joined are the input. A cut may lie within a character,
/// so a text alone need not be UTF-8. `kept`: one flag a byte, not 0 where it was kept.
/// @throws std::invalid_argument if the sizes differ
inline std::vector<DeletionSegment> exact_segments(std::string_view bytes, std::span<const std::uint8_t> kept) {
  check_equal("exact_segments", "kept.size()", kept.size(), bytes.size());
  std::vector<DeletionSegment> segments;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    segments.push_back({std::string(bytes.substr(i, 1)), fate_of(kept[i])});
  return joined(segments);
}

/// A byte as \xNN, or as \n, \r, \t, \\.
inline std::string escape_byte(char byte) {
  switch (byte) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      break;
  }
  constexpr std::string_view digits = "0123456789ABCDEF";
  const auto value = static_cast<unsigned char>(byte);
  return {'\\', 'x', digits[value >> 4], digits[value & 15]};
}

/// Whether a well-formed UTF-8 character can be shown as it is. Not those that act on the terminal or on their
/// neighbours: controls, line and paragraph separators, and the invisible and direction-changing format characters.
inline bool is_showable(std::string_view character) {
  const char32_t code = data::code_point(character);
  constexpr std::pair<char32_t, char32_t> hidden[] = {
      {0x00, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},     {0x061C, 0x061C}, {0x180E, 0x180E},  {0x200B, 0x200F},
      {0x2028, 0x202E}, {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F}};
  for (const auto& [first, last] : hidden)
    if (code >= first && code <= last) return false;
  return true;
}

/// The text as it can be shown: every segment is well-formed UTF-8 without control characters.
///
/// A character is shown as it is when all its bytes have one fate. The bytes of a character that is partly deleted, of
/// one that cannot be shown, and bytes that are not UTF-8 become \xNN (\n, \r, \t where they have a name), each with
/// its own fate; a backslash becomes \\. Nothing is lost: the bytes can be read back.
/// @return one segment for each character and each escape
/// @throws std::invalid_argument if the sizes differ
inline std::vector<DeletionSegment> visible_units(std::string_view bytes, std::span<const std::uint8_t> kept) {
  check_equal("visible_units", "kept.size()", kept.size(), bytes.size());
  std::vector<DeletionSegment> units;
  const auto append_escaped = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) units.push_back({escape_byte(bytes[i]), fate_of(kept[i])});
  };
  data::for_each_character(
      bytes,
      [&](std::size_t begin, std::size_t end) {
        const std::string_view character = bytes.substr(begin, end - begin);
        bool whole = is_showable(character) && character != "\\";
        for (std::size_t i = begin; i < end; ++i) whole = whole && fate_of(kept[i]) == fate_of(kept[begin]);
        if (whole)
          units.push_back({std::string(character), fate_of(kept[begin])});
        else
          append_escaped(begin, end);
      },
      [&](std::size_t i) { append_escaped(i, i + 1); });
  return units;
}

/// What an id that stands for no byte is called: <pad>, </s>, <unk> or <extra_id_7>, and beyond the vocabulary <id
/// 400>.
inline std::string id_name(TokenId id) {
  using Tokenizer = data::ByteTokenizer;
  if (id == Tokenizer::pad_id) return "<pad>";
  if (id == Tokenizer::eos_id) return "</s>";
  if (id == Tokenizer::unk_id) return "<unk>";
  const bool extra = id >= Tokenizer::first_extra_id && id < Tokenizer::vocab_size;
  return (extra ? "<extra_id_" + std::to_string(id - Tokenizer::first_extra_id) : "<id " + std::to_string(id)) + ">";
}

/// The same for ids of the byte tokenizer. Ids that stand for no byte become their name behind a backslash.
/// @param special what the mask is, which has a name of its own then
/// @throws std::invalid_argument if the sizes differ
inline std::vector<DeletionSegment> visible_units(std::span<const TokenId> ids, std::span<const std::uint8_t> kept,
                                                  const data::SpecialTokens& special = {}) {
  using Tokenizer = data::ByteTokenizer;
  check_equal("visible_units", "kept.size()", kept.size(), ids.size());
  std::vector<DeletionSegment> units;
  for (std::size_t i = 0; i < ids.size();) {
    std::size_t end = i;
    while (end < ids.size() && Tokenizer::is_byte_id(ids[end])) ++end;
    const std::string bytes = Tokenizer().decode(ids.subspan(i, end - i));
    for (DeletionSegment& unit : visible_units(std::string_view(bytes), kept.subspan(i, end - i)))
      units.push_back(std::move(unit));
    if (end < ids.size())
      units.push_back(
          {std::string("\\").append(ids[end] == special.mask ? "<mask>" : id_name(ids[end])), fate_of(kept[end])});
    i = end + 1;
  }
  return units;
}

/// Runs of one fate of what `visible_units` gives for bytes or for ids.
template <class Tokens>
std::vector<DeletionSegment> visible_segments(const Tokens& tokens, std::span<const std::uint8_t> kept) {
  if constexpr (std::is_convertible_v<const Tokens&, std::string_view>)
    return joined(visible_units(std::string_view(tokens), kept));
  else
    return joined(visible_units(std::span<const TokenId>(tokens), kept));
}

enum class ViewStyle {
  plain,  ///< deleted text between [- and -], partly deleted between [~ and ~]: "h[-e-]ll[-o-]"
  ansi,   ///< the same, and on terminals dimmed or underlined
};

/// What stands before and behind a run of text.
struct DeletionMarks {
  std::string_view before, behind, style_on, style_off;
};

inline DeletionMarks marks_of(TokenFate fate) {
  if (fate == TokenFate::deleted) return {"[-", "-]", "\x1B[2m", "\x1B[22m"};
  if (fate == TokenFate::partly_deleted) return {"[~", "~]", "\x1B[4m", "\x1B[24m"};
  return {};
}

/// Visible segments as one line. What is not kept stands between marks in either style, so that it is seen without
/// colour and survives copying; where the text itself has one of the marks, a backslash comes before it.
inline std::string render(std::span<const DeletionSegment> segments, ViewStyle style = ViewStyle::plain) {
  std::string line;
  for (const DeletionSegment& segment : segments) {
    const DeletionMarks marks = marks_of(segment.fate);
    if (style == ViewStyle::ansi) line += marks.style_on;
    line += marks.before;
    for (std::size_t i = 0; i < segment.text.size(); ++i) {
      const std::string_view pair = std::string_view(segment.text).substr(i, 2);
      if (pair == "[-" || pair == "-]" || pair == "[~" || pair == "~]") line += '\\';
      line += segment.text[i];
    }
    line += marks.behind;
    if (style == ViewStyle::ansi) line += marks.style_off;
  }
  return line;
}

}  // namespace merganser::evaluation
