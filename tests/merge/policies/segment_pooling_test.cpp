#include <merganser/merge/policies/segment_pooling.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <merganser/merge/policies/byte_boundaries.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace segment_pooling_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;

constexpr std::array pools = {SegmentPool::mean, SegmentPool::largest, SegmentPool::first, SegmentPool::first_alone};
constexpr std::array places = {SegmentPlace::first_token, SegmentPlace::last_token};

/// A rule of the ids 0 to 6 that the laws draw.
SpaceLike rule() { return {.space_like = {{0, 0, 1, 0, 0, 1}}}; }

Matrix<double> pooled(const MergePlan<double>& plan, const Matrix<double>& x) {
  return Compaction<double>({plan}, SequenceOffsets::single(x.rows())).compact(x);
}

/// Says one mark too few.
struct ShortRule {
  template <Real Scalar>
  Vector<std::uint8_t> marks(const Tokens<Scalar>& tokens) const {
    return Vector<std::uint8_t>(tokens.count() - 1, 1);
  }
};

/// Has a budget, reads attention and is not causal.
struct OtherRule : FixedStride {
  static constexpr PolicyTraits traits{.has_budget = true, .reads_attention = true};
};

template <class Rule>
WeightedSegmentPooling<double, Rule> random_pooling(Index width, Rule segments, std::uint64_t seed = 1) {
  WeightedSegmentPooling<double, Rule> pooling({.width = width, .rule = segments});
  Rng rng(seed);
  randomise(pooling, rng);
  return pooling;
}

TEST_CASE("segments become means, largest numbers or their first tokens", "[SegmentPooling]") {
  Matrix<double> x(5, 2), mean(3, 2), largest(3, 2), first(3, 2);
  x << 1, 4, 3, 2, 5, 6, 7, 8, 9, 1;
  mean << 2, 3, 6, 7, 9, 1;
  largest << 3, 4, 7, 8, 9, 1;
  first << 1, 4, 5, 6, 9, 1;
  const Tokens<double> tokens{x, {}};
  const Matrix<double> expected[] = {mean, largest, first};
  REQUIRE(SegmentPooling<FixedStride>{{2}, SegmentPool::first_alone}.plan(tokens) ==
          MergePlan<double>::keeping(Rows{0, 2, 4}, 5));
  for (const SegmentPlace place : places)
    for (Index i = 0; i < 3; ++i) {
      const SegmentPooling<FixedStride> pooling{{2}, pools[static_cast<std::size_t>(i)], place};
      const MergePlan<double> plan = pooling.plan(tokens);
      REQUIRE(identical(pooled(plan, x), expected[i]));
      REQUIRE(plan.groups() == Rows{0, 0, 1, 1, 2});
      REQUIRE(plan.representatives() == (place == SegmentPlace::first_token ? Rows{0, 2, 4} : Rows{1, 3, 4}));
    }
}

TEST_CASE("a mean over a segment counts tokens by their sizes", "[SegmentPooling]") {
  Matrix<double> x(3, 1);
  x << 1, 5, 7;
  const Vector<double> sizes = {3, 1, 2};
  Tokens<double> tokens{x, {}};
  tokens.sizes = sizes;
  const Matrix<double> rows = pooled(SegmentPooling<FixedStride>{{2}}.plan(tokens), x);
  REQUIRE(rows(0, 0) == 2.0);
  REQUIRE(rows(1, 0) == 7.0);
}

TEST_CASE("pooling of segments is what its rule is", "[SegmentPooling]") {
  const PolicyTraits stride = SegmentPooling<FixedStride>{}.traits(), other = SegmentPooling<OtherRule>{}.traits();
  REQUIRE((stride.is_structural && stride.is_causal && !stride.is_training_free));
  REQUIRE((!stride.has_budget && !stride.reads_attention && !stride.is_gate));
  REQUIRE((other.is_structural && !other.is_causal && other.has_budget && other.reads_attention));
  const SegmentPooling<FixedStride> last{.place = SegmentPlace::last_token};
  REQUIRE_FALSE(last.traits().is_causal);
  const PolicyTraits weighted = random_pooling(3, OtherRule{}).traits();
  REQUIRE((weighted.is_structural && !weighted.is_causal && weighted.has_budget && !weighted.is_training_free));
}

TEST_CASE("pooling of segments keeps the laws of policies", "[SegmentPooling]") {
  for (const SegmentPlace place : places)
    for (const SegmentPool pool : pools) {
      PolicyLaws laws;
      if (pool == SegmentPool::mean) laws.size_bias = SizeBias::log_size;
      const bool stays = pool == SegmentPool::first_alone;
      if (stays && place == SegmentPlace::last_token) continue;
      laws.copies = stays || (pool == SegmentPool::first && place == SegmentPlace::first_token);
      require_policy_laws([=]<Real>() { return SegmentPooling<SpaceLike>{rule(), pool, place}; }, laws);
    }
  require_policy_laws([]<Real>() { return SegmentPooling<WholeSequence>{}; });
}

TEST_CASE("the gradients of pooling of segments agree with finite differences", "[SegmentPooling]") {
  for (const SegmentPool pool : pools) require_planner_gradients(SegmentPooling<SpaceLike>{rule(), pool});
}

TEST_CASE("a rule with another number of marks is named, and a place that is none", "[SegmentPooling]") {
  const Matrix<double> x = Matrix<double>::Zero(3, 2);
  REQUIRE(argument_error([&] {
            SegmentPooling<ShortRule>{}.plan(Tokens<double>{x, {}});
          }) == "SegmentPooling: marks.size(): got 2, expected 3");
}

TEST_CASE("learned weights are a softmax within each segment", "[WeightedSegmentPooling]") {
  const PolicyBatch<double> batch({7, 0, 1, 9}, 4);
  const auto pooling = random_pooling(4, FixedStride{3});
  const DeletionOptions options;
  const Reduction<double> after = pooling.forward(batch.x, batch.context(options));
  Matrix<double> expected = Matrix<double>::Zero(3 + 1 + 3, 4);
  Index row = 0;
  for (const RowRange& range : batch.state.offsets.ranges())
    for (Index begin = 0; begin < range.length; begin += 3, ++row) {
      double sum = 0;
      for (const bool summed : {false, true})
        for (Index t = begin; t < std::min(begin + 3, range.length); ++t) {
          const Matrix<double> token = batch.x.row(range.begin + t);
          const double weight = std::exp(probe_sum(token, pooling.weight));
          if (summed)
            expected.row(row) += weight / sum * token;
          else
            sum += weight;
        }
    }
  REQUIRE(row == 7);
  REQUIRE(relative_difference(after.x, expected) < 1e-14);
  REQUIRE(after.report.kept == Rows{0, 3, 6, 7, 8, 11, 14});
  // Weights of 0 make means.
  const WeightedSegmentPooling<double, FixedStride> even({.width = 4, .rule = {3}});
  const Reduction<double> means = even.forward(batch.x, batch.context(options));
  const PlanPolicy<double, SegmentPooling<FixedStride>> plain(SegmentPooling<FixedStride>{{3}});
  REQUIRE(relative_difference(means.x, plain.forward(batch.x, batch.context(options)).x) < 1e-15);
}

TEST_CASE("the rows of learned weights stand where they are told to", "[WeightedSegmentPooling]") {
  const PolicyBatch<float> batch({5}, 2);
  const DeletionOptions options;
  const WeightedSegmentPooling<float, FixedStride> last({2, {2}, SegmentPlace::last_token});
  REQUIRE(last.forward(batch.x, batch.context(options)).report.kept == Rows{1, 3, 4});
  const WeightedSegmentPooling<float, WholeSequence> all({.width = 2});
  REQUIRE(all.forward(batch.x, batch.context(options)).x.rows() == 1);
}

TEST_CASE("large scores of tokens do not overflow, and numbers that are none end", "[WeightedSegmentPooling]") {
  PolicyBatch<float> batch({4}, 1);
  batch.x << 100, 3000, 2999, -3000;
  const DeletionOptions options;
  WeightedSegmentPooling<float, WholeSequence> pooling({.width = 1});
  pooling.weight[0] = 1;
  const Reduction<float> after = pooling.forward(batch.x, batch.context(options));
  REQUIRE(std::abs(after.x(0, 0) - 2999.731F) < 0.01F);
  pooling.weight[0] = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(std::isnan(pooling.forward(batch.x, batch.context(options)).x(0, 0)));
}

TEST_CASE("pooling by learned weights keeps the laws of policies", "[WeightedSegmentPooling]") {
  PolicyLaws laws;
  const auto make = []<Real Scalar>() {
    WeightedSegmentPooling<Scalar, SpaceLike> pooling({.width = 6, .rule = rule()});
    Rng rng(1);
    randomise(pooling, rng);
    return pooling;
  };
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size}) {
    laws.size_bias = size_bias;
    require_policy_laws(make, laws);
  }
}

TEST_CASE("the gradients of learned weights agree with finite differences", "[WeightedSegmentPooling]") {
  for (const bool padded : {false, true}) {
    PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, 4).age();
    Rows rows;
    if (padded) batch = batch.padded(rows);
    auto pooling = random_pooling(4, rule());
    const DeletionOptions options;
    PolicyContext<double> context = batch.context(options);
    context.size_bias = SizeBias::log_size;
    WeightedSegmentPooling<double, SpaceLike>::Cache cache;
    Rng rng(3);
    const Reduction<double> output = pooling.forward(batch.x, context, rng, cache);
    const Matrix<double> probe = random_matrix<double>(output.x.rows(), 4, rng);
    const Vector<double> bias_probe = random_values<double>(output.state.key_bias.size(), rng);
    auto gradients = zeros_like(pooling);
    TokenGradient<double> grad = pooling.backward({probe, bias_probe, {}}, cache, gradients);
    auto parameters = parameter_views(pooling), analytic = parameter_views(gradients);
    REQUIRE(parameters[0].name == "segment_pool.weight");
    parameters.push_back(tensor_view("x", batch.x));
    analytic.push_back(tensor_view("x", grad.x));
    parameters.push_back({"key_bias", batch.state.key_bias.data(), 1, batch.state.key_bias.size(), true});
    analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
    require_gradients(
        [&] {
          const Reduction<double> moved = pooling.forward(batch.x, context);
          double sum = probe_sum(probe, moved.x);
          for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
          return sum;
        },
        parameters, analytic);
    require_backward_adds(pooling, [&](auto& sums) { pooling.backward({probe, bias_probe, {}}, cache, sums); });
  }
}

TEST_CASE("learned weights that do not fit are named, and drawn ones are normal", "[WeightedSegmentPooling]") {
  using Pooling = WeightedSegmentPooling<float, FixedStride>;
  for (const Index width : {0, -1}) REQUIRE_THROWS_AS(Pooling({.width = width}), std::invalid_argument);
  const PolicyBatch<float> batch({3}, 2);
  const DeletionOptions options;
  REQUIRE(argument_error([&] { Pooling({.width = 3}).forward(batch.x, batch.context(options)); }) ==
          "WeightedSegmentPooling::forward: x.cols(): got 2, expected 3");
  Pooling wide({.width = 10000});
  Rng rng(1);
  wide.initialize(2.0, rng);
  REQUIRE(std::abs(measured_deviation(wide.weight) - 0.02) < 1e-3);
}

}  // namespace segment_pooling_test
