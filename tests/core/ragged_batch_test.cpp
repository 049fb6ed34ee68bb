#include <merganser/core/ragged_batch.hpp>

#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace ragged_batch_test {

using namespace merganser;

SequenceOffsets offsets_of(const std::vector<Index>& lengths) { return SequenceOffsets::from_lengths(lengths); }
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

TEST_CASE("a moved-from batch is empty and usable", "[RaggedBatch]") {
  TokenBatch tokens = TokenBatch::from_sequences({{5, 6}, {7}});
  const TokenBatch taken = std::move(tokens);
  REQUIRE((taken.count() == 2 && tokens == TokenBatch()));
  tokens.push_back(taken.sequence(1));
  REQUIRE(tokens == TokenBatch::from_sequences({{7}}));
  RaggedBatch<float> batch(Matrix<float>::Ones(3, 2), offsets_of({2, 1}));
  const RaggedBatch<float> other = std::move(batch);
  REQUIRE((other.total() == 3 && batch.count() == 0 && batch.total() == 0));
  REQUIRE((batch.values.rows() == 0 && batch.positions.empty()));
  batch = other;
  REQUIRE(batch.sequence(1) == other.sequence(1));
}

TEST_CASE("a sequence that is not there is refused", "[RaggedBatch]") {
  const RaggedBatch<float> batch(Matrix<float>::Zero(3, 2), offsets_of({2, 1}));
  REQUIRE_THROWS_WITH(batch.sequence(2), "RaggedBatch::sequence: sequence: got 2, expected a number of a sequence");
  REQUIRE_THROWS_AS(batch.sequence(-1), std::invalid_argument);
  TokenBatch tokens = TokenBatch::from_sequences({{5, 6}, {7}});
  REQUIRE_THROWS_WITH(tokens.sequence(2), "TokenBatch::sequence: sequence: got 2, expected a number of a sequence");
  tokens.ids.pop_back();
  REQUIRE_THROWS_WITH(tokens.sequence(0), "TokenBatch::sequence: ids.size(): got 2, expected 3");
  REQUIRE_THROWS_WITH(RaggedBatch<float>(Matrix<float>::Zero(2, 2), offsets_of({2}), {0, -1}),
                      "RaggedBatch: positions: got -1, expected positions from 0 on");
}

template <class Batch>
concept HandsOutViews = requires(Batch&& batch) {
  std::forward<Batch>(batch).sequence(0);
};

TEST_CASE("a temporary batch hands out no views", "[RaggedBatch]") {
  static_assert(HandsOutViews<TokenBatch&> && HandsOutViews<const TokenBatch&>);
  static_assert(!HandsOutViews<TokenBatch> && !HandsOutViews<const TokenBatch>);
  static_assert(HandsOutViews<RaggedBatch<float>&> && !HandsOutViews<RaggedBatch<float>>);
}

}  // namespace ragged_batch_test
