// Strided pooling: the convolution of norm(x) over groups of rows, and its gradients.
#include <merganser/merge/policies/strided_pooling.hpp>

#include <cstdint>
#include <string>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace strided_pooling_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;

using Rows = Vector<Index>;

const DeletionOptions hard;

template <Real Scalar>
StridedPooling<Scalar> random_pooling(Index width = 4) {
  StridedPooling<Scalar> pooling({width, 3});
  Rng rng(1);
  randomise(pooling, rng);
  return pooling;
}

template <Real Scalar>
struct Setup : PolicyBatch<Scalar> {
  StridedPooling<Scalar> pooling = random_pooling<Scalar>();

  explicit Setup(const Rows& lengths = {7, 0, 1, 9}) : PolicyBatch<Scalar>(lengths, 4) {}

  Reduction<Scalar> run(SizeBias size_bias = SizeBias::none) const {
    PolicyContext<Scalar> context = this->context(hard);
    context.size_bias = size_bias;
    return pooling.forward(this->x, context);
  }
};

TEST_CASE("a strided pooling is the convolution of norm(x)", "[StridedPooling]") {
  const Setup<double> s;
  const auto output = s.run();
  const Compaction<double> groups(strided_plans<double>(s.state.offsets, 3), s.state.offsets);
  REQUIRE(identical(output.x, s.pooling.convolution.forward(s.pooling.norm.forward(s.x), groups)));
  REQUIRE(output.state.offsets == SequenceOffsets::from_lengths(Rows{3, 0, 1, 3}));
  REQUIRE(output.state.positions == Vector<Position>{1, 7, 13, /**/ 1, /**/ 1, 7, 13});
  REQUIRE(output.state.sizes == Vector<double>{3, 3, 1, 1, 3, 3, 3});
  REQUIRE(output.state.key_bias.empty());
  REQUIRE(output.report.group == groups.groups());
  REQUIRE(output.report.scores.empty());
  REQUIRE(output.report.logits.empty());
  REQUIRE(output.report.auxiliaries.empty());
  REQUIRE_FALSE(output.report.is_gate);
}

TEST_CASE("pads are as if they were not there", "[StridedPooling]") {
  Setup<double> s({7, 3});
  s.state.forced = {1, 0, 0, 0, 1, 0, 0, /**/ 1, 1, 1};
  const auto output = s.run();
  REQUIRE(output.report.group == Rows{-1, 0, 0, 0, -1, 1, 1, -1, -1, -1});
  REQUIRE(output.state.offsets == SequenceOffsets::from_lengths(Rows{2, 0}));
  REQUIRE(output.state.sizes == Vector<double>{3, 2});
  REQUIRE(output.state.forced.empty());
}

TEST_CASE("the gradients of a strided pooling agree with finite differences", "[StridedPooling]") {
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
    for (const bool biased : {false, true}) {
      Setup<double> s;
      s.state.hidden.assign(17, 0);
      s.state.hidden[6] = s.state.hidden[10] = 1;
      if (biased) s.age();
      PolicyContext<double> context = s.context(hard);
      context.size_bias = size_bias;
      StridedPooling<double>::Cache cache;
      Rng rng(4);
      const auto output = s.pooling.forward(s.x, context, rng, cache);
      const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
      const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
      StridedPooling<double> gradients = zeros_like(s.pooling);
      auto grad = s.pooling.backward({probe, bias_probe, {}}, cache, gradients);
      auto parameters = parameter_views(s.pooling), analytic = parameter_views(gradients);
      parameters.push_back(tensor_view("x", s.x));
      analytic.push_back(tensor_view("x", grad.x));
      parameters.push_back({"key_bias", s.state.key_bias.data(), 1, s.state.key_bias.size(), true});
      analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
      CAPTURE(static_cast<int>(size_bias), biased);
      require_gradients(
          [&] {
            const auto moved = s.run(size_bias);
            double sum = probe_sum(probe, moved.x);
            for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
            return sum;
          },
          parameters, analytic);
    }
}

TEST_CASE("a strided pooling keeps the laws of policies", "[StridedPooling]") {
  PolicyLaws laws;
  laws.keeps_equal = false;  // a learned convolution
  require_policy_laws([]<Real Scalar>() { return random_pooling<Scalar>(6); }, laws);
  laws.size_bias = SizeBias::log_size;
  laws.options.mode = DeletionMode::none;  // a model does not work without it
  require_policy_laws([]<Real Scalar>() { return random_pooling<Scalar>(6); }, laws);
}

TEST_CASE("a strided pooling of overlapping windows keeps the laws of policies", "[StridedPooling]") {
  require_policy_laws(
      []<Real Scalar>() {
        StridedPooling<Scalar> pooling({.width = 6, .rate = 2, .kernel = 5});
        Rng rng(1);
        randomise(pooling, rng);
        return pooling;
      },
      {.keeps_equal = false});
}

TEST_CASE("a strided pooling adds to its gradients", "[StridedPooling]") {
  const Setup<double> s;
  StridedPooling<double>::Cache cache;
  Rng rng(1);
  const Matrix<double> probe = s.pooling.forward(s.x, s.context(hard), rng, cache).x;
  require_backward_adds(s.pooling, [&](StridedPooling<double>& gradients) {
    s.pooling.backward({probe, {}, {}}, cache, gradients);
  });
}

TEST_CASE("a convolution draws nothing", "[StridedPooling]") {
  const Setup<float> s;
  StridedPooling<float>::Cache cache;
  Rng rng(7), same(7);
  s.pooling.forward(s.x, s.context(hard, &rng));
  s.pooling.forward(s.x, s.context(hard), rng, cache);
  REQUIRE(rng.state() == same.state());
}

TEST_CASE("a strided pooling's parameters have their Hugging Face names", "[StridedPooling]") {
  StridedPooling<float> pooling = random_pooling<float>();
  Vector<std::string> names;
  for (const auto& tensor : parameter_views(pooling)) names.push_back(tensor.name);
  REQUIRE(names ==
          Vector<std::string>{"downsampling_module.conv.weight", "downsampling_module.conv.bias", "down_ln.weight"});
}

TEST_CASE("a strided pooling says what it is", "[StridedPooling]") {
  REQUIRE(StridedPooling<float>::traits.is_structural);
  REQUIRE_FALSE(StridedPooling<float>::traits.is_training_free);
  REQUIRE_FALSE(StridedPooling<float>::traits.has_budget);
  REQUIRE(random_pooling<float>().config().rate == 3);
}

TEST_CASE("settings and shapes of a strided pooling that do not fit are named", "[StridedPooling]") {
  REQUIRE_THAT(argument_error([] { StridedPooling<float>({4, 0}); }), ContainsSubstring("rate: got 0"));
  const Setup<float> s;
  REQUIRE(argument_error([&] { s.pooling.forward(Matrix<float>::Zero(2, 4), s.context(hard)); }) ==
          "StridedPooling::forward: x.rows(): got 2, expected 17");
}

}  // namespace strided_pooling_test
