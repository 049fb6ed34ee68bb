#include <merganser/merge/policies/sampled_gate.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace sampled_gate_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Rows = Vector<Index>;
using Flags = Vector<std::uint8_t>;
using Losses = Vector<SequenceLoss>;

const DeletionOptions hard, soft = DeletionOptions::with_mode(DeletionMode::soft);

template <Real Scalar>
SampledGate<Scalar> random_gate(Index width = 4, double scale = -30) {
  SampledGate<Scalar> gate({.width = width, .scale = scale});
  Rng rng(1);
  randomise(gate, rng, 0.5);
  return gate;
}

struct Setup : PolicyBatch<double> {
  SampledGate<double> gate = random_gate<double>(4, -2);
  SampledGate<double>::Cache cache;

  explicit Setup(const Rows& lengths = {7, 0, 1, 9}) : PolicyBatch<double>(lengths, 4) {}

  Reduction<double> trained(const DeletionOptions& options, std::uint64_t seed = 3) {
    Rng rng(seed);
    return gate.forward(x, context(options), rng, cache);
  }

  Vector<double> logits() const {
    KeepPredictor<double>::Cache unused;
    return gate.predictor.forward(x, state.offsets, state.gone(), unused);
  }

  Vector<double> probabilities() const {
    Vector<double> result = logits();
    for (double& value : result) value = 1 / (1 + std::exp(-value));
    return result;
  }

  /// Marks the tokens with numbers above a threshold, and the largest of a sequence without any.
  Flags above(const Vector<double>& values, double threshold) const {
    Flags marks(values.size(), 0);
    for (const RowRange& range : state.offsets.ranges()) {
      if (range.length == 0) continue;
      Index best = range.begin;
      for (Index t = range.begin; t < range.end(); ++t)
        if (values[t] > values[best]) best = t;
      for (Index t = range.begin; t < range.end(); ++t) marks[t] = t == best || values[t] > threshold ? 1 : 0;
    }
    return marks;
  }

  Matrix<double> no_gradient() const { return Matrix<double>::Zero(cache.step.after().total(), 4); }
};

TEST_CASE("a sampled gate keeps by probability at inference", "[SampledGate]") {
  Setup s;
  s.age();
  const auto removed = s.gate.forward(s.x, s.context(hard)), weakened = s.gate.forward(s.x, s.context(soft));
  const Vector<double> logits = s.logits(), p = s.probabilities();
  REQUIRE(removed.report.is_gate);
  REQUIRE_FALSE(removed.report.wants_sequence_losses);
  REQUIRE(removed.report.logits == logits);
  REQUIRE(removed.report.kept == weakened.report.kept);
  REQUIRE(identical(weakened.x, s.x));
  REQUIRE(removed.report.kept.size() < 17);
  const Flags expected = s.above(p, 0.5);
  for (Index t = 0; t < 17; ++t) {
    REQUIRE_THAT(removed.report.scores[t], WithinAbs(std::log(p[t]), 1e-12));
    const bool stays = expected[t] != 0;
    REQUIRE((removed.report.group[t] >= 0) == stays);
    REQUIRE(weakened.state.key_bias[t] == s.state.key_bias[t] + (stays ? 0 : -2));
    if (stays) REQUIRE(removed.state.key_bias[removed.report.group[t]] == s.state.key_bias[t]);
  }
}

TEST_CASE("a call asks a sampled gate for a rate, a probability or given decisions", "[SampledGate]") {
  for (const bool training : {false, true}) {
    Setup s;
    const auto run = [&](const DeletionOptions& options) {
      return training ? s.trained(options) : s.gate.forward(s.x, s.context(options));
    };
    DeletionOptions options;
    options.target_rate = 0.4;
    const auto rated = run(options);
    REQUIRE(rated.state.offsets == SequenceOffsets::from_lengths(Rows{4, 0, 1, 5}));
    REQUIRE_FALSE(rated.report.wants_sequence_losses);
    for (const RowRange& range : s.state.offsets.ranges())
      for (Index a = range.begin; a < range.end(); ++a)
        for (Index b = range.begin; b < range.end(); ++b)
          if (rated.report.group[a] >= 0 && rated.report.group[b] < 0)
            REQUIRE(rated.report.scores[a] >= rated.report.scores[b]);
    options.target_rate.reset();
    options.threshold = -0.4;
    const auto chosen = run(options);
    REQUIRE(chosen.report.threshold == -0.4);
    const Flags likely = s.above(chosen.report.scores, -0.4);
    for (Index t = 0; t < 17; ++t) REQUIRE((chosen.report.group[t] >= 0) == (likely[t] != 0));
    Vector<double> values(17, -30.0);
    values[2] = values[7] = values[12] = values[16] = -0.1;
    options.threshold.reset();
    options.gate_values = values;
    const auto given = run(options);
    REQUIRE(given.report.kept == Rows{2, 7, 12, 16});
    REQUIRE(given.report.scores == values);
    REQUIRE(given.report.threshold == -1);
    REQUIRE_FALSE(given.report.wants_sequence_losses);
    values.pop_back();
    options.gate_values = values;
    REQUIRE(argument_error([&] { run(options); }) == "SampledGate: gate_values.size(): got 16, expected one a token");
  }
}

TEST_CASE("a sampled gate draws each token by its probability, and one stays", "[SampledGate]") {
  Setup s;
  s.state.forced.assign(17, 0);
  s.state.forced[3] = 1;
  const Vector<double> p = s.probabilities();
  Vector<double> count(17, 0.0);
  bool all_went = false;
  constexpr Index runs = 4000;
  for (Index run = 0; run < runs; ++run) {
    const DeletionOptions& options = run % 2 == 0 ? soft : hard;
    const auto output = s.trained(options, static_cast<std::uint64_t>(run));
    REQUIRE(output.report.wants_sequence_losses);
    const Flags& drawn = s.cache.drawn;
    Flags stays = drawn;
    for (const RowRange& range : s.state.offsets.ranges()) {
      if (range.length == 0 || Marks(drawn).of(range).any()) continue;
      all_went = all_went || range.length > 1;
      Index best = range.begin;
      for (Index t = range.begin; t < range.end(); ++t)
        if (s.state.forced[t] == 0 && p[t] > p[best]) best = t;
      stays[best] = 1;
    }
    Rows kept;
    for (Index t = 0; t < 17; ++t) {
      count[t] += drawn[t];
      if (stays[t] != 0) kept.push_back(t);
      if (run % 2 == 0) REQUIRE(output.state.key_bias[t] == (stays[t] != 0 ? 0 : -2));
    }
    REQUIRE(output.report.kept == kept);
    REQUIRE((output.x.rows() == kept.size()) == (run % 2 == 1 || kept.size() == 17));
  }
  REQUIRE(all_went);
  for (Index t = 0; t < 17; ++t)
    REQUIRE_THAT(count[t] / runs, WithinAbs(t == 3 ? 0 : p[t], 5 * std::sqrt(0.25 / runs)));
}

TEST_CASE("the auxiliary of a sampled gate is the expected share that stays", "[SampledGate]") {
  Setup s;
  s.state.deleted.assign(17, 0);
  s.state.deleted[9] = 1;
  const auto output = s.trained(soft);
  const Vector<double> p = s.probabilities();
  double sum = 0;
  for (Index t = 0; t < 17; ++t) sum += t == 9 ? 0 : p[t];
  REQUIRE(output.report.auxiliaries.size() == 1);
  const Auxiliary& kept = output.report.auxiliaries[0];
  REQUIRE(kept.name == "kept");
  REQUIRE(kept.steered);
  REQUIRE(kept.over == MeanOver::tokens);
  REQUIRE_THAT(kept.value, WithinAbs(sum / 16, 1e-14));
  REQUIRE(Setup(Rows{}).trained(soft).report.auxiliaries[0].value == 0.0);
}

TEST_CASE("the reward of a sequence is its loss against that of the others", "[SampledGate]") {
  Setup s({2, 1, 2, 1});
  s.trained(hard);
  s.cache.logits = {0.3, -0.4, 0.8, 0.1, 2.0, 0.6};
  s.cache.drawn = {1, 0, 0, 1, 1, 0};
  // sigmoid' of the head's last bias: the sum over tokens of the gradients of the logits
  const auto slope = [&](const Losses& losses) {
    SampledGate<double> gradients = zeros_like(s.gate);
    s.gate.backward({s.no_gradient(), {}, {{}, {}, losses}}, s.cache, gradients);
    return gradients.predictor.biases[3][0];
  };
  const auto p = [](double logit) { return 1 / (1 + std::exp(-logit)); };
  const double first = 1 - p(0.3) - p(-0.4), second = -p(0.8), third = 2 - p(0.1) - p(2.0);
  REQUIRE_THAT(slope({{2.0, 0.5}, {1.0, 0.25}, {5.0, 0.25}, {}}),
               WithinAbs(0.5 * (2 - 3) * first + 0.25 * (1 - 3.5) * second + 0.25 * (5 - 1.5) * third, 1e-14));
  REQUIRE_THAT(slope({{}, {1.5, 1.0}, {}, {}}), WithinAbs(1.5 * second, 1e-14));  // nobody to compare with
  REQUIRE(slope({}) == 0);
  REQUIRE(argument_error([&] {
            slope({{}, {}});
          }) == "SampledGate::backward: sequence_losses.size(): got 2, expected 4");
}

// The mean over all decisions of what backward says is the gradient of the mean over all decisions of the loss.
TEST_CASE("the score function of a sampled gate is exact on average", "[SampledGate]") {
  for (const bool some_gone : {false, true}) {
    Setup s({3, 0, 2, 1});
    if (some_gone) {
      s.state.forced.assign(6, 0);
      s.state.deleted.assign(6, 0);
      s.state.forced[1] = s.state.deleted[3] = 1;
    }
    Rng rng(5);
    const Vector<double> table = random_values<double>(64, rng);  // of every sequence, by what is drawn of it
    const Vector<double> weights = {0.4, 0.0, 0.5, 0.1};
    const Flags gone = s.state.gone();
    s.trained(soft);
    const Vector<double> start = s.probabilities();
    const auto drawn_of = [&](Index code) {
      Flags drawn;
      for (Index t = 0; t < 6; ++t) drawn.push_back(Marks(gone)[t] ? 0 : static_cast<std::uint8_t>((code >> t) & 1));
      return drawn;
    };
    const auto losses_of = [&](const Flags& drawn) {
      Losses losses;
      for (Index i = 0; i < 4; ++i) {
        Index code = 16 * i;
        for (Index t = s.state.offsets.begin(i); t < s.state.offsets.end(i); ++t)
          code += drawn[t] << (t - s.state.offsets.begin(i));
        losses.push_back({table[code], weights[i]});
      }
      return losses;
    };
    const auto chance = [&](const Flags& drawn, const Vector<double>& p) {
      double product = 1;
      for (Index t = 0; t < 6; ++t)
        product *= Marks(gone)[t] ? 0.5 : drawn[t] != 0 ? p[t] : 1 - p[t];  // a code of what is gone counts half
      return product;
    };
    SampledGate<double> gradients = zeros_like(s.gate);
    Matrix<double> grad_x = Matrix<double>::Zero(6, 4);
    for (Index code = 0; code < 64; ++code) {
      const Flags drawn = drawn_of(code);
      s.cache.drawn = drawn;
      Losses losses = losses_of(drawn);
      SampledGate<double> once = zeros_like(s.gate);
      const auto grad = s.gate.backward({s.no_gradient(), {}, {{}, {}, losses}}, s.cache, once);
      const double probability = chance(drawn, start);
      grad_x += probability * grad.x;
      auto sums = parameter_views(gradients);
      const auto more = parameter_views(once);
      for (Index v = 0; v < sums.size(); ++v)
        for (Index c = 0; c < sums[v].size(); ++c) sums[v].data[c] += probability * more[v].data[c];
    }
    auto parameters = parameter_views(s.gate), analytic = parameter_views(gradients);
    parameters.push_back(tensor_view("x", s.x));
    analytic.push_back(tensor_view("x", grad_x));
    CAPTURE(some_gone);
    require_gradients(
        [&] {
          const Vector<double> p = s.probabilities();
          double expected = 0;
          for (Index code = 0; code < 64; ++code) {
            const Flags drawn = drawn_of(code);
            for (const SequenceLoss& loss : losses_of(drawn)) expected += chance(drawn, p) * loss.weight * loss.mean;
          }
          return expected;
        },
        parameters, analytic);
  }
}

TEST_CASE("the other gradients of a sampled gate are exact", "[SampledGate]") {
  for (const bool is_hard : {false, true}) {
    Setup s;
    s.age();
    s.state.forced.assign(17, 0);
    s.state.forced[3] = 1;
    const DeletionOptions& options = is_hard ? hard : soft;
    const auto output = s.trained(options);
    const Rows kept = output.report.kept;
    Rng rng(4);
    const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
    const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
    const auto score_probe = random_values<double>(17, rng);
    SampledGate<double> gradients = zeros_like(s.gate);
    auto grad = s.gate.backward({probe, bias_probe, {score_probe, {2.5}}}, s.cache, gradients);
    auto parameters = parameter_views(s.gate), analytic = parameter_views(gradients);
    parameters.push_back(tensor_view("x", s.x));
    analytic.push_back(tensor_view("x", grad.x));
    parameters.push_back({"key_bias", s.state.key_bias.data(), 1, 17, true});
    analytic.push_back({"key_bias", grad.key_bias.data(), 1, 17, true});
    CAPTURE(is_hard);
    require_gradients(
        [&] {
          const auto moved = s.trained(options);
          REQUIRE(moved.report.kept == kept);
          double sum = probe_sum(probe, moved.x) + 2.5 * moved.report.auxiliaries[0].value;
          for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
          for (Index t = 0; t < 17; ++t) sum += score_probe[t] * moved.report.scores[t];
          return sum;
        },
        parameters, analytic);
  }
}

// Tokens are noise where their first feature is positive; each that stays costs 1 and each other that goes costs 2.
TEST_CASE("a sampled gate learns from losses alone to delete noise", "[SampledGate]") {
  SampledGate<float> gate({.width = 8});
  Rng rng(2);
  gate.initialize(1.0, rng);
  const auto wrong = [](const PolicyBatch<float>& batch, Index t, const Rows& group) {
    const bool noise = batch.x(t, 0) > 0;
    return noise ? (group[t] >= 0 ? 1.0 : 0.0) : (group[t] < 0 ? 2.0 : 0.0);
  };
  const PolicyBatch<float> unseen(Rows(50, 6), 8, 1000);
  const auto errors = [&] {
    const auto output = gate.forward(unseen.x, unseen.context(hard));
    Index count = 0;
    for (Index t = 0; t < 300; ++t) count += wrong(unseen, t, output.report.group) > 0 ? 1 : 0;
    return count;
  };
  REQUIRE(errors() > 100);
  SampledGate<float>::Cache cache;
  for (std::uint64_t step = 0; step < 300; ++step) {
    const PolicyBatch<float> batch(Rows(16, 6), 8, step);
    const auto output = gate.forward(batch.x, batch.context(hard), rng, cache);
    Losses losses;
    for (const RowRange& range : batch.state.offsets.ranges()) {
      losses.push_back({0, 1.0 / 16});
      for (Index t = range.begin; t < range.end(); ++t) losses.back().mean += wrong(batch, t, output.report.group);
    }
    SampledGate<float> gradients = zeros_like(gate);
    gate.backward({Matrix<float>::Zero(output.x.rows(), 8), {}, {{}, {}, losses}}, cache, gradients);
    auto parameters = parameter_views(gate), slopes = parameter_views(gradients);
    for (Index v = 0; v < parameters.size(); ++v)
      for (Index c = 0; c < parameters[v].size(); ++c) parameters[v].data[c] -= 0.1F * slopes[v].data[c];
  }
  REQUIRE(errors() < 60);  // 28 to 41, as the processor rounds
}

TEST_CASE("a sampled gate keeps the laws of policies", "[SampledGate]") {
  const auto make = []<Real Scalar>() { return Policy<Scalar>(random_gate<Scalar>(6)); };
  require_policy_laws(make, {.quiet_training = false, .copies = true});
  PolicyLaws rated{.copies = true};
  rated.options.target_rate = 0.4;
  require_policy_laws(make, rated);
}

TEST_CASE("a sampled gate adds to its gradients", "[SampledGate]") {
  Setup s;
  const Matrix<double> probe = s.trained(hard).x;
  const Losses losses = {{1.0, 0.5}, {}, {2.0, 0.25}, {0.5, 0.25}};
  require_backward_adds(s.gate, [&](SampledGate<double>& gradients) {
    s.gate.backward({probe, {}, {{}, {1.0}, losses}}, s.cache, gradients);
  });
}

TEST_CASE("what a sampled gate reads may be no number", "[SampledGate]") {
  Setup s;
  s.x(2, 1) = std::numeric_limits<double>::quiet_NaN();
  for (const DeletionOptions& options : {hard, soft}) {
    REQUIRE(s.gate.forward(s.x, s.context(options)).state.offsets.length(0) > 0);
    REQUIRE(s.trained(options).state.offsets.length(0) > 0);
  }
}

TEST_CASE("settings of a sampled gate that do not fit are named", "[SampledGate]") {
  REQUIRE(SampledGate<float>::traits.is_gate);
  REQUIRE(SampledGate<float>::traits.has_budget);
  REQUIRE_FALSE(SampledGate<float>::traits.is_training_free);
  REQUIRE(argument_error([] { SampledGate<float>({.width = 4, .scale = 1}); }) ==
          "SampledGate: scale: got 1, expected a negative number");
  REQUIRE_THROWS_AS(SampledGate<float>({.width = 5}), std::invalid_argument);
  const SampledGate<float> gate({.width = 4});
  const PolicyBatch<float> batch({3}, 4);
  REQUIRE(argument_error([&] { gate.forward(Matrix<float>::Zero(2, 4), batch.context(hard)); }) ==
          "SampledGate::forward: x.rows(): got 2, expected 3");
  REQUIRE_THROWS_AS(gate.forward(batch.x, batch.context(DeletionOptions::with_mode(DeletionMode::none))),
                    std::invalid_argument);
}

}  // namespace sampled_gate_test
