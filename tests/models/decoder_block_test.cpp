#include <merganser/models/decoder_block.hpp>

#include <string>
#include <vector>

#include <merganser/models/position_encoding.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace decoder_block_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;

/// A block on targets of 2, 4, 0 and 3 tokens that read memories of 3, 0, 1 and 5.
template <Real Scalar>
struct Setup {
  DecoderBlock<Scalar> block;
  SequenceOffsets offsets, memory_offsets;
  Vector<Position> positions;
  Vector<Scalar> key_bias;
  nn::DistanceBias<Scalar> bias;
  Matrix<Scalar> x, memory, probe;
  double limit = 0.25;

  explicit Setup(const StackConfig& config = tiny_stack(), const Vector<Index>& lengths = {2, 4, 0, 3},
                 const Vector<Index>& memory_lengths = {3, 0, 1, 5})
      : block(config),
        offsets(SequenceOffsets::from_lengths(lengths)),
        memory_offsets(SequenceOffsets::from_lengths(memory_lengths)),
        positions(counting_positions(offsets)) {
    fill_model(block, 1);
    Rng rng(2);
    PositionEncoding<Scalar> position(config, nn::Direction::backward);
    fill_model(position, 3);
    bias = position.bias(positions);
    key_bias = random_values<Scalar>(memory_offsets.total(), rng);
    x = random_matrix<Scalar>(offsets.total(), config.width, rng);
    memory = random_matrix<Scalar>(memory_offsets.total(), config.width, rng);
    probe = random_matrix<Scalar>(offsets.total(), config.width, rng);
  }

  nn::AttentionContext<Scalar> self() const {
    nn::AttentionContext<Scalar> context;
    context.queries = context.keys = offsets.ranges();
    context.query_positions = context.key_positions = positions;
    context.position_bias = &bias;
    context.visibility = nn::Visibility::causal;
    return context;
  }

  nn::AttentionContext<Scalar> cross() const {
    nn::AttentionContext<Scalar> context;
    context.queries = offsets.ranges();
    context.keys = memory_offsets.ranges();
    context.key_bias = key_bias;
    context.excess_limit = &limit;
    return context;
  }

  Matrix<Scalar> forward() const { return block.forward(x, self(), memory, cross()); }

  Matrix<Scalar> forward(typename DecoderBlock<Scalar>::Cache& cache) const {
    Rng rng(7);
    return block.forward(x, self(), memory, cross(), rng, cache);
  }

  typename DecoderBlock<Scalar>::InputGradients backward(DecoderBlock<Scalar>& gradients,
                                                         nn::DistanceBias<Scalar>* grad_bias = nullptr) const {
    typename DecoderBlock<Scalar>::Cache cache;
    forward(cache);
    return block.backward(probe, self(), cross(), cache, gradients, grad_bias, 0.3);
  }
};

TEST_CASE("the gradients of a decoder block agree with finite differences", "[DecoderBlock]") {
  const Threads one(1);
  StackConfig stack = tiny_stack();
  SECTION("gated GELU, softmax1, unbounded") {}
  SECTION("ReLU, softmax, soft cap") {
    stack.activation = nn::Activation::relu;
    stack.softmax = nn::SoftmaxKind::softmax;
    stack.score_bound = nn::ScoreBound::soft_cap(3);
  }
  SECTION("normalised, dropout") {
    stack.score_bound = nn::ScoreBound::normalised(5);
    stack.dropout = 0.3;
  }
  Setup<double> s(stack);
  DecoderBlock<double>::Cache cache;
  s.limit = limit_between_scores([&](double limit) {
    s.limit = limit;
    s.forward(cache);
    return cache.cross_attention.excess;
  });
  DecoderBlock<double> gradients = zeros_like(s.block);
  nn::DistanceBias<double> grad_bias{Matrix<double>::Zero(s.bias.values.rows(), s.bias.values.cols()), s.bias.radius};
  auto inputs = s.backward(gradients, &grad_bias);
  s.forward(cache);
  REQUIRE(kink_margin(std::vector{cache}, stack.activation) > 0.005);

  auto parameters = parameter_views(s.block), analytic = parameter_views(gradients);
  const auto input = [&](const std::string& name, auto& tensor, auto& gradient) {
    parameters.push_back(tensor_view(name, tensor));
    analytic.push_back(tensor_view(name, gradient));
  };
  input("x", s.x, inputs.x);
  input("memory", s.memory, inputs.memory);
  input("position bias", s.bias.values, grad_bias.values);
  Eigen::Map<PlainRowVector<double>> key_bias(s.key_bias.data(), s.memory_offsets.total());
  Eigen::Map<PlainRowVector<double>> grad_key_bias(inputs.key_bias.data(), s.memory_offsets.total());
  input("key bias", key_bias, grad_key_bias);
  require_gradients(
      [&] {
        const Matrix<double> y = s.forward(cache);
        return probe_sum(s.probe, y) + 0.3 * cache.cross_attention.excess;
      },
      parameters, analytic);
}

TEMPLATE_TEST_CASE("a decoder block keeps the laws", "[DecoderBlock]", float, double) {
  const Setup<TestType> s, same;
  typename DecoderBlock<TestType>::Cache cache;
  require_forward_agrees([&] { return s.forward(); }, [&] { return s.forward(cache); });
  require_backward_adds(s.block, [&](DecoderBlock<TestType>& gradients) { s.backward(gradients); });
  REQUIRE(identical(s.x, same.x));
  REQUIRE(identical(s.memory, same.memory));

  const Setup<TestType> large(small_stack(), {70, 1, 0, 33}, {5, 40, 3, 66});
  require_same_bits_with_threads([&] { return large.forward(); });
  require_same_bits_with_threads([&] {
    DecoderBlock<TestType> gradients = zeros_like(large.block);
    return large.backward(gradients).memory;
  });
}

TEST_CASE("a decoder block in float follows the one in double", "[DecoderBlock]") {
  const Setup<float> single;
  const Setup<double> twice;
  require_float_follows_double([&] { return single.forward(); }, [&] { return twice.forward(); });
}

TEST_CASE("a token of the decoder sees none behind it and only its own memory", "[DecoderBlock]") {
  Setup<double> s;
  const Matrix<double> before = s.forward();
  s.x.row(4) *= -2;  // token 2 of sequence 1, rows 2 to 5
  Matrix<double> after = s.forward();
  REQUIRE(identical(Matrix<double>(after.topRows(4)), Matrix<double>(before.topRows(4))));
  REQUIRE(identical(Matrix<double>(after.bottomRows(3)), Matrix<double>(before.bottomRows(3))));
  REQUIRE_FALSE(identical(Matrix<double>(after.row(5)), Matrix<double>(before.row(5))));

  s = Setup<double>();
  s.memory.topRows(3) *= -2;
  after = s.forward();
  REQUIRE_FALSE(identical(Matrix<double>(after.topRows(2)), Matrix<double>(before.topRows(2))));
  REQUIRE(identical(Matrix<double>(after.bottomRows(7)), Matrix<double>(before.bottomRows(7))));
}

TEST_CASE("tokens one at a time give the same as all at once", "[DecoderBlock]") {
  const Setup<double> s(tiny_stack(), {4, 4}, {3, 0});
  const Matrix<double> expected = s.forward();
  const Index capacity = 5;
  nn::KeyValues<double> own{Matrix<double>::Zero(2 * capacity, 8), Matrix<double>::Zero(2 * capacity, 8), {}};
  const nn::KeyValues<double> memory = s.block.cross_attention.project(s.memory);
  const Vector<Position> key_positions{0, 1, 2, 3, 4, 0, 1, 2, 3, 4};
  for (Index t = 0; t < 4; ++t) {
    const Vector<Position> now(2, static_cast<Position>(t));
    nn::AttentionContext<double> self, cross = s.cross();
    self.queries = cross.queries = {{0, 1}, {1, 1}};
    self.keys = {{0, t + 1}, {capacity, t + 1}};
    self.query_positions = now;
    self.key_positions = key_positions;
    self.position_bias = &s.bias;
    Matrix<double> x(2, 6);
    x << s.x.row(t), s.x.row(4 + t);
    const Matrix<double> y = s.block.step(x, self, own, {t, capacity + t}, memory, cross);
    REQUIRE(relative_difference(Matrix<double>(y.row(0)), Matrix<double>(expected.row(t))) <= agreement<double>);
    REQUIRE(relative_difference(Matrix<double>(y.row(1)), Matrix<double>(expected.row(4 + t))) <= agreement<double>);
  }
}

TEST_CASE("a decoder block has the names of T5", "[DecoderBlock]") {
  DecoderBlock<float> block(tiny_stack());
  Vector<std::string> names;
  for (const auto& view : parameter_views(block)) names.push_back(view.name);
  REQUIRE(names == Vector<std::string>{"layer.0.SelfAttention.q.weight", "layer.0.SelfAttention.k.weight",
                                       "layer.0.SelfAttention.v.weight", "layer.0.SelfAttention.o.weight",
                                       "layer.0.layer_norm.weight", "layer.1.EncDecAttention.q.weight",
                                       "layer.1.EncDecAttention.k.weight", "layer.1.EncDecAttention.v.weight",
                                       "layer.1.EncDecAttention.o.weight", "layer.1.layer_norm.weight",
                                       "layer.2.DenseReluDense.wi_0.weight", "layer.2.DenseReluDense.wi_1.weight",
                                       "layer.2.DenseReluDense.wo.weight", "layer.2.layer_norm.weight"});
}

}  // namespace decoder_block_test
