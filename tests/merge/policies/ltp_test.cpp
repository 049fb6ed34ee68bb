#include <merganser/merge/policies/ltp.hpp>

#include <cmath>
#include <limits>
#include <string>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace ltp_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Mask = LearnedThreshold<double>::Mask;

using Rows = Vector<Index>;

const DeletionOptions hard, soft = DeletionOptions::with_mode(DeletionMode::soft);

/// Two heads over four tokens, which receive 0.4, 0.1, 0.35 and 0.15 on average.
GivenAttention<double> attention_of_four() {
  Matrix<double> a(4, 4), b(4, 4);
  for (Index q = 0; q < 4; ++q) {
    a.row(q) << 0.5, 0.1, 0.3, 0.1;
    b.row(q) << 0.3, 0.1, 0.4, 0.2;
  }
  return GivenAttention<double>({a, b});
}

template <Real Scalar = double>
LearnedThreshold<Scalar> layer(Mask mask = Mask::rows, double threshold = 0.2, double temperature = 0.1) {
  return LearnedThreshold<Scalar>({threshold, temperature, static_cast<typename LearnedThreshold<Scalar>::Mask>(mask)});
}

/// A batch with its attention.
struct Setup : PolicyBatch<double> {
  Setup() : PolicyBatch<double>({7, 0, 1, 9}, 4), unmoved(*this), taps(unmoved) {}

  PolicyContext<double> asking(const DeletionOptions& options) const {
    PolicyContext<double> context = this->context(options);
    context.attention = &taps;
    return context;
  }

  PolicyBatch<double> unmoved;  // what attention answers is a constant
  RowAttention<double> taps;
};

TEST_CASE("scores of LTP are means over heads and queries", "[LTP]") {
  const GivenAttention<double> attention = attention_of_four();
  const Matrix<double> x = Matrix<double>::Zero(4, 2);
  Tokens<double> tokens{x, {}};
  tokens.attention = &attention;
  const Vector<double> scores = received_means(tokens);
  const Vector<double> expected = {0.4, 0.1, 0.35, 0.15};
  for (Index t = 0; t < 4; ++t) REQUIRE_THAT(scores[t], WithinAbs(expected[t], 1e-15));
  // A query that counts for nothing counts in the mean.
  const Vector<double> queries = {1, 0, 1, 1}, fewer = received_means<double>(tokens, queries);
  for (Index t = 0; t < 4; ++t) REQUIRE_THAT(fewer[t], WithinAbs(0.75 * expected[t], 1e-15));
  const Matrix<double> none(0, 2);
  REQUIRE(received_means(Tokens<double>{none, {}}).empty());
}

TEST_CASE("tokens whose score is below a threshold go", "[LTP]") {
  using Kind = AttentionThreshold::Kind;
  const Vector<double> scores = {0.4, 0.1, 0.35, 0.15};
  const auto kept = [&](const AttentionThreshold& policy) { return policy.plan_of<double>(scores).representatives(); };
  REQUIRE(kept({.threshold = 0.15, .kind = Kind::absolute}) == Rows{0, 2, 3});
  REQUIRE(kept({.threshold = 0.16, .kind = Kind::absolute}) == Rows{0, 2});
  REQUIRE(kept({.threshold = 7, .kind = Kind::absolute}) == Rows{0});  // one stays
  REQUIRE(kept({.threshold = 0.3}) == Rows{0, 2, 3});
  REQUIRE(kept({.threshold = 0.5}) == Rows{0, 2});
  REQUIRE(kept({.threshold = 0}) == Rows{0, 1, 2, 3});
  REQUIRE(AttentionThreshold{}.plan_of<double>({}).output_count() == 0);
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(AttentionThreshold{}.plan_of<double>(Vector<double>{nan, nan}).output_count() == 1);
  REQUIRE(argument_error([&] { kept({.threshold = nan}); }) ==
          "AttentionThreshold: threshold: got nan, expected a number");
  const Matrix<double> x = Matrix<double>::Zero(4, 2);
  REQUIRE_THROWS_AS(AttentionThreshold{}.plan(Tokens<double>{x, {}}), std::invalid_argument);
  REQUIRE_THROWS_AS(CascadeTopK{}.plan(Tokens<double>{x, {}}), std::invalid_argument);
}

TEST_CASE("a cascade keeps the tokens of largest score", "[LTP]") {
  const GivenAttention<double> attention = attention_of_four();
  const Matrix<double> x = Matrix<double>::Zero(4, 2);
  Tokens<double> tokens{x, {}};
  tokens.attention = &attention;
  REQUIRE(CascadeTopK{.budget = {.rate = 0.25}}.plan(tokens).representatives() == Rows{0, 2, 3});
  tokens.removals = 2;
  REQUIRE(CascadeTopK{.budget = {.rate = 0.25}}.plan(tokens).representatives() == Rows{0, 2});
  tokens.removals = 9;
  REQUIRE(CascadeTopK{}.plan(tokens).representatives() == Rows{0});
}

TEST_CASE("schedules of thresholds and keep rates", "[LTP]") {
  REQUIRE_THAT(rising_threshold(5, 12, 0.18), WithinAbs(0.075, 1e-15));
  for (const Index block : {0, 1, 2}) REQUIRE(cascade_keep_rate(block, 12, 0.4) == 1);
  REQUIRE_THAT(cascade_keep_rate(5, 12, 0.4), WithinAbs(0.8, 1e-15));
  REQUIRE_THAT(cascade_keep_rate(11, 12, 0.4), WithinAbs(0.4, 1e-15));
  REQUIRE(argument_error([] { cascade_keep_rate(0, 3, 0.5); }) ==
          "cascade_keep_rate: blocks: got 3, expected at least 4");
  REQUIRE_THROWS_AS(cascade_keep_rate(0, 4, 1.5), std::invalid_argument);
}

TEST_CASE("a learned threshold masks softly or removes", "[LTP]") {
  PolicyBatch<double> batch({4}, 2);
  batch.state.key_bias = {1, 2, 3, 4};
  const GivenAttention<double> attention = attention_of_four();
  for (const Mask mask : {Mask::rows, Mask::keys}) {
    const LearnedThreshold<double> policy = layer(mask);
    PolicyContext<double> context = batch.context(hard);
    context.attention = &attention;
    const Reduction<double> removed = policy.forward(batch.x, context);
    REQUIRE(removed.report.kept == Rows{0, 2});
    REQUIRE(removed.report.group == Rows{0, -1, 1, -1});
    REQUIRE(removed.report.is_gate);
    REQUIRE(removed.report.threshold == 0.2);
    REQUIRE(identical(Matrix<double>(removed.x.row(1)), Matrix<double>(batch.x.row(2))));
    REQUIRE(removed.state.key_bias == Vector<double>{1, 3});

    PolicyContext<double> softly = batch.context(soft);
    softly.attention = &attention;
    const Reduction<double> weighed = policy.forward(batch.x, softly);
    REQUIRE(weighed.report.kept == Rows{0, 2});
    REQUIRE(weighed.report.group.empty());
    REQUIRE(weighed.state.deleted == Vector<std::uint8_t>{0, 1, 0, 1});
    const Vector<double> z = {2, -1, 1.5, -0.5};
    double mean = 0;
    for (Index t = 0; t < 4; ++t) {
      const double m = 1 / (1 + std::exp(-z[t]));
      mean += m / 4;
      REQUIRE_THAT(weighed.report.logits[t], WithinAbs(z[t], 1e-12));
      for (Index c = 0; c < 2; ++c)
        REQUIRE_THAT(weighed.x(t, c), WithinAbs(batch.x(t, c) * (mask == Mask::rows ? m : 1), 1e-12));
      REQUIRE_THAT(weighed.state.key_bias[t],
                   WithinAbs(batch.state.key_bias[t] + (mask == Mask::keys ? std::log(m) : 0), 1e-12));
    }
    for (const auto* report : {&removed.report, &weighed.report}) {
      REQUIRE(report->auxiliaries.size() == 1);
      REQUIRE(report->auxiliaries[0].name == "soft_mask");
      REQUIRE(report->auxiliaries[0].steered);
      REQUIRE_THAT(report->auxiliaries[0].value, WithinAbs(mean, 1e-12));
    }
    DeletionOptions lower;
    lower.threshold = 0.12;
    PolicyContext<double> chosen = batch.context(lower);
    chosen.attention = &attention;
    REQUIRE(policy.forward(batch.x, chosen).report.kept == Rows{0, 2, 3});
  }
}

TEST_CASE("pads have no part in a learned threshold", "[LTP]") {
  const Setup s;
  for (const Mask mask : {Mask::rows, Mask::keys})
    for (const DeletionOptions& options : {hard, soft}) {
      Rows rows;
      PolicyBatch<double> padded = s.padded(rows);
      const RowAttention<double> taps(padded);
      PolicyContext<double> context = padded.context(options);
      context.attention = &taps;
      const auto with = layer(mask).forward(padded.x, context), without = layer(mask).forward(s.x, s.asking(options));
      for (Index t = 0; t < rows.size(); ++t) REQUIRE(with.report.scores[rows[t]] == without.report.scores[t]);
      REQUIRE_THAT(with.report.auxiliaries[0].value, WithinAbs(without.report.auxiliaries[0].value, 1e-15));
    }
}

TEST_CASE("the gradients of a learned threshold agree with finite differences", "[LTP]") {
  for (const Mask mask : {Mask::rows, Mask::keys})
    for (const DeletionOptions& options : {hard, soft})
      for (const bool biased : {false, true}) {
        Setup s;
        if (biased) s.age();
        s.state.forced.assign(17, 0);
        s.state.forced[3] = 1;
        LearnedThreshold<double> policy = layer(mask, 0.143), gradients = zeros_like(policy);
        LearnedThreshold<double>::Cache cache;
        Rng rng(4);
        const auto output = policy.forward(s.x, s.asking(options), rng, cache);
        const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
        const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
        auto grad = policy.backward({probe, bias_probe, {{}, {2.5}}}, cache, gradients);
        auto parameters = parameter_views(policy), analytic = parameter_views(gradients);
        parameters.push_back(tensor_view("x", s.x));
        analytic.push_back(tensor_view("x", grad.x));
        parameters.push_back({"key_bias", s.state.key_bias.data(), 1, s.state.key_bias.size(), true});
        analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
        CAPTURE(static_cast<int>(mask), options.mode == DeletionMode::soft, biased);
        require_gradients(
            [&] {
              const auto moved = policy.forward(s.x, s.asking(options));
              double sum = probe_sum(probe, moved.x) + 2.5 * moved.report.auxiliaries[0].value;
              for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
              return sum;
            },
            parameters, analytic);
      }
}

TEST_CASE("a learned threshold adds to its gradients", "[LTP]") {
  const Setup s;
  const LearnedThreshold<double> policy = layer();
  LearnedThreshold<double>::Cache cache;
  Rng rng(1);
  const Matrix<double> probe = policy.forward(s.x, s.asking(soft), rng, cache).x;
  require_backward_adds(policy, [&](LearnedThreshold<double>& gradients) {
    policy.backward({probe, {}, {{}, {1.0}}}, cache, gradients);
  });
}

TEST_CASE("LTP and its relatives keep the laws of policies", "[LTP]") {
  PolicyLaws laws;
  laws.copies = true;
  require_policy_laws([]<Real>() { return AttentionThreshold{.threshold = 0.5}; }, laws);
  require_policy_laws(
      []<Real>() { return AttentionThreshold{.threshold = 0.12, .kind = AttentionThreshold::Kind::absolute}; }, laws);
  require_policy_laws([]<Real>() { return CascadeTopK{.budget = {.rate = 0.4}}; }, laws);
  require_planner_gradients(AttentionThreshold{.threshold = 0.5});
  require_planner_gradients(CascadeTopK{.budget = {.rate = 0.4}});
  require_policy_laws([]<Real Scalar>() { return layer<Scalar>(Mask::rows, 0.12); }, laws);
  laws.options.target_rate = 0.4;
  require_policy_laws([]<Real Scalar>() { return layer<Scalar>(Mask::keys, 0.12); }, laws);
}

TEST_CASE("settings of a learned threshold that do not fit are named", "[LTP]") {
  REQUIRE(LearnedThreshold<float>::traits.is_gate);
  REQUIRE(argument_error([] { layer(Mask::rows, 0.1, 0); }) ==
          "LearnedThreshold: temperature: got 0, expected a positive number");
  REQUIRE_THROWS_AS(layer(Mask::rows, std::numeric_limits<double>::infinity()), std::invalid_argument);
  const PolicyBatch<double> batch({3}, 2);
  REQUIRE(argument_error([&] { layer().forward(batch.x, batch.context(hard)); }) ==
          "LearnedThreshold: attention: got none, expected a policy behind the attention of a block");
  REQUIRE(argument_error([&] { layer().forward(Matrix<double>::Zero(2, 2), batch.context(hard)); }) ==
          "LearnedThreshold::forward: x.rows(): got 2, expected 3");
  LearnedThreshold<float> policy = layer<float>();
  REQUIRE(parameter_views(policy)[0].name == "keep_threshold");
}

}  // namespace ltp_test
