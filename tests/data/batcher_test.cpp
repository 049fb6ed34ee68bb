// Batches: drawn afresh, and length-bucketed epochs that repeat and resume.
#include <merganser/data/batcher.hpp>

#include <algorithm>
#include <vector>

#include "support/catch.hpp"

namespace batcher_test {

using namespace merganser;
using data::Batch;
using data::Example;
using data::LengthBucketedBatches;

using Ids = std::vector<TokenId>;

/// Examples whose first source id is their number, with lengths from 1 to 60.
std::vector<Example> numbered_examples(Index count) {
  Rng rng(21);
  std::vector<Example> examples;
  for (Index i = 0; i < count; ++i) {
    Example example{Ids(1 + rng.below(40), 7), Ids(rng.below(20), 9)};
    example.source[0] = static_cast<TokenId>(i);
    examples.push_back(example);
  }
  return examples;
}

TokenId number_of(const Batch& batch, Index i) { return batch.source.sequence(i)[0]; }

Ids numbers_of(const Batch& batch) {
  Ids numbers;
  for (Index i = 0; i < batch.count(); ++i) numbers.push_back(number_of(batch, i));
  return numbers;
}

/// The numbers of one whole epoch, batch after batch.
Ids run_epoch(LengthBucketedBatches& batches) {
  Ids numbers;
  for (Index left = batches.batches_in_epoch(); left > 0; --left)
    for (const TokenId number : numbers_of(batches.next())) numbers.push_back(number);
  return numbers;
}

Ids counting(Index count) {
  Ids numbers;
  for (Index i = 0; i < count; ++i) numbers.push_back(static_cast<TokenId>(i));
  return numbers;
}

Ids sorted(Ids numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

TEST_CASE("A random batch draws its examples one after the other", "[data][batcher]") {
  const auto source = [](Rng& rng) { return Example{{static_cast<TokenId>(rng.below(1000))}, {1}}; };
  Rng rng(3);
  Rng replay(3);
  const Batch batch = data::make_random_batch(source, 5, rng);
  REQUIRE(batch.count() == 5);
  for (Index i = 0; i < 5; ++i) CHECK(number_of(batch, i) == source(replay).source[0]);
  CHECK(rng.state() == replay.state());
  CHECK_THROWS_AS(data::make_random_batch(source, 0, rng), std::invalid_argument);

  int calls = 0;
  auto counting_source = [&calls](Rng&) {
    ++calls;
    return Example();
  };
  CHECK(data::make_random_batch(counting_source, 4, rng).count() == 4);
  CHECK(calls == 4);
}

TEST_CASE("Every epoch has every example exactly once, whole", "[data][batcher]") {
  const std::vector<Example> examples = numbered_examples(103);
  LengthBucketedBatches batches(examples, {.batch_size = 8, .max_tokens = 200, .seed = 5});
  std::vector<Ids> epochs;
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    CHECK(batches.state().epoch == epoch);
    CHECK(batches.state().position == 0);
    epochs.push_back(run_epoch(batches));
    CHECK(sorted(epochs.back()) == counting(103));
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] != epochs[2]);

  const Batch batch = batches.next();
  for (Index i = 0; i < batch.count(); ++i) {
    const Example& example = examples[static_cast<std::size_t>(number_of(batch, i))];
    CHECK(std::ranges::equal(batch.source.sequence(i), example.source));
    CHECK(std::ranges::equal(batch.target.sequence(i), example.target));
  }
}

TEST_CASE("Batches keep both limits", "[data][batcher]") {
  LengthBucketedBatches batches(numbered_examples(200), {.batch_size = 6, .max_tokens = 130});
  bool sequences_bind = false;
  bool tokens_bind = false;
  for (Index left = batches.batches_in_epoch(); left > 0; --left) {
    const Batch batch = batches.next();
    REQUIRE(batch.count() >= 1);
    REQUIRE(batch.count() <= 6);
    REQUIRE(batch.source.total() + batch.target.total() <= 130);
    sequences_bind = sequences_bind || batch.count() == 6;
    tokens_bind = tokens_bind || batch.count() == 3;
  }
  CHECK(sequences_bind);
  CHECK(tokens_bind);
}

TEST_CASE("An example above the token limit goes alone", "[data][batcher]") {
  std::vector<Example> examples{{Ids(50, 0), {1}}, {{1, 1}, {}}, {{2, 2}, {}}};
  LengthBucketedBatches batches(examples, {.batch_size = 4, .max_tokens = 10});
  REQUIRE(batches.batches_in_epoch() == 2);
  for (int i = 0; i < 2; ++i) {
    const Batch batch = batches.next();
    CHECK(batch.count() == (number_of(batch, 0) == 0 ? 1 : 2));
  }
}

TEST_CASE("Similar lengths come together, but not always the same ones", "[data][batcher]") {
  const std::vector<Example> examples = numbered_examples(320);
  LengthBucketedBatches batches(examples, {.batch_size = 16, .bucket_width = 4});
  REQUIRE(batches.batches_in_epoch() == 20);
  Index widest = 0;
  std::vector<Ids> first_epoch;
  for (int i = 0; i < 20; ++i) {
    const Batch batch = batches.next();
    Index shortest = 1000;
    Index longest = 0;
    for (Index k = 0; k < batch.count(); ++k) {
      const Index tokens = batch.source.offsets.length(k) + batch.target.offsets.length(k);
      shortest = std::min(shortest, tokens);
      longest = std::max(longest, tokens);
    }
    widest = std::max(widest, longest - shortest);
    first_epoch.push_back(sorted(numbers_of(batch)));
  }
  // Lengths spread over about 60 tokens; the ends of the range are thin, so their batches span a few buckets.
  CHECK(widest <= 16);
  int repeated = 0;
  for (int i = 0; i < 20; ++i) {
    const Ids batch = sorted(numbers_of(batches.next()));
    repeated += static_cast<int>(std::count(first_epoch.begin(), first_epoch.end(), batch));
  }
  CHECK(repeated <= 2);
}

TEST_CASE("A bucket is finer than the whole range only if asked", "[data][batcher]") {
  std::vector<Example> examples;
  for (TokenId i = 0; i < 12; ++i) examples.push_back({Ids(static_cast<std::size_t>(12 - i), i), {}});
  LengthBucketedBatches batches(examples, {.batch_size = 3, .bucket_width = 1});
  for (int i = 0; i < 4; ++i) {
    const Ids numbers = sorted(numbers_of(batches.next()));
    REQUIRE(numbers.size() == 3);
    CHECK(numbers[0] % 3 == 0);
    CHECK(numbers[2] == numbers[0] + 2);
  }
}

TEST_CASE("The order depends on the seed alone", "[data][batcher]") {
  const std::vector<Example> examples = numbered_examples(60);
  LengthBucketedBatches first(examples, {.batch_size = 7, .seed = 1});
  LengthBucketedBatches second(examples, {.batch_size = 7, .seed = 1});
  LengthBucketedBatches other(examples, {.batch_size = 7, .seed = 2});
  const Ids order = run_epoch(first);
  CHECK(order == run_epoch(second));
  CHECK(order != run_epoch(other));
}

TEST_CASE("A stored state goes on where it stood", "[data][batcher]") {
  const std::vector<Example> examples = numbered_examples(50);
  const LengthBucketedBatches::Config config{.batch_size = 4, .seed = 77};
  LengthBucketedBatches batches(examples, config);
  for (int step = 0; step < 40; ++step) {
    const LengthBucketedBatches::State state = batches.state();
    LengthBucketedBatches resumed(examples, {.batch_size = 4, .seed = 0});
    resumed.resume(state);
    CHECK(resumed.state() == state);
    LengthBucketedBatches ahead = batches;
    for (int k = 0; k < 15; ++k) REQUIRE(resumed.next() == ahead.next());
    batches.next();
  }
  CHECK(batches.state().epoch > 2);
}

TEST_CASE("A state that does not fit is refused and changes nothing", "[data][batcher]") {
  LengthBucketedBatches batches(numbered_examples(10), {.batch_size = 4});
  batches.next();
  LengthBucketedBatches untouched = batches;
  CHECK_THROWS_AS(batches.resume({.seed = 0, .epoch = 0, .position = 3}), std::invalid_argument);
  CHECK_THROWS_AS(batches.resume({.seed = 9, .epoch = 4, .position = -1}), std::invalid_argument);
  CHECK(batches.state() == untouched.state());
  CHECK(batches.next() == untouched.next());
}

TEST_CASE("Bucketed batches refuse nothing to do", "[data][batcher]") {
  const std::vector<Example> examples = numbered_examples(3);
  CHECK_THROWS_AS(LengthBucketedBatches({}, {}), std::invalid_argument);
  CHECK_THROWS_AS(LengthBucketedBatches(examples, {.batch_size = 0}), std::invalid_argument);
  CHECK_THROWS_AS(LengthBucketedBatches(examples, {.max_tokens = 0}), std::invalid_argument);
  CHECK_THROWS_AS(LengthBucketedBatches(examples, {.bucket_width = 0}), std::invalid_argument);
}

TEST_CASE("Empty and single examples make batches", "[data][batcher]") {
  LengthBucketedBatches batches({Example()}, {});
  for (int i = 0; i < 3; ++i) {
    const Batch batch = batches.next();
    CHECK(batch.count() == 1);
    CHECK(batch.source.total() == 0);
  }
  CHECK(batches.state() == LengthBucketedBatches::State{0, 3, 0});
}

}  // namespace batcher_test
