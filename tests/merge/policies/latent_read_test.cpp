#include <merganser/merge/policies/latent_read.hpp>

#include <cmath>
#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace latent_read_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;

const DeletionOptions hard;

template <Real Scalar>
LatentRead<Scalar> random_policy(typename LatentRead<Scalar>::Config config) {
  LatentRead<Scalar> policy(config);
  Rng rng(1);
  randomise(policy, rng);
  return policy;
}

struct Setup : PolicyBatch<double> {
  LatentRead<double> policy;

  explicit Setup(Index rate, Index heads = 2)
      : PolicyBatch<double>({7, 0, 1, 9}, 4),
        policy(random_policy<double>({.width = 4, .rate = rate, .latents = 2, .heads = heads})) {}

  Reduction<double> run(SizeBias size_bias = SizeBias::none) const {
    PolicyContext<double> context = this->context(hard);
    context.size_bias = size_bias;
    return policy.forward(x, context);
  }
};

/// What a query reads of the rows [begin, begin + count), in plain loops.
RowVector<double> slow_read(const Setup& s, Index query, Index begin, Index count) {
  const LatentRead<double>& p = s.policy;
  const Index width = 4 / p.config().heads;
  RowVector<double> read = RowVector<double>::Zero(4);
  for (Index column = 0; column < 4; column += width) {
    double sum = 0;
    for (Index t = begin; t < begin + count; ++t) {
      const RowVector<double> normed =
          (s.x.row(t).array() * p.norm.scale.array() / std::sqrt(s.x.row(t).squaredNorm() / 4 + 1e-6)).matrix();
      const RowVector<double> key = normed * p.keys.weight.matrix().transpose();
      const RowVector<double> value = normed * p.values.weight.matrix().transpose();
      double score = s.state.key_bias.empty() ? 0 : s.state.key_bias[t];
      for (Index c = column; c < column + width; ++c)
        score += p.queries(query, c) * key[c] / std::sqrt(static_cast<double>(width));
      sum += std::exp(score);
      for (Index c = column; c < column + width; ++c) read[c] += std::exp(score) * value[c];
    }
    for (Index c = column; c < column + width; ++c) read[c] /= sum;
  }
  return read * p.output.weight.matrix().transpose();
}

TEST_CASE("learned queries read each group", "[LatentRead]") {
  for (const bool biased : {false, true})
    for (const Index heads : {1, 2, 4}) {
      Setup s(3, heads);
      if (biased) s.state.key_bias = PolicyBatch<double>({7, 0, 1, 9}, 4).age().state.key_bias;
      const auto output = s.run();
      REQUIRE(output.state.offsets == SequenceOffsets::from_lengths(Rows{5, 0, 1, 6}));
      // Of three tokens the first row stands for the first, the second for the others.
      REQUIRE(output.report.kept == Rows{0, 1, 3, 4, 6, /**/ 7, /**/ 8, 9, 11, 12, 14, 15});
      REQUIRE(output.state.sizes == Vector<double>{1, 2, 1, 2, 1, /**/ 1, /**/ 1, 2, 1, 2, 1, 2});
      const Rows begin = {0, 0, 3, 3, 6, 7, 8, 8, 11, 11, 14, 14}, count = {3, 3, 3, 3, 1, 1, 3, 3, 3, 3, 3, 3},
                 query = {0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1};
      for (Index row = 0; row < 12; ++row) {
        const RowVector<double> expected = slow_read(s, query[row], begin[row], count[row]);
        REQUIRE((output.x.row(row) - expected).cwiseAbs().maxCoeff() < 1e-12);
      }
    }
}

TEST_CASE("the whole sequence may be one group", "[LatentRead]") {
  const Setup s(0);
  const auto output = s.run();
  REQUIRE(output.state.offsets == SequenceOffsets::from_lengths(Rows{2, 0, 1, 2}));
  REQUIRE(output.report.kept == Rows{0, 3, 7, 8, 12});
  REQUIRE(output.state.sizes == Vector<double>{3, 4, 1, 4, 5});
  REQUIRE((output.x.row(4) - slow_read(s, 1, 8, 9)).cwiseAbs().maxCoeff() < 1e-12);
}

TEST_CASE("the gradients of a latent read agree with finite differences", "[LatentRead]") {
  for (const Index rate : {0, 3})
    for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
      for (const bool biased : {false, true}) {
        Setup s(rate);
        s.state.hidden.assign(17, 0);
        s.state.hidden[6] = s.state.hidden[10] = 1;
        if (biased) s.age();
        PolicyContext<double> context = s.context(hard);
        context.size_bias = size_bias;
        LatentRead<double>::Cache cache;
        Rng rng(4), same(4);
        const auto output = s.policy.forward(s.x, context, rng, cache);
        REQUIRE(rng.state() == same.state());
        const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
        const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
        LatentRead<double> gradients = zeros_like(s.policy);
        auto grad = s.policy.backward({probe, bias_probe, {}}, cache, gradients);
        auto parameters = parameter_views(s.policy), analytic = parameter_views(gradients);
        parameters.push_back(tensor_view("x", s.x));
        analytic.push_back(tensor_view("x", grad.x));
        parameters.push_back({"key_bias", s.state.key_bias.data(), 1, s.state.key_bias.size(), true});
        analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
        CAPTURE(rate, static_cast<int>(size_bias), biased);
        require_gradients(
            [&] {
              const auto moved = s.run(size_bias);
              double sum = probe_sum(probe, moved.x);
              for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
              return sum;
            },
            parameters, analytic);
        require_backward_adds(s.policy, [&](LatentRead<double>& sums) {
          s.policy.backward({probe, bias_probe, {}}, cache, sums);
        });
      }
}

TEST_CASE("a latent read keeps the laws of policies", "[LatentRead]") {
  PolicyLaws laws;
  laws.keeps_equal = false;  // latents, and learned maps
  for (const Index rate : {0, 3, 4}) {
    require_policy_laws(
        [=]<Real Scalar>() { return random_policy<Scalar>({.width = 6, .rate = rate, .latents = 2, .heads = 3}); },
        laws);
    laws.size_bias = SizeBias::log_size;
    laws.options.mode = DeletionMode::none;  // a model does not work without it
  }
}

TEST_CASE("a latent read says what it is and starts at random", "[LatentRead]") {
  REQUIRE(LatentRead<float>::traits.is_structural);
  REQUIRE_FALSE(LatentRead<float>::traits.is_causal);
  LatentRead<float> policy({.width = 4});
  Rng rng(1);
  policy.initialize(1, rng);
  Vector<std::string> names;
  for (const auto& tensor : parameter_views(policy)) {
    REQUIRE_FALSE(tensor.array().isZero());
    names.push_back(tensor.name);
  }
  REQUIRE(names == Vector<std::string>{"latent_read.layer_norm.weight", "latent_read.queries", "latent_read.k.weight",
                                       "latent_read.v.weight", "latent_read.o.weight"});
}

TEST_CASE("settings and shapes of a latent read that do not fit are named", "[LatentRead]") {
  const auto error = [](LatentRead<float>::Config config) {
    return argument_error([&] { LatentRead<float>{config}; });
  };
  REQUIRE_THROWS_AS(LatentRead<float>(LatentRead<float>::Config{}), std::invalid_argument);
  REQUIRE(error({.width = 2, .rate = -1}) == "LatentRead: rate: got -1, expected at least 0");
  REQUIRE(error({.width = 2, .latents = 0}) == "LatentRead: latents: got 0, expected at least 1");
  REQUIRE(error({.width = 4, .heads = 3}) == "LatentRead: heads: got 3, expected a divisor of the width");
  REQUIRE(error({.width = 4, .heads = 0}) == "LatentRead: heads: got 0, expected a divisor of the width");
  const Setup s(3);
  REQUIRE(argument_error([&] { s.policy.forward(Matrix<double>::Zero(2, 4), s.context(hard)); }) ==
          "LatentRead::forward: x.rows(): got 2, expected 17");
  REQUIRE_THROWS_AS(s.policy.forward(Matrix<double>::Zero(17, 3), s.context(hard)), std::invalid_argument);
}

}  // namespace latent_read_test
