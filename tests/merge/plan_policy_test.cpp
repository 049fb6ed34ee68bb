// Planners as policies: batches, pads, random numbers, what a plan may not be, and the gradients.
#include <merganser/merge/plan_policy.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <merganser/merge/budget.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace plan_policy_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;
using Values = Vector<double>;

const DeletionOptions hard;

/// A planner of a user's own: the mean of every two neighbours.
struct PairMeans {
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    MergePlan<Scalar> plan(tokens.count());
    for (Index t = 0; t < tokens.count(); t += 2) {
      plan.open(t);
      plan.add(t);
      if (t + 1 < tokens.count()) plan.add(t + 1);
      plan.set_weights(t / 2, Scalar{1} / static_cast<Scalar>(plan.members(t / 2).size()));
    }
    return plan;
  }
};

/// One with a budget, that looks at the vectors: the longest stay.
struct LongestStay {
  static constexpr PolicyTraits traits{.has_budget = true};
  Budget budget = {.rate = 0.5};

  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    Rows order(tokens.count());
    for (Index t = 0; t < tokens.count(); ++t) order[t] = t;
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return tokens.x.row(a).norm() > tokens.x.row(b).norm(); });
    order.resize(tokens.count() - budget.removals(tokens.count(), tokens.removals));
    std::sort(order.begin(), order.end());
    return MergePlan<Scalar>::keeping(order, tokens.count());
  }
};

/// Keeps a token for every coin that falls right, and the first.
struct Coins {
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    MergePlan<Scalar> plan(tokens.count());
    for (Index t = 0; t < tokens.count(); ++t)
      if (t == 0 || tokens.rng->bernoulli(0.5)) plan.keep(t);
    return plan;
  }
};

/// Soft clusters: token 2 r whole, the one behind it half and the next one a quarter, and a last row of nothing.
struct Overlapping {
  MergePlan<double> plan(const Tokens<double>& tokens) const {
    MergePlan<double> plan(tokens.count());
    for (Index t = 0; t < tokens.count(); t += 2) {
      plan.open(t);
      for (Index next = t; next < std::min(t + 3, tokens.count()); ++next)
        plan.add(next, next == t ? 1 : 0.75 / static_cast<double>(next - t));
    }
    plan.open(tokens.count() - 1);
    return plan;
  }
};

/// Whatever a test wants.
struct Any {
  std::function<MergePlan<double>(const Tokens<double>&)> make;
  MergePlan<double> plan(const Tokens<double>& tokens) const { return make(tokens); }
};

MergePlan<double> keep_all(const Tokens<double>& tokens) {
  MergePlan<double> plan(tokens.count());
  for (Index t = 0; t < tokens.count(); ++t) plan.keep(t);
  return plan;
}

PlanPolicy<double, Any> policy_of(std::function<MergePlan<double>(const Tokens<double>&)> make) {
  return PlanPolicy<double, Any>(Any{std::move(make)});
}

ParameterView<double> view(const char* name, Values& list) { return {name, list.data(), 1, list.size(), true}; }

TEST_CASE("planners keep the laws of policies", "[PlanPolicy]") {
  PolicyLaws laws;
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
    for (const DeletionMode mode : {DeletionMode::hard, DeletionMode::soft}) {
      laws.size_bias = size_bias;
      laws.options.mode = mode;
      require_policy_laws([]<Real>() { return PairMeans{}; }, laws);
    }
  laws = {};
  laws.copies = true;
  require_policy_laws([]<Real>() { return LongestStay{}; }, laws);
}

TEST_CASE("what a planner plans is carried out", "[PlanPolicy]") {
  PolicyBatch<double> batch({3, 0, 2}, 2);
  batch.x << 1, 2, 3, 4, 5, 6, 10, 20, 30, 40;
  batch.state.sizes = {1, 3, 1, 1, 1};
  PolicyContext<double> context = batch.context(hard);
  context.size_bias = SizeBias::log_size;
  const auto after = PlanPolicy<double, PairMeans>().forward(batch.x, context);
  Matrix<double> expected(3, 2);
  expected << 2, 3, 5, 6, 20, 30;
  REQUIRE(identical(after.x, expected));
  REQUIRE(after.state.offsets == SequenceOffsets::from_lengths(Rows{2, 0, 1}));
  REQUIRE(after.state.origin == Rows{0, 2, 3});
  REQUIRE(after.state.sizes == Values{4, 1, 2});
  REQUIRE_THAT(after.state.key_bias[0], Catch::Matchers::WithinAbs(std::log(2), 1e-15));
  REQUIRE(after.state.key_bias[1] == 0);
  REQUIRE(after.report.kept == Rows{0, 2, 3});
  REQUIRE(after.report.group == Rows{0, 0, 1, 2, 2});
  REQUIRE_FALSE(after.report.is_gate);
  REQUIRE(after.report.deletion().kept == Rows{2, 0, 1});
}

TEST_CASE("a planner is lifted with what it says of itself", "[PlanPolicy]") {
  PlanPolicy<float, LongestStay> policy(LongestStay{{.tokens = 1}});
  REQUIRE(policy.traits().has_budget);
  REQUIRE_FALSE(PlanPolicy<float, PairMeans>().traits().has_budget);
  REQUIRE(policy.inner().budget.tokens == 1);
  policy.inner().budget.tokens = 4;
  const PolicyBatch<float> batch({7, 0, 1, 9}, 3);
  REQUIRE(policy.forward(batch.x, batch.context(hard)).state.offsets ==
          SequenceOffsets::from_lengths(Rows{3, 0, 1, 5}));
}

TEST_CASE("a planner is shown one sequence without its pads, and all that is known of it", "[PlanPolicy]") {
  struct Seen {
    Matrix<double> x;
    Vector<Position> positions;
    Values sizes;
    Vector<TokenId> ids;
    std::optional<Index> removals;
    bool has_rng = false;
  };
  Vector<Seen> seen;
  const auto policy = policy_of([&](const Tokens<double>& tokens) {
    seen.push_back({tokens.x,
                    {tokens.positions.begin(), tokens.positions.end()},
                    {tokens.sizes.begin(), tokens.sizes.end()},
                    {tokens.ids.begin(), tokens.ids.end()},
                    tokens.removals,
                    tokens.rng != nullptr});
    return keep_all(tokens);
  });
  PolicyBatch<double> batch({3, 0, 2, 2}, 2);
  batch.ids = {5, 6, 7, 8, 9, 3, 4};
  batch.state.sizes = {1, 2, 3, 4, 5, 6, 7};
  batch.state.forced = {0, 1, 0, 0, 0, 1, 0};
  batch.state.hidden = {0, 0, 0, 0, 0, 0, 1};
  PolicyContext<double> context = batch.context(hard);
  const Rows removals = {1, 7, 0, 2};
  context.removals = removals;
  const auto after = policy.forward(batch.x, context);
  REQUIRE(seen.size() == 2);  // nobody plans where there is no token
  REQUIRE(seen[0].x.rows() == 2);
  REQUIRE((seen[0].x.row(1).array() == batch.x.row(2).array()).all());
  REQUIRE(seen[0].positions == Vector<Position>{1, 5});
  REQUIRE(seen[0].sizes == Values{1, 3});
  REQUIRE(seen[0].ids == Vector<TokenId>{5, 7});
  REQUIRE(seen[0].removals == 1);
  REQUIRE_FALSE(seen[0].has_rng);
  REQUIRE(identical(seen[1].x, Matrix<double>(batch.x.middleRows(3, 2))));
  REQUIRE(seen[1].positions == Vector<Position>{1, 3});
  REQUIRE(seen[1].sizes == Values{4, 5});
  REQUIRE(seen[1].ids == Vector<TokenId>{8, 9});
  REQUIRE(seen[1].removals == 0);
  REQUIRE(after.report.kept == Rows{0, 2, 3, 4});
  REQUIRE(after.report.group == Rows{0, -1, 1, 2, 3, -1, -1});
  REQUIRE(after.state.offsets == SequenceOffsets::from_lengths(Rows{2, 0, 2, 0}));
  REQUIRE(after.state.hidden.empty());
  REQUIRE(after.state.forced.empty());
  REQUIRE(after.report.forced == batch.state.forced);

  // What is not known is empty, and the generator is there where the call has one.
  seen.clear();
  batch = PolicyBatch<double>({3}, 2);
  Rng rng(1);
  policy.forward(batch.x, {.state = batch.state, .options = hard, .rng = &rng});
  REQUIRE(seen[0].sizes.empty());
  REQUIRE(seen[0].ids.empty());
  REQUIRE_FALSE(seen[0].removals.has_value());
  REQUIRE(seen[0].has_rng);
}

TEST_CASE("a planner that draws does so alike for a sequence alone and in any batch", "[PlanPolicy]") {
  const PlanPolicy<double, Coins> policy;
  const PolicyBatch<double> batch({30, 0, 20, 1, 25}, 2);
  const auto kept = [&](const PolicyBatch<double>& of, std::uint64_t seed) {
    Rng rng(seed);
    return policy.forward(of.x, of.context(hard, &rng));
  };
  const auto together = kept(batch, 5);
  REQUIRE(together.state.total() < 60);
  for (Index i = 0; i < 5; ++i) {
    const auto alone = kept(batch.sequence(i), 5);
    const RowRange range = together.state.offsets.range(i);
    REQUIRE(identical(alone.x, Matrix<double>(together.x.middleRows(range.begin, range.length))));
  }
  Vector<Index> rows;
  REQUIRE(identical(kept(batch.padded(rows), 5).x, together.x));
  REQUIRE(kept(batch, 5).report.kept == together.report.kept);
  REQUIRE(kept(batch, 6).report.kept != together.report.kept);

  // In training it draws from the generator of training, one number a call; the next call draws others.
  Rng rng(5), counting(5);
  PlanPolicy<double, Coins>::Cache cache;
  REQUIRE(policy.forward(batch.x, batch.context(hard), rng, cache).report.kept == together.report.kept);
  counting.next();
  REQUIRE(rng.state() == counting.state());
  REQUIRE(policy.forward(batch.x, batch.context(hard), rng, cache).report.kept != together.report.kept);

  // Without ids the places of sequences tell them apart.
  PolicyBatch<double> nameless({40, 40}, 2);
  nameless.ids.clear();
  const auto drawn = kept(nameless, 5).report.group;
  Rows first, second;
  for (Index t = 0; t < 40; ++t) {
    first.push_back(drawn[t] < 0 ? 0 : 1);
    second.push_back(drawn[40 + t] < 0 ? 0 : 1);
  }
  REQUIRE(first != second);
}

TEST_CASE("a plan that is none is named", "[PlanPolicy]") {
  const PolicyBatch<double> batch({2, 3}, 2);
  const auto error_of = [&](const auto& make) {
    const auto policy = policy_of(make);
    PlanPolicy<double, Any>::Cache cache;
    Rng rng(1);
    const std::string error = argument_error([&] { policy.forward(batch.x, batch.context(hard)); });
    REQUIRE(argument_error([&] { policy.forward(batch.x, batch.context(hard), rng, cache); }) == error);
    return error;
  };
  REQUIRE(error_of(keep_all) == "nothing thrown");
  REQUIRE(error_of([](const Tokens<double>& tokens) { return MergePlan<double>(tokens.count()); }) ==
          "PlanPolicy::forward: plan: got no rows, expected a row where there is a token");
  REQUIRE(error_of([](const Tokens<double>&) {
            return MergePlan<double>::keeping(Rows{0, 1}, 2);
          }) == "PlanPolicy::forward: plan.input_count(): got 2, expected 3");
  REQUIRE(error_of([](const Tokens<double>& tokens) {
            MergePlan<double> plan(tokens.count());
            plan.keep(1);
            plan.keep(0);
            return plan;
          }) == "PlanPolicy::forward: representatives: got 0, expected rising ones");
  REQUIRE(error_of([](const Tokens<double>& tokens) {
            MergePlan<double> plan(tokens.count());
            plan.keep(1);
            plan.open(1);  // two rows at one place
            plan.add(0);
            return plan;
          }) == "nothing thrown");
  REQUIRE(argument_error([&] { policy_of(keep_all).forward(batch.x.topRows(4), batch.context(hard)); }) ==
          "PlanPolicy::forward: x.rows(): got 4, expected 5");
}

TEST_CASE("the gradients of a planner's merge agree with finite differences", "[PlanPolicy]") {
  for (const SizeBias size_bias : {SizeBias::none, SizeBias::log_size})
    for (const bool biased : {false, true})
      for (const bool sized : {false, true})
        for (const bool padded : {false, true}) {
          PolicyBatch<double> batch({7, 0, 1, 4}, 3);
          batch.age();
          if (!biased) batch.state.key_bias.clear();
          if (!sized) batch.state.sizes.clear();
          Vector<Index> rows;
          if (padded) batch = batch.padded(rows);
          const PlanPolicy<double, Overlapping> policy;
          PlanPolicy<double, Overlapping>::Cache cache;
          PlanPolicy<double, Overlapping> gradients;
          PolicyContext<double> context = batch.context(hard);
          context.size_bias = size_bias;
          Rng rng(1);
          const auto after = policy.forward(batch.x, context, rng, cache);
          REQUIRE(after.state.key_bias.empty() == (!biased && size_bias == SizeBias::none));
          const auto probe = random_matrix<double>(after.state.total(), 3, rng);
          const auto bias_probe = random_values<double>(after.state.key_bias.size(), rng);
          auto grad = policy.backward({probe, bias_probe, {}}, cache, gradients);
          REQUIRE(grad.key_bias.size() == batch.state.key_bias.size());
          CAPTURE(static_cast<int>(size_bias), biased, sized, padded);
          require_gradients(
              [&] {
                const auto moved = policy.forward(batch.x, context);
                double loss = probe_sum(probe, moved.x);
                for (Index i = 0; i < bias_probe.size(); ++i) loss += bias_probe[i] * moved.state.key_bias[i];
                return loss;
              },
              {tensor_view("x", batch.x), view("key_bias", batch.state.key_bias)},
              {tensor_view("x", grad.x), view("key_bias", grad.key_bias)});
          // What nobody asks for.
          REQUIRE(policy.backward({probe, {}, {}}, cache, gradients).key_bias.empty());
        }
}

TEST_CASE("a planner is copied with its policy", "[PlanPolicy]") {
  const PlanPolicy<float, LongestStay> policy(LongestStay{{.rate = 0.25}});
  auto copy = policy;
  copy.planner.budget.rate = 0.75;
  REQUIRE(policy.planner.budget.rate == 0.25);
}

}  // namespace plan_policy_test
