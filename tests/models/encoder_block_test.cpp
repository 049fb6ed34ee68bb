#include <merganser/models/encoder_block.hpp>

#include <string>
#include <vector>

#include <merganser/models/position_encoding.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace encoder_block_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;

/// A block on sequences of 3, 0, 1 and 5 tokens, with everything that a context may hold.
template <Real Scalar>
struct Setup {
  StackConfig stack;
  EncoderBlock<Scalar> block;
  SequenceOffsets offsets;
  Vector<Position> positions;
  Vector<Scalar> key_bias;
  Vector<std::uint8_t> hidden;
  nn::DistanceBias<Scalar> bias;
  Matrix<Scalar> x, probe;
  double limit = 0.25;
  bool penalised = true;

  explicit Setup(const StackConfig& config = tiny_stack(), const Vector<Index>& lengths = {3, 0, 1, 5})
      : stack(config),
        block(config),
        offsets(SequenceOffsets::from_lengths(lengths)),
        positions(counting_positions(offsets)),
        hidden(offsets.total(), 0) {
    fill_model(block, 1);
    Rng rng(2);
    key_bias = random_values<Scalar>(offsets.total(), rng);
    hidden[1] = 1;
    PositionEncoding<Scalar> position(config, nn::Direction::both);
    fill_model(position, 3);
    bias = position.bias(positions);
    x = random_matrix<Scalar>(offsets.total(), config.width, rng);
    probe = random_matrix<Scalar>(offsets.total(), config.width, rng);
  }

  nn::AttentionContext<Scalar> context() const {
    nn::AttentionContext<Scalar> result;
    result.queries = result.keys = offsets.ranges();
    result.query_positions = result.key_positions = positions;
    result.position_bias = &bias;
    result.key_bias = key_bias;
    result.hidden_keys = hidden;
    if (penalised) result.excess_limit = &limit;
    return result;
  }

  Matrix<Scalar> forward() const { return block.forward(x, context()); }

  Matrix<Scalar> forward(typename EncoderBlock<Scalar>::Cache& cache) const {
    Rng rng(7);
    return block.forward(x, context(), rng, cache);
  }

  typename EncoderBlock<Scalar>::InputGradients backward(EncoderBlock<Scalar>& gradients,
                                                         nn::DistanceBias<Scalar>* grad_bias = nullptr) const {
    typename EncoderBlock<Scalar>::Cache cache;
    forward(cache);
    return block.backward(probe, context(), cache, gradients, grad_bias, penalised ? 0.3 : 0.0);
  }
};

TEST_CASE("the gradients of an encoder block agree with finite differences", "[EncoderBlock]") {
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
  EncoderBlock<double>::Cache cache;
  s.limit = limit_between_scores([&](double limit) {
    s.limit = limit;
    s.forward(cache);
    return cache.attention.excess;
  });
  EncoderBlock<double> gradients = zeros_like(s.block);
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
  input("position bias", s.bias.values, grad_bias.values);
  Eigen::Map<PlainRowVector<double>> key_bias(s.key_bias.data(), s.offsets.total());
  Eigen::Map<PlainRowVector<double>> grad_key_bias(inputs.key_bias.data(), s.offsets.total());
  input("key bias", key_bias, grad_key_bias);
  require_gradients(
      [&] {
        const Matrix<double> y = s.forward(cache);
        return probe_sum(s.probe, y) + 0.3 * cache.attention.excess;
      },
      parameters, analytic);
}

TEMPLATE_TEST_CASE("an encoder block keeps the laws", "[EncoderBlock]", float, double) {
  const Setup<TestType> s, same;
  typename EncoderBlock<TestType>::Cache cache;
  require_forward_agrees([&] { return s.forward(); }, [&] { return s.forward(cache); });
  require_backward_adds(s.block, [&](EncoderBlock<TestType>& gradients) { s.backward(gradients); });
  REQUIRE(identical(s.x, same.x));
  REQUIRE(numbers_of(s.block) == numbers_of(same.block));

  const Setup<TestType> large(small_stack(), {70, 1, 0, 33});
  require_same_bits_with_threads([&] { return large.forward(); });
  require_same_bits_with_threads([&] {
    EncoderBlock<TestType> gradients = zeros_like(large.block);
    return large.backward(gradients).x;
  });
  require_same_bits_with_threads([&] {
    EncoderBlock<TestType> gradients = zeros_like(large.block);
    large.backward(gradients);
    const auto numbers = numbers_of(gradients);
    return RowVector<TestType>(
        Eigen::Map<const PlainRowVector<TestType>>(numbers.data(), static_cast<Index>(numbers.size())));
  });
}

TEST_CASE("an encoder block in float follows the one in double", "[EncoderBlock]") {
  const Setup<float> single;
  const Setup<double> twice;
  EncoderBlock<float> single_gradients = zeros_like(single.block);
  EncoderBlock<double> double_gradients = zeros_like(twice.block);
  require_float_follows_double([&] { return single.forward(); }, [&] { return twice.forward(); });
  require_float_follows_double([&] { return single.backward(single_gradients).x; },
                               [&] { return twice.backward(double_gradients).x; });
}

TEST_CASE("a hidden key, or one with a bias far below 0, changes no other token", "[EncoderBlock]") {
  Setup<double> s;
  s.penalised = false;
  const Matrix<double> before = s.forward();
  s.x.row(1) *= -3;  // token 1 of sequence 0 is hidden
  const Matrix<double> after = s.forward();
  REQUIRE(identical(Matrix<double>(after.row(0)), Matrix<double>(before.row(0))));
  REQUIRE(identical(Matrix<double>(after.bottomRows(7)), Matrix<double>(before.bottomRows(7))));
  REQUIRE_FALSE(identical(Matrix<double>(after.row(1)), Matrix<double>(before.row(1))));

  s.hidden.assign(9, 0);
  s.key_bias[1] = -1000;
  REQUIRE(identical(Matrix<double>(s.forward().row(0)), Matrix<double>(before.row(0))));
}

TEST_CASE("without bias or tokens an encoder block still works", "[EncoderBlock]") {
  Setup<double> s;
  s.key_bias.clear();
  EncoderBlock<double> gradients = zeros_like(s.block);
  REQUIRE(s.backward(gradients).key_bias.empty());

  const Setup<double> empty(tiny_stack(), {2, 0});
  EncoderBlock<double>::Cache cache;
  Rng rng(1);
  const Matrix<double> nothing(0, 6);
  nn::AttentionContext<double> context;
  REQUIRE(empty.block.forward(nothing, context).rows() == 0);
  REQUIRE(empty.block.forward(nothing, context, rng, cache).rows() == 0);
  REQUIRE(empty.block.backward(nothing, context, cache, gradients, nullptr, 0.0).x.rows() == 0);
}

TEST_CASE("dropout repeats from the state of its generator and never acts at inference", "[EncoderBlock]") {
  StackConfig stack = tiny_stack();
  const Setup<double> plain(stack);
  stack.dropout = 0.5;
  const Setup<double> s(stack);
  EncoderBlock<double>::Cache cache, other;
  REQUIRE(identical(s.forward(cache), s.forward(other)));
  REQUIRE_FALSE(identical(s.forward(cache), s.forward()));
  REQUIRE(identical(s.forward(), plain.forward()));
}

TEST_CASE("an encoder block has the names of T5", "[EncoderBlock]") {
  EncoderBlock<float> block(tiny_stack());
  Vector<std::string> names;
  for (const auto& view : parameter_views(block, "encoder.block.0.")) names.push_back(view.name.substr(16));
  REQUIRE(names == Vector<std::string>{"layer.0.SelfAttention.q.weight", "layer.0.SelfAttention.k.weight",
                                       "layer.0.SelfAttention.v.weight", "layer.0.SelfAttention.o.weight",
                                       "layer.0.layer_norm.weight", "layer.1.DenseReluDense.wi_0.weight",
                                       "layer.1.DenseReluDense.wi_1.weight", "layer.1.DenseReluDense.wo.weight",
                                       "layer.1.layer_norm.weight"});
}

}  // namespace encoder_block_test
