// Cross-attention as a way back: against a slow version, causal and not, settings, and the laws.
#include <merganser/merge/recover/cross_attention.hpp>

#include <cmath>
#include <string>

#include "support/catch.hpp"
#include "support/recovery_laws.hpp"

namespace cross_attention_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;

using Layer = CrossAttention<double>;

template <Real Scalar>
CrossAttention<Scalar> random_layer(const typename CrossAttention<Scalar>::Config& config) {
  CrossAttention<Scalar> layer(config);
  Rng rng(4);
  randomise(layer, rng, 0.5);
  return layer;
}

ReducedBatch<double> some_batch(Index back_width) {
  return {PolicyBatch<double>({7, 0, 5}, 6), Policy<double>(RunsOfTokens{}), back_width};
}

/// Head by head and token by token.
Matrix<double> slowly(const Layer& layer, const ReducedBatch<double>& all) {
  const Layer::Config& config = layer.config();
  const auto map = [](const Matrix<double>& x, const nn::Linear<double>& linear, const RowVector<double>& bias) {
    Matrix<double> y = x * linear.weight.matrix().transpose();
    if (bias.size() > 0) y.rowwise() += bias;
    return y;
  };
  const Matrix<double> q = map(all.batch.x, layer.q, layer.q_bias), k = map(all.y, layer.k, layer.k_bias),
                       v = map(all.y, layer.v, layer.v_bias);
  Matrix<double> attended = Matrix<double>::Zero(q.rows(), q.cols());
  const TokenState<double>&before = all.batch.state, &after = all.reduction.state;
  for (Index i = 0; i < before.offsets.count(); ++i)
    for (Index t = before.offsets.begin(i); t < before.offsets.end(i); ++t)
      for (Index head = 0; head < config.heads; ++head) {
        double sum = 0;
        const Index first = head * config.head_width, width = config.head_width;
        for (Index row = after.offsets.begin(i); row < after.offsets.end(i); ++row) {
          if (config.causal && after.positions[row] > before.positions[t]) continue;
          const double weight = std::exp(q.row(t).segment(first, width).dot(k.row(row).segment(first, width)) /
                                         std::sqrt(static_cast<double>(width)));
          attended.row(t).segment(first, width) += weight * v.row(row).segment(first, width);
          sum += weight;
        }
        if (sum > 0) attended.row(t).segment(first, width) /= sum;
      }
  const Matrix<double> result = map(attended, layer.proj, layer.proj_bias);
  return config.residual ? Matrix<double>(result + all.batch.x) : result;
}

TEST_CASE("cross-attention back follows its formula", "[CrossAttention]") {
  for (const bool causal : {false, true})
    for (const bool biases : {false, true})
      for (const Index heads : {1, 2, 3})
        for (const Index head_width : {0, 5}) {
          CAPTURE(causal, biases, heads, head_width);
          const Layer layer = random_layer<double>(
              {.width = 6, .heads = heads, .head_width = head_width, .biases = biases, .causal = causal});
          REQUIRE(layer.config().head_width == (head_width > 0 ? 5 : 6 / heads));
          const auto all = some_batch(6);
          REQUIRE(relative_difference(layer.forward(all.y, all.reduced()), slowly(layer, all)) < 1e-12);
          const Layer wide = random_layer<double>({.width = 6,
                                                   .back_width = 9,
                                                   .heads = heads,
                                                   .head_width = head_width,
                                                   .biases = biases,
                                                   .residual = false,
                                                   .causal = causal});
          const auto other = some_batch(9);
          REQUIRE(relative_difference(wide.forward(other.y, other.reduced()), slowly(wide, other)) < 1e-12);
        }
}

TEST_CASE("cross-attention back: a token without a row to look at gets the bias alone", "[CrossAttention]") {
  const Layer layer = random_layer<double>({.width = 6, .residual = false, .causal = true});
  ReducedBatch<double> all = some_batch(6);
  all.reduction.state.positions[0] = all.batch.state.positions[2];
  const Matrix<double> back = layer.forward(all.y, all.reduced());
  REQUIRE(identical(back.row(0), layer.proj_bias));
  REQUIRE_FALSE(identical(back.row(1), layer.proj_bias));  // it sees its own row
  // Rows that are hidden are not looked at.
  const Layer open = random_layer<double>({.width = 6, .residual = false});
  all.reduction.state.hidden.assign(all.y.rows(), 0);
  for (Index row = 0; row < all.reduction.state.offsets.length(0); ++row) all.reduction.state.hidden[row] = 1;
  const Matrix<double> hidden = open.forward(all.y, all.reduced());
  for (Index t = 0; t < 7; ++t) REQUIRE(identical(hidden.row(t), layer.proj_bias));
  REQUIRE(identical(hidden.bottomRows(5), open.forward(all.y, some_batch(6).reduced()).bottomRows(5)));
}

TEST_CASE("cross-attention back keeps the laws of ways back", "[CrossAttention]") {
  RecoveryLaws laws;
  for (const bool causal : {false, true}) {
    CAPTURE(causal);
    require_recovery_laws(
        [&]<Real Scalar>() {
          return Recovery<Scalar>(random_layer<Scalar>({.width = 6, .heads = 2, .causal = causal}));
        },
        laws);
    REQUIRE(random_layer<double>({.width = 6, .causal = causal}).is_causal() == causal);
  }
  laws.back_width = 4;
  require_recovery_laws(
      []<Real Scalar>() {
        return Recovery<Scalar>(random_layer<Scalar>(
            {.width = 6, .back_width = 4, .heads = 2, .head_width = 5, .biases = false, .residual = false}));
      },
      laws);
}

TEST_CASE("cross-attention back: its tensors have published names and begin at random", "[CrossAttention]") {
  Layer layer = random_layer<double>({.width = 6, .heads = 2}), bare({.width = 6, .biases = false});
  Vector<std::string> names;
  for (const auto& view : parameter_views(layer, "tra.")) names.push_back(view.name);
  REQUIRE(names == Vector<std::string>{"tra.linear_q.weight", "tra.linear_q.bias", "tra.linear_k.weight",
                                       "tra.linear_k.bias", "tra.linear_v.weight", "tra.linear_v.bias",
                                       "tra.proj.weight", "tra.proj.bias"});
  REQUIRE(parameter_views(bare).size() == 4);
  Rng rng(1);
  layer.initialize(2.0, rng);
  REQUIRE(layer.q_bias.isZero());
  REQUIRE(layer.proj_bias.isZero());
  for (const nn::Linear<double>* linear : {&layer.q, &layer.k, &layer.v, &layer.proj})
    REQUIRE(std::abs(measured_deviation(linear->weight.matrix()) - 2 / std::sqrt(6.0)) < 0.3);
}

TEST_CASE("settings and shapes of cross-attention back that do not fit are named", "[CrossAttention]") {
  const auto error_of = [](const Layer::Config& config) { return argument_error([&] { Layer layer(config); }); };
  REQUIRE(error_of({}) == "CrossAttention: width: got 0, expected at least 1");
  REQUIRE(error_of({.width = 6, .heads = 4}) == "CrossAttention: heads: got 4, expected a part of the width");
  REQUIRE(error_of({.width = 6, .back_width = 4}) == "CrossAttention: back_width: got 4, expected 6");
  REQUIRE_THAT(error_of({.width = 6, .back_width = -1}), ContainsSubstring("back_width: got -1"));
  REQUIRE_THAT(error_of({.width = 6, .heads = 0}), ContainsSubstring("heads: got 0"));
  REQUIRE_THAT(error_of({.width = 6, .head_width = -2}), ContainsSubstring("head_width: got -2"));
  const Layer layer = random_layer<double>({.width = 6});
  const auto all = some_batch(4);
  REQUIRE_THROWS_AS(layer.forward(all.y, all.reduced()), std::invalid_argument);
  const auto fitting = some_batch(6);
  REQUIRE(argument_error([&] { layer.forward(fitting.y.topRows(1), fitting.reduced()); }) ==
          "CrossAttention::forward: y.rows(): got 1, expected 7");
  Layer::Cache cache;
  layer.forward(fitting.y, fitting.reduced(), cache);
  Layer sums = zeros_like(layer);
  REQUIRE_THROWS_AS(layer.backward(Matrix<double>::Zero(3, 6), cache, sums), std::invalid_argument);
}

}  // namespace cross_attention_test
