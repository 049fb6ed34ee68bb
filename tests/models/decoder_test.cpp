#include <merganser/models/decoder.hpp>

#include <numeric>
#include <string>
#include <vector>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace decoder_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;

/// A decoder on targets of 2, 4, 1 and 3 tokens that read what an encoder left: 3, 1, 5 and no tokens.
template <Real Scalar>
struct Setup {
  Decoder<Scalar> decoder;
  RaggedBatch<Scalar> embedded;
  EncoderOutput<Scalar> memory;
  Matrix<Scalar> probe;
  std::optional<double> limit = 0.5;

  explicit Setup(const StackConfig& config = tiny_stack(), const Vector<Index>& lengths = {2, 4, 1, 3},
                 const Vector<Index>& memory_lengths = {3, 1, 5, 0})
      : decoder(config) {
    fill_model(decoder, 1);
    Rng rng(2);
    const auto offsets = SequenceOffsets::from_lengths(lengths), kept = SequenceOffsets::from_lengths(memory_lengths);
    embedded = RaggedBatch<Scalar>(random_matrix<Scalar>(offsets.total(), config.width, rng), offsets);
    memory.hidden = RaggedBatch<Scalar>(random_matrix<Scalar>(kept.total(), config.width, rng), kept);
    memory.key_bias = random_values<Scalar>(kept.total(), rng);
    probe = random_matrix<Scalar>(offsets.total(), config.width, rng);
  }

  Matrix<Scalar> forward() const { return decoder.forward(embedded, memory); }

  Matrix<Scalar> forward(typename Decoder<Scalar>::Cache& cache) const {
    Rng rng(7);
    cache.excess_limit = limit;
    return decoder.forward(embedded, memory, rng, cache);
  }

  typename Decoder<Scalar>::InputGradients backward(Decoder<Scalar>& gradients) const {
    typename Decoder<Scalar>::Cache cache;
    forward(cache);
    return decoder.backward(probe, memory, 0.3, cache, gradients);
  }
};

TEST_CASE("the gradients of a decoder agree with finite differences", "[Decoder]") {
  const Threads one(1);
  StackConfig stack = tiny_stack();
  bool biased = true;
  SECTION("two blocks, relative positions") {}
  SECTION("absolute positions, dropout, hidden keys") {
    stack.positions = PositionScheme::absolute;
    stack.dropout = 0.25;
    stack.score_bound = nn::ScoreBound::soft_cap(4);
  }
  SECTION("three blocks, ReLU, no key bias") {
    stack.blocks = 3;
    stack.activation = nn::Activation::relu;
    biased = false;
  }
  Setup<double> s(stack);
  if (stack.dropout > 0) s.memory.hidden_keys = {0, 1, 0, 0, 0, 0, 1, 0, 0};
  if (!biased) s.memory.key_bias.clear();
  Decoder<double>::Cache cache;
  const auto excess = [&] {
    const Vector<double> means = s.decoder.excess_means(cache);
    return std::accumulate(means.begin(), means.end(), 0.0);
  };
  s.limit = limit_between_scores([&](double limit) {
    s.limit = limit;
    s.forward(cache);
    return excess();
  });
  Decoder<double> gradients = zeros_like(s.decoder);
  auto inputs = s.backward(gradients);
  s.forward(cache);
  REQUIRE(kink_margin(cache.blocks, stack.activation) > 0.005);
  REQUIRE(inputs.key_bias.size() == s.memory.key_bias.size());

  auto parameters = parameter_views(s.decoder), analytic = parameter_views(gradients);
  const auto input = [&](const std::string& name, auto& tensor, auto& gradient) {
    parameters.push_back(tensor_view(name, tensor));
    analytic.push_back(tensor_view(name, gradient));
  };
  input("embedded", s.embedded.values, inputs.embedded);
  input("memory", s.memory.hidden.values, inputs.memory);
  Eigen::Map<PlainRowVector<double>> key_bias(s.memory.key_bias.data(), s.memory.key_bias.size());
  Eigen::Map<PlainRowVector<double>> grad_bias(inputs.key_bias.data(), inputs.key_bias.size());
  input("key bias", key_bias, grad_bias);
  require_gradients(
      [&] {
        const Matrix<double> y = s.forward(cache);
        return probe_sum(s.probe, y) + 0.3 * excess();
      },
      parameters, analytic);
}

TEMPLATE_TEST_CASE("a decoder keeps the laws", "[Decoder]", float, double) {
  const Setup<TestType> s, same;
  typename Decoder<TestType>::Cache cache;
  require_forward_agrees([&] { return s.forward(); }, [&] { return s.forward(cache); });
  require_backward_adds(s.decoder, [&](Decoder<TestType>& gradients) { s.backward(gradients); });
  REQUIRE(identical(s.embedded.values, same.embedded.values));
  REQUIRE(identical(s.memory.hidden.values, same.memory.hidden.values));

  const Setup<TestType> large(small_stack(), {70, 1, 0, 33}, {5, 40, 3, 66});
  require_same_bits_with_threads([&] { return large.forward(); });
  require_same_bits_with_threads([&] {
    Decoder<TestType> gradients = zeros_like(large.decoder);
    return large.backward(gradients).memory;
  });
}

TEST_CASE("a decoder in float follows the one in double", "[Decoder]") {
  const Setup<float> single;
  const Setup<double> twice;
  require_float_follows_double([&] { return single.forward(); }, [&] { return twice.forward(); });
}

TEMPLATE_TEST_CASE("one token at a time gives what all at once give", "[Decoder]", float, double) {
  for (const PositionScheme scheme : {PositionScheme::relative, PositionScheme::absolute}) {
    StackConfig stack = tiny_stack();
    stack.positions = scheme;
    Setup<TestType> s(stack, {6, 6, 6}, {3, 0, 5});
    s.memory.hidden_keys = {0, 0, 0, 0, 1, 0, 0, 0};
    const Matrix<TestType> expected = s.forward();
    DecoderState<TestType> state = s.decoder.start(s.memory, 6);
    for (Index t = 0; t < 6; ++t) {
      REQUIRE(state.length == t);
      const Vector<Index> rows{t, 6 + t, 12 + t};
      const Matrix<TestType> y = s.decoder.step(Matrix<TestType>(s.embedded.values(rows, Eigen::all)), state);
      REQUIRE(relative_difference(y, Matrix<TestType>(expected(rows, Eigen::all))) <= agreement<TestType>);
    }
    REQUIRE(argument_error([&] { s.decoder.step(Matrix<TestType>::Zero(3, 6), state); }) ==
            "Decoder::step: state.length: got 6, expected less than the limit of the state");
    REQUIRE(argument_error([&] { s.decoder.step(Matrix<TestType>::Zero(2, 6), state); }) ==
            "Decoder::step: embedded.rows(): got 2, expected 3");
  }
}

TEST_CASE("a decoder without blocks is its norm", "[Decoder]") {
  StackConfig stack = tiny_stack();
  stack.blocks = 0;
  const Setup<double> s(stack);
  REQUIRE(identical(s.forward(), s.decoder.final_norm.forward(s.embedded.values)));
  Decoder<double> gradients = zeros_like(s.decoder);
  REQUIRE(s.backward(gradients).memory.cwiseAbs().maxCoeff() == 0.0);
}

TEST_CASE("the excess is the mean over heads and pairs, 0 without pairs", "[Decoder]") {
  Setup<double> s;
  Decoder<double>::Cache cache;
  s.limit = -1000.0;  // every score is above, so that the mean excess is the mean score + 1000
  s.forward(cache);
  for (const double mean : s.decoder.excess_means(cache)) REQUIRE_THAT(mean, Catch::Matchers::WithinAbs(1000, 20));
  REQUIRE(cache.blocks[0].cross_attention.pairs == 2 * (2 * 3 + 4 * 1 + 1 * 5 + 3 * 0));
  const Setup<double> blind(tiny_stack(), {2, 1}, {0, 0});
  blind.forward(cache);
  REQUIRE(blind.decoder.excess_means(cache) == Vector<double>{0, 0});
}

TEST_CASE("a decoder names its tensors and says what does not fit", "[Decoder]") {
  Setup<float> s;
  const auto views = parameter_views(s.decoder, "decoder.");
  REQUIRE(views.size() == 2 + 2 * 14);
  REQUIRE(views.front().name == "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
  REQUIRE(views[15].name == "decoder.block.1.layer.0.SelfAttention.q.weight");
  REQUIRE(views.back().name == "decoder.final_layer_norm.weight");
  s.memory.hidden.offsets = SequenceOffsets::single(9);
  REQUIRE(argument_error([&] { s.forward(); }) == "Decoder::forward: memory.count(): got 1, expected 4");
  s.embedded.values = Matrix<float>::Zero(10, 5);
  REQUIRE(argument_error([&] { s.forward(); }) == "Decoder::forward: embedded.values.cols(): got 5, expected 6");
}

}  // namespace decoder_test
