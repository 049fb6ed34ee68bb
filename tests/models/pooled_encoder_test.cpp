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

namespace pooled_encoder_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using io::PoolingConfig;
using io::PoolingKind;
using merge::BoundaryPooling;
using merge::DeletionMode;
using merge::StridedPooling;

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

  Setup(const PoolingConfig& pooling, const StackConfig& stack, const Vector<Index>& lengths = {7, 1, 0, 9})
      : encoder(stack, io::placements_of<Scalar>({{}, pooling}, stack)), ids(random_tokens(lengths, 11, 1)) {
    fill_model(encoder, 1);
    Rng rng(2);
    rows = random_matrix<Scalar>(ids.total(), stack.width, rng);
  }

  EncoderInput<Scalar> input() const { return {{rows, ids.offsets}, ids.ids, hidden}; }

  EncoderOutput<Scalar> forward(const merge::DeletionOptions& options = {}) const {
    return encoder.forward(input(), options);
  }

  EncoderOutput<Scalar> forward(typename Encoder<Scalar>::Cache& cache) const {
    Rng rng(training_seed);
    return encoder.forward(input(), {}, rng, cache);
  }

  static constexpr std::uint64_t training_seed = 9;

  /// That training draws: nothing else does.
  Vector<double> noise() const {
    Rng rng(training_seed);
    return merge::draw_boundary_noise(ids.total(), rng);
  }
};

StackConfig three_blocks(PositionScheme positions = PositionScheme::relative) {
  StackConfig stack = tiny_stack();
  stack.blocks = 3;
  stack.max_positions = 9;
  stack.positions = positions;
  return stack;
}

/// The pooling of an encoder, and what it keeps for backward.
template <class Pooling, Real Scalar>
Pooling& pooling_in(Encoder<Scalar>& encoder) {
  return *encoder.policies[0].policy.template target<Pooling>();
}

template <Real Scalar>
const merge::Boundaries<Scalar>& boundaries_in(const typename Encoder<Scalar>::Cache& cache) {
  return cache.policies[0].template target<BoundaryPooling<Scalar>>()->predictor.boundaries;
}

/// Rows behind the pooling, of each sequence.
template <Real Scalar>
Vector<Index> lengths_behind(const EncoderOutput<Scalar>& output) {
  return output.reports[0].deletion().kept;
}

/// The encoder with its boundaries as a smooth function, block by block; behind the pooling in the states of `cache`.
/// Writes the soft boundaries.
Matrix<double> surrogate_forward(const Setup<double>& s, const Encoder<double>::Cache& cache,
                                 const PoolingSurrogate& surrogate, Vector<double>& soft) {
  const Encoder<double>& encoder = s.encoder;
  const merge::Placement<double>& placement = encoder.policies[0];
  const auto& pooling = *placement.policy.target<BoundaryPooling<double>>();
  const Vector<Position> positions = counting_positions(s.ids.offsets);
  Matrix<double> x = s.rows;
  encoder.position.add(x, positions, nullptr);
  const auto bias = encoder.position.bias(positions);
  Index state = 0;
  for (Index b = 0; b < encoder.blocks.size(); ++b) {
    if (b == placement.block) {
      soft = pooling.predictor.forward(pooling.norm.forward(x), s.ids.offsets, surrogate.pads, s.noise()).soft;
      x = surrogate.means(x, soft);
      ++state;
    }
    x = encoder.blocks[b].forward(x, self_attention_context(cache.states[state], bias, {}));
  }
  return encoder.final_norm.forward(x);
}

template <Real Scalar>
Design<EncoderDecoder<Scalar>> model_config(PoolingKind kind) {
  Design<EncoderDecoder<Scalar>> config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  config.pooling = pooling_at(1, kind);
  return config;
}

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
  const PoolingSurrogate surrogate{s.ids.offsets, s.hidden, boundaries_in<double>(cache)};
  Rng rng(5);
  const auto probe = random_matrix<double>(output.hidden.total(), s.rows.cols(), rng);
  // The prior as a straight line with the slope that it has at the boundaries as they are.
  const double share = 0.7;
  const auto prior =
      merge::boundary_prior_loss<double>(surrogate.start.hard, s.ids.offsets, Vector<Index>{6, 1, 0, 8}, 0.2);
  REQUIRE(output.reports[0].auxiliaries[0].value == prior.value);
  Vector<double> weights = prior.grad_boundaries;
  for (double& weight : weights) weight *= share;
  const Vector<merge::ReportGradient<double>> reports = {{{}, {share}}};
  Vector<double> soft;
  REQUIRE(relative_difference(surrogate_forward(s, cache, surrogate, soft), output.hidden.values) < 1e-12);
  Encoder<double> gradients = zeros_like(s.encoder);
  Matrix<double> grad_rows = s.encoder.backward(probe, {}, reports, 0.0, cache, gradients);
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
  // Rows near 0 are where the norm behind them bends most.
  pooling_in<StridedPooling<double>>(s.model.encoder).convolution.bias.array() += 1.5;
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
    s.objective.auxiliary_weight = weight;
    EncoderDecoder<double> gradients = zeros_like(s.model);
    s.backward(gradients);
    return gradients;
  };
  EncoderDecoder<double>::Cache cache;
  const auto output = s.trained(cache);
  const auto& report = output.encoded.reports[0];
  const merge::Boundaries<double>& boundaries = boundaries_in<double>(cache.encoder);
  REQUIRE(report.offsets == s.source.offsets);
  REQUIRE(report.scores == boundaries.soft);
  REQUIRE(report.logits == boundaries.logits);
  const auto prior =
      merge::boundary_prior_loss<double>(boundaries.hard, report.offsets, Vector<Index>{9, 1, 0, 8}, 0.2);
  REQUIRE(prior.value > 0);
  REQUIRE(s.evaluate(cache).part("boundary_prior") == prior.value);
  double expected = 0;  // d loss / d b2, through the sigmoids
  for (Index t = 0; t < 18; ++t)
    if (boundaries.settled[t] == 0)
      expected += prior.grad_boundaries[t] * boundaries.soft[t] * (1 - boundaries.soft[t]) / 0.5;
  auto with = gradients_at(3), without = gradients_at(0);
  REQUIRE(std::abs(expected) > 1e-3);
  const auto& predictor = pooling_in<BoundaryPooling<double>>(without.encoder).predictor;
  const double by_prior =
      pooling_in<BoundaryPooling<double>>(with.encoder).predictor.outer_bias[0] - predictor.outer_bias[0];
  REQUIRE(std::abs(by_prior / 3 - expected) < 1e-12);
  if (s.deletion.mode == DeletionMode::everything) REQUIRE(predictor.outer.weight.matrix().isZero(0));
}

TEMPLATE_TEST_CASE("training and inference agree, in every deletion mode alike", "[pooling]", float, double) {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided}) {
    Setup<TestType> s(pooling_at(1, kind), three_blocks());
    if (kind == PoolingKind::boundaries) {  // so clear that the noise of training changes nothing
      auto& predictor = pooling_in<BoundaryPooling<TestType>>(s.encoder).predictor;
      predictor.outer.weight.matrix() *= 300;
      predictor.outer_bias *= 300;
    }
    typename Encoder<TestType>::Cache cache;
    const auto trained = s.forward(cache);
    for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
      const auto inferred = s.forward(deletion(mode));
      REQUIRE(relative_difference(trained.hidden.values, inferred.hidden.values) <= agreement<TestType>);
      REQUIRE(trained.hidden.positions == inferred.hidden.positions);
      REQUIRE(lengths_behind(trained) == lengths_behind(inferred));
      REQUIRE(trained.deletion.kept == lengths_behind(inferred));
      REQUIRE(trained.origin == inferred.origin);
      REQUIRE(trained.group == inferred.group);
      REQUIRE(inferred.deletion.tokens == Vector<Index>{7, 1, 0, 9});
      REQUIRE(inferred.reports.size() == 1);
      REQUIRE_FALSE(inferred.reports[0].is_gate);
    }
    const auto control = s.forward(deletion(DeletionMode::everything));
    REQUIRE(control.hidden.total() == 0);
    REQUIRE(control.deletion.kept == Vector<Index>{0, 0, 0, 0});
  }
}

TEMPLATE_TEST_CASE("a pooled sequence alone gives the bits that it gives in a batch, with any threads", "[pooling]",
                   float, double) {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided}) {
    const Setup<TestType> s(pooling_at(1, kind), small_stack(), {70, 1, 0, 33, 6});
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
    EncoderDecoder<TestType> model = model_config<TestType>(kind).make();
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
    REQUIRE(lengths_behind(got.encoded) == lengths_behind(expected.encoded));
    GenerationOptions generation;
    generation.max_length = 6;
    generation.step_logits = StepLogits::kept;
    const auto generated = generate(model, source, generation);
    REQUIRE(lengths_behind(generated.encoded) == lengths_behind(expected.encoded));
    const auto forced = model.forward(source, generated.ids);
    for (Index i = 0; i < 3; ++i)
      REQUIRE(relative_difference(forced.logits.row(generated.ids.offsets.begin(i)), generated.step_logits[0].row(i)) <=
              10 * agreement<TestType>);
  }
}

TEST_CASE("a classifier may pool, and trains through it", "[pooling]") {
  Design<SequenceClassifier<double>> config;
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

TEST_CASE("a pooling stands at a block that exists, whose name its tensors have", "[pooling]") {
  const StackConfig stack = three_blocks();
  const auto at = [&](Index block) { return merge::before_block(block, StridedPooling<float>({stack.width, 2})); };
  for (const Index block : {-1, 4})
    REQUIRE_THAT(argument_error([&] { Encoder<float>(stack, {at(block)}); }), ContainsSubstring("policies: block"));
  Encoder<float> encoder(stack, {at(2)});
  Vector<std::string> names;
  for (const auto& view : parameter_views(encoder)) names.push_back(view.name);
  REQUIRE(std::find(names.begin(), names.end(), "block.2.downsampling_module.conv.weight") != names.end());
  REQUIRE(std::find(names.begin(), names.end(), "block.2.down_ln.weight") != names.end());
}

}  // namespace pooled_encoder_test
