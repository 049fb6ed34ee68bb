#include <merganser/models/generation.hpp>

#include <map>
#include <vector>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::DeletionMode;

namespace {

template <Real Scalar>
EncoderDecoder<Scalar> model_of(std::uint64_t seed, const StackConfig& stack = tiny_stack()) {
  typename EncoderDecoder<Scalar>::Config config;
  config.vocabulary = 11;
  config.encoder = stack;
  config.gates.push_back(gate_at(1));
  config.decoder_blocks = 2;
  EncoderDecoder<Scalar> model(config);
  fill_model(model, seed);
  return model;
}

const std::vector<Index> lengths{3, 1, 5, 0};

/// Greedy decoding by whole forward passes over what was generated so far, one sequence at a time.
template <Real Scalar>
std::vector<TokenId> decode_slowly(const EncoderDecoder<Scalar>& model, const TokenBatch& source, Index max_length,
                                   const typename EncoderDecoder<Scalar>::ForwardOptions& options) {
  std::vector<TokenId> ids{model.config().start};
  const EncoderOutput<Scalar> encoded = model.encode(source, options);
  while (static_cast<Index>(ids.size()) < max_length) {
    TokenBatch input;
    input.push_back(ids);
    Index best = 0;
    model.decode(input, encoded).bottomRows(1).row(0).maxCoeff(&best);
    ids.push_back(static_cast<TokenId>(best));
    if (ids.back() == model.config().end) break;
  }
  return ids;
}

}  // namespace

TEMPLATE_TEST_CASE("greedy generation with the key/value cache is greedy decoding by whole passes", "[generation]",
                   float, double) {
  const Threads one(1);
  Index ended = 0, cut = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed)
    for (const DeletionMode mode :
         {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything}) {
      StackConfig stack = tiny_stack();
      if (seed % 2 == 0) stack.positions = PositionScheme::absolute;
      if (seed % 3 == 0) stack.score_bound = nn::ScoreBound::normalised(5);
      const EncoderDecoder<TestType> model = model_of<TestType>(seed, stack);
      typename EncoderDecoder<TestType>::ForwardOptions options;
      options.deletion = deletion(mode);
      const TokenBatch source = random_tokens(lengths, 11, seed);
      GenerationOptions generation;
      generation.max_length = 7;
      const Generation<TestType> result = generate(model, source, generation, options);
      REQUIRE(result.ids.count() == 4);
      for (Index i = 0; i < 4; ++i) {
        const auto expected = decode_slowly(model, alone(source, i), 7, options);
        REQUIRE(std::vector<TokenId>(result.ids.sequence(i).begin(), result.ids.sequence(i).end()) == expected);
        ++(expected.back() == 1 ? ended : cut);
      }
      REQUIRE(result.encoded.deletion.tokens == std::vector<Index>{3, 1, 5, 0});

      // The logits of every step are those of a whole pass, too.
      TokenBatch longest;
      for (Index i = 0; i < 4; ++i) {
        std::vector<TokenId> input(result.ids.sequence(i).begin(), result.ids.sequence(i).end());
        input.resize(result.step_logits.size(), model.config().pad);
        longest.push_back(input);
      }
      const Matrix<TestType> whole = model.decode(longest, result.encoded);
      const auto steps = static_cast<Index>(result.step_logits.size());
      for (Index step = 0; step < steps; ++step)
        for (Index i = 0; i < 4; ++i)
          REQUIRE(relative_difference(Matrix<TestType>(result.step_logits[static_cast<std::size_t>(step)].row(i)),
                                      Matrix<TestType>(whole.row(i * steps + step))) <= agreement<TestType>);
    }
  REQUIRE(ended > 0);  // both ways to finish were seen
  REQUIRE(cut > 0);
}

TEST_CASE("sampling repeats from its seed, and another seed gives something else", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  const TokenBatch source = random_tokens({4, 2, 6}, 11, 2);
  GenerationOptions options;
  options.max_length = 20;
  options.sampling = Sampling::temperature;
  options.temperature = 2.0;
  options.seed = 5;
  const TokenBatch first = generate(model, source, options).ids;
  REQUIRE(generate(model, source, options).ids == first);
  options.seed = 6;
  REQUIRE_FALSE(generate(model, source, options).ids == first);
}

TEST_CASE("the best token only, or a temperature near 0, is greedy", "[generation]") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const EncoderDecoder<double> model = model_of<double>(seed);
    const TokenBatch source = random_tokens(lengths, 11, seed);
    GenerationOptions greedy;
    greedy.max_length = 12;
    GenerationOptions sampled = greedy;
    sampled.sampling = Sampling::temperature;
    sampled.temperature = 3.0;
    sampled.top_k = 1;
    REQUIRE(generate(model, source, sampled).ids == generate(model, source, greedy).ids);
    sampled.top_k = 0;
    sampled.temperature = 1e-6;
    REQUIRE(generate(model, source, sampled).ids == generate(model, source, greedy).ids);
  }
}

TEST_CASE("tokens are drawn with the probabilities of the softmax", "[generation]") {
  RowVector<double> logits(5);
  logits << 1.0, -0.5, 2.0, 0.0, -40.0;
  GenerationOptions options;
  options.sampling = Sampling::temperature;
  options.temperature = 2.0;
  const auto counts = [&](Index top_k) {
    options.top_k = top_k;
    Rng rng(3);
    std::map<TokenId, double> result;
    for (int draw = 0; draw < 20000; ++draw) result[choose_token<double>(logits, options, rng)] += 1.0 / 20000;
    return result;
  };
  const auto require_shares = [&](std::map<TokenId, double> got, const std::vector<TokenId>& allowed) {
    double total = 0;
    for (const TokenId id : allowed) total += std::exp(logits(id) / 2.0);
    for (const TokenId id : allowed)
      REQUIRE_THAT(got[id], Catch::Matchers::WithinAbs(std::exp(logits(id) / 2.0) / total, 0.015));
    REQUIRE(got.size() <= allowed.size());
  };
  require_shares(counts(0), {0, 1, 2, 3, 4});
  require_shares(counts(3), {0, 2, 3});
  require_shares(counts(100), {0, 1, 2, 3, 4});
}

TEST_CASE("of equal logits the lowest id is chosen", "[generation]") {
  Rng rng(1);
  for (const Index size : {3, 11, 40}) {
    RowVector<float> logits = RowVector<float>::Constant(size, -1.0F);
    logits(1) = logits(2) = logits(size - 1) = 2.0F;
    GenerationOptions options;
    REQUIRE(choose_token<float>(logits, options, rng) == 1);
    options.sampling = Sampling::temperature;
    options.top_k = 1;
    REQUIRE(choose_token<float>(logits, options, rng) == 1);
  }
}

TEST_CASE("a sequence of one token, or no sequence at all, is generated at once", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  GenerationOptions options;
  options.max_length = 1;
  const Generation<float> one = generate(model, random_tokens(lengths, 11, 2), options);
  REQUIRE(one.ids.ids == std::vector<TokenId>{0, 0, 0, 0});
  REQUIRE(one.step_logits.empty());
  REQUIRE(one.encoded.hidden.count() == 4);
  options.max_length = 5;
  REQUIRE(generate(model, {}, options).ids.count() == 0);
}

TEST_CASE("generation says what does not fit", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  GenerationOptions options;
  options.max_length = 0;
  REQUIRE(argument_error([&] { generate(model, {}, options); }) == "generate: max_length: got 0, expected at least 1");
  options.max_length = 3;
  options.temperature = 0;
  REQUIRE(argument_error([&] { generate(model, {}, options); }) ==
          "generate: temperature: got 0, expected a positive number");
}
