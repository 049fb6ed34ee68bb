// Byte tokenizer against the reference's ids, and on any bytes.
#include <merganser/data/byte_tokenizer.hpp>

#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/random.hpp>
#include "support/catch.hpp"

namespace byte_tokenizer_test {

using namespace merganser;
using data::AddEos;
using data::ByteTokenizer;

const nlohmann::json& golden() {
  static const auto file = nlohmann::json::parse(std::ifstream(MERGANSER_GOLDEN_DIR "/byte_tokenizer.json"));
  return file;
}

using Ids = std::vector<TokenId>;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

TEST_CASE("Special ids are those of the reference", "[data][byte_tokenizer][golden]") {
  CHECK(ByteTokenizer::pad_id == golden().at("pad_id").get<TokenId>());
  CHECK(ByteTokenizer::eos_id == golden().at("eos_id").get<TokenId>());
  CHECK(ByteTokenizer::unk_id == golden().at("unk_id").get<TokenId>());
  CHECK(ByteTokenizer::byte_offset == golden().at("byte_offset").get<TokenId>());
  CHECK(ByteTokenizer::first_extra_id == golden().at("first_extra_id").get<TokenId>());
  CHECK(ByteTokenizer::extra_ids == golden().at("extra_ids").get<TokenId>());
  CHECK(ByteTokenizer::vocab_size == golden().at("vocab_size").get<TokenId>());
}

TEST_CASE("Texts become the reference's ids and come back", "[data][byte_tokenizer][golden]") {
  REQUIRE_FALSE(golden().at("encode").empty());
  for (const auto& row : golden().at("encode")) {
    const std::string text = row.at("text").get<std::string>();
    const Ids expected = row.at("ids").get<Ids>();
    INFO(text);
    CHECK(ByteTokenizer().encode(text, AddEos::yes) == expected);
    CHECK(ByteTokenizer().encode(text, AddEos::no) == Ids(expected.begin(), expected.end() - 1));
    CHECK(ByteTokenizer().encode_with_special_strings(text, AddEos::yes) ==
          row.at("ids_with_special_strings").get<Ids>());
    CHECK(ByteTokenizer().decode(expected) == from_hex(row.at("bytes_back_hex").get<std::string>()));
  }
}

TEST_CASE("Bytes become the reference's ids and come back", "[data][byte_tokenizer][golden]") {
  REQUIRE_FALSE(golden().at("encode_bytes").empty());
  for (const auto& row : golden().at("encode_bytes")) {
    const std::string bytes = from_hex(row.at("bytes_hex").get<std::string>());
    const Ids ids = ByteTokenizer().encode(bytes, AddEos::yes);
    INFO(row.at("bytes_hex").get<std::string>());
    CHECK(ids == row.at("ids").get<Ids>());
    CHECK(ByteTokenizer().decode(ids) == bytes);
  }
}

TEST_CASE("Ids become the reference's bytes", "[data][byte_tokenizer][golden]") {
  REQUIRE_FALSE(golden().at("decode").empty());
  for (const auto& row : golden().at("decode"))
    CHECK(ByteTokenizer().decode(row.at("ids").get<Ids>()) == from_hex(row.at("bytes_hex").get<std::string>()));
}

TEST_CASE("Random bytes make the round trip", "[data][byte_tokenizer]") {
  Rng rng(3);
  for (std::size_t length = 0; length < 300; length += 7) {
    std::string bytes;
    for (std::size_t i = 0; i < length; ++i) bytes.push_back(static_cast<char>(rng.below(256)));
    const Ids ids = ByteTokenizer().encode(bytes, AddEos::yes);
    CHECK(ids.size() == length + 1);
    CHECK(ByteTokenizer().decode(ids) == bytes);
  }
}

TEST_CASE("Decoding drops every id that is no byte", "[data][byte_tokenizer]") {
  const Ids ids{-1, 2, 3, 258, 259, 100000, std::numeric_limits<TokenId>::min(), std::numeric_limits<TokenId>::max()};
  CHECK(ByteTokenizer().decode(ids) == std::string("\0\xFF", 2));
  CHECK(ByteTokenizer().decode({}).empty());
}

TEST_CASE("Only exact special strings are special", "[data][byte_tokenizer]") {
  const ByteTokenizer tokenizer;
  for (const std::string text : {"<extra_id_>", "<extra_id_00>", "<extra_id_01>", "<extra_id_-1>", "<extra_id_-0>",
                                 "<extra_id_+1>", "<extra_id_1", "<extra_id_", "<extra_id_1x>", "<extra_id_125>",
                                 "<extra_id_99999999999999999999>", "<pad", "< /s>", "<PAD>"}) {
    INFO(text);
    CHECK(tokenizer.encode_with_special_strings(text, AddEos::yes) == tokenizer.encode(text, AddEos::yes));
  }
  CHECK(tokenizer.encode_with_special_strings("<extra_id_9><extra_id_10>", AddEos::no) == Ids{268, 269});
  CHECK(tokenizer.encode_with_special_strings("<<pad>", AddEos::no) == Ids{'<' + 3, 0});
  CHECK(tokenizer.encode_with_special_strings("</s></s>", AddEos::yes) == Ids{1, 1});
  CHECK(tokenizer.encode_with_special_strings("</s>", AddEos::no) == Ids{1});
  CHECK(tokenizer.encode_with_special_strings("", AddEos::no).empty());
}

}  // namespace byte_tokenizer_test
