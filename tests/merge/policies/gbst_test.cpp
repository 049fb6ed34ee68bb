#include <merganser/merge/policies/gbst.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace gbst_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;

const DeletionOptions hard;

template <Real Scalar>
Gbst<Scalar> random_policy(typename Gbst<Scalar>::Config config = {.width = 4, .rate = 3}) {
  Gbst<Scalar> policy(config);
  Rng rng(1);
  randomise(policy, rng);
  return policy;
}

struct Setup : PolicyBatch<double> {
  Gbst<double> policy;

  explicit Setup(Gbst<double>::Config config = {.width = 4, .rate = 3})
      : PolicyBatch<double>({7, 0, 1, 9}, 4), policy(random_policy<double>(config)) {}

  Reduction<double> run(SizeBias size_bias = SizeBias::none) const {
    PolicyContext<double> context = this->context(hard);
    context.size_bias = size_bias;
    return policy.forward(x, context);
  }
};

TEST_CASE("GBST is a convolution, a map and a mixture", "[GBST]") {
  for (const bool consensus : {false, true}) {
    const Setup s({.width = 4, .rate = 3, .blocks = {{1}, {2, 1}, {3}}, .consensus = consensus});
    const auto output = s.run();
    REQUIRE(output.state.offsets == SequenceOffsets::from_lengths(Rows{3, 0, 1, 3}));
    REQUIRE(output.state.positions == Vector<Position>{1, 7, 13, /**/ 1, /**/ 1, 7, 13});
    REQUIRE(output.state.sizes == Vector<double>{3, 3, 1, 1, 3, 3, 3});
    REQUIRE(output.report.scores.empty());
    REQUIRE(output.report.auxiliaries.empty());
    for (Index i = 0; i < 4; ++i) {
      const RowRange range = s.state.offsets.range(i);
      Matrix<double> inner(range.length, 4), expected(output.state.offsets.length(i), 4);
      for (Index t = 0; t < range.length; ++t) {
        RowVector<double> z = s.policy.convolution_bias;
        for (Index tap = 0; tap < 3 && t + tap < range.length; ++tap)
          for (Index c = 0; c < 4; ++c) z[c] += s.policy.convolution(c, tap) * s.x(range.begin + t + tap, c);
        for (Index c = 0; c < 4; ++c)
          inner(t, c) = s.policy.projection.weight.matrix().row(c).dot(z) + s.policy.projection_bias[c];
      }
      BlockMixture<double>::Cache cache;
      const auto& config = s.policy.config();
      BlockMixture<double>(config.blocks, 3, consensus, config.edges).forward(inner, s.policy.score, expected, cache);
      REQUIRE(relative_difference(Matrix<double>(output.x.middleRows(output.state.offsets.begin(i), expected.rows())),
                                  expected) < 1e-12);
    }
  }
}

TEST_CASE("the gradients of GBST agree with finite differences", "[GBST]") {
  for (const Edges edges : {Edges::real_rows, Edges::zero_rows})
    for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
      for (const bool biased : {false, true}) {
        Setup s({.width = 4, .rate = 3, .blocks = {{1}, {2}, {3, 1}}, .edges = edges});
        s.state.hidden.assign(17, 0);
        s.state.hidden[6] = s.state.hidden[10] = 1;
        if (biased) s.age();
        PolicyContext<double> context = s.context(hard);
        context.size_bias = size_bias;
        Gbst<double>::Cache cache;
        Rng rng(4);
        const auto output = s.policy.forward(s.x, context, rng, cache);
        const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
        const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
        Gbst<double> gradients = zeros_like(s.policy);
        auto grad = s.policy.backward({probe, bias_probe, {}}, cache, gradients);
        auto parameters = parameter_views(s.policy), analytic = parameter_views(gradients);
        parameters.push_back(tensor_view("x", s.x));
        analytic.push_back(tensor_view("x", grad.x));
        parameters.push_back({"key_bias", s.state.key_bias.data(), 1, s.state.key_bias.size(), true});
        analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
        CAPTURE(edges == Edges::zero_rows, static_cast<int>(size_bias), biased);
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

TEST_CASE("GBST keeps the laws of policies", "[GBST]") {
  PolicyLaws laws;
  laws.keeps_equal = false;  // a learned convolution stands in front
  for (const bool consensus : {false, true})
    for (const Edges edges : {Edges::real_rows, Edges::zero_rows}) {
      require_policy_laws(
          [=]<Real Scalar>() {
            return random_policy<Scalar>({.width = 6, .rate = 2, .consensus = consensus, .edges = edges});
          },
          laws);
      laws.size_bias = SizeBias::log_size;
      laws.options.mode = DeletionMode::none;  // a model does not work without it
    }
}

TEST_CASE("GBST adds to its gradients and draws nothing", "[GBST]") {
  const Setup s;
  Gbst<double>::Cache cache;
  Rng rng(1), same(1);
  const Matrix<double> probe = s.policy.forward(s.x, s.context(hard), rng, cache).x;
  REQUIRE(rng.state() == same.state());
  require_backward_adds(s.policy, [&](Gbst<double>& gradients) {
    s.policy.backward({probe, {}, {}}, cache, gradients);
  });
}

TEST_CASE("GBST starts at random and names its parameters", "[GBST]") {
  Gbst<float> policy({.width = 8});
  Rng rng(1);
  policy.initialize(1, rng);
  REQUIRE(policy.convolution.cols() == 4);
  REQUIRE(measured_deviation(policy.convolution) > 0.2);
  REQUIRE_FALSE(policy.score.isZero());
  REQUIRE(policy.projection_bias.isZero());
  Vector<std::string> names;
  for (const auto& tensor : parameter_views(policy)) names.push_back(tensor.name);
  REQUIRE(names == Vector<std::string>{"gbst.convolution.weight", "gbst.convolution.bias", "gbst.projection.weight",
                                       "gbst.projection.bias", "gbst.score.weight"});
  REQUIRE(parameter_views(policy)[0].shape() == std::vector<Index>{8, 1, 4});
  REQUIRE(Gbst<float>::traits.is_structural);
}

TEST_CASE("settings and shapes of GBST that do not fit are named", "[GBST]") {
  const auto error = [](Gbst<float>::Config config) { return argument_error([&] { Gbst<float>{config}; }); };
  REQUIRE(error({}) == "Gbst: width: got 0, expected at least 1");
  REQUIRE(error({.width = 2, .rate = 0}) == "Gbst: rate: got 0, expected at least 1");
  REQUIRE(error({.width = 2, .blocks = {}}) == "Gbst: blocks: got none, expected at least one");
  REQUIRE(error({.width = 2, .blocks = {{1}, {0}}}) == "Gbst: block size: got 0, expected from 1 to 4096 rows");
  REQUIRE(error({.width = 2, .blocks = {{2, 2}}}) ==
          "Gbst: block offset: got 2, expected at least 0 and below the size");
  const Setup s;
  REQUIRE(argument_error([&] { s.policy.forward(Matrix<double>::Zero(2, 4), s.context(hard)); }) ==
          "Gbst::forward: x.rows(): got 2, expected 17");
  REQUIRE(argument_error([&] { s.policy.forward(Matrix<double>::Zero(17, 3), s.context(hard)); }) ==
          "Gbst::forward: x.cols(): got 3, expected 4");
}

}  // namespace gbst_test
