// Poolings inside the encoder and the models around it.
#include <algorithm>
#include <string>
#include <vector>

#include <merganser/models/encoder.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/generation.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/training/objective.hpp>

#include "merge/pooling_surrogate.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using merge::DeletionMode;
using merge::PoolingConfig;
using merge::PoolingKind;

namespace {

PoolingConfig pooling_at(Index block, PoolingKind kind) {
  PoolingConfig pooling;
  pooling.block = block;
  pooling.kind = kind;
  pooling.rate = 2;
  return pooling;
}

template <Real Scalar>
struct Setup {
  Encoder<Scalar> encoder;
  TokenBatch ids;
  Matrix<Scalar> rows;
  Vector<std::uint8_t> hidden;
  Vector<double> noise;

  Setup(const PoolingConfig& pooling, const StackConfig& stack, const Vector<Index>& lengths = {7, 1, 0, 9})
      : encoder({stack, {}, pooling}), ids(random_tokens(lengths, 11, 1)) {
    fill_model(encoder, 1);
    Rng rng(2);
    rows = random_matrix<Scalar>(ids.total(), stack.width, rng);
    noise = merge::draw_boundary_noise(ids.total(), rng);
  }

  EncoderInput<Scalar> input() const { return {{rows, ids.offsets}, ids.ids, hidden, {}, nullptr, noise}; }

  EncoderOutput<Scalar> forward(const merge::DeletionOptions& options = {}) const {
    return encoder.forward(input(), options);
  }

  EncoderOutput<Scalar> forward(typename Encoder<Scalar>::Cache& cache) const {
    Rng rng(9);
    return encoder.forward(input(), {}, rng, cache);
  }
};

StackConfig three_blocks(PositionScheme positions = PositionScheme::relative) {
  StackConfig stack = tiny_stack();
  stack.blocks = 3;
  stack.max_positions = 9;
  stack.positions = positions;
  return stack;
}

/// The encoder with its boundaries as a smooth function, block by block; behind the pooling in the states of `cache`.
/// Writes the soft boundaries.
Matrix<double> surrogate_forward(const Setup<double>& s, const Encoder<double>::Cache& cache,
                                 const PoolingSurrogate& surrogate, Vector<double>& soft) {
  const Encoder<double>& encoder = s.encoder;
  const Vector<Position> positions = counting_positions(s.ids.offsets);
  Matrix<double> x = s.rows;
  encoder.position.add(x, positions, nullptr);
  const auto bias = encoder.position.bias(positions);
  Index state = 0;
  for (Index b = 0; b < encoder.blocks.size(); ++b) {
    if (b == encoder.pooling->config().block) {
      soft =
          encoder.pooling->predictor.forward(encoder.pooling->norm.forward(x), s.ids.offsets, surrogate.pads, s.noise)
              .soft;
      x = surrogate.means(x, soft);
      ++state;
    }
    x = encoder.blocks[b].forward(x, self_attention_context(cache.states[state], bias, {}));
  }
  return encoder.final_norm.forward(x);
}

template <Real Scalar>
typename EncoderDecoder<Scalar>::Config model_config(PoolingKind kind) {
  typename EncoderDecoder<Scalar>::Config config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  config.pooling = pooling_at(1, kind);
  return config;
}

}  // namespace

TEST_CASE("the gradients of an encoder with boundaries are those of its surrogate", "[pooling]") {
  const Threads one(1);
  const Index block = GENERATE(0, 1, 2);
  Setup<double> s(pooling_at(block, PoolingKind::boundaries),
                  three_blocks(block == 1 ? PositionScheme::absolute : PositionScheme::relative));
  s.hidden.assign(17, 0);
  s.hidden[6] = s.hidden[16] = 1;
  Encoder<double>::Cache cache;
  const EncoderOutput<double> output = s.forward(cache);
  REQUIRE(output.hidden.total() < 15);
  REQUIRE(output.hidden.total() > 3);
  const PoolingSurrogate surrogate{s.ids.offsets, s.hidden, output.pooling->boundaries};
  Rng rng(5);
  const auto probe = random_matrix<double>(output.hidden.total(), s.rows.cols(), rng);
  const auto weights = random_values<double>(17, rng);
  Vector<double> soft;
  REQUIRE(relative_difference(surrogate_forward(s, cache, surrogate, soft), output.hidden.values) < 1e-12);
  Encoder<double> gradients = zeros_like(s.encoder);
  Matrix<double> grad_rows = s.encoder.backward(probe, {}, {}, 0.0, cache, gradients, weights);
  auto parameters = parameter_views(s.encoder), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("rows", s.rows));
  analytic.push_back(tensor_view("rows", grad_rows));
  require_gradients(
      [&] {
        const Matrix<double> hidden = surrogate_forward(s, cache, surrogate, soft);
        return probe_sum(probe, hidden) + surrogate.weighted(weights, soft);
      },
      parameters, analytic);
}

TEST_CASE("the gradients of a whole model with a strided convolution agree with finite differences", "[pooling]") {
  const Threads one(1);
  ModelSetup<EncoderDecoder<double>> s(model_config<double>(PoolingKind::strided), random_tokens({5, 1, 0, 8}, 11, 2),
                                       random_tokens({2, 4, 1, 3}, 11, 3), {}, 1);
  s.objective.score_penalty = 0;
  s.model.encoder.pooling->convolution.bias.array() += 1.5;  // rows near 0 are where the norm behind them bends most
  EncoderDecoder<double>::Cache cache;
  EncoderDecoder<double> gradients = zeros_like(s.model);
  s.backward(gradients);
  require_gradients([&] { return s.evaluate(cache).total; }, parameter_views(s.model), parameter_views(gradients));
}

TEST_CASE("the prior loss reaches the boundary predictor through the whole model, read or not", "[pooling]") {
  ModelSetup<EncoderDecoder<double>> s(model_config<double>(PoolingKind::boundaries),
                                       random_tokens({9, 1, 0, 8}, 11, 2), random_tokens({2, 4, 1, 3}, 11, 3), {}, 1);
  s.deletion.mode = GENERATE(DeletionMode::hard, DeletionMode::everything);
  s.objective.score_penalty = 0;
  const auto gradients_at = [&](double weight) {
    s.objective.boundary_weight = weight;
    EncoderDecoder<double> gradients = zeros_like(s.model);
    s.backward(gradients);
    return gradients;
  };
  EncoderDecoder<double>::Cache cache;
  const auto output = s.trained(cache);
  const auto& report = *output.encoded.pooling;
  REQUIRE(report.offsets == s.source.offsets);
  REQUIRE(s.evaluate(cache).part("boundary_prior") > 0);
  const auto prior = merge::boundary_prior_loss<double>(report.boundaries.hard, report.offsets, report.trials, 0.2);
  double expected = 0;  // d loss / d b2, through the sigmoids
  for (Index t = 0; t < 18; ++t)
    if (report.boundaries.settled[t] == 0)
      expected += prior.grad_boundaries[t] * report.boundaries.soft[t] * (1 - report.boundaries.soft[t]) / 0.5;
  const auto with = gradients_at(3), without = gradients_at(0);
  REQUIRE(std::abs(expected) > 1e-3);
  REQUIRE(
      std::abs((with.encoder.pooling->predictor.outer_bias[0] - without.encoder.pooling->predictor.outer_bias[0]) / 3 -
               expected) < 1e-12);
  if (s.deletion.mode == DeletionMode::everything)
    REQUIRE(without.encoder.pooling->predictor.outer.weight.matrix().isZero(0));
}

TEMPLATE_TEST_CASE("training and inference agree, in every deletion mode alike", "[pooling]", float, double) {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided}) {
    const Setup<TestType> s(pooling_at(1, kind), three_blocks());
    typename Encoder<TestType>::Cache cache;
    const auto trained = s.forward(cache);
    for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
      const auto inferred = s.forward(deletion(mode));
      REQUIRE(relative_difference(trained.hidden.values, inferred.hidden.values) <= agreement<TestType>);
      REQUIRE(trained.hidden.positions == inferred.hidden.positions);
      REQUIRE(trained.pooling->lengths == inferred.pooling->lengths);
      REQUIRE(trained.deletion.kept == inferred.pooling->lengths);
      REQUIRE(trained.kept == inferred.kept);
      REQUIRE(inferred.deletion.tokens == Vector<Index>{7, 1, 0, 9});
      REQUIRE(inferred.gates.empty());
    }
    const auto control = s.forward(deletion(DeletionMode::everything));
    REQUIRE(control.hidden.total() == 0);
    REQUIRE(control.deletion.kept == Vector<Index>{0, 0, 0, 0});
  }
}

TEMPLATE_TEST_CASE("a pooled sequence alone gives the bits that it gives in a batch, with any threads", "[pooling]",
                   float, double) {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided}) {
    Setup<TestType> s(pooling_at(1, kind), small_stack(), {70, 1, 0, 33, 6});
    s.noise.clear();
    const auto together = s.forward();
    REQUIRE(together.hidden.total() < s.ids.total());
    for (Index i = 0; i < s.ids.count(); ++i) {
      const TokenBatch one = alone(s.ids, i);
      const auto own = s.encoder.forward({{rows_of(s.rows, s.ids.offsets, i), one.offsets}, one.ids}, {});
      REQUIRE(identical(own.hidden.values, rows_of(together.hidden.values, together.hidden.offsets, i)));
    }
    require_same_bits_with_threads([&] { return s.forward().hidden.values; });
    require_same_bits_with_threads([&] {
      typename Encoder<TestType>::Cache cache;
      const auto output = s.forward(cache);
      Encoder<TestType> gradients = zeros_like(s.encoder);
      return s.encoder.backward(output.hidden.values, {}, {}, 0.0, cache, gradients);
    });
  }
}

TEMPLATE_TEST_CASE("hidden pads change nothing that the decoder says, generation agrees with it", "[pooling]", float,
                   double) {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided}) {
    EncoderDecoder<TestType> model(model_config<TestType>(kind));
    fill_model(model, 1);
    const TokenBatch source = random_tokens({5, 1, 8}, 11, 2), target = random_tokens({2, 4, 3}, 11, 3);
    TokenBatch padded;
    Vector<std::uint8_t> hidden;
    for (Index i = 0; i < 3; ++i) {
      Vector<TokenId> row(source.sequence(i).begin(), source.sequence(i).end());
      hidden.resize(hidden.size() + row.size(), 0);
      row.resize(9, 0);
      padded.push_back(row);
      hidden.resize(9 * (i + 1), 1);
    }
    typename EncoderDecoder<TestType>::ForwardOptions options;
    options.hidden = hidden;
    const auto expected = model.forward_targets(source, target, {});
    const auto got = model.forward_targets(padded, target, options);
    REQUIRE(relative_difference(got.logits, expected.logits) <= agreement<TestType>);
    REQUIRE(got.encoded.pooling->lengths == expected.encoded.pooling->lengths);
    GenerationOptions generation;
    generation.max_length = 6;
    generation.step_logits = StepLogits::kept;
    const auto generated = generate(model, source, generation);
    REQUIRE(generated.encoded.pooling->lengths == expected.encoded.pooling->lengths);
    const auto forced = model.forward(source, generated.ids);
    for (Index i = 0; i < 3; ++i)
      REQUIRE(relative_difference(forced.logits.row(generated.ids.offsets.begin(i)), generated.step_logits[0].row(i)) <=
              10 * agreement<TestType>);
  }
}

TEST_CASE("a classifier may pool, and trains through it", "[pooling]") {
  SequenceClassifier<double>::Config config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  config.classes = 3;
  config.pooling = pooling_at(1, PoolingKind::strided);
  ModelSetup<SequenceClassifier<double>> s(config, random_tokens({5, 1, 0, 4}, 11, 2),
                                           random_tokens({1, 1, 1, 1}, 3, 3), {}, 1);
  s.objective.score_penalty = 0;
  const Threads one(1);
  SequenceClassifier<double>::Cache cache;
  SequenceClassifier<double> gradients = zeros_like(s.model);
  s.backward(gradients);
  require_gradients([&] { return s.evaluate(cache).total; }, parameter_views(s.model), parameter_views(gradients));
}

TEST_CASE("an encoder has gates or a pooling, at a block that exists", "[pooling]") {
  Encoder<float>::Config config{three_blocks(), {gate_at(1)}, pooling_at(1, PoolingKind::strided)};
  REQUIRE_THAT(argument_error([&] { Encoder<float>{config}; }), ContainsSubstring("gates and a pooling"));
  config.gates.clear();
  for (const Index block : {-1, 3}) {
    config.pooling->block = block;
    REQUIRE_THAT(argument_error([&] { Encoder<float>{config}; }), ContainsSubstring("pooling: block"));
  }
  config.pooling->block = 2;
  Encoder<float> encoder(config);
  Vector<std::string> names;
  for (const auto& view : parameter_views(encoder)) names.push_back(view.name);
  REQUIRE(std::find(names.begin(), names.end(), "block.2.downsampling_module.conv.weight") != names.end());
  REQUIRE(std::find(names.begin(), names.end(), "block.2.down_ln.weight") != names.end());
}
