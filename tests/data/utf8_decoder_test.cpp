// Streaming UTF-8: the reference's texts, the Unicode Standard's examples, and every way of cutting the stream.
#include <merganser/data/utf8_decoder.hpp>

#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/random.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include "support/catch.hpp"

namespace utf8_decoder_test {

using namespace merganser;
using data::InvalidUtf8;
using data::to_utf8;
using data::Utf8Decoder;

std::string encode_scalar(unsigned value) {
  const auto byte = [](unsigned bits) { return static_cast<char>(static_cast<unsigned char>(bits)); };
  if (value < 0x80) return {byte(value)};
  if (value < 0x800) return {byte(0xC0 | value >> 6), byte(0x80 | (value & 0x3F))};
  if (value < 0x10000) return {byte(0xE0 | value >> 12), byte(0x80 | (value >> 6 & 0x3F)), byte(0x80 | (value & 0x3F))};
  return {byte(0xF0 | value >> 18), byte(0x80 | (value >> 12 & 0x3F)), byte(0x80 | (value >> 6 & 0x3F)),
          byte(0x80 | (value & 0x3F))};
}

/// "#" for U+FFFD, so that expectations stay readable.
std::string replaced(const std::string& bytes) {
  std::string text = to_utf8(bytes, InvalidUtf8::replace);
  for (std::size_t at = text.find("\xEF\xBF\xBD"); at != std::string::npos; at = text.find("\xEF\xBF\xBD", at))
    text.replace(at, 3, "#");
  return text;
}

TEST_CASE("Dropping invalid bytes gives the reference's text", "[data][utf8_decoder][golden]") {
  const auto golden = nlohmann::json::parse(std::ifstream(MERGANSER_GOLDEN_DIR "/byte_tokenizer.json"));
  std::size_t cases = 0;
  for (const char* group : {"encode_bytes", "decode"})
    for (const auto& row : golden.at(group)) {
      const auto ids = row.at("ids").get<std::vector<TokenId>>();
      CHECK(to_utf8(data::ByteTokenizer().decode(ids)) == row.at("text_invalid_dropped").get<std::string>());
      ++cases;
    }
  CHECK(cases == golden.at("encode_bytes").size() + golden.at("decode").size());
  for (const auto& row : golden.at("encode")) {
    const std::string text = row.at("text").get<std::string>();
    CHECK(to_utf8(text) == text);
    CHECK(to_utf8(text, InvalidUtf8::replace) == text);
  }
}

TEST_CASE("Replacement follows the examples of the Unicode Standard", "[data][utf8_decoder]") {
  // Tables 3-8 to 3-11 of version 15.0.
  CHECK(replaced("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == "########A");
  CHECK(replaced("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == "########A");
  CHECK(replaced("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == "#####A##B");
  CHECK(replaced("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == "####A");
  CHECK(replaced("\xF0\x9F\x98") == "#");
  CHECK(replaced("") == "");
}

TEST_CASE("Every character passes unchanged and waits for its last byte", "[data][utf8_decoder]") {
  Utf8Decoder decoder(InvalidUtf8::replace);
  bool all_whole = true;
  bool all_waited = true;
  for (unsigned value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    const std::string character = encode_scalar(value);
    all_waited = all_waited && decoder.push(std::string_view(character).substr(0, character.size() - 1)).empty() &&
                 decoder.tail().size() == character.size() - 1;
    all_whole = all_whole && decoder.push(character.substr(character.size() - 1)) == character;
  }
  CHECK(all_whole);
  CHECK(all_waited);
  CHECK(decoder.finish().empty());
}

TEST_CASE("The text does not depend on how the bytes are cut", "[data][utf8_decoder]") {
  Rng rng(11);
  const std::string alphabet = "a\x80\x9F\xA0\xBF\xC0\xC3\xE0\xE6\xED\xEF\xF0\xF4\xF5\xFF";
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (std::uint64_t left = rng.below(12); left > 0; --left) bytes.push_back(alphabet[rng.below(alphabet.size())]);
    CHECK(to_utf8(bytes, InvalidUtf8::keep) == bytes);
    for (const InvalidUtf8 policy : {InvalidUtf8::drop, InvalidUtf8::replace}) {
      Utf8Decoder decoder(policy);
      std::string streamed;
      for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t length = rng.below(4);
        streamed += decoder.push(std::string_view(bytes).substr(at, length));
        at += length;
        REQUIRE(decoder.tail().size() <= 3);
        REQUIRE(to_utf8(streamed) == streamed);
      }
      streamed += decoder.finish();
      REQUIRE(streamed == to_utf8(bytes, policy));
      REQUIRE(to_utf8(streamed) == streamed);
    }
  }
}

TEST_CASE("After finish the decoder is as new", "[data][utf8_decoder]") {
  Utf8Decoder decoder;
  CHECK(decoder.push("ok\xE6\x97") == "ok");
  CHECK(decoder.tail() == "\xE6\x97");
  CHECK(decoder.finish().empty());
  CHECK(decoder.tail().empty());
  CHECK(decoder.push("\xA5z") == "z");

  Utf8Decoder replacing(InvalidUtf8::replace);
  CHECK(replacing.push("\xE6\x97").empty());
  CHECK(replacing.finish() == "\xEF\xBF\xBD");
  CHECK(replacing.finish().empty());

  Utf8Decoder keeping(InvalidUtf8::keep);
  CHECK(keeping.push("\xE6\x97").empty());
  CHECK(keeping.push("\xFFz") == "\xE6\x97\xFFz");
  CHECK(keeping.push("\xF0").empty());
  CHECK(keeping.finish() == "\xF0");
}

TEST_CASE("Characters and the bytes of none come in their order", "[data][utf8_decoder]") {
  const std::string bytes = "a\xFF\xC3\xA9\xE6\x97z\xF0\x9F";
  std::string seen;
  data::for_each_character(
      bytes, [&](std::size_t begin, std::size_t end) { seen += "(" + bytes.substr(begin, end - begin) + ")"; },
      [&](std::size_t i) { seen += bytes.substr(i, 1); });
  CHECK(seen == "(a)\xFF(\xC3\xA9)\xE6\x97(z)\xF0\x9F");
}

}  // namespace utf8_decoder_test
