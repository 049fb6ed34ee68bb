// Who wins: the caller, the model's file, or the defaults.
#include <merganser/io/models/generation_settings.hpp>

#include <stdexcept>
#include <string>

#include <merganser/core/random.hpp>

#include "io/temporary_directory.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace generation_settings_test {

using namespace merganser;
using namespace merganser::io;
using Catch::Matchers::ContainsSubstring;
using merganser::testing::TemporaryDirectory;

using Model = models::EncoderDecoder<float>;

Model model(models::PositionScheme positions = models::PositionScheme::relative) {
  Model::Config config;
  config.vocabulary = 20;
  config.encoder.width = 8;
  config.encoder.positions = positions;
  config.encoder.max_positions = 40;
  Model made(config);
  Rng rng(1);
  made.initialize(rng);
  return made;
}

GenerationSettings settings(const std::string& file, const GenerationRequest& asked = {}, const Model& of = model()) {
  const TemporaryDirectory directory;
  if (!file.empty()) write_file_atomically(directory.path() / "generation_config.json", std::string_view(file));
  return generation_settings(directory.path(), of, asked, 77);
}

std::string error_of(const std::string& file, const GenerationRequest& asked = {}) {
  return testing::io_error([&] { settings(file, asked); });
}

TEST_CASE("without a file or a wish an answer is greedy and of usual length", "[generation_settings]") {
  const GenerationSettings plain = settings("");
  CHECK(plain.generation.sampling.method == models::Sampling::greedy);
  CHECK(plain.generation.max_length == 77);
  CHECK(plain.generation.ends.empty());
  CHECK_FALSE(plain.beams);
}

TEST_CASE("the file is followed, and the caller wins over it", "[generation_settings]") {
  const std::string draws =
      R"({"do_sample": true, "temperature": 0.5, "top_p": 0.9, "max_length": 30, "eos_token_id": [1, 7]})";
  const GenerationSettings drawn = settings(draws);
  CHECK(drawn.generation.sampling.method == models::Sampling::random);
  CHECK(drawn.generation.sampling.temperature == 0.5);
  CHECK(drawn.generation.sampling.top_k == 50);  // as Hugging Face
  CHECK(drawn.generation.sampling.top_p == 0.9);
  CHECK(drawn.generation.max_length == 30);
  CHECK(drawn.generation.ends == Vector<TokenId>{1, 7});

  GenerationRequest asked;
  asked.temperature = 2.0;
  asked.top_k = 0;
  asked.max_length = 12;
  asked.seed = 9;
  const GenerationSettings own = settings(draws, asked);
  CHECK(own.generation.sampling.temperature == 2.0);
  CHECK(own.generation.sampling.top_k == 0);
  CHECK(own.generation.sampling.top_p == 0.9);
  CHECK(own.generation.max_length == 12);
  CHECK(own.generation.seed == 9);

  asked = {};
  asked.sampling = models::Sampling::greedy;
  CHECK(settings(draws, asked).generation.sampling.method == models::Sampling::greedy);
  asked = {};
  asked.top_p = 0.5;
  CHECK(settings("", asked).generation.sampling.method == models::Sampling::random);
  CHECK(settings("", asked).generation.sampling.top_k == 0);
}

TEST_CASE("beams come from either side", "[generation_settings]") {
  const std::string searches =
      R"({"num_beams": 3, "length_penalty": -1.0, "early_stopping": true, "max_new_tokens": 9, "max_length": 5})";
  const GenerationSettings wished = settings(searches);
  REQUIRE(wished.beams);
  CHECK(wished.beams->beams == 3);
  CHECK(wished.beams->length_penalty == -1.0);
  CHECK(wished.beams->early_stopping == models::EarlyStopping::when_full);
  CHECK(wished.beams->max_length == 10);  // max_new_tokens wins, and the start id
  GenerationRequest asked;
  asked.beams = 6;
  asked.length_penalty = 2.0;
  CHECK(settings(searches, asked).beams->beams == 6);
  CHECK(settings(searches, asked).beams->length_penalty == 2.0);
  asked.sampling = models::Sampling::greedy;
  CHECK_FALSE(settings(searches, asked).beams);
}

TEST_CASE("wishes that cannot be had are named", "[generation_settings]") {
  CHECK_THAT(error_of(R"({"num_beams": 3, "do_sample": true})"),
             ContainsSubstring("generation_config.json: num_beams: got 3"));
  CHECK_THAT(error_of(R"({"decoder_start_token_id": 5})"),
             ContainsSubstring("decoder_start_token_id: got 5, expected 0"));
  CHECK_THAT(error_of(R"({"do_sample": true, "temperature": 0})"), ContainsSubstring("temperature: got 0"));
  CHECK_THAT(error_of(R"({"do_sample": true, "top_p": 0})"), ContainsSubstring("top_p: got 0"));
  CHECK_THAT(error_of(R"({"max_length": 1})"), ContainsSubstring("max_length: got 1"));
  GenerationRequest asked;
  asked.temperature = -1.0;
  CHECK_THROWS_AS(settings("", asked), std::invalid_argument);
  asked = {};
  asked.beams = 0;
  CHECK_THROWS_AS(settings("", asked), std::invalid_argument);
}

TEST_CASE("nothing is longer than the model has positions for", "[generation_settings]") {
  const Model table = model(models::PositionScheme::absolute);
  CHECK(settings("", {}, table).generation.max_length == 40);
  CHECK(settings(R"({"max_length": 1000})", {}, table).generation.max_length == 40);
  CHECK(settings(R"({"max_length": 2000000})").generation.max_length == 1000000);
  GenerationRequest asked;
  asked.max_length = 41;
  CHECK_THROWS_WITH(settings("", asked, table),
                    "generation_settings: max_length: got 41, expected at most 40, the positions of this model");
}

}  // namespace generation_settings_test
