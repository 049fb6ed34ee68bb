// Any bytes as text: tokenizer, UTF-8 decoder and byte stream. The first byte says where the text is cut.
#include <string>
#include <vector>

#include <merganser/data/byte_stream.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/data/utf8_decoder.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

namespace {

using data::ByteTokenizer;
using data::InvalidUtf8;

/// Lengths of 1 to 4 that follow from a seed.
class Cuts {
 public:
  explicit Cuts(unsigned seed) : state_(seed) {}

  std::size_t next() {
    state_ = state_ * 1103515245U + 12345U;
    return 1 + (state_ >> 16) % 4;
  }

 private:
  unsigned state_;
};

/// The bytes of the UTF-8 character at the start of a text, or 0: by the value that it spells.
std::size_t character_at(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC0 || first >= 0xF8 || text.size() < size) return 0;
  unsigned value = first & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
    value = (value << 6) | (byte(i) & 0x3FU);
  }
  const unsigned least = size == 2 ? 0x80 : size == 3 ? 0x800 : 0x10000;
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  return value < least || value > 0x10FFFF || surrogate ? 0 : size;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = character_at(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

/// The text without what is not UTF-8.
std::string without_invalid(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t size = character_at(text);
    result += text.substr(0, size);
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

void check_tokenizer(std::string_view text) {
  const ByteTokenizer tokenizer;
  const std::vector<TokenId> ids = tokenizer.encode(text);
  require(ids.size() == text.size() + 1 && ids.back() == ByteTokenizer::eos_id, "one id a byte, and the end");
  require(tokenizer.decode(ids) == text, "bytes come back");
  require(tokenizer.encode(text, data::AddEos::no).size() == text.size(), "no end where none is wanted");

  const std::vector<TokenId> special = tokenizer.encode_with_special_strings(text);
  require(!special.empty() && special.back() == ByteTokenizer::eos_id, "an end");
  require(special.size() <= ids.size(), "special strings only shorten");
  std::string spelled;
  for (std::size_t i = 0; i < special.size(); ++i) {
    const TokenId id = special[i];
    require(id >= 0 && id < ByteTokenizer::vocab_size, "ids of the vocabulary");
    if (ByteTokenizer::is_byte_id(id)) spelled += tokenizer.decode({&id, 1});
    if (id == ByteTokenizer::pad_id) spelled += "<pad>";
    if (id == ByteTokenizer::unk_id) spelled += "<unk>";
    if (id == ByteTokenizer::eos_id && (i + 1 < special.size() || text.ends_with("</s>"))) spelled += "</s>";
    if (id >= ByteTokenizer::first_extra_id)
      spelled += "<extra_id_" + std::to_string(id - ByteTokenizer::first_extra_id) + ">";
  }
  require(spelled == text, "special ids spell their strings");
}

void check_decoder(std::string_view text, InvalidUtf8 policy, unsigned seed) {
  const std::string whole = data::to_utf8(text, policy);
  data::Utf8Decoder decoder(policy);
  Cuts cuts(seed);
  std::string joined;
  const auto take = [&](const std::string& part) {
    if (policy != InvalidUtf8::keep) require(is_utf8(part), "whole characters in every part");
    joined += part;
  };
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view piece = rest.substr(0, cuts.next());
    take(decoder.push(piece));
    require(decoder.tail().size() <= 3, "at most 3 bytes wait");
    rest.remove_prefix(piece.size());
  }
  take(decoder.finish());
  require(decoder.tail().empty(), "nothing waits behind the end");
  require(joined == whole, "parts make the whole");
  if (policy == InvalidUtf8::keep) require(whole == text, "kept bytes are the bytes");
  if (policy == InvalidUtf8::drop) require(whole == without_invalid(text), "dropped bytes are the invalid ones");
  if (is_utf8(text)) require(whole == text, "valid text stays");
}

/// Bytes as ids, special and foreign ones among them.
void check_stream(std::string_view text, unsigned seed) {
  std::vector<TokenId> ids;
  for (const char c : text) {
    const int byte = static_cast<unsigned char>(c);
    ids.push_back(byte < 16 ? byte * 40 - 17 : byte + ByteTokenizer::byte_offset);  // -17, 23, 63, ..., 583
    if (byte == 255) ids.push_back(ByteTokenizer::eos_id);
  }
  data::ByteStream stream;
  Cuts cuts(seed);
  std::string joined;
  for (std::span<const TokenId> rest = ids; !rest.empty();) {
    const auto piece = rest.first(std::min(rest.size(), cuts.next()));
    const std::string chunk = stream.push(piece);
    joined += chunk;
    rest = rest.subspan(piece.size());
  }
  joined += stream.finish();
  require(joined == ByteTokenizer().decode(ids), "chunks make the whole");
  require(stream.finish().empty(), "a finished stream is as new");
}

}  // namespace

void run(std::string_view input) {
  const unsigned seed = input.empty() ? 0 : static_cast<unsigned char>(input.front());
  const std::string_view text = input.substr(input.empty() ? 0 : 1);
  check_tokenizer(text);
  for (const InvalidUtf8 policy : {InvalidUtf8::drop, InvalidUtf8::replace, InvalidUtf8::keep})
    check_decoder(text, policy, seed);
  check_stream(text, seed);
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
