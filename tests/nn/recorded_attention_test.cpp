#include <merganser/nn/recorded_attention.hpp>

#include <merganser/core/ragged_batch.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace recorded_attention_test {

using namespace merganser;
using namespace merganser::testing;
using nn::MultiHeadAttention;
using nn::RecordedAttention;

constexpr Index heads = 3, width = 4, features = 6;

template <Real Scalar>
struct Scene {
  SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{5, 0, 1, 60});
  MultiHeadAttention<Scalar> layer;
  Matrix<Scalar> x;
  Vector<Position> positions = counting_positions(offsets);
  Vector<Scalar> key_bias;
  Vector<std::uint8_t> hidden;
  nn::DistanceBias<Scalar> bias;
  nn::AttentionContext<Scalar> context;
  typename MultiHeadAttention<Scalar>::Cache cache;

  explicit Scene(nn::ScoreBound bound) : layer({features, heads, width, nn::SoftmaxKind::softmax1, bound}) {
    Rng rng(2);
    randomise(layer, rng);
    x = random_matrix<Scalar>(offsets.total(), features, rng);
    key_bias = random_values<Scalar>(offsets.total(), rng);
    hidden.assign(offsets.total(), 0);
    hidden[1] = hidden[20] = 1;
    bias = {random_matrix<Scalar>(heads, 21, rng), 10};
    context.queries = context.keys = offsets.ranges();
    context.query_positions = context.key_positions = positions;
    context.position_bias = &bias;
    context.key_bias = key_bias;
    context.hidden_keys = hidden;
  }
};

TEMPLATE_TEST_CASE("answers are those of the weights that gave the result", "[RecordedAttention]", float, double) {
  const auto small = static_cast<TestType>(sizeof(TestType) == 4 ? 1e-5 : 1e-13);
  for (const nn::ScoreBound& bound : {nn::ScoreBound::none(), nn::ScoreBound::soft_cap(3)}) {
    Scene<TestType> s(bound);
    const Matrix<TestType> y = s.layer.record(s.x, s.context, s.cache);
    REQUIRE(identical(y, s.layer.forward(s.x, s.x, s.context)));
    const RecordedAttention<TestType> taps(s.layer, s.context, s.cache);
    Rng rng(5);
    for (Index i = 0; i < s.offsets.count(); ++i) {
      const RowRange range = s.offsets.range(i);
      const Vector<TestType> queries = random_values<TestType>(range.length, rng);
      const Matrix<TestType> values = taps.values(i), all = taps.received(i, {}, nn::OwnWeight::counted),
                             some = taps.received(i, queries, nn::OwnWeight::counted);
      REQUIRE(all.cols() == range.length);
      REQUIRE(values.rows() == range.length);
      REQUIRE(taps.mean_keys(i).rows() == range.length);
      if (range.length == 0) continue;
      Matrix<TestType> keys = Matrix<TestType>::Zero(range.length, width);
      for (Index head = 0; head < heads; ++head) {
        const Matrix<TestType> weights = taps.weights(i, head);
        const Matrix<TestType> attended = weights * values.middleCols(head * width, width);
        const Matrix<TestType> expected = s.cache.attended.block(range.begin, head * width, range.length, width);
        REQUIRE((attended - expected).cwiseAbs().maxCoeff() < small);
        Matrix<TestType> sum = Matrix<TestType>::Zero(1, range.length), weighed = sum;
        for (Index t = 0; t < range.length; ++t) {
          sum += weights.row(t);
          weighed += queries[t] * weights.row(t);
          REQUIRE((taps.row(i, t).row(head) - weights.row(t)).cwiseAbs().maxCoeff() < small);
        }
        REQUIRE((all.row(head) - sum).cwiseAbs().maxCoeff() < 40 * small);
        REQUIRE((some.row(head) - weighed).cwiseAbs().maxCoeff() < 40 * small);
        for (Index t = 0; t < range.length; ++t) sum(0, t) -= weights(t, t);
        REQUIRE((taps.received(i, {}, nn::OwnWeight::left_out).row(head) - sum).cwiseAbs().maxCoeff() < 40 * small);
        keys += s.cache.key_values.keys.block(range.begin, head * width, range.length, width);
      }
      keys /= TestType{heads};
      REQUIRE((taps.mean_keys(i) - keys).cwiseAbs().maxCoeff() < small);
    }
  }
}

TEST_CASE("a cache of training answers too, and lengths are checked", "[RecordedAttention]") {
  Scene<double> s(nn::ScoreBound::none());
  s.layer.forward(s.x, s.x, s.context, s.cache);
  const RecordedAttention<double> taps(s.layer, s.context, s.cache);
  REQUIRE(taps.received(0, {}, nn::OwnWeight::counted).sum() > 0);
  REQUIRE_THROWS_AS(taps.received(0, Vector<double>{1}, nn::OwnWeight::counted), std::invalid_argument);
}

}  // namespace recorded_attention_test
