#include <merganser/merge/policies/channel_fold.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace channel_fold_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;

const DeletionOptions hard;

template <Real Scalar>
ChannelFold<Scalar> random_policy(Index compressed, Index width = 4) {
  ChannelFold<Scalar> policy({.width = width, .rate = 3, .compressed = compressed});
  Rng rng(1);
  randomise(policy, rng);
  return policy;
}

struct Setup : PolicyBatch<double> {
  ChannelFold<double> policy;

  explicit Setup(Index compressed) : PolicyBatch<double>({7, 0, 1, 9}, 4), policy(random_policy<double>(compressed)) {}

  Reduction<double> run(SizeBias size_bias = SizeBias::none) const {
    PolicyContext<double> context = this->context(hard);
    context.size_bias = size_bias;
    return policy.forward(x, context);
  }
};

TEST_CASE("a channel fold maps the rows of a group side by side", "[ChannelFold]") {
  for (const Index compressed : {0, 2}) {
    const Setup s(compressed);
    const auto output = s.run();
    REQUIRE(output.state.offsets == SequenceOffsets::from_lengths(Rows{3, 0, 1, 3}));
    REQUIRE(output.state.sizes == Vector<double>{3, 3, 1, 1, 3, 3, 3});
    REQUIRE(output.report.scores.empty());
    REQUIRE(output.report.auxiliaries.empty());
    const Index channels = compressed > 0 ? compressed : 4;
    const Matrix<double>& w = s.policy.projection.weight.matrix();
    Matrix<double> expected(7, 4);
    expected.rowwise() = s.policy.bias;
    const Rows first = {0, 3, 6, 7, 8, 11, 14}, count = {3, 3, 1, 1, 3, 3, 3};
    for (Index row = 0; row < 7; ++row)
      for (Index slot = 0; slot < count[row]; ++slot)
        for (Index channel = 0; channel < channels; ++channel) {
          const RowVector<double> own = s.x.row(first[row] + slot);
          const double z = compressed > 0 ? s.policy.compression.weight.matrix().row(channel).dot(own) : own[channel];
          expected.row(row) += z * w.col(slot * channels + channel).transpose();
        }
    REQUIRE(relative_difference(output.x, expected) < 1e-12);
  }
}

TEST_CASE("the gradients of a channel fold agree with finite differences", "[ChannelFold]") {
  for (const Index compressed : {0, 2})
    for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
      for (const bool biased : {false, true}) {
        Setup s(compressed);
        s.state.hidden.assign(17, 0);
        s.state.hidden[6] = s.state.hidden[10] = 1;
        if (biased) s.age();
        PolicyContext<double> context = s.context(hard);
        context.size_bias = size_bias;
        ChannelFold<double>::Cache cache;
        Rng rng(4), same(4);
        const auto output = s.policy.forward(s.x, context, rng, cache);
        REQUIRE(rng.state() == same.state());
        const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
        const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
        ChannelFold<double> gradients = zeros_like(s.policy);
        auto grad = s.policy.backward({probe, bias_probe, {}}, cache, gradients);
        auto parameters = parameter_views(s.policy), analytic = parameter_views(gradients);
        parameters.push_back(tensor_view("x", s.x));
        analytic.push_back(tensor_view("x", grad.x));
        parameters.push_back({"key_bias", s.state.key_bias.data(), 1, s.state.key_bias.size(), true});
        analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
        CAPTURE(compressed, static_cast<int>(size_bias), biased);
        require_gradients(
            [&] {
              const auto moved = s.run(size_bias);
              double sum = probe_sum(probe, moved.x);
              for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
              return sum;
            },
            parameters, analytic);
        require_backward_adds(s.policy, [&](ChannelFold<double>& sums) {
          s.policy.backward({probe, bias_probe, {}}, cache, sums);
        });
      }
}

TEST_CASE("a channel fold keeps the laws of policies", "[ChannelFold]") {
  PolicyLaws laws;
  laws.keeps_equal = false;  // tokens become channels of a row
  for (const Index compressed : {0, 2}) {
    require_policy_laws([=]<Real Scalar>() { return random_policy<Scalar>(compressed, 6); }, laws);
    laws.size_bias = SizeBias::log_size;
    laws.options.mode = DeletionMode::none;  // a model does not work without it
  }
}

TEST_CASE("a channel fold says what it is and starts at random", "[ChannelFold]") {
  REQUIRE(ChannelFold<float>::traits.is_structural);
  REQUIRE(ChannelFold<float>::traits.is_causal);
  ChannelFold<float> policy({.width = 4, .rate = 2, .compressed = 2});
  Rng rng(1);
  policy.initialize(1, rng);
  REQUIRE_FALSE(policy.compression.weight.matrix().isZero());
  REQUIRE_FALSE(policy.projection.weight.matrix().isZero());
  Vector<std::string> names;
  for (const auto& tensor : parameter_views(policy)) names.push_back(tensor.name);
  REQUIRE(names == Vector<std::string>{"channel_fold.compression.weight", "channel_fold.projection.weight",
                                       "channel_fold.projection.bias"});
  ChannelFold<float> whole = random_policy<float>(0);
  REQUIRE(parameter_views(whole).size() == 2);
}

TEST_CASE("settings and shapes of a channel fold that do not fit are named", "[ChannelFold]") {
  const auto error = [](ChannelFold<float>::Config config) {
    return argument_error([&] { ChannelFold<float>{config}; });
  };
  REQUIRE(error({}) == "ChannelFold: width: got 0, expected at least 1");
  REQUIRE(error({.width = 2, .rate = 0}) == "ChannelFold: rate: got 0, expected from 1 to 65536 rows of a group");
  REQUIRE(error({.width = 2, .compressed = -1}) == "ChannelFold: compressed: got -1, expected at least 0");
  const Setup s(0);
  REQUIRE(argument_error([&] { s.policy.forward(Matrix<double>::Zero(2, 4), s.context(hard)); }) ==
          "ChannelFold::forward: x.rows(): got 2, expected 17");
  REQUIRE(argument_error([&] { s.policy.forward(Matrix<double>::Zero(17, 3), s.context(hard)); }) ==
          "ChannelFold::forward: x.cols(): got 3, expected 4");
}

}  // namespace channel_fold_test
