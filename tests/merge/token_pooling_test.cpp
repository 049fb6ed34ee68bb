#include <merganser/merge/token_pooling.hpp>

#include <string>
#include <vector>

#include "merge/pooling_surrogate.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;

namespace {

using Flags = Vector<std::uint8_t>;
using Rows = Vector<Index>;

PoolingConfig config_of(PoolingKind kind) {
  PoolingConfig config;
  config.block = 2;
  config.kind = kind;
  config.rate = 3;
  config.prior = 0.4;
  return config;
}

template <Real Scalar>
struct Setup {
  TokenPooling<Scalar> pooling;
  TokenState<Scalar> state;
  Vector<double> noise;
  Matrix<Scalar> x;

  explicit Setup(PoolingKind kind, const Rows& lengths = {7, 0, 1, 9}, std::uint64_t seed = 1)
      : pooling(config_of(kind), 4, 6) {
    Rng rng(seed);
    randomise(pooling, rng);
    const auto offsets = SequenceOffsets::from_lengths(lengths);
    Vector<Position> positions = counting_positions(offsets);
    for (Position& position : positions) position = 2 * position + 1;
    state = TokenState<Scalar>::start(offsets, positions);
    x = random_matrix<Scalar>(offsets.total(), 4, rng);
    noise = draw_boundary_noise(offsets.total(), rng);
  }

  PoolingInput input(PooledPads pads = PooledPads::left_out) const { return {pads, noise}; }
};

}  // namespace

TEST_CASE("a boundary predictor reads norm(x) and makes means of x", "[TokenPooling]") {
  const Setup<double> s(PoolingKind::boundaries);
  const auto output = s.pooling.forward(s.x, s.state, s.input());
  const auto expected = s.pooling.predictor.forward(s.pooling.norm.forward(s.x), s.state.offsets, {}, s.noise);
  REQUIRE(output.report.boundaries.hard == expected.hard);
  REQUIRE(output.report.boundaries.logits == expected.logits);
  const Compaction<double> segments(segment_plans<double>(expected.hard, s.state.offsets), s.state.offsets);
  REQUIRE(identical(output.values, segments.compact(s.x)));
  REQUIRE(output.values.rows() < s.x.rows());
  REQUIRE(output.report.block == 2);
  REQUIRE(output.report.offsets == s.state.offsets);
  REQUIRE(output.report.trials == Rows{7, 0, 1, 9});
  REQUIRE(output.report.prior == 0.4);
  REQUIRE(SequenceOffsets::from_lengths(output.report.lengths) == output.state.offsets);
  REQUIRE(output.state.origin == segments.representatives());
  for (Index row = 0; row < output.state.origin.size(); ++row)
    REQUIRE(output.state.positions[row] == s.state.positions[output.state.origin[row]]);
  REQUIRE(output.report.positions == output.state.positions);
  REQUIRE(output.hidden.empty());
}

TEST_CASE("a strided pooling is the convolution of norm(x)", "[TokenPooling]") {
  const Setup<double> s(PoolingKind::strided);
  const auto output = s.pooling.forward(s.x, s.state, s.input());
  const Compaction<double> groups(strided_plans<double>(s.state.offsets, 3), s.state.offsets);
  REQUIRE(identical(output.values, s.pooling.convolution.forward(s.pooling.norm.forward(s.x), groups)));
  REQUIRE(output.report.lengths == Rows{3, 0, 1, 3});
  REQUIRE(output.report.positions == Vector<Position>{1, 7, 13, /**/ 1, /**/ 1, 7, 13});
  REQUIRE(output.report.trials.empty());
  REQUIRE(output.report.boundaries.hard.empty());
}

TEST_CASE("the gradients of a pooling are those of its surrogate", "[TokenPooling]") {
  const PooledPads pads = GENERATE(PooledPads::left_out, PooledPads::pooled);
  Setup<double> s(PoolingKind::boundaries);
  s.state.hidden.assign(17, 0);
  s.state.forced.assign(17, 0);
  s.state.hidden[6] = s.state.forced[5] = s.state.forced[6] = s.state.hidden[10] = 1;
  TokenPooling<double>::Cache cache;
  Rng rng(4);
  const auto output = s.pooling.forward(s.x, s.state, s.input(pads), rng, cache);
  const auto probe = random_matrix<double>(output.values.rows(), 4, rng);
  const auto weights = random_values<double>(17, rng);
  TokenPooling<double> gradients = zeros_like(s.pooling);
  Matrix<double> grad_x = s.pooling.backward(probe, weights, cache, gradients);
  Flags marks(17, 0);
  marks[5] = marks[6] = marks[10] = 1;
  const PoolingSurrogate surrogate{s.state.offsets, marks, output.report.boundaries};
  Matrix<double> real_probe(surrogate.segments().output_offsets().total(), 4), pad_probe = Matrix<double>::Zero(4, 4);
  Index row = 0;
  for (Index i = 0; i < 4; ++i)
    for (Index slot = 0; slot < output.state.offsets.length(i); ++slot) {
      const Index at = output.state.offsets.begin(i) + slot;
      if (slot < output.report.lengths[i]) real_probe.row(row++) = probe.row(at);
      if (slot == output.report.lengths[i]) pad_probe.row(i) = probe.row(at);
    }
  auto parameters = parameter_views(s.pooling), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("x", s.x));
  analytic.push_back(tensor_view("x", grad_x));
  require_gradients(
      [&] {
        const auto soft =
            s.pooling.predictor.forward(s.pooling.norm.forward(s.x), s.state.offsets, marks, s.noise).soft;
        double sum = probe_sum(real_probe, surrogate.means(s.x, soft)) + surrogate.weighted(weights, soft);
        if (pads == PooledPads::pooled)  // fillers that are the mean of pads
          sum += pad_probe.row(0).dot(s.x.row(5) + s.x.row(6)) / 2 + pad_probe.row(3).dot(s.x.row(10));
        return sum;
      },
      parameters, analytic);
}

TEST_CASE("the gradients of a strided pooling agree with finite differences", "[TokenPooling]") {
  const PooledPads pads = GENERATE(PooledPads::left_out, PooledPads::pooled);
  Setup<double> s(PoolingKind::strided);
  s.state.hidden.assign(17, 0);
  s.state.hidden[6] = s.state.hidden[10] = 1;
  TokenPooling<double>::Cache cache;
  Rng rng(4);
  const auto output = s.pooling.forward(s.x, s.state, s.input(pads), rng, cache);
  const auto probe = random_matrix<double>(output.values.rows(), 4, rng);
  TokenPooling<double> gradients = zeros_like(s.pooling);
  Matrix<double> grad_x = s.pooling.backward(probe, {}, cache, gradients);
  auto parameters = parameter_views(s.pooling), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("x", s.x));
  analytic.push_back(tensor_view("x", grad_x));
  require_gradients([&] { return probe_sum(probe, s.pooling.forward(s.x, s.state, s.input(pads)).values); }, parameters,
                    analytic);
}

TEMPLATE_TEST_CASE("pads at the end change nothing", "[TokenPooling]", float, double) {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided}) {
    const Setup<TestType> plain(kind, {7, 9});
    Setup<TestType> padded(kind, {9, 10});
    padded.x.topRows(7) = plain.x.topRows(7);
    padded.x.middleRows(9, 9) = plain.x.bottomRows(9);
    padded.state.forced = {0, 0, 0, 0, 0, 0, 0, 1, 1, /**/ 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    padded.noise.assign(19, 0.5);
    std::copy_n(plain.noise.begin(), 7, padded.noise.begin());
    std::copy_n(plain.noise.begin() + 7, 9, padded.noise.begin() + 9);
    const auto expected = plain.pooling.forward(plain.x, plain.state, plain.input());
    const auto got = plain.pooling.forward(padded.x, padded.state, padded.input());
    REQUIRE(identical(got.values, expected.values));
    REQUIRE(got.report.positions == expected.report.positions);
    REQUIRE(got.report.lengths == expected.report.lengths);
    REQUIRE(got.report.trials == expected.report.trials);
  }
}

TEST_CASE("the reference's fillers are seen by self-attention but by no reader", "[TokenPooling]") {
  Setup<double> s(PoolingKind::boundaries, {5, 5});
  s.state.forced = {0, 0, 0, 0, 0, /**/ 0, 1, 1, 1, 1};
  s.pooling.predictor.outer_bias[0] = 1e4;  // every token is a segment
  const auto output = s.pooling.forward(s.x, s.state, s.input(PooledPads::pooled));
  REQUIRE(output.report.lengths == Rows{5, 1});
  REQUIRE(output.state.offsets.length(1) == 5);
  REQUIRE(output.state.hidden.empty());
  REQUIRE(output.hidden == Flags{0, 0, 0, 0, 0, /**/ 0, 1, 1, 1, 1});
  REQUIRE(relative_difference(output.values.row(6), s.x.bottomRows(4).colwise().mean()) < 1e-8);
  REQUIRE(output.values.bottomRows(3).isZero(0));
  REQUIRE(output.report.positions == Vector<Position>{1, 3, 5, 7, 9, /**/ 1, 1, 1, 1, 1});
  REQUIRE(output.report.trials == Rows{5, 5});
}

TEST_CASE("the reference's groups are hidden by their first row, from readers by all", "[TokenPooling]") {
  Setup<double> s(PoolingKind::strided, {8, 6});
  s.state.forced = {1, 0, 0, 0, 1, 1, 0, 0, /**/ 0, 0, 1, 1, 1, 1};
  const auto output = s.pooling.forward(s.x, s.state, s.input(PooledPads::pooled));
  REQUIRE(output.report.lengths == Rows{2, 2});
  REQUIRE(output.state.hidden == Flags{1, 0, /**/ 0, 1});
  REQUIRE(output.hidden == Flags{0, 0, /**/ 0, 1});
}

TEMPLATE_TEST_CASE("training draws its noise, inference has none", "[TokenPooling]", float, double) {
  const Setup<TestType> s(PoolingKind::boundaries, {200});
  typename TokenPooling<TestType>::Cache cache;
  const auto hard_of = [&](std::uint64_t seed) {
    Rng rng(seed);
    return s.pooling.forward(s.x, s.state, {}, rng, cache).report.boundaries.hard;
  };
  REQUIRE(hard_of(1) == hard_of(1));
  REQUIRE(hard_of(1) != hard_of(2));
  const auto quiet = s.pooling.forward(s.x, s.state, {});
  const Vector<double> half(200, 0.5);
  REQUIRE(quiet.report.boundaries.hard ==
          s.pooling.forward(s.x, s.state, {PooledPads::left_out, half}).report.boundaries.hard);
  Rng rng(7), same(7);
  const Setup<TestType> strided(PoolingKind::strided);
  strided.pooling.forward(strided.x, strided.state, {}, rng, cache);
  REQUIRE(rng.next() == same.next());  // a convolution draws nothing
}

TEST_CASE("parameters have their Hugging Face names, of the kind that there is", "[TokenPooling]") {
  const auto names = [](PoolingKind kind) {
    TokenPooling<float> pooling(config_of(kind), 4, 6);
    Vector<std::string> result;
    for (const auto& view : parameter_views(pooling)) result.push_back(view.name);
    return result;
  };
  REQUIRE(names(PoolingKind::boundaries) == Vector<std::string>{"boundary_predictor.boundary_predictor.0.weight",
                                                                "boundary_predictor.boundary_predictor.0.bias",
                                                                "boundary_predictor.boundary_predictor.2.weight",
                                                                "boundary_predictor.boundary_predictor.2.bias",
                                                                "down_ln.weight"});
  REQUIRE(names(PoolingKind::strided) ==
          Vector<std::string>{"downsampling_module.conv.weight", "downsampling_module.conv.bias", "down_ln.weight"});
}

TEST_CASE("a batch without tokens is pooled to nothing, and settings out of range are named", "[TokenPooling]") {
  for (const PoolingKind kind : {PoolingKind::boundaries, PoolingKind::strided})
    for (const PooledPads pads : {PooledPads::left_out, PooledPads::pooled}) {
      const Setup<float> s(kind, {0, 0});
      const auto output = s.pooling.forward(s.x, s.state, {pads, {}});
      REQUIRE(output.values.rows() == 0);
      REQUIRE(output.report.lengths == Rows{0, 0});
      REQUIRE(output.state.offsets.count() == 2);
    }
  PoolingConfig config = config_of(PoolingKind::boundaries);
  config.prior = 1;
  REQUIRE_THAT(argument_error([&] { TokenPooling<float>(config, 4, 6); }), ContainsSubstring("prior: got 1"));
  config = config_of(PoolingKind::strided);
  config.rate = 0;
  REQUIRE_THAT(argument_error([&] { TokenPooling<float>(config, 4, 6); }), ContainsSubstring("rate: got 0"));
  Setup<float> s(PoolingKind::strided);
  REQUIRE_THROWS_AS(s.pooling.forward(Matrix<float>(2, 4), s.state, {}), std::invalid_argument);
  s.state.key_bias.assign(17, 0.0F);
  REQUIRE_THAT(argument_error([&] { s.pooling.forward(s.x, s.state, {}); }), ContainsSubstring("key_bias"));
}
