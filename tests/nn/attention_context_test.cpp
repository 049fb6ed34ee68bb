#include <merganser/nn/attention_context.hpp>

#include <limits>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

namespace merganser::nn {
namespace {

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

}  // namespace
}  // namespace merganser::nn
