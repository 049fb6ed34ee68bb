// Source text with its deleted bytes marked, for people to look at.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/utf8_decoder.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

enum class TokenFate { kept, deleted };

/// A run of text that was kept or deleted as a whole.
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

/// Collects text with its fate into runs.
class DeletionSegments {
 public:
  void append(std::string_view text, TokenFate fate) {
    if (text.empty()) return;
    if (segments_.empty() || segments_.back().fate != fate) segments_.push_back({{}, fate});
    segments_.back().text += text;
  }

  std::vector<DeletionSegment> take() { return std::move(segments_); }

 private:
  std::vector<DeletionSegment> segments_;
};

inline TokenFate fate_of(std::uint8_t kept) { return kept != 0 ? TokenFate::kept : TokenFate::deleted; }

/// The bytes as they are, cut where the fate changes: the texts joined are the input. A cut may lie within a character,
/// so a text alone need not be UTF-8. `kept`: one flag a byte, not 0 where it was kept.
/// @throws std::invalid_argument if the sizes differ
inline std::vector<DeletionSegment> exact_segments(std::string_view bytes, std::span<const std::uint8_t> kept) {
  check_equal("exact_segments", "kept.size()", kept.size(), bytes.size());
  DeletionSegments segments;
  for (std::size_t i = 0; i < bytes.size(); ++i) segments.append(bytes.substr(i, 1), fate_of(kept[i]));
  return segments.take();
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
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(character[i])); };
  char32_t code = byte(0);
  if (character.size() > 1) code &= 0xFFU >> (character.size() + 1);
  for (std::size_t i = 1; i < character.size(); ++i) code = code << 6 | (byte(i) & 0x3F);
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
/// @throws std::invalid_argument if the sizes differ
inline std::vector<DeletionSegment> visible_segments(std::string_view bytes, std::span<const std::uint8_t> kept) {
  check_equal("visible_segments", "kept.size()", kept.size(), bytes.size());
  DeletionSegments segments;
  const auto append_escaped = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) segments.append(escape_byte(bytes[i]), fate_of(kept[i]));
  };
  data::Utf8Decoder decoder;
  std::size_t shown = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::string character = decoder.push(bytes.substr(i, 1));
    if (character.empty()) continue;
    const std::size_t begin = i + 1 - character.size();
    append_escaped(shown, begin);  // what the decoder gave up on
    bool whole = is_showable(character) && character != "\\";
    for (std::size_t k = begin; k <= i; ++k) whole = whole && fate_of(kept[k]) == fate_of(kept[begin]);
    if (whole)
      segments.append(character, fate_of(kept[begin]));
    else
      append_escaped(begin, i + 1);
    shown = i + 1;
  }
  append_escaped(shown, bytes.size());
  return segments.take();
}

/// The same for ids of the byte tokenizer. Ids that stand for no byte become \<pad>, \</s>, \<unk> or \<extra_id_7>,
/// and beyond its vocabulary \<id 400>.
/// @throws std::invalid_argument if the sizes differ
inline std::vector<DeletionSegment> visible_segments(std::span<const TokenId> ids, std::span<const std::uint8_t> kept) {
  using Tokenizer = data::ByteTokenizer;
  check_equal("visible_segments", "kept.size()", kept.size(), ids.size());
  const auto name = [](TokenId id) -> std::string {
    if (id == Tokenizer::pad_id) return "\\<pad>";
    if (id == Tokenizer::eos_id) return "\\</s>";
    if (id == Tokenizer::unk_id) return "\\<unk>";
    const bool extra = id >= Tokenizer::first_extra_id && id < Tokenizer::vocab_size;
    return (extra ? "\\<extra_id_" + std::to_string(id - Tokenizer::first_extra_id) : "\\<id " + std::to_string(id)) +
           ">";
  };
  DeletionSegments segments;
  for (std::size_t i = 0; i < ids.size();) {
    std::size_t end = i;
    while (end < ids.size() && Tokenizer::is_byte_id(ids[end])) ++end;
    const std::string bytes = Tokenizer().decode(ids.subspan(i, end - i));
    for (const DeletionSegment& segment : visible_segments(std::string_view(bytes), kept.subspan(i, end - i)))
      segments.append(segment.text, segment.fate);
    if (end < ids.size()) segments.append(name(ids[end]), fate_of(kept[end]));
    i = end + 1;
  }
  return segments.take();
}

enum class ViewStyle {
  plain,  ///< deleted text between [- and -]: "h[-e-]ll[-o-]"
  ansi,   ///< the same, and dimmed on terminals
};

/// Visible segments as one line. Deleted text stands between [- and -] in either style, so that it is seen without
/// colour and survives copying; where the text itself has [- or -], a backslash comes before it.
inline std::string render(std::span<const DeletionSegment> segments, ViewStyle style = ViewStyle::plain) {
  std::string line;
  for (const DeletionSegment& segment : segments) {
    const bool deleted = segment.fate == TokenFate::deleted;
    if (deleted) line += style == ViewStyle::ansi ? "\x1B[2m[-" : "[-";
    for (std::size_t i = 0; i < segment.text.size(); ++i) {
      const std::string_view pair = std::string_view(segment.text).substr(i, 2);
      if (pair == "[-" || pair == "-]") line += '\\';
      line += segment.text[i];
    }
    if (deleted) line += style == ViewStyle::ansi ? "-]\x1B[22m" : "-]";
  }
  return line;
}

}  // namespace merganser::evaluation
