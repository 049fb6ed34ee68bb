#include <merganser/io/models/generation_config.hpp>

#include <filesystem>
#include <string>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace generation_config_test {

using namespace merganser;
using Catch::Matchers::StartsWith;
using io::GenerationConfig;
using merganser::testing::TemporaryDirectory;

GenerationConfig parsed(const std::string& text) { return io::parse_generation_config(text, "g.json"); }

std::string error_of(const std::string& text) {
  return testing::io_error([&] { parsed(text); });
}

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

TEST_CASE("what would change the answer and is not to be had is refused, unless it changes nothing",
          "[GenerationConfig]") {
  CHECK(error_of(R"({"repetition_penalty": 1.2})") ==
        "g.json: repetition_penalty: got 1.2, expected 1, as nothing else is to be had here");
  CHECK(error_of(R"({"forced_bos_token_id": 0})") ==
        "g.json: forced_bos_token_id: got 0, expected none, as nothing else is to be had here");
  for (const char* text :
       {R"("no_repeat_ngram_size": 3)", R"("min_length": 5)", R"("min_new_tokens": 1)", R"("forced_eos_token_id": 1)",
        R"("bad_words_ids": [[1]])", R"("suppress_tokens": [2])", R"("num_beam_groups": 2)", R"("penalty_alpha": 0.6)",
        R"("encoder_no_repeat_ngram_size": 2)", R"("stop_strings": "x")", R"("guidance_scale": 1.5)",
        R"("do_sample": true, "typical_p": 0.5)", R"("do_sample": true, "min_p": 0.1)"})
    CHECK_FALSE(error_of("{" + std::string(text) + "}").empty());
  CHECK(parsed(R"({"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0, "forced_bos_token_id": null,
    "bad_words_ids": null, "suppress_tokens": [], "num_beam_groups": 1, "typical_p": 0.5, "min_p": null,
    "diversity_penalty": 0.0, "guidance_scale": null})") == GenerationConfig{});
}

TEST_CASE("numbers have limits", "[GenerationConfig]") {
  CHECK(parsed(R"({"num_beams": 1024})").num_beams == 1024);
  CHECK(error_of(R"({"num_beams": 1000000})") ==
        "g.json: num_beams: got 1000000, expected a whole number in 1 .. 1024");
  CHECK_THAT(error_of(R"({"temperature": 1e39})"), StartsWith("g.json: temperature: got 1e+39"));
  CHECK_THAT(error_of(R"({"length_penalty": -1e39})"), StartsWith("g.json: length_penalty: got -1e+39"));
}

TEST_CASE("a key that nobody knows is passed over, and that is said", "[GenerationConfig]") {
  std::string heard;
  const auto hear = [&](const std::string& text) { heard += text + "\n"; };
  io::parse_generation_config(R"({"_from_model_config": true, "use_cache": true, "max_time": 5})", "g.json", hear);
  CHECK(heard == "g.json: max_time: is passed over: no key of this version\n");
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

}  // namespace generation_config_test
