#include <merganser/io/generation_config.hpp>

#include <filesystem>
#include <string>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

using namespace merganser;
using Catch::Matchers::StartsWith;
using io::GenerationConfig;
using merganser::testing::TemporaryDirectory;

namespace {

GenerationConfig parsed(const std::string& text) { return io::parse_generation_config(text, "g.json"); }

std::string error_of(const std::string& text) {
  return testing::io_error([&] { parsed(text); });
}

}  // namespace

TEST_CASE("every field is read and others are passed over", "[GenerationConfig]") {
  const GenerationConfig config = parsed(R"({"_from_model_config": true, "transformers_version": "4.39.1",
    "max_length": 512, "max_new_tokens": 64, "eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 2,
    "do_sample": true, "temperature": 0.7, "top_k": 50, "top_p": 0.9, "num_beams": 4, "length_penalty": -1.5,
    "early_stopping": "never"})");
  GenerationConfig expected;
  expected.max_length = 512;
  expected.max_new_tokens = 64;
  expected.eos_token_id = {1};
  expected.pad_token_id = 0;
  expected.decoder_start_token_id = 2;
  expected.do_sample = true;
  expected.temperature = 0.7;
  expected.top_k = 50;
  expected.top_p = 0.9;
  expected.num_beams = 4;
  expected.length_penalty = -1.5;
  expected.early_stopping = models::EarlyStopping::when_impossible;
  CHECK(config == expected);
  CHECK(parsed(R"({"early_stopping": true})").early_stopping == models::EarlyStopping::when_full);
  CHECK(parsed(R"({"early_stopping": false})").early_stopping == models::EarlyStopping::when_unlikely);
  CHECK(parsed("{}") == GenerationConfig{});
  CHECK(parsed(R"({"eos_token_id": [1, 7], "max_length": null})").eos_token_id == std::vector<TokenId>{1, 7});
  CHECK(parsed(R"({"eos_token_id": null})") == GenerationConfig{});
}

TEST_CASE("a wrong type or range is an IoError that names the field", "[GenerationConfig]") {
  CHECK(error_of(R"({"do_sample": 1})") == "g.json: do_sample: got 1, expected true or false");
  CHECK(error_of(R"({"top_p": 1.5})") == "g.json: top_p: got 1.5, expected a number in [0, 1]");
  for (const char* text :
       {R"("max_length": 0)", R"("max_length": "512")", R"("max_new_tokens": 1.5)", R"("eos_token_id": -1)",
        R"("eos_token_id": [1, "2"])", R"("eos_token_id": 4294967296)", R"("pad_token_id": true)",
        R"("decoder_start_token_id": [0])", R"("temperature": -0.1)", R"("temperature": "1")", R"("top_k": -1)",
        R"("num_beams": 0)", R"("length_penalty": true)", R"("early_stopping": "soon")", R"("early_stopping": 1)"}) {
    INFO(text);
    const std::string key = std::string(text).substr(1, std::string(text).find('"', 1) - 1);
    CHECK_THAT(error_of("{" + std::string(text) + "}"), StartsWith("g.json: " + key + ": got "));
  }
  for (const char* text : {"", "[]", "{", "{\"top_k\": 1, \"top_k\": 2}"}) CHECK_FALSE(error_of(text).empty());
}

TEST_CASE("a directory may lack the file", "[GenerationConfig]") {
  const TemporaryDirectory directory;
  CHECK(io::read_generation_config(directory.path()) == GenerationConfig{});
  CHECK(io::read_generation_config(directory / "nowhere") == GenerationConfig{});
  io::write_file_atomically(directory / "generation_config.json", std::string_view(R"({"max_length": 7})"));
  CHECK(io::read_generation_config(directory.path()).max_length == 7);
  std::filesystem::remove(directory / "generation_config.json");
  std::filesystem::create_directory(directory / "generation_config.json");
  CHECK_THROWS_AS(io::read_generation_config(directory.path()), IoError);
}

TEST_CASE("the files of a model have the same wishes, wherever they come from", "[GenerationConfig]") {
  io::ModelFiles files;
  CHECK(io::read_generation_config(files) == GenerationConfig{});
  files.generation_config = R"({"top_k": 7})";
  CHECK(io::read_generation_config(files).top_k == 7);
  files.generation_config = R"({"top_k": -7})";
  CHECK_THROWS_WITH(io::read_generation_config(files), StartsWith("memory/generation_config.json: top_k: got -7"));
}
