#include <merganser/nn/attention_context.hpp>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace merganser::nn {
namespace attention_context_test {

AttentionContext<double> two_sequences() {
  AttentionContext<double> context;
  context.queries = {{0, 2}, {2, 1}};
  context.keys = {{0, 3}, {3, 4}};
  return context;
}

TEST_CASE("a context that fits its rows passes") {
  CHECK_NOTHROW(two_sequences().check("here", 3, 7, 2));
  CHECK_NOTHROW(AttentionContext<double>().check("here", 0, 0, 1));
}

TEST_CASE("every misfit of a context is an error that names the place and the argument") {
  AttentionContext<double> context = two_sequences();
  const auto message = [&](Index query_rows, Index key_rows) -> std::string {
    try {
      context.check("here", query_rows, key_rows, 2);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(message(2, 7).starts_with("here: context.queries"));
  CHECK(message(3, 6).starts_with("here: context.keys"));
  context.queries.pop_back();
  CHECK(message(3, 7).starts_with("here: context.keys.size()"));
  context = two_sequences();
  const Vector<double> bias(6, 0.0);
  context.key_bias = bias;
  CHECK(message(3, 7).starts_with("here: context.key_bias.size(): got 6, expected 7"));
  context = two_sequences();
  context.visibility = Visibility::causal;  // needs positions
  CHECK(message(3, 7).starts_with("here: context.query_positions.size(): got 0, expected 3"));
  context = two_sequences();
  const DistanceBias<double> three_heads{Matrix<double>::Zero(3, 5), 2};
  const Vector<Position> queries{0, 1, 0}, keys{0, 1, 2, 0, 1, 2, 3};
  context.position_bias = &three_heads;
  context.query_positions = queries;
  context.key_positions = keys;
  CHECK(message(3, 7).starts_with("here: heads of the position bias: got 3, expected 2"));
  const DistanceBias<double> short_of_one{Matrix<double>::Zero(2, 4), 2};
  context.position_bias = &short_of_one;
  CHECK(message(3, 7) == "here: radius of the position bias: got 2, expected (4 distances - 1) / 2");
  const DistanceBias<double> negative{Matrix<double>::Zero(2, 5), -2};
  context.position_bias = &negative;
  CHECK(message(3, 7).starts_with("here: radius of the position bias: got -2"));
  const Vector<Position> before_the_first{0, -1, 0};
  context.query_positions = before_the_first;
  CHECK(message(3, 7) == "here: context.query_positions: got -1, expected positions from 0 on");
  context = two_sequences();
  context.queries[1] = {1, 2};
  CHECK(message(3, 7) == "here: context.queries: got rows of two sequences, expected rows of one each");
  context = two_sequences();
  context.keys = {{0, 3}, {0, 3}};  // as beams do
  CHECK(message(3, 7) == "no error");
  constexpr Index most = std::numeric_limits<Index>::max();
  context.keys[1] = {most, most};
  CHECK(message(3, 7).starts_with("here: context.keys: got"));
}

TEST_CASE("every head of every sequence that has queries and keys is visited once, with its own blocks") {
  AttentionContext<double> context = two_sequences();
  context.queries.push_back({3, 2});
  context.keys.push_back({7, 0});  // nothing to read
  CHECK(context.pairs() == 2 * 3 + 1 * 4);
  constexpr Index heads = 3, width = 2;
  Matrix<double> queries = Matrix<double>::Zero(5, heads * width), keys = Matrix<double>::Zero(7, heads * width);
  Vector<int> visits(9, 0);
  context.for_each_head(heads, width, [&](const HeadOfSequence& part, Index task) {
    ++visits[task];
    CHECK(part.head == task % heads);
    CHECK(part.queries == context.queries[task / heads]);
    part.query_block(queries).array() += static_cast<double>(task + 1);
    part.key_block(keys).array() += static_cast<double>(task + 1);
  });
  CHECK(visits == Vector<int>{1, 1, 1, 1, 1, 1, 0, 0, 0});
  for (Index head = 0; head < heads; ++head) {
    const auto first = static_cast<double>(head + 1), second = static_cast<double>(heads + head + 1);
    for (Index row = 0; row < 5; ++row) CHECK(queries(row, 2 * head) == (row < 2 ? first : row < 3 ? second : 0));
    for (Index row = 0; row < 7; ++row) CHECK(keys(row, 2 * head + 1) == (row < 3 ? first : second));
  }
}

TEST_CASE("a head gets the positions, biases and hidden keys of its sequence") {
  AttentionContext<double> context = two_sequences();
  const HeadOfSequence part{1, 4, context.queries[1], context.keys[1]};
  const auto bare = context.head_scores(part);
  CHECK(bare.distance_bias == nullptr);
  CHECK(bare.key_bias.empty());
  CHECK(bare.hidden_keys.empty());
  CHECK(bare.query_positions.empty());

  const Vector<Position> queries{0, 1, 5}, keys{0, 1, 2, 3, 4, 5, 6};
  const Vector<double> bias{0, 1, 2, 3, 4, 5, 6};
  const Vector<std::uint8_t> hidden{0, 0, 0, 1, 0, 0, 0};
  const DistanceBias<double> distances{Matrix<double>::Random(2, 5), 2};
  context.query_positions = queries;
  context.key_positions = keys;
  context.key_bias = bias;
  context.hidden_keys = hidden;
  context.position_bias = &distances;
  context.visibility = Visibility::causal;
  const auto scores = context.head_scores(part);
  CHECK_NOTHROW(scores.check("here", 1, 4));
  CHECK(scores.visibility == Visibility::causal);
  CHECK(scores.query_positions.front() == 5);
  CHECK(scores.key_positions.front() == 3);
  CHECK(scores.key_bias.front() == 3);
  CHECK(scores.hidden_keys.front() == 1);
  CHECK(scores.distance_bias == distances.values.row(1).data());
  CHECK(scores.radius == 2);
}

}  // namespace attention_context_test
}  // namespace merganser::nn
