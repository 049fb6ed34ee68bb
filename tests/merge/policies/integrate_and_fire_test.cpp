// Continuous integrate-and-fire: which rows fire of which tokens, the exact gradient of the weights, and the laws.
#include <merganser/merge/policies/integrate_and_fire.hpp>

#include <cmath>
#include <limits>
#include <string>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace integrate_and_fire_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

using Layer = IntegrateAndFire<double>;
using Weights = Vector<double>;

const DeletionOptions hard;

template <Real Scalar>
IntegrateAndFire<Scalar> random_layer(typename IntegrateAndFire<Scalar>::Config config = {.width = 6},
                                      std::uint64_t seed = 4) {
  IntegrateAndFire<Scalar> layer(config);
  Rng rng(seed);
  randomise(layer, rng, 0.5);
  return layer;
}

/// The definition, by the clock: row k is what arrives between k and k + 1, as a matrix [n_out x n].
Matrix<double> by_the_clock(const Weights& weights, double tail) {
  Weights clock = {0};
  for (const double weight : weights) clock.push_back(clock.back() + weight);
  const double full = std::floor(clock.back()), rest = clock.back() - full;
  const bool keeps = rest > 0 && (rest >= tail || full == 0);
  Matrix<double> rows = Matrix<double>::Zero(static_cast<Index>(full) + (keeps ? 1 : 0), weights.size());
  for (Index k = 0; k < rows.rows(); ++k)
    for (Index t = 0; t < weights.size(); ++t) {
      const double from = std::max(clock[t], static_cast<double>(k)),
                   to = std::min(clock[t + 1], static_cast<double>(k + 1));
      rows(k, t) = std::max(to - from, 0.0) / (k == static_cast<Index>(full) ? rest : 1.0);
    }
  return rows;
}

Matrix<double> dense(const MergePlan<double>& plan) {
  Matrix<double> rows = Matrix<double>::Zero(plan.output_count(), plan.input_count());
  for (Index row = 0; row < plan.output_count(); ++row)
    for (const Member<double>& member : plan.members(row)) rows(row, member.token) += member.weight;
  return rows;
}

/// Gradients of x, key bias, parameters, scores and the auxiliary, for one setting.
void check_gradients_of(const Layer::Config& config, SizeBias size_bias, bool padded) {
  Layer layer = random_layer<double>(config);
  PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, config.width).age();
  Vector<Index> rows;
  if (padded) batch = batch.padded(rows);
  const auto run = [&](Layer::Cache& cache) {
    PolicyContext<double> context = batch.context(hard);
    context.size_bias = size_bias;
    Rng rng(1);
    return layer.forward(batch.x, context, rng, cache);
  };
  Layer::Cache cache;
  const auto output = run(cache);
  REQUIRE(output.x.rows() < batch.x.rows());
  Rng rng(9);
  const auto probe = random_matrix<double>(output.x.rows(), config.width, rng);
  const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
  auto score_probe = random_values<double>(batch.x.rows(), rng);
  const Vector<std::uint8_t> pads = batch.state.pads();
  for (Index t = 0; t < pads.size(); ++t)
    if (pads[t] != 0) score_probe[t] = 0;
  Layer gradients = zeros_like(layer);
  auto grad = layer.backward({probe, bias_probe, {score_probe, {1.5}}}, cache, gradients);
  auto parameters = parameter_views(layer), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("x", batch.x));
  analytic.push_back(tensor_view("x", grad.x));
  parameters.push_back({"key_bias", batch.state.key_bias.data(), 1, batch.state.key_bias.size(), true});
  analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
  // Sizes are constants to backward: with the size bias, that of moved weights is taken out.
  const auto biases = [&](const Reduction<double>& after) {
    Vector<double> result = after.state.key_bias;
    for (Index row = 0; size_bias == SizeBias::log_size && row < result.size(); ++row)
      result[row] -= std::log(after.state.sizes[row]);
    return result;
  };
  require_gradients(
      [&] {
        Layer::Cache other;
        const auto moved = run(other);
        double sum = probe_sum(probe, moved.x) + 1.5 * moved.report.auxiliaries[0].value;
        const Vector<double> bias = biases(moved);
        for (Index row = 0; row < bias.size(); ++row) sum += bias_probe[row] * bias[row];
        for (Index t = 0; t < score_probe.size(); ++t) sum += score_probe[t] * moved.report.scores[t];
        return sum;
      },
      parameters, analytic);
}

TEST_CASE("integrate-and-fire: a row fires when weights reach 1, and what is beyond begins the next",
          "[IntegrateAndFire]") {
  const Firing<double> firing = fire<double>(Weights{0.5, 0.75, 0.25, 0.75, 0.25}, 0.75);
  REQUIRE(firing.plan.representatives() == Vector<Index>{1, 3});
  REQUIRE(dense(firing.plan) == Matrix<double>{{0.5, 0.5, 0, 0, 0}, {0, 0.25, 0.25, 0.5, 0}});
  REQUIRE(firing.remainder == 0);  // 0.5 would be left: of token 3 a quarter, of token 4 a quarter
  REQUIRE(firing.plan.groups() == Vector<Index>{0, 0, 1, 1, -1});
}

TEST_CASE("integrate-and-fire: what is left at the end is a row of weight 1 or dropped", "[IntegrateAndFire]") {
  const Weights weights = {0.5, 0.75, 0.25, 0.25};
  const Firing<double> kept = fire<double>(weights, 0.75), dropped = fire<double>(weights, 0.76);
  REQUIRE(kept.remainder == 0.75);
  REQUIRE(kept.plan.representatives() == Vector<Index>{1, 3});
  Matrix<double> expected{{0.5, 0.5, 0, 0}, {0, 1.0 / 3, 1.0 / 3, 1.0 / 3}};
  REQUIRE(relative_difference(dense(kept.plan), expected) < 1e-15);
  REQUIRE(dropped.remainder == 0);
  REQUIRE(dense(dropped.plan) == Matrix<double>{{0.5, 0.5, 0, 0}});
}

TEST_CASE("integrate-and-fire: a sequence with a token gets a row", "[IntegrateAndFire]") {
  const Firing<double> faint = fire<double>(Weights{0.125, 0.25}, 0.5);
  REQUIRE(faint.remainder == 0.375);
  REQUIRE(faint.plan.representatives() == Vector<Index>{1});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double nothing : {0.0, nan}) {
    const Firing<double> none = fire<double>(Weights{nothing, nothing, nothing}, 0.5, Vector<std::uint8_t>{0, 0, 1});
    REQUIRE(none.plan == [] {
      MergePlan<double> plan(3);
      plan.keep(1);
      return plan;
    }());
    REQUIRE(none.remainder == 0);
  }
  REQUIRE(fire<double>(Weights{}, 0.5).plan.output_count() == 0);
  REQUIRE(fire<double>(Weights{0.5, 1}, 0.5, Vector<std::uint8_t>{1, 1}).plan.output_count() == 0);
  REQUIRE(fire<double>(Weights{1, 1, 1}, 0.5).plan == MergePlan<double>::keeping(Vector<Index>{0, 1, 2}, 3));
}

TEST_CASE("integrate-and-fire: rows are what arrives in each unit of time", "[IntegrateAndFire]") {
  Rng rng(3);
  for (const Index n : {1, 2, 3, 7, 16, 33, 200})
    for (const double tail : {0.0, 0.5, 1.0}) {
      Weights weights;
      for (Index t = 0; t < n; ++t) weights.push_back(rng.uniform());
      CAPTURE(n, tail);
      const Firing<double> firing = fire<double>(weights, tail);
      REQUIRE(relative_difference(dense(firing.plan), by_the_clock(weights, tail)) < 1e-12);
    }
}

TEST_CASE("integrate-and-fire: weights are in [0, 1], pads fit", "[IntegrateAndFire]") {
  REQUIRE(argument_error([] {
            fire<double>(Weights{0.5, -0.5}, 0.5);
          }) == "fire: weights: got -0.5, expected weights in [0, 1]");
  REQUIRE_THROWS_AS(fire<double>(Weights{1.5}, 0.5), std::invalid_argument);
  REQUIRE_THROWS_AS(fire<double>(Weights{0.5}, 0.5, Vector<std::uint8_t>{0, 1}), std::invalid_argument);
}

TEST_CASE("integrate-and-fire: gradients are exact", "[IntegrateAndFire]") {
  for (const bool padded : {false, true}) {
    CAPTURE(padded);
    for (const double tail : {0.0, 0.5, 1.0}) {
      CAPTURE(tail);
      check_gradients_of({.width = 5, .share = 0.3, .tail = tail}, SizeBias::none, padded);
    }
    check_gradients_of({.width = 6, .quantity = Layer::Quantity::steered}, SizeBias::log_size, padded);
  }
}

TEST_CASE("integrate-and-fire: sizes are shared out by weight", "[IntegrateAndFire]") {
  Layer layer({.width = 1, .tail = 0});
  layer.weight(0, 0) = 1;
  PolicyBatch<double> batch({3}, 1);
  batch.x << 0, 1, 2;
  const auto after = layer.forward(batch.x, batch.context(hard));
  const double a = 1 / (1 + std::exp(-1.0)), b = 1 / (1 + std::exp(-2.0));
  REQUIRE(after.report.scores[0] == 0.5);
  REQUIRE_THAT(after.report.scores[1], WithinAbs(a, 1e-15));
  REQUIRE(after.report.logits == Vector<double>{0, 1, 2});
  REQUIRE(after.state.total() == 3);
  // Token 1 is in rows 0 and 1; token 2 in rows 1 and, scaled to 1, alone in row 2.
  const double one = (a - 0.5) / a, missing = 1 - (a - 0.5), two = missing / b;
  REQUIRE(b > missing);
  REQUIRE_THAT(after.state.sizes[0], WithinAbs(2 - one, 1e-14));
  REQUIRE_THAT(after.state.sizes[1], WithinAbs(one + two, 1e-14));
  REQUIRE_THAT(after.state.sizes[2], WithinAbs(1 - two, 1e-14));
  REQUIRE_THAT(after.x(2, 0), WithinAbs(2.0, 1e-14));
  REQUIRE(after.report.kept == Vector<Index>{1, 2, 2});
  // Where the last row is dropped, the part of token 2 there is; what is in front stays as it is.
  layer = Layer({.width = 1, .tail = 1});
  layer.weight(0, 0) = 1;
  const auto dropped = layer.forward(batch.x, batch.context(hard));
  REQUIRE(dropped.state.sizes == Vector<double>{after.state.sizes[0], after.state.sizes[1]});
}

TEST_CASE("integrate-and-fire: the quantity is counted by sequences and without pads", "[IntegrateAndFire]") {
  for (const bool steered : {false, true}) {
    const Layer layer = random_layer<double>(
        {.width = 6, .share = 0.3, .quantity = steered ? Layer::Quantity::steered : Layer::Quantity::wanted});
    const PolicyBatch<double> batch({7, 0, 3}, 6);
    const auto after = layer.forward(batch.x, batch.context(hard));
    double expected = 0;
    for (const Index i : {0, 2}) {
      const RowRange range = batch.state.offsets.range(i);
      double sum = 0;
      for (const double weight : range.of(std::span<const double>(after.report.scores))) sum += weight;
      const auto n = static_cast<double>(range.length);
      expected += (steered ? sum : std::abs(sum - 0.3 * n)) / n / 2;
    }
    const Auxiliary& quantity = after.report.auxiliaries.at(0);
    REQUIRE(quantity.name == "quantity");
    REQUIRE(quantity.steered == steered);
    REQUIRE(quantity.over == MeanOver::sequences);
    REQUIRE_THAT(quantity.value, WithinAbs(expected, 1e-14));
    Vector<Index> rows;
    const PolicyBatch<double> padded = batch.padded(rows);
    REQUIRE_THAT(layer.forward(padded.x, padded.context(hard)).report.auxiliaries[0].value, WithinAbs(expected, 1e-14));
  }
}

TEST_CASE("integrate-and-fire keeps the laws of policies", "[IntegrateAndFire]") {
  PolicyLaws laws;
  laws.sizes = RowSizes::own;  // a part of a token may be dropped
  laws.keeps_equal = false;    // the weights of a row add up to a threshold, and rows are mapped
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size}) {
    laws.size_bias = size_bias;
    require_policy_laws([]<Real Scalar>() { return Policy<Scalar>(random_layer<Scalar>()); }, laws);
    laws.options.mode = DeletionMode::none;  // a model does not work without it
  }
}

TEST_CASE("integrate-and-fire: a later token changes no row in front of it", "[IntegrateAndFire]") {
  const Layer layer = random_layer<double>({.width = 6, .tail = 1});
  REQUIRE(Layer::traits.is_causal);
  const PolicyBatch<double> batch({30}, 6);
  const auto whole = layer.forward(batch.x, batch.context(hard));
  for (const Index n : {10, 20}) {
    PolicyBatch<double> other = batch;
    other.x.bottomRows(30 - n) *= -2;
    const auto changed = layer.forward(other.x, other.context(hard));
    for (Index row = 0; row < whole.x.rows() && whole.report.kept[row] < n; ++row) {
      REQUIRE(changed.report.kept[row] == whole.report.kept[row]);
      REQUIRE(identical(Matrix<double>(changed.x.row(row)), Matrix<double>(whole.x.row(row))));
    }
  }
}

TEST_CASE("integrate-and-fire adds to its gradients and begins at the wanted share", "[IntegrateAndFire]") {
  Layer layer({.width = 6, .share = 0.25});
  Rng rng(1);
  layer.initialize(0.0, rng);
  const PolicyBatch<double> batch({40}, 6);
  Layer::Cache cache;
  const auto after = layer.forward(batch.x, batch.context(hard), rng, cache);
  REQUIRE_THAT(after.report.scores[7], WithinAbs(0.25, 1e-15));
  REQUIRE(after.state.total() == 10);
  layer.initialize(1.0, rng);
  REQUIRE_THAT(measured_deviation(layer.weight), WithinAbs(1 / std::sqrt(6.0), 0.3));
  const Matrix<double> probe = layer.forward(batch.x, batch.context(hard), rng, cache).x;
  require_backward_adds(layer, [&](Layer& sums) { layer.backward({probe, {}, {{}, {1.0}}}, cache, sums); });
  REQUIRE(parameter_views(layer, "policy.")[0].name == "policy.firing.weight");
  REQUIRE(parameter_views(layer, "policy.")[1].name == "policy.firing.bias");
}

TEST_CASE("settings and shapes of integrate-and-fire that do not fit are named", "[IntegrateAndFire]") {
  REQUIRE(argument_error([] { Layer(Layer::Config{}); }) == "IntegrateAndFire: width: got 0, expected at least 1");
  REQUIRE_THROWS_AS(Layer({.width = -3}), std::invalid_argument);
  for (const double share : {0.0, 1.0})
    REQUIRE_THAT(argument_error([&] { Layer({.width = 2, .share = share}); }), ContainsSubstring("share: got"));
  for (const double tail : {-0.1, 1.1})
    REQUIRE_THAT(argument_error([&] { Layer({.width = 2, .tail = tail}); }), ContainsSubstring("tail: got"));
  const Layer layer = random_layer<double>();
  const PolicyBatch<double> batch({3}, 6);
  REQUIRE(argument_error([&] { layer.forward(Matrix<double>::Zero(2, 6), batch.context(hard)); }) ==
          "IntegrateAndFire::forward: x.rows(): got 2, expected 3");
  REQUIRE(argument_error([&] { layer.forward(Matrix<double>::Zero(3, 5), batch.context(hard)); }) ==
          "IntegrateAndFire::forward: x.cols(): got 5, expected 6");
  Rng rng(1);
  Layer::Cache cache;
  layer.forward(batch.x, batch.context(hard), rng, cache);
  Layer sums = zeros_like(layer);
  REQUIRE_THROWS_AS(layer.backward({Matrix<double>::Zero(9, 6), {}, {}}, cache, sums), std::invalid_argument);
}

}  // namespace integrate_and_fire_test
