// Bytes that arrive a few at a time, handed on in whole UTF-8 characters.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA::data {

/// What becomes of bytes that are not UTF-8.
enum class InvalidUtf8 {
  drop,     ///< they vanish
  replace,  ///< U+FFFD for each longest start of a character that cannot be completed, and for each stray byte
  keep      ///< they come out as they are, as soon as it is known that they are invalid
};

/// Turns a stream of bytes into text that can be shown at any moment, for bytes generated one by one.
///
/// What `push` and `finish` return, joined, is well-formed UTF-8 (or, with `keep`, the bytes themselves) and does not
/// depend on how the bytes were cut. No character is split between two returns.
/// Overlong forms, surrogates and values above U+10FFFF are invalid.
/// Source: The Unicode Standard 15.0, table 3-7 and section 3.9, "substitution of maximal subparts".
class Utf8Decoder {
 public:
  explicit Utf8Decoder(InvalidUtf8 policy = InvalidUtf8::drop) : policy_(policy) {}

  /// Adds bytes and returns the characters that are now complete; an incomplete tail (at most 3 bytes) waits.
  std::string push(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size() + 3);
    for (const char byte : bytes) take(byte, text);
    return text;
  }

  /// Ends the stream: an incomplete tail is invalid. The decoder is then as new.
  std::string finish() {
    std::string text;
    if (!tail_.empty()) reject_tail(text);
    return text;
  }

  /// The bytes that wait for the rest of their character.
  const std::string& tail() const { return tail_; }

 private:
  void take(char byte, std::string& text) {
    const auto value = static_cast<unsigned char>(byte);
    if (!tail_.empty()) {
      if (value >= low_ && value <= high_) {
        tail_.push_back(byte);
        low_ = 0x80;
        high_ = 0xBF;
        if (--missing_ == 0) {
          text += tail_;
          tail_.clear();
        }
        return;
      }
      // The byte does not continue the character, but may begin the next one.
      reject_tail(text);
    }
    begin_character(byte, value, text);
  }

  void begin_character(char byte, unsigned char value, std::string& text) {
    if (value < 0x80) {
      text.push_back(byte);
      return;
    }
    low_ = 0x80;
    high_ = 0xBF;
    if (value >= 0xC2 && value <= 0xDF) {
      missing_ = 1;
    } else if (value >= 0xE0 && value <= 0xEF) {
      missing_ = 2;
      if (value == 0xE0) low_ = 0xA0;   // below: overlong
      if (value == 0xED) high_ = 0x9F;  // above: surrogates
    } else if (value >= 0xF0 && value <= 0xF4) {
      missing_ = 3;
      if (value == 0xF0) low_ = 0x90;   // below: overlong
      if (value == 0xF4) high_ = 0x8F;  // above: beyond U+10FFFF
    } else {
      reject({&byte, 1}, text);
      return;
    }
    tail_.push_back(byte);
  }

  void reject_tail(std::string& text) {
    reject(tail_, text);
    tail_.clear();
    missing_ = 0;
  }

  /// One longest start of a character, or one stray byte.
  void reject(std::string_view bytes, std::string& text) const {
    if (policy_ == InvalidUtf8::replace) text += "\xEF\xBF\xBD";
    if (policy_ == InvalidUtf8::keep) text += bytes;
  }

  InvalidUtf8 policy_;
  std::string tail_;
  int missing_ = 0;
  unsigned char low_ = 0x80;  // range of the next continuation byte
  unsigned char high_ = 0xBF;
};

/// Calls `on_character(begin, end)` for every well-formed character of the bytes and `on_byte(i)` for every byte that
/// is in none, in their order.
template <class OnCharacter, class OnByte>
void for_each_character(std::string_view bytes, OnCharacter&& on_character, OnByte&& on_byte) {
  Utf8Decoder decoder;
  std::size_t seen = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::string character = decoder.push(bytes.substr(i, 1));
    if (character.empty()) continue;
    for (const std::size_t begin = i + 1 - character.size(); seen < begin; ++seen) on_byte(seen);
    on_character(seen, i + 1);
    seen = i + 1;
  }
  for (; seen < bytes.size(); ++seen) on_byte(seen);
}

/// All bytes at once.
inline std::string to_utf8(std::string_view bytes, InvalidUtf8 policy = InvalidUtf8::drop) {
  Utf8Decoder decoder(policy);
  std::string text = decoder.push(bytes);
  return text += decoder.finish();
}

}  // namespace merganser::data
