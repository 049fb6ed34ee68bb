#include <merganser/core/ragged_batch.hpp>

#include <vector>

#include "support/catch.hpp"

using namespace merganser;

namespace {
SequenceOffsets offsets_of(const std::vector<Index>& lengths) { return SequenceOffsets::from_lengths(lengths); }
}  // namespace

TEST_CASE("positions count from 0 in every sequence", "[RaggedBatch]") {
  REQUIRE(counting_positions(offsets_of({3, 0, 1, 2})) == std::vector<Position>{0, 1, 2, 0, 0, 1});
  REQUIRE(counting_positions(SequenceOffsets()).empty());
}

TEST_CASE("a token batch lays sequences one after the other", "[TokenBatch]") {
  const std::vector<std::vector<TokenId>> sequences = {{5, 6, 7}, {}, {8}};
  const TokenBatch batch = TokenBatch::from_sequences(sequences);
  REQUIRE(batch.count() == 3);
  REQUIRE(batch.total() == 4);
  REQUIRE(batch.ids == std::vector<TokenId>{5, 6, 7, 8});
  for (Index i = 0; i < 3; ++i) {
    const auto view = batch.sequence(i);
    REQUIRE(std::vector<TokenId>(view.begin(), view.end()) == sequences[static_cast<std::size_t>(i)]);
  }

  TokenBatch grown;
  REQUIRE(grown == TokenBatch::from_sequences({}));
  for (const auto& sequence : sequences) grown.push_back(sequence);
  REQUIRE(grown == batch);
  grown.ids[0] = 4;
  REQUIRE_FALSE(grown == batch);
}

TEMPLATE_TEST_CASE("a ragged batch gives each sequence its rows", "[RaggedBatch]", float, double) {
  Matrix<TestType> values(4, 2);
  values << 1, 2, 3, 4, 5, 6, 7, 8;
  const RaggedBatch<TestType> batch(values, offsets_of({1, 0, 3}));
  REQUIRE(batch.count() == 3);
  REQUIRE(batch.total() == 4);
  REQUIRE(batch.positions == std::vector<Position>{0, 0, 1, 2});
  REQUIRE(batch.sequence(0) == values.topRows(1));
  REQUIRE(batch.sequence(1).rows() == 0);
  REQUIRE(batch.sequence(1).cols() == 2);
  REQUIRE(batch.sequence(2) == values.bottomRows(3));
  REQUIRE(batch.sequence(2).data() == batch.values.data() + 2);  // a view, not a copy
}

TEST_CASE("a ragged batch keeps the positions it is given", "[RaggedBatch]") {
  const RaggedBatch<float> batch(Matrix<float>::Zero(3, 2), offsets_of({2, 1}), {4, 9, 100});
  REQUIRE(batch.positions == std::vector<Position>{4, 9, 100});
}

TEST_CASE("an empty ragged batch", "[RaggedBatch]") {
  const RaggedBatch<float> none;
  REQUIRE(none.count() == 0);
  REQUIRE(none.total() == 0);
  const RaggedBatch<float> wide(Matrix<float>(0, 5), SequenceOffsets());
  REQUIRE(wide.values.cols() == 5);
}

TEST_CASE("rows, offsets and positions must agree", "[RaggedBatch]") {
  REQUIRE_THROWS_WITH(RaggedBatch<float>(Matrix<float>::Zero(3, 2), offsets_of({2, 2})),
                      "RaggedBatch: values.rows(): got 3, expected 4");
  REQUIRE_THROWS_WITH(RaggedBatch<float>(Matrix<float>::Zero(4, 2), offsets_of({2, 2}), {0, 1, 0}),
                      "RaggedBatch: positions.size(): got 3, expected 4");
}
