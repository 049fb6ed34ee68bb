// Boundary pooling: segments of x that a predictor finds in norm(x), their means, the prior, and the gradients.
#include <merganser/merge/policies/boundary_pooling.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "merge/pooling_surrogate.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace boundary_pooling_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;

using Flags = Vector<std::uint8_t>;
using Rows = Vector<Index>;

const DeletionOptions hard;

/// As published: with a null group, the last token free, and an open group dropped.
template <Real Scalar>
typename BoundaryPooling<Scalar>::Config published(Index width = 4) {
  return {.width = width,
          .hidden = 6,
          .prior = 0.4,
          .last_token = LastToken::free,
          .open_group = OpenGroup::dropped,
          .null_group = true};
}

template <Real Scalar>
BoundaryPooling<Scalar> random_pooling(Index width = 4, bool as_published = false) {
  BoundaryPooling<Scalar> pooling({.width = width, .hidden = 6, .prior = 0.4});
  if (as_published) pooling = BoundaryPooling<Scalar>(published<Scalar>(width));
  Rng rng(1);
  randomise(pooling, rng);
  return pooling;
}

template <Real Scalar>
struct Setup : PolicyBatch<Scalar> {
  BoundaryPooling<Scalar> pooling = random_pooling<Scalar>();

  explicit Setup(const Rows& lengths = {7, 0, 1, 9}) : PolicyBatch<Scalar>(lengths, 4) {}

  /// Inference.
  Reduction<Scalar> quiet() const { return pooling.forward(this->x, this->context(hard)); }

  /// Training, with the noise that `noise` draws from the same seed.
  Reduction<Scalar> trained(typename BoundaryPooling<Scalar>::Cache& cache, std::uint64_t seed = 3,
                            SizeBias size_bias = SizeBias::none) const {
    PolicyContext<Scalar> context = this->context(hard);
    context.size_bias = size_bias;
    Rng rng(seed);
    return pooling.forward(this->x, context, rng, cache);
  }

  Vector<double> noise(std::uint64_t seed = 3) const {
    Rng rng(seed);
    return draw_boundary_noise(this->state.total(), rng);
  }

  Boundaries<Scalar> boundaries(const Vector<double>& uniform) const {
    return pooling.predictor.forward(pooling.norm.forward(this->x), this->state.offsets, this->state.pads(), uniform);
  }
};

ParameterView<double> view(const char* name, Vector<double>& list) { return {name, list.data(), 1, list.size(), true}; }

TEST_CASE("a boundary predictor reads norm(x) and makes means of x", "[BoundaryPooling]") {
  const Setup<double> s;
  BoundaryPooling<double>::Cache cache;
  for (const bool training : {false, true}) {
    const auto output = training ? s.trained(cache) : s.quiet();
    const auto expected = s.boundaries(training ? s.noise() : Vector<double>{});
    REQUIRE(output.report.scores == expected.soft);
    REQUIRE(output.report.logits == expected.logits);
    const Compaction<double> segments(segment_plans<double>(expected.hard, s.state.offsets), s.state.offsets);
    REQUIRE(identical(output.x, segments.compact(s.x)));
    REQUIRE(output.x.rows() < s.x.rows());
    REQUIRE(output.report.offsets == s.state.offsets);
    REQUIRE(output.report.group == segments.groups());
    REQUIRE(output.report.kept == segments.representatives());
    REQUIRE_FALSE(output.report.is_gate);
    REQUIRE(output.state.offsets == segments.output_offsets());
    REQUIRE(output.state.origin == segments.representatives());
    for (Index row = 0; row < output.state.origin.size(); ++row)
      REQUIRE(output.state.positions[row] == s.state.positions[output.state.origin[row]]);
    REQUIRE(output.state.key_bias.empty());
    REQUIRE(output.report.auxiliaries.size() == 1);
    const Auxiliary& prior = output.report.auxiliaries[0];
    REQUIRE(prior.name == "boundary_prior");
    REQUIRE_FALSE(prior.steered);
    REQUIRE(prior.over == MeanOver::sequences);
    REQUIRE(prior.value == boundary_prior_loss<double>(expected.hard, s.state.offsets, Rows{7, 0, 1, 9}, 0.4).value);
  }
}

TEST_CASE("the prior counts tokens without pads", "[BoundaryPooling]") {
  Setup<double> s({7, 3});
  const double before = s.quiet().report.auxiliaries[0].value;
  Rows rows;
  static_cast<PolicyBatch<double>&>(s) = s.padded(rows);
  REQUIRE_THAT(s.quiet().report.auxiliaries[0].value, Catch::Matchers::WithinAbs(before, 1e-15));
}

TEST_CASE("the gradients of a boundary pooling are those of its surrogate", "[BoundaryPooling]") {
  for (const bool as_published : {false, true})
    for (const int with : {0, 1, 2, 3}) {
      const SizeBias size_bias = with % 2 == 0 ? SizeBias::none : SizeBias::log_size;
      const bool biased = with >= 2;
      Setup<double> s;
      s.pooling = random_pooling<double>(4, as_published);
      s.state.hidden.assign(17, 0);
      s.state.forced.assign(17, 0);
      s.state.hidden[6] = s.state.forced[5] = s.state.forced[6] = s.state.hidden[10] = 1;
      if (biased) s.age();
      BoundaryPooling<double>::Cache cache;
      const auto output = s.trained(cache, 3, size_bias);
      REQUIRE(output.state.key_bias.empty() == (!biased && size_bias == SizeBias::none));
      Rng rng(4);
      const auto probe = random_matrix<double>(output.x.rows(), 4, rng);
      const auto weights = random_values<double>(17, rng);
      const auto bias_probe = random_values<double>(output.state.key_bias.size(), rng);
      BoundaryPooling<double> gradients = zeros_like(s.pooling);
      const Vector<double> noise = s.noise();
      const PoolingSurrogate surrogate{
          s.state.offsets, s.state.pads(), s.boundaries(noise), {s.pooling.config().open_group, as_published}};
      Rows null_rows;
      for (Index i = 0; as_published && i < output.state.offsets.count(); ++i)
        if (output.state.offsets.length(i) > 0) null_rows.push_back(output.state.offsets.begin(i));
      const auto prior = boundary_prior_loss<double>(surrogate.start.hard, s.state.offsets, Rows{5, 0, 1, 8}, 0.4);
      auto grad = s.pooling.backward({probe, bias_probe, {weights, {2.5}}}, cache, gradients);
      auto parameters = parameter_views(s.pooling), analytic = parameter_views(gradients);
      parameters.push_back(tensor_view("x", s.x));
      analytic.push_back(tensor_view("x", grad.x));
      parameters.push_back(view("key_bias", s.state.key_bias));
      analytic.push_back(view("key_bias", grad.key_bias));
      CAPTURE(as_published, static_cast<int>(size_bias), biased);
      require_gradients(
          [&] {
            const auto soft = s.boundaries(noise).soft;
            const auto bias = s.state.merged(surrogate.segments(), size_bias).key_bias;
            double sum = probe_sum(probe, surrogate.means(s.x, soft)) + surrogate.weighted(weights, soft) +
                         2.5 * surrogate.weighted(prior.grad_boundaries, soft);
            for (Index row = 0; row < bias.size(); ++row) sum += bias_probe[row] * bias[row];
            for (const Index row : null_rows) sum += probe_sum(probe.row(row), s.pooling.null_group);
            return sum;
          },
          parameters, analytic);
    }
}

TEST_CASE("intervals of the share of boundaries stand in for the prior", "[BoundaryPooling]") {
  Setup<double> s;
  auto config = s.pooling.config();
  config.intervals = {{0.3, 0.1}, {1.0, 0.05}};
  s.pooling = BoundaryPooling<double>(config);
  Rng rng(1);
  randomise(s.pooling, rng);
  const Vector<double> noise = s.noise();
  const PoolingSurrogate surrogate{s.state.offsets, s.state.pads(), s.boundaries(noise), {OpenGroup::kept, false}};
  const Rows trials = {7, 0, 1, 9}, languages = {1, 0, 1, 0};
  for (const bool labelled : {false, true}) {
    DeletionOptions options;
    if (labelled) options.labels = languages;
    const auto loss = interval_loss<double>(surrogate.start.hard, s.state.offsets, trials, config.intervals,
                                            labelled ? languages : Rows{});
    REQUIRE(std::count(loss.grad_boundaries.begin(), loss.grad_boundaries.end(), 0.0) < 17);
    BoundaryPooling<double>::Cache cache;
    Rng draws(3);
    const auto output = s.pooling.forward(s.x, s.context(options), draws, cache);
    REQUIRE(output.report.auxiliaries.size() == 1);
    REQUIRE(output.report.auxiliaries[0].name == "boundary_interval");
    REQUIRE_FALSE(output.report.auxiliaries[0].steered);
    REQUIRE(output.report.auxiliaries[0].over == MeanOver::sequences);
    REQUIRE(output.report.auxiliaries[0].value == loss.value);
    BoundaryPooling<double> gradients = zeros_like(s.pooling);
    const Matrix<double> nothing = Matrix<double>::Zero(output.x.rows(), 4);
    auto grad = s.pooling.backward({nothing, {}, {{}, {2.5}}}, cache, gradients);
    auto parameters = parameter_views(s.pooling), analytic = parameter_views(gradients);
    parameters.push_back(tensor_view("x", s.x));
    analytic.push_back(tensor_view("x", grad.x));
    require_gradients([&] { return 2.5 * surrogate.weighted(loss.grad_boundaries, s.boundaries(noise).soft); },
                      parameters, analytic);
  }
  DeletionOptions options;
  options.labels = trials;
  REQUIRE(argument_error([&] { s.pooling.forward(s.x, s.context(options)); }) ==
          "interval_loss: labels: got 7, expected the number of an interval");
  config.intervals[1].slack = 2;
  REQUIRE(argument_error([&] { BoundaryPooling<double>{config}; }) ==
          "BoundaryPooling: slack: got 2, expected from 0 to the highest rate");
}

TEST_CASE("a null group stands in front of every sequence", "[BoundaryPooling]") {
  Setup<double> s;
  s.pooling = random_pooling<double>(4, true);
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
    for (const bool padded : {false, true}) {
      if (padded) {
        Rows rows;
        static_cast<PolicyBatch<double>&>(s) = s.padded(rows);
      }
      BoundaryPooling<double>::Cache cache;
      const Reduction<double> output = s.trained(cache, 3, size_bias);
      const SequenceOffsets& rows = output.state.offsets;
      const Vector<std::uint8_t> pads = s.state.pads();
      for (Index i = 0; i < rows.count(); ++i) {
        Index first = s.state.offsets.begin(i);
        while (first < s.state.offsets.end(i) && !pads.empty() && pads[first] != 0) ++first;
        REQUIRE((rows.length(i) > 0) == (first < s.state.offsets.end(i)));
        if (rows.length(i) == 0) continue;
        REQUIRE(identical(Matrix<double>(output.x.row(rows.begin(i))), Matrix<double>(s.pooling.null_group)));
        REQUIRE(output.report.kept[rows.begin(i)] == first);
        REQUIRE(output.state.sizes[rows.begin(i)] == 1.0);
        REQUIRE((size_bias == SizeBias::none || output.state.key_bias[rows.begin(i)] == 0.0));
      }
      for (const Index row : output.report.group)
        for (Index i = 0; i < rows.count(); ++i) REQUIRE((rows.length(i) == 0 || row != rows.begin(i)));
    }
}

TEST_CASE("N sequences with a null group are N times one", "[BoundaryPooling]") {
  Setup<float> s;
  s.pooling = random_pooling<float>(4, true);
  const Reduction<float> together = s.quiet();
  for (Index i = 0; i < 4; ++i) {
    const PolicyBatch<float> one = s.sequence(i);
    const Reduction<float> alone = s.pooling.forward(one.x, one.context(hard));
    const RowRange range = together.state.offsets.range(i);
    REQUIRE(identical(alone.x, Matrix<float>(together.x.middleRows(range.begin, range.length))));
  }
}

TEST_CASE("what is published of dynamic pooling is off unless it is asked for", "[BoundaryPooling]") {
  BoundaryPooling<double> plain({.width = 400, .hidden = 6});
  BoundaryPooling<double> with_null({.width = 400, .hidden = 6, .null_group = true});
  REQUIRE(plain.config().last_token == LastToken::ends);
  REQUIRE(plain.config().open_group == OpenGroup::kept);
  REQUIRE_FALSE(plain.config().null_group);
  const auto names = [](auto& pooling) {
    Vector<std::string> list;
    for (const auto& tensor : parameter_views(pooling)) list.push_back(tensor.name);
    return list;
  };
  REQUIRE(names(plain).size() == 5);
  REQUIRE(names(with_null).size() == 6);
  REQUIRE(names(with_null).back() == "null_group");
  Rng a(1), b(1);
  plain.initialize(0.5, a);
  with_null.initialize(0.5, b);
  REQUIRE(identical(plain.predictor.inner.weight.matrix(), with_null.predictor.inner.weight.matrix()));
  REQUIRE(std::abs(measured_deviation(with_null.null_group) - 0.5) < 0.1);
}

TEMPLATE_TEST_CASE("training draws its noise, inference has none", "[BoundaryPooling]", float, double) {
  const Setup<TestType> s({200});
  typename BoundaryPooling<TestType>::Cache cache;
  const auto kept_of = [&](std::uint64_t seed) { return s.trained(cache, seed).report.kept; };
  REQUIRE(kept_of(1) == kept_of(1));
  REQUIRE(kept_of(1) != kept_of(2));
  REQUIRE(s.quiet().report.scores == s.boundaries(Vector<double>(200, 0.5)).soft);
  REQUIRE(s.quiet().report.kept != kept_of(1));
  Rng rng(5);
  const auto state = rng.state();
  s.pooling.forward(s.x, s.context(hard, &rng));
  REQUIRE(rng.state() == state);
}

TEST_CASE("a boundary pooling keeps the laws of policies", "[BoundaryPooling]") {
  PolicyLaws laws;
  laws.quiet_training = false;
  laws.equal_within = 2e-9;
  require_policy_laws([]<Real Scalar>() { return random_pooling<Scalar>(6); }, laws);
  laws.size_bias = SizeBias::log_size;
  laws.options.mode = DeletionMode::none;  // a model does not work without it
  require_policy_laws([]<Real Scalar>() { return random_pooling<Scalar>(6); }, laws);
}

TEST_CASE("a boundary pooling adds to its gradients", "[BoundaryPooling]") {
  const Setup<double> s;
  BoundaryPooling<double>::Cache cache;
  const Matrix<double> probe = s.trained(cache).x;
  require_backward_adds(s.pooling, [&](BoundaryPooling<double>& gradients) {
    s.pooling.backward({probe, {}, {{}, {1.0}}}, cache, gradients);
  });
}

TEST_CASE("a boundary pooling's parameters have their Hugging Face names", "[BoundaryPooling]") {
  BoundaryPooling<float> pooling = random_pooling<float>();
  Vector<std::string> names;
  for (const auto& tensor : parameter_views(pooling)) names.push_back(tensor.name);
  REQUIRE(names == Vector<std::string>{"boundary_predictor.boundary_predictor.0.weight",
                                       "boundary_predictor.boundary_predictor.0.bias",
                                       "boundary_predictor.boundary_predictor.2.weight",
                                       "boundary_predictor.boundary_predictor.2.bias", "down_ln.weight"});
}

TEST_CASE("a boundary pooling says what it is", "[BoundaryPooling]") {
  REQUIRE(BoundaryPooling<float>::traits.is_structural);
  REQUIRE_FALSE(BoundaryPooling<float>::traits.is_training_free);
  REQUIRE_FALSE(BoundaryPooling<float>::traits.has_budget);
  REQUIRE(random_pooling<float>().config().prior == 0.4);
  REQUIRE(random_pooling<float>().config().temperature == 0.5);
}

TEST_CASE("settings and shapes of a boundary pooling that do not fit are named", "[BoundaryPooling]") {
  for (const double prior : {0.0, 1.0})
    REQUIRE_THAT(argument_error([&] { BoundaryPooling<float>({.width = 4, .hidden = 6, .prior = prior}); }),
                 ContainsSubstring("BoundaryPooling: prior: got " + std::to_string(static_cast<int>(prior))));
  REQUIRE_THROWS_AS(BoundaryPooling<float>({.width = 4, .hidden = 6, .temperature = 0}), std::invalid_argument);
  const Setup<float> s;
  REQUIRE(argument_error([&] { s.pooling.forward(Matrix<float>::Zero(2, 4), s.context(hard)); }) ==
          "BoundaryPooling::forward: x.rows(): got 2, expected 17");
}

}  // namespace boundary_pooling_test
