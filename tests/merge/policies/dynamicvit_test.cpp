#include <merganser/merge/policies/dynamicvit.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace dynamicvit_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Rows = Vector<Index>;
using Flags = Vector<std::uint8_t>;

const DeletionOptions hard, soft = DeletionOptions::with_mode(DeletionMode::soft);

template <Real Scalar>
DynamicViT<Scalar> random_policy(typename DynamicViT<Scalar>::Config config) {
  DynamicViT<Scalar> policy(config);
  Rng rng(1);
  randomise(policy, rng, 0.5);
  return policy;
}

struct Setup : PolicyBatch<double> {
  DynamicViT<double> policy;
  DynamicViT<double>::Cache cache;

  explicit Setup(DynamicViT<double>::Config config = {.width = 4, .keep_rate = 0.6, .scale = -2, .temperature = 0.8})
      : PolicyBatch<double>({7, 0, 1, 9}, 4), policy(random_policy<double>(config)) {}

  Reduction<double> trained(const DeletionOptions& options, std::uint64_t seed = 3) {
    Rng rng(seed);
    return policy.forward(x, context(options), rng, cache);
  }

  /// The probabilities under the noise of that seed.
  Vector<double> probabilities(std::uint64_t seed = 3) const {
    Rng rng(seed);
    const Vector<double> noise = draw_boundary_noise(state.total(), rng);
    KeepPredictor<double>::Cache unused;
    Vector<double> result = policy.predictor.forward(x, state.offsets, state.gone(), unused);
    for (Index t = 0; t < result.size(); ++t)
      result[t] = 1 / (1 + std::exp(-(result[t] + std::log(noise[t] / (1 - noise[t]))) / policy.config().temperature));
    return result;
  }
};

TEST_CASE("of a masked softmax rows that stay are those of hidden keys", "[DynamicViT]") {
  Rng rng(1);
  const Matrix<double> scores = random_matrix<double>(4, 4, rng);
  const Flags stays = {1, 0, 1, 1};
  const Matrix<double> masked = masked_softmax<double>(scores, stays);
  for (Index i = 0; i < 4; ++i) {
    double sum = 0;
    for (Index j = 0; j < 4; ++j) sum += stays[j] != 0 || i == j ? std::exp(scores(i, j)) : 0;
    for (Index j = 0; j < 4; ++j) {
      const double expected = stays[j] != 0 || i == j ? std::exp(scores(i, j)) / sum : 0;
      REQUIRE_THAT(masked(i, j), WithinAbs(expected, 3e-6));
    }
  }
  const Flags one = {1};
  REQUIRE_THROWS_AS(masked_softmax<double>(scores, one), std::invalid_argument);
}

TEST_CASE("at inference the tokens of largest probability stay", "[DynamicViT]") {
  Setup s;
  s.state.key_bias.assign(17, 0.5);
  const auto removed = s.policy.forward(s.x, s.context(hard));
  REQUIRE(removed.state.offsets == SequenceOffsets::from_lengths(Rows{4, 0, 1, 5}));  // 0.4 of 7 and 9 go
  REQUIRE(removed.state.key_bias == Vector<double>(10, 0.5));
  KeepPredictor<double>::Cache unused;
  const Vector<double> logits = s.policy.predictor.forward(s.x, s.state.offsets, {}, unused);
  REQUIRE(removed.report.logits == logits);
  REQUIRE(removed.report.is_gate);
  for (Index i : {0, 3}) {
    const RowRange range = s.state.offsets.range(i);
    for (Index a = range.begin; a < range.end(); ++a)
      for (Index b = range.begin; b < range.end(); ++b)
        if (removed.report.group[a] >= 0 && removed.report.group[b] < 0) REQUIRE(logits[a] >= logits[b]);
  }
  const auto weakened = s.policy.forward(s.x, s.context(soft));
  REQUIRE(weakened.report.kept == removed.report.kept);
  REQUIRE(identical(weakened.x, s.x));
  for (Index t = 0; t < 17; ++t) REQUIRE(weakened.state.key_bias[t] == (removed.report.group[t] >= 0 ? 0.5 : -1.5));
}

TEST_CASE("a call may ask for another rate or for a probability", "[DynamicViT]") {
  const Setup s;
  DeletionOptions options;
  options.target_rate = 0.2;
  REQUIRE(s.policy.forward(s.x, s.context(options)).state.offsets == SequenceOffsets::from_lengths(Rows{6, 0, 1, 7}));
  options.target_rate.reset();
  options.threshold = -1.2;
  const auto chosen = s.policy.forward(s.x, s.context(options));
  REQUIRE(chosen.report.threshold == -1.2);
  for (Index i : {0, 3})
    for (Index t = s.state.offsets.begin(i); t < s.state.offsets.end(i); ++t)
      REQUIRE((chosen.report.group[t] >= 0) == (chosen.report.scores[t] > -1.2));
  REQUIRE_THROWS_AS(s.policy.forward(s.x, s.context(DeletionOptions::with_mode(DeletionMode::none))),
                    std::invalid_argument);
}

TEST_CASE("in training decisions are drawn, and one token stays", "[DynamicViT]") {
  Setup s;
  Index all = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto output = s.trained(soft, seed);
    const Vector<double> p = s.probabilities(seed);
    for (Index t = 0; t < 17; ++t) {
      REQUIRE_THAT(output.report.scores[t], WithinAbs(std::log(p[t]), 1e-12));
      const RowRange range = t < 7 ? RowRange{0, 7} : t == 7 ? RowRange{7, 1} : RowRange{8, 9};
      const bool stays = p[t] > 0.5 || p[t] == *std::max_element(p.begin() + range.begin, p.begin() + range.end());
      REQUIRE(output.state.key_bias[t] == (stays ? 0 : -2));
      REQUIRE(output.state.deleted[t] == (stays ? 0 : 1));
    }
    all += output.report.kept.size();
    double expected = (1 - 0.6) * (1 - 0.6);
    for (const auto& [first, count] : {std::pair{0, 7}, std::pair{8, 9}}) {
      double stay = 0;
      for (Index t = first; t < first + count; ++t) stay += output.state.deleted[t] == 0 ? 1 : 0;
      expected += std::pow(stay / count - 0.6, 2);
    }
    REQUIRE(output.report.auxiliaries.size() == 1);
    REQUIRE(output.report.auxiliaries[0].name == "keep_rate");
    REQUIRE_FALSE(output.report.auxiliaries[0].steered);
    REQUIRE_THAT(output.report.auxiliaries[0].value, WithinAbs(expected / 3, 1e-12));
  }
  REQUIRE((all > 20 * 3 && all < 20 * 17));
  REQUIRE(s.trained(hard).state.offsets == SequenceOffsets::from_lengths(Rows{4, 0, 1, 5}));  // by rank, of noisy ones
}

TEST_CASE("what went softly is neither in the mean nor decided about", "[DynamicViT]") {
  Setup s;
  const auto before = s.policy.forward(s.x, s.context(soft)).report.scores;
  s.state.deleted.assign(17, 0);
  s.state.deleted[2] = 1;
  s.state.key_bias.assign(17, 0.0);
  const auto output = s.policy.forward(s.x, s.context(soft));
  REQUIRE(output.report.scores[0] != before[0]);
  REQUIRE(output.report.scores[9] == before[9]);
  REQUIRE(output.state.deleted[2] == 1);
  REQUIRE(output.state.offsets == s.state.offsets);
}

// Straight through: decisions move as their probabilities do from where these were.
TEST_CASE("the gradients of DynamicViT are those of its surrogate", "[DynamicViT]") {
  for (const bool biased : {false, true})
    for (const bool some_gone : {false, true}) {
      Setup s;
      if (biased) s.age();
      if (some_gone) {
        s.state.forced.assign(17, 0);
        s.state.deleted.assign(17, 0);
        s.state.forced[3] = s.state.deleted[9] = 1;
      }
      const auto output = s.trained(soft);
      const Flags gone = s.state.gone(), stays = s.cache.stays;
      Rng rng(4);
      const auto probe = random_matrix<double>(17, 4, rng);
      const auto bias_probe = random_values<double>(17, rng), score_probe = random_values<double>(17, rng);
      DynamicViT<double> gradients = zeros_like(s.policy);
      auto grad = s.policy.backward({probe, bias_probe, {score_probe, {2.5}}}, s.cache, gradients);
      const Vector<double> start = s.probabilities();
      auto parameters = parameter_views(s.policy), analytic = parameter_views(gradients);
      parameters.push_back(tensor_view("x", s.x));
      analytic.push_back(tensor_view("x", grad.x));
      parameters.push_back({"key_bias", s.state.key_bias.data(), 1, s.state.key_bias.size(), true});
      analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
      CAPTURE(biased, some_gone);
      require_gradients(
          [&] {
            const Vector<double> p = s.probabilities();
            double sum = probe_sum(probe, s.x);
            for (const Index i : {0, 2, 3}) {
              double there = 0, stay = 0;
              for (Index t = s.state.offsets.begin(i); t < s.state.offsets.end(i); ++t) {
                sum += score_probe[t] * std::log(p[t]);
                if (biased) sum += bias_probe[t] * s.state.key_bias[t];
                if (Marks(gone)[t]) continue;
                const double k = (stays[t] != 0 ? 1 : 0) + p[t] - start[t];
                sum += bias_probe[t] * std::log(k + (1 - k) * std::exp(-2));
                there += 1;
                stay += k;
              }
              sum += 2.5 * std::pow(stay / there - 0.6, 2) / 3;
            }
            return sum;
          },
          parameters, analytic);
      REQUIRE(output.x.rows() == 17);
    }
}

TEST_CASE("under hard deletion DynamicViT learns by its auxiliary alone", "[DynamicViT]") {
  Setup s;
  s.age();
  const auto output = s.trained(hard);
  DynamicViT<double> gradients = zeros_like(s.policy);
  const auto bias = Vector<double>(output.x.rows(), 1.0);
  const auto grad = s.policy.backward({output.x, bias, {}}, s.cache, gradients);
  for (const auto& view : parameter_views(gradients)) REQUIRE(view.array().isZero());
  for (Index t = 0; t < 17; ++t) {
    REQUIRE(grad.key_bias[t] == (output.report.group[t] >= 0 ? 1 : 0));
    REQUIRE((grad.x.row(t) - (output.report.group[t] >= 0 ? 1 : 0) * s.x.row(t)).isZero());
  }
  require_backward_adds(s.policy, [&](DynamicViT<double>& sums) {
    s.policy.backward({output.x, {}, {{}, {1.0}}}, s.cache, sums);
  });
}

TEST_CASE("DynamicViT keeps the laws of policies", "[DynamicViT]") {
  PolicyLaws laws;
  laws.quiet_training = false;
  laws.copies = true;
  require_policy_laws([]<Real Scalar>() { return random_policy<Scalar>({.width = 6, .keep_rate = 0.6}); }, laws);
}

TEST_CASE("DynamicViT says what it is and starts at random", "[DynamicViT]") {
  DynamicViT<float> policy({.width = 4});
  REQUIRE(DynamicViT<float>::traits.is_gate);
  REQUIRE_THAT(policy.expected_rate(), WithinAbs(0.3, 1e-12));
  Rng rng(1);
  policy.initialize(1, rng);
  REQUIRE_FALSE(policy.predictor.maps[0].weight.matrix().isZero());
  REQUIRE(parameter_views(policy)[0].name == "score_predictor.in_conv.0.weight");
}

TEST_CASE("settings of DynamicViT that do not fit are named", "[DynamicViT]") {
  const auto error = [](DynamicViT<float>::Config config) {
    return argument_error([&] { DynamicViT<float>{config}; });
  };
  REQUIRE(error({.width = 4, .keep_rate = 0}) == "DynamicViT: keep_rate: got 0, expected in (0, 1]");
  REQUIRE(error({.width = 4, .scale = 1}) == "DynamicViT: scale: got 1, expected in [-80, 0)");
  REQUIRE(error({.width = 4, .temperature = 0}) == "DynamicViT: temperature: got 0, expected a positive number");
  const DynamicViT<float> policy({.width = 4});
  const PolicyBatch<float> batch({3}, 4);
  REQUIRE(argument_error([&] { policy.forward(Matrix<float>::Zero(2, 4), batch.context(hard)); }) ==
          "DynamicViT::forward: x.rows(): got 2, expected 3");
}

}  // namespace dynamicvit_test
