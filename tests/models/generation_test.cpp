#include <merganser/models/generation.hpp>

#include <algorithm>
#include <limits>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <merganser/data/byte_stream.hpp>
#include <merganser/data/byte_tokenizer.hpp>
#include <merganser/models/beam_search.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"

namespace generation_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::DeletionMode;

template <Real Scalar>
EncoderDecoder<Scalar> model_of(std::uint64_t seed, const StackConfig& stack = tiny_stack(), Index vocabulary = 11) {
  Design<EncoderDecoder<Scalar>> config;
  config.vocabulary = vocabulary;
  config.encoder = stack;
  config.gates.push_back(gate_at(1));
  config.decoder_blocks = 2;
  EncoderDecoder<Scalar> model = config.make();
  fill_model(model, seed);
  return model;
}

const Vector<Index> lengths{3, 1, 5, 0};

GenerationOptions sampled(Index max_length) {
  GenerationOptions options;
  options.max_length = max_length;
  options.sampling = {Sampling::random, 2.0, 8, 0.95};
  return options;
}

Vector<TokenId> ids_of(const TokenBatch& batch, Index sequence) {
  const auto ids = batch.sequence(sequence);
  return {ids.begin(), ids.end()};
}

/// Greedy decoding by whole forward passes over what was generated so far, one sequence at a time.
template <Real Scalar>
Vector<TokenId> decode_slowly(const EncoderDecoder<Scalar>& model, const TokenBatch& source, Index max_length,
                              const typename EncoderDecoder<Scalar>::ForwardOptions& options) {
  Vector<TokenId> ids{model.config().start};
  const EncoderOutput<Scalar> encoded = model.encode(source, options);
  while (ids.size() < max_length) {
    TokenBatch input;
    input.push_back(ids);
    Index best = 0;
    model.decode(input, encoded).bottomRows(1).row(0).maxCoeff(&best);
    ids.push_back(static_cast<TokenId>(best));
    if (ids.back() == model.config().end) break;
  }
  return ids;
}

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
      generation.step_logits = StepLogits::kept;
      const Generation<TestType> result = generate(model, source, generation, options);
      REQUIRE(result.ids.count() == 4);
      for (Index i = 0; i < 4; ++i) {
        const auto expected = decode_slowly(model, alone(source, i), 7, options);
        REQUIRE(ids_of(result.ids, i) == expected);
        ++(expected.back() == 1 ? ended : cut);
      }
      REQUIRE(result.encoded.deletion.tokens == Vector<Index>{3, 1, 5, 0});

      // The logits of every step are those of a whole pass, too; 0 once a sequence has ended.
      const Matrix<TestType> whole = model.decode(result.ids, result.encoded);
      REQUIRE(result.step_logits.size() == result.ids.offsets.max_length() - 1);
      for (Index step = 0; step < result.step_logits.size(); ++step)
        for (Index i = 0; i < 4; ++i) {
          Matrix<TestType> expected = Matrix<TestType>::Zero(1, 11);
          if (step + 1 < result.ids.offsets.length(i)) expected = whole.row(result.ids.offsets.begin(i) + step);
          REQUIRE(relative_difference(Matrix<TestType>(result.step_logits[step].row(i)), expected) <=
                  agreement<TestType>);
        }
    }
  REQUIRE(ended > 0);  // both ways to finish were seen
  REQUIRE(cut > 0);
}

TEST_CASE("sampling repeats from its seed, and another seed or stream gives something else", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  TokenBatch source;
  for (int copy = 0; copy < 3; ++copy) source.push_back(Vector<TokenId>{5, 3, 9, 2});
  GenerationOptions options = sampled(20);
  options.seed = 5;
  const TokenBatch first = generate(model, source, options).ids;
  REQUIRE(generate(model, source, options).ids == first);
  REQUIRE(ids_of(first, 0) != ids_of(first, 1));  // equal sources, different streams
  REQUIRE(ids_of(first, 1) != ids_of(first, 2));
  options.first_stream = 1;
  const TokenBatch next = generate(model, source, options).ids;
  REQUIRE(ids_of(next, 0) == ids_of(first, 1));
  REQUIRE(ids_of(next, 1) == ids_of(first, 2));
  options.seed = 6;
  REQUIRE_FALSE(generate(model, source, options).ids == next);
}

TEMPLATE_TEST_CASE("a sequence of a batch has the bits that it has alone, with any number of threads", "[generation]",
                   float, double) {
  Index shortest = 100, longest = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    StackConfig stack = tiny_stack();
    stack.max_positions = 20;
    if (seed % 2 == 0) stack.positions = PositionScheme::absolute;
    const EncoderDecoder<TestType> model = model_of<TestType>(seed, stack);
    const TokenBatch source = random_tokens({3, 1, 5, 0, 4, 2}, 11, seed);
    typename EncoderDecoder<TestType>::ForwardOptions forward;
    forward.deletion = deletion(seed % 3 == 0 ? DeletionMode::soft : DeletionMode::hard);
    for (const GenerationOptions& choice : {GenerationOptions{}, sampled(16)}) {
      GenerationOptions options = choice;
      options.max_length = 16;
      options.step_logits = StepLogits::kept;
      options.seed = 40;
      Vector<Generation<TestType>> batches;
      for (const int count : {1, 2}) {
        const Threads threads(count);
        batches.push_back(generate(model, source, options, forward));
      }
      REQUIRE(batches[0].ids == batches[1].ids);
      REQUIRE(batches[0].endings == batches[1].endings);
      for (Index i = 0; i < source.count(); ++i) {
        options.first_stream = static_cast<std::uint64_t>(i);
        const Generation<TestType> single = generate(model, alone(source, i), options, forward);
        REQUIRE(ids_of(single.ids, 0) == ids_of(batches[0].ids, i));
        REQUIRE(single.endings[0] == batches[0].endings[i]);
        for (Index step = 0; step < single.step_logits.size(); ++step)
          for (const auto& batch : batches)
            REQUIRE(identical(single.step_logits[step], batch.step_logits[step].row(i)));
        shortest = std::min(shortest, single.ids.total());
        longest = std::max(longest, single.ids.total());
      }
    }
  }
  REQUIRE(shortest < 5);  // sequences did leave the batch while others ran on
  REQUIRE(longest == 16);
}

TEST_CASE("the best token only, or a temperature near 0, is greedy", "[generation]") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const EncoderDecoder<double> model = model_of<double>(seed);
    const TokenBatch source = random_tokens(lengths, 11, seed);
    GenerationOptions greedy;
    greedy.max_length = 12;
    const TokenBatch expected = generate(model, source, greedy).ids;
    for (const SamplingOptions& nearly :
         {SamplingOptions{Sampling::random, 3.0, 1, 1.0}, SamplingOptions{Sampling::random, 1e-6, 0, 1.0},
          SamplingOptions{Sampling::random, 1.0, 0, 1e-6}}) {
      GenerationOptions options = greedy;
      options.sampling = nearly;
      REQUIRE(generate(model, source, options).ids == expected);
    }
  }
}

TEST_CASE("the callback sees every token of every sequence once, in order", "[generation]") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const EncoderDecoder<float> model = model_of<float>(seed);
    const TokenBatch source = random_tokens(lengths, 11, seed);
    Vector<Vector<TokenId>> seen(4, {model.config().start});
    Vector<Index> callers;
    GenerationOptions options = sampled(12);
    options.on_tokens = [&](Index sequence, std::span<const TokenId> ids) {
      seen.at(sequence).append(ids.begin(), ids.end());
      callers.push_back(sequence);
      return Continue::yes;
    };
    const Generation<float> result = generate(model, source, options);
    REQUIRE(TokenBatch::from_sequences(seen) == result.ids);
    REQUIRE(std::is_sorted(callers.begin(), callers.begin() + 4));
    for (Index i = 0; i < 4; ++i) {
      const Vector<TokenId> ids = ids_of(result.ids, i);
      const Ending expected = ids.back() == model.config().end ? Ending::end_id : Ending::max_length;
      REQUIRE(result.endings[i] == expected);
    }
    options.on_tokens = {};
    REQUIRE(generate(model, source, options).ids == result.ids);
  }
}

TEST_CASE("a sequence that is cancelled at step k keeps k tokens, and the others do not notice", "[generation]") {
  const EncoderDecoder<double> model = model_of<double>(3);
  const TokenBatch source = random_tokens({3, 1, 5, 2, 4}, 11, 8);
  GenerationOptions options = sampled(14);
  const Generation<double> whole = generate(model, source, options);
  for (Index cancelled = 0; cancelled < 5; ++cancelled)
    for (Index k = 1; k <= 5; ++k) {
      Index steps = 0;
      options.on_tokens = [&](Index sequence, std::span<const TokenId>) {
        return sequence == cancelled && ++steps == k ? Continue::no : Continue::yes;
      };
      const Generation<double> result = generate(model, source, options);
      for (Index i = 0; i < 5; ++i) {
        Vector<TokenId> expected = ids_of(whole.ids, i);
        Ending ending = whole.endings[i];
        if (i == cancelled && expected.size() > k + 1) {
          expected.resize(k + 1);  // the start id and k tokens
          ending = Ending::callback;
        } else if (i == cancelled && expected.size() == k + 1 && ending == Ending::max_length) {
          ending = Ending::callback;
        }
        REQUIRE(ids_of(result.ids, i) == expected);
        REQUIRE(result.endings[i] == ending);
      }
    }
  Index calls = 0;
  options.on_tokens = [&](Index, std::span<const TokenId>) { return ++calls, Continue::no; };
  REQUIRE(generate(model, source, options).ids.offsets.max_length() == 2);
  REQUIRE(calls == 5);
  options.on_tokens = [](Index, std::span<const TokenId>) -> Continue { throw std::runtime_error("enough"); };
  REQUIRE_THROWS_WITH(generate(model, source, options), "enough");
}

TEST_CASE("streamed bytes are the bytes of the whole", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1, tiny_stack(), data::ByteTokenizer::vocab_size);
  const TokenBatch source = random_tokens(lengths, data::ByteTokenizer::vocab_size, 3);
  Vector<data::ByteStream> streams(4);
  Vector<std::string> texts(4);
  GenerationOptions options;
  options.max_length = 60;
  options.sampling.method = Sampling::random;
  options.on_tokens = [&](Index sequence, std::span<const TokenId> ids) {
    texts[sequence] += streams[sequence].push(ids);
    return Continue::yes;
  };
  const TokenBatch ids = generate(model, source, options).ids;
  for (Index i = 0; i < 4; ++i) {
    REQUIRE(texts[i] + streams[i].finish() == data::ByteTokenizer().decode(ids.sequence(i)));
    REQUIRE(texts[i].size() > 3);
  }
}

TEST_CASE("eight threads generate from one model what one generates", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(2);
  const TokenBatch source = random_tokens({3, 1, 5, 0, 9}, 11, 4);
  const auto run = [&](std::uint64_t seed) {
    GenerationOptions options = sampled(16);
    options.seed = seed;
    return generate(model, source, options).ids;
  };
  Vector<TokenBatch> expected;
  for (std::uint64_t seed = 0; seed < 8; ++seed) expected.push_back(run(seed));
  Vector<TokenBatch> got(8);
  Vector<std::thread> threads;
  for (Index seed = 0; seed < 8; ++seed)
    threads.emplace_back([&, seed] {
      const Threads one(1);
      for (int repeat = 0; repeat < 5; ++repeat) got[seed] = run(static_cast<std::uint64_t>(seed));
    });
  for (std::thread& thread : threads) thread.join();
  REQUIRE(got == expected);
}

TEST_CASE("memory is taken as sequences grow, whatever they may reach", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  GenerationOptions options;
  options.ends = {1000};     // no id of the model: it goes on
  const Index wanted = 150;  // more than a state has room for at first
  const auto generated = [&](Index max_length) {
    options.max_length = max_length;
    Vector<Index> counts(std::ssize(lengths), 1);
    options.on_tokens = [&](Index sequence, std::span<const TokenId>) {
      Index& count = counts[sequence];
      return ++count < wanted - 10 * sequence ? Continue::yes
                                              : Continue::no;  // they leave the batch at different times
    };
    return generate(model, random_tokens(lengths, 11, 2), options).ids;
  };
  const TokenBatch ids = generated(longest_sequence);
  REQUIRE(ids.ids == generated(wanted).ids);
  REQUIRE(ids.offsets.max_length() == wanted);
  // Each is what a whole pass over those before it finds best.
  const Matrix<float> logits = model.decode(ids, model.encode(random_tokens(lengths, 11, 2)));
  for (Index i = 0; i < ids.count(); ++i)
    for (Index t = ids.offsets.begin(i); t + 1 < ids.offsets.end(i); ++t) {
      const float chosen = logits(t, ids.ids[t + 1]);
      REQUIRE(chosen >= logits.row(t).maxCoeff() - 1e-4F);
    }
}

TEST_CASE("each of several ids can end a sequence", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  GenerationOptions options = sampled(40);
  options.ends = {1, 4, 7};
  const Generation<float> result = generate(model, random_tokens({3, 1, 5, 0, 2, 2, 4, 6}, 11, 2), options);
  std::set<TokenId> seen;
  for (Index i = 0; i < result.ids.count(); ++i) {
    const auto ids = ids_of(result.ids, i);
    for (Index t = 1; t < ids.size(); ++t) {
      const bool ends = ids[t] == 1 || ids[t] == 4 || ids[t] == 7;
      REQUIRE(ends == (t + 1 == ids.size() && result.endings[i] == Ending::end_id));
      if (ends) seen.insert(ids[t]);
    }
  }
  REQUIRE(seen.size() > 1);
}

TEST_CASE("a sequence of one token, or no sequence at all, is generated at once", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  GenerationOptions options;
  options.max_length = 1;
  const Generation<float> one = generate(model, random_tokens(lengths, 11, 2), options);
  REQUIRE(one.ids.ids == Vector<TokenId>{0, 0, 0, 0});
  REQUIRE(one.endings == Vector<Ending>(4, Ending::max_length));
  REQUIRE(one.encoded.hidden.count() == 4);
  options.max_length = 5;
  REQUIRE(generate(model, {}, options).ids.count() == 0);
  REQUIRE(generate(model, random_tokens({2}, 11, 2), options).step_logits.empty());
}

TEST_CASE("generation says what does not fit", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(1);
  GenerationOptions options;
  options.max_length = 0;
  REQUIRE(argument_error([&] { generate(model, {}, options); }) == "generate: max_length: got 0, expected at least 1");
  options.max_length = longest_sequence + 1;
  REQUIRE(argument_error([&] { generate(model, {}, options); }) ==
          "generate: max_length: got 2147483648, expected at most 2147483647");
  options.max_length = 3;
  options.sampling.temperature = 0;
  REQUIRE(argument_error([&] { generate(model, {}, options); }) ==
          "generate: temperature: got 0, expected a positive number");
}

TEST_CASE("nothing is generated from logits that are no numbers", "[generation]") {
  EncoderDecoder<float> model = model_of<float>(1);
  model.lm_head.weight.matrix()(7, 0) = std::numeric_limits<float>::quiet_NaN();
  const TokenBatch source = random_tokens(lengths, 11, 2);
  REQUIRE(argument_error([&] { generate(model, source); }) ==
          "generate: logits: got nan, expected numbers; are the model's weights finite, and none far too large?");
  REQUIRE(argument_error([&] { beam_search(model, source); }) ==
          "beam_search: logits: got nan, expected numbers; are the model's weights finite, and none far too large?");

  EncoderDecoder<float> large = model_of<float>(1);  // of finite weights, which make infinite numbers
  for (Index row = 0; row < large.lm_head.weight.matrix().rows(); ++row)
    large.lm_head.weight.matrix().row(row).setConstant(row % 2 == 0 ? 3e38F : -3e38F);
  REQUIRE_THAT(argument_error([&] { generate(large, source); }), Catch::Matchers::StartsWith("generate: logits: got"));
}

TEST_CASE("what an encoder has read is generated from, whoever read it", "[generation]") {
  const EncoderDecoder<float> model = model_of<float>(3);
  const TokenBatch source = random_tokens(lengths, 11, 5);
  const GenerationOptions options = sampled(12);
  const EncoderOutput<float> encoded = model.encode(source);
  const Generation<float> expected = generate(model, source, options);
  REQUIRE(generate(model, encoded, options).ids == expected.ids);
  REQUIRE(generate(model, encoded, options).encoded.origin == encoded.origin);
  BeamSearchOptions beams;
  beams.max_length = 9;
  REQUIRE(beam_search(model, encoded, beams).best() == beam_search(model, source, beams).best());

  // Rows from elsewhere: nothing is known of them but their vectors.
  EncoderOutput<float> rows;
  rows.hidden = RaggedBatch<float>(encoded.hidden.values, encoded.hidden.offsets);
  REQUIRE(generate(model, rows, options).ids.count() == source.count());
  rows.key_bias = encoded.key_bias;
  REQUIRE(generate(model, rows, options).ids == expected.ids);
  rows.key_bias.push_back(0);
  REQUIRE_THROWS_AS(generate(model, rows, options), std::invalid_argument);
  rows.hidden = RaggedBatch<float>(Matrix<float>(4, 3), SequenceOffsets::single(4));
  rows.key_bias.clear();
  REQUIRE_THROWS_AS(generate(model, rows, options), std::invalid_argument);
  REQUIRE_THROWS_AS(beam_search(model, rows, beams), std::invalid_argument);
}

}  // namespace generation_test
