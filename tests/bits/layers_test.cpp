#include <functional>

#include <merganser/nn/feed_forward.hpp>
#include <merganser/nn/multi_head_attention.hpp>
#include <merganser/nn/rms_norm.hpp>

#include "bits/random_shapes.hpp"

namespace layers_test {

using namespace merganser;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("layers give the same bits alone and in a batch, serially and on a pool", "[bits]", float, double) {
  Rng rng(1);
  for (int shape = 0; shape < shapes; ++shape) {
    const Index width = between(1, 300, rng), rows = between(130, 300, rng), hidden = between(1, 200, rng);
    const auto x = random_matrix<TestType>(rows, width, rng), grad = random_matrix<TestType>(rows, width, rng);
    nn::RmsNorm<TestType> norm({width});
    randomise(norm, rng);
    nn::FeedForward<TestType> feed_forward({width, hidden});
    feed_forward.initialize(1.0, rng);

    const std::function<Matrix<TestType>(const Matrix<TestType>&, const Matrix<TestType>&)> ways[] = {
        [&](const auto& in, const auto&) { return norm.forward(in); },
        [&](const auto& in, const auto& g) {
          typename nn::RmsNorm<TestType>::Cache cache;
          norm.forward(in, cache);
          auto gradients = zeros_like(norm);
          return norm.backward(g, cache, gradients);
        },
        [&](const auto& in, const auto&) { return feed_forward.forward(in); },
        [&](const auto& in, const auto& g) {
          typename nn::FeedForward<TestType>::Cache cache;
          Rng none;
          feed_forward.forward(in, none, cache);
          auto gradients = zeros_like(feed_forward);
          return feed_forward.backward(g, cache, gradients);
        }};
    int way = 0;
    for (const auto& run : ways) {
      CAPTURE(shape, width, hidden, rows, way++);
      const auto expected = run(x, grad);
      REQUIRE(same(on_pool(3, [&] { return run(x, grad); }), expected));
      for (const Index row : {Index{0}, Index{1}, rows / 2, rows - 1})
        REQUIRE(same_rows(expected, row, run(x.middleRows(row, 1), grad.middleRows(row, 1))));
    }
  }
}

TEMPLATE_TEST_CASE("input gradients of attention are the same alone and in a batch", "[bits]", float, double) {
  using Attention = nn::MultiHeadAttention<TestType>;
  Rng rng(5);
  for (int shape = 0; shape < shapes; ++shape) {
    const models::StackConfig stack = random_stack(rng);
    Attention attention({stack.width, between(1, 9, rng), between(1, 20, rng), stack.softmax, stack.score_bound});
    attention.initialize(1.0, rng);
    Vector<Index> lengths;
    for (int i = 0; i < 4; ++i) lengths.push_back(between(1, 90, rng));
    const SequenceOffsets offsets = SequenceOffsets::from_lengths(lengths);
    const auto x = random_matrix<TestType>(offsets.total(), stack.width, rng);
    const auto grad = random_matrix<TestType>(offsets.total(), stack.width, rng);
    const Vector<TestType> bias = random_values<TestType>(offsets.total(), rng);
    const auto backward = [&](Index first, Index count) {
      const Index begin = offsets.begin(first), rows = offsets.end(first + count - 1) - begin;
      typename Attention::Context context;
      for (Index i = first; i < first + count; ++i) {
        context.queries.push_back({offsets.begin(i) - begin, offsets.length(i)});
        context.keys.push_back({offsets.begin(i) - begin, offsets.length(i)});
      }
      context.key_bias = RowRange{begin, rows}.of(std::span(bias));
      const Matrix<TestType> input = x.middleRows(begin, rows), grad_y = grad.middleRows(begin, rows);
      typename Attention::Cache cache;
      attention.forward(input, input, context, cache);
      Attention gradients = zeros_like(attention);
      return attention.backward(grad_y, context, cache, gradients);
    };
    const auto together = backward(0, 4);
    const auto pooled = on_pool(3, [&] { return backward(0, 4); });
    CAPTURE(shape, stack.width, attention.config().heads, attention.config().head_width);
    REQUIRE(same(pooled.query_input, together.query_input));
    REQUIRE(same(pooled.memory, together.memory));
    REQUIRE(same(pooled.key_bias, together.key_bias));
    for (Index i = 0; i < 4; ++i) {
      const auto single = backward(i, 1);
      REQUIRE(same_rows(together.query_input, offsets.begin(i), single.query_input));
      REQUIRE(same_rows(together.memory, offsets.begin(i), single.memory));
      REQUIRE(std::memcmp(together.key_bias.data() + offsets.begin(i), single.key_bias.data(),
                          std::span(single.key_bias).size_bytes()) == 0);
    }
  }
}

}  // namespace layers_test
