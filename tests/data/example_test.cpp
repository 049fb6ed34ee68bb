// Examples laid into ragged batches.
#include <merganser/data/example.hpp>

#include <vector>

#include "support/catch.hpp"

namespace example_test {

using namespace merganser;
using data::Batch;
using data::Example;

TEST_CASE("make_batch keeps order, lengths and ids of both sides", "[data][example]") {
  const std::vector<Example> examples{{{5, 6, 7}, {9}}, {{}, {1, 2}}, {{-4}, {}}};
  const Batch batch = data::make_batch(examples);
  REQUIRE(batch.count() == 3);
  CHECK(batch.target.count() == 3);
  CHECK(batch.source.ids == std::vector<TokenId>{5, 6, 7, -4});
  CHECK(batch.target.ids == std::vector<TokenId>{9, 1, 2});
  CHECK(batch.source.offsets == SequenceOffsets::from_offsets({0, 3, 3, 4}));
  CHECK(batch.target.offsets == SequenceOffsets::from_offsets({0, 1, 3, 3}));
  CHECK(examples[0].token_count() == 4);
}

TEST_CASE("A batch of no examples is empty", "[data][example]") {
  const Batch batch = data::make_batch({});
  CHECK(batch.count() == 0);
  CHECK(batch.source.total() == 0);
  CHECK(batch == Batch());
}

TEST_CASE("ExampleSource asks for a callable that draws examples", "[data][example]") {
  const auto draw = [](Rng&) { return Example(); };
  const auto no_example = [](Rng&) { return 3; };
  STATIC_REQUIRE(data::ExampleSource<decltype(draw)>);
  STATIC_REQUIRE_FALSE(data::ExampleSource<decltype(no_example)>);
  STATIC_REQUIRE_FALSE(data::ExampleSource<int>);
}

}  // namespace example_test
