// Segments that begin where the input says so: at words, at space-like bytes, at every k-th token.
#pragma once

#include <cstdint>
#include <string_view>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/segment_rule.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Token ids that have something in common. Which ids are which bytes, a tokenizer knows; the tables below are those of
/// a byte b with the id b + 3 (ByT5).
struct IdSet {
  Vector<std::uint8_t> listed = {};  ///< of every id from 0 on: not 0 where it is one of them
  bool others = false;               ///< whether ids outside the list are

  bool contains(TokenId id) const {
    return id >= 0 && static_cast<Index>(id) < listed.size() ? listed[static_cast<Index>(id)] != 0 : others;
  }

  /// Of the bytes for which `is_one` holds, where byte b has the id b + first_byte, and of all ids that are no bytes if
  /// `others` says so.
  /// @throws std::invalid_argument if first_byte is negative
  template <class Predicate>
  static IdSet of_bytes(Predicate is_one, bool others = false, TokenId first_byte = 3) {
    check_argument(first_byte >= 0, "IdSet::of_bytes", "first_byte", first_byte, "at least 0");
    IdSet set{Vector<std::uint8_t>(static_cast<Index>(first_byte), others ? 1 : 0), others};
    for (int byte = 0; byte < 256; ++byte) set.listed.push_back(is_one(byte) ? 1 : 0);
    return set;
  }
};

/// Space, tab, and the bytes that end a line or a page.
inline IdSet whitespace_bytes(TokenId first_byte = 3) {
  return IdSet::of_bytes([](int byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }, false, first_byte);
}

/// What is no letter, no digit and no continuation of a character in UTF-8; tokens that are no bytes are space-like.
inline IdSet space_like_bytes(TokenId first_byte = 3) {
  const auto within = [](int byte, char first, char last) { return byte >= first && byte <= last; };
  return IdSet::of_bytes(
      [&](int byte) {
        const bool word = within(byte, '0', '9') || within(byte, 'A', 'Z') || within(byte, 'a', 'z');
        return !word && (byte < 0x80 || byte >= 0xC0);
      },
      true, first_byte);
}

namespace detail {

/// Marks the first token, and each other for which starts_at(t) holds.
template <Real Scalar, class StartsAt>
Vector<std::uint8_t> marks_by_ids(const Tokens<Scalar>& tokens, std::string_view rule, StartsAt&& starts_at) {
  check_equal(rule, "ids.size()", std::ssize(tokens.ids), tokens.count());
  Vector<std::uint8_t> marks(tokens.count(), 0);
  for (Index t = 0; t < marks.size(); ++t) marks[t] = t == 0 || starts_at(t) ? 1 : 0;
  return marks;
}

}  // namespace detail

/// Words: runs of separators and runs of everything else, each pair of them one segment. Cost: n.
struct WordStarts {
  enum class Separators {
    lead,   ///< they begin the segment of the word behind them
    trail,  ///< they belong to the word in front of them
  };

  static constexpr PolicyTraits traits{.is_causal = true};

  Separators separators = Separators::lead;
  IdSet separating = whitespace_bytes();

  /// @throws std::invalid_argument if there is not one id a token
  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    return detail::marks_by_ids(tokens, "WordStarts", [&](Index t) {
      const bool here = separating.contains(tokens.ids[static_cast<std::size_t>(t)]);
      const bool before = separating.contains(tokens.ids[static_cast<std::size_t>(t - 1)]);
      return separators == Separators::lead ? here && !before : before && !here;
    });
  }
};

/// Every `rate` tokens are a segment; the last may be short. Cost: n.
struct FixedStride {
  static constexpr PolicyTraits traits{.is_causal = true};

  Index rate = 4;  ///< at least 1

  /// @throws std::invalid_argument if the rate is below 1
  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    check_argument(rate >= 1, "FixedStride", "rate", rate, "at least 1");
    Vector<std::uint8_t> marks(tokens.count(), 0);
    for (Index t = 0; t < marks.size(); t += rate) marks[t] = 1;
    return marks;
  }
};

/// Segments by space-like bytes, of which only the first of a run counts. SpaceByte (Slagle 2024, arXiv 2404.14408) has
/// its large blocks at these bytes; the patches that BLT (Pagnoni et al. 2024, arXiv 2412.09871) compares itself with
/// begin behind them. Cost: n.
struct SpaceLike {
  enum class Begin {
    at,      ///< the byte begins the segment: SpaceByte's `space_like`
    behind,  ///< the token behind it does: BLT's patches (`after_space_like`)
  };

  static constexpr PolicyTraits traits{.is_causal = true};

  Begin begin = Begin::at;
  Starts starts = Starts::first_token;
  IdSet space_like = space_like_bytes();

  /// @throws std::invalid_argument if there is not one id a token
  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    const auto is_space = [&](Index t) {
      return t >= 0 && space_like.contains(tokens.ids[static_cast<std::size_t>(t)]);
    };
    return detail::marks_by_ids(tokens, "SpaceLike", [&](Index t) {
      if (t == 1 && starts == Starts::published) return true;
      const Index space = begin == Begin::at ? t : t - 1;
      return is_space(space) && !is_space(space - 1);
    });
  }
};

}  // namespace merganser::merge
