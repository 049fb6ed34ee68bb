// A policy of any kind by value: copies, what it holds, its tensors, its gradients.
#include <merganser/merge/policy.hpp>

#include <string>
#include <type_traits>
#include <utility>

#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/boundary_pooling.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace policy_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Learned = DeleteGate<double>;
using Strided = StridedPooling<double>;
using Boundary = BoundaryPooling<double>;

const DeletionOptions hard;

/// A planner: the first token stays.
struct FirstStays {
  static constexpr PolicyTraits traits{.needs_class_token = true};
  Index mark = 0;

  MergePlan<double> plan(const Tokens<double>& tokens) const {
    return MergePlan<double>::keeping(Vector<Index>{0}, tokens.count());
  }
};

/// A layer of a user's own, without parameters and without anything that is not asked of a layer.
struct Pass {
  struct Cache {
    int calls = 0;
  };
  Reduction<double> forward(Matrix<double> x, const PolicyContext<double>& context) const {
    return {std::move(x), context.state, {}};
  }
  Reduction<double> forward(Matrix<double> x, const PolicyContext<double>& context, Rng&, Cache& cache) const {
    ++cache.calls;
    return forward(std::move(x), context);
  }
  TokenGradient<double> backward(ReductionGradient<double> grad, const Cache&, Pass&) const {
    return {std::move(grad.x), std::move(grad.key_bias)};
  }
};

static_assert(AnyPolicy<Learned, double> && AnyPolicy<Strided, double> && AnyPolicy<FirstStays, double>);
static_assert(AnyPolicy<RandomGate, float> && AnyPolicy<Pass, double> && AnyPolicy<Policy<double>, double>);
static_assert(!AnyPolicy<Learned, float> && !AnyPolicy<FirstStays, float> && !AnyPolicy<int, double>);
static_assert(std::is_convertible_v<RandomGate, Policy<float>> && !std::is_convertible_v<Pass, Policy<float>>);
static_assert(std::is_nothrow_move_constructible_v<Policy<float>> && std::is_nothrow_move_assignable_v<Policy<float>>);

template <class Layer>
Layer random(Layer layer, std::uint64_t seed = 1) {
  Rng rng(seed);
  randomise(layer, rng);
  return layer;
}

Learned gate() {
  Learned::Config config;
  config.width = 6;
  config.scale = -7;
  return random(Learned(config));
}
Strided strided() { return random(Strided({6, 3})); }
Boundary boundary() { return random(Boundary({.width = 6, .hidden = 5})); }

Vector<Policy<double>> all_policies() {
  return {gate(), strided(), boundary(), RandomGate{}, FixedRuleGate{0.5, -30, {0}}, FirstStays{}, Pass{}};
}

TEST_CASE("a policy does what the layer that it holds does", "[Policy]") {
  const PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, 6).age();
  const auto check = [&](const auto& layer) {
    using Layer = std::decay_t<decltype(layer)>;
    const Policy<double> policy = layer;
    Rng first(3), second(3);
    testing::detail::require_same(policy.forward(batch.x, batch.context(hard)),
                                  layer.forward(batch.x, batch.context(hard)));
    Policy<double>::Cache cache;
    typename Layer::Cache own;
    const auto got = policy.forward(batch.x, batch.context(hard), first, cache);
    const auto expected = layer.forward(batch.x, batch.context(hard), second, own);
    testing::detail::require_same(got, expected);
    REQUIRE(first.state() == second.state());

    const auto probe = random_matrix<double>(got.x.rows(), 6, first);
    const Vector<double> bias(got.state.key_bias.size(), 0.5);
    Policy<double> sums = zeros_like(policy);
    Layer own_sums = zeros_like(layer);
    const auto grad = policy.backward({probe, bias, {{}, {2.0}}}, cache, sums);
    const auto own_grad = layer.backward({probe, bias, {{}, {2.0}}}, own, own_sums);
    REQUIRE(identical(grad.x, own_grad.x));
    REQUIRE(grad.key_bias == own_grad.key_bias);
    const auto views = parameter_views(sums), own_views = parameter_views(own_sums);
    REQUIRE(views.size() == own_views.size());
    REQUIRE(views.size() > 0);
    for (Index p = 0; p < views.size(); ++p) {
      REQUIRE((views[p].array() == own_views[p].array()).all());
      REQUIRE((views[p].array() != 0).any());
    }
  };
  check(strided());
  check(boundary());
  check(GatedDeletion<double, Learned>(gate()));
}

TEST_CASE("a gate and a planner are lifted, and found as what they were and what they became", "[Policy]") {
  const Policy<double> learned = gate(), random = RandomGate{0.25, -30}, planned = FirstStays{7}, pooled = strided();
  REQUIRE(learned.target<Learned>()->config().scale == -7);
  REQUIRE(&learned.target<GatedDeletion<double, Learned>>()->gate == learned.target<Learned>());
  REQUIRE(random.target<RandomGate>()->probability == 0.25);
  REQUIRE(random.target<GatedDeletion<double, RandomGate>>() != nullptr);
  REQUIRE(planned.target<FirstStays>()->mark == 7);
  REQUIRE(&planned.target<PlanPolicy<double, FirstStays>>()->planner == planned.target<FirstStays>());
  REQUIRE(pooled.target<Strided>()->config().rate == 3);

  // One that was lifted before, with settings, is found by its gate as well.
  const Policy<double> strict = GatedDeletion<double, Learned>(gate(), {.threshold = -2.0});
  REQUIRE(strict.target<Learned>() != nullptr);
  REQUIRE((strict.target<GatedDeletion<double, Learned>>()->threshold()) == -2.0);
  Policy<double> changed = random;
  changed.target<RandomGate>()->probability = 1.0;
  REQUIRE(changed.expected_rate() == 1.0);
}

TEST_CASE("of another type there is nothing to be found", "[Policy]") {
  const Policy<double> learned = gate(), random = RandomGate{}, pooled = strided();
  REQUIRE(learned.target<RandomGate>() == nullptr);
  REQUIRE(learned.target<Strided>() == nullptr);
  REQUIRE(learned.target<DeleteGate<float>>() == nullptr);
  REQUIRE(random.target<FixedRuleGate>() == nullptr);
  REQUIRE((random.target<GatedDeletion<double, FixedRuleGate>>()) == nullptr);
  REQUIRE(random.target<double>() == nullptr);
  REQUIRE(pooled.target<Boundary>() == nullptr);
  REQUIRE(pooled.target<FirstStays>() == nullptr);
  REQUIRE(Policy<double>().target<Learned>() == nullptr);
}

TEST_CASE("copies are deep", "[Policy]") {
  Policy<double> first = gate();
  const Policy<double> copy = first;
  Policy<double> assigned = strided();
  assigned = first;
  const double before = first.target<Learned>()->weight(0, 0);
  first.target<Learned>()->weight(0, 0) = before + 1;
  REQUIRE(copy.target<Learned>()->weight(0, 0) == before);
  REQUIRE(assigned.target<Learned>()->weight(0, 0) == before);
  const Policy<double>& same = first;
  first = same;
  REQUIRE(first.target<Learned>()->weight(0, 0) == before + 1);
  const Policy<double> moved = std::move(first);
  REQUIRE(moved.target<Learned>()->weight(0, 0) == before + 1);
  assigned = Policy<double>();
  REQUIRE(assigned.target<Learned>() == nullptr);
}

TEST_CASE("a policy says what its layer says of itself, or the defaults", "[Policy]") {
  REQUIRE(Policy<double>(gate()).traits().is_gate);
  REQUIRE(Policy<double>(gate()).traits().has_budget);
  REQUIRE(Policy<double>(RandomGate{}).traits().is_training_free);
  REQUIRE(Policy<double>(strided()).traits().is_structural);
  REQUIRE(Policy<double>(FirstStays{}).traits().needs_class_token);
  REQUIRE_FALSE(Policy<double>(Pass{}).traits().is_structural);
  REQUIRE(Policy<double>(RandomGate{0.25, -30}).expected_rate() == 0.25);
  REQUIRE(Policy<double>(FixedRuleGate{0.75, -30, {}}).expected_rate() == 0.75);
  for (const Policy<double>& policy : {Policy<double>(gate()), Policy<double>(strided()), Policy<double>(Pass{})})
    REQUIRE_FALSE(policy.expected_rate().has_value());
}

TEST_CASE("a policy says what budget its settings have, if they have one that says something", "[Policy]") {
  struct WithBudget : FirstStays {
    Budget budget;
  };
  struct WithNumber : FirstStays {
    double budget = 0.5;
  };
  struct PassWithBudget : Pass {
    Budget budget;
    TokenGradient<double> backward(ReductionGradient<double> grad, const Cache&, PassWithBudget&) const {
      return {std::move(grad.x), std::move(grad.key_bias)};
    }
  };
  const Policy<double> planner = WithBudget{{}, {.tokens = 3}}, layer = PassWithBudget{{}, {.rate = 0.25}};
  REQUIRE(planner.own_budget().value().tokens == 3);
  REQUIRE_FALSE(planner.own_budget()->rate);
  REQUIRE(layer.own_budget().value().rate == 0.25);
  REQUIRE(Policy<double>::for_inference(planner).own_budget().value().tokens == 3);
  for (const Policy<double>& policy :
       {Policy<double>(WithBudget{}), Policy<double>(WithNumber{}), Policy<double>(PassWithBudget{}),
        Policy<double>(FirstStays{}), Policy<double>(gate()), Policy<double>(RandomGate{}), Policy<double>(strided())})
    REQUIRE_FALSE(policy.own_budget());
}

TEST_CASE("a policy is initialised as its layer is, if that has anything to be initialised", "[Policy]") {
  Policy<double> policy = gate(), planned = FirstStays{}, random = RandomGate{}, pass = Pass{};
  Learned own = gate();
  Rng rng(3), same(3);
  policy.initialize(0.5, rng);
  own.initialize(0.5, same);
  REQUIRE(identical(policy.target<Learned>()->weight, own.weight));
  const auto state = rng.state();
  for (Policy<double>* other : {&planned, &random, &pass}) other->initialize(0.5, rng);
  REQUIRE(rng.state() == state);
}

TEST_CASE("a visitor meets the tensors of a policy as those of its layer", "[Policy]") {
  const auto check = [](auto layer, Index tensors) {
    Policy<double> policy = layer;
    const auto expected = parameter_views(layer, "encoder.block.2.");
    const auto got = parameter_views(policy, "encoder.block.2.");
    REQUIRE(got.size() == tensors);
    REQUIRE(expected.size() == tensors);
    for (Index p = 0; p < tensors; ++p) {
      REQUIRE(got[p].name == expected[p].name);
      REQUIRE(got[p].rows == expected[p].rows);
      REQUIRE(got[p].cols == expected[p].cols);
      REQUIRE(got[p].is_vector == expected[p].is_vector);
      REQUIRE(got[p].taps == expected[p].taps);
      REQUIRE((got[p].array() == expected[p].array()).all());
    }
  };
  check(GatedDeletion<double, Learned>(gate()), 3);
  check(strided(), 3);  // a convolution among them
  check(boundary(), 5);
  check(GatedDeletion<double, RandomGate>(), 0);
  for (Policy<double> policy : {Policy<double>(FirstStays{}), Policy<double>(Pass{})})
    REQUIRE(parameter_views(policy).empty());
  Policy<double> pooled = strided();
  Index convolutions = 0;
  pooled.visit(
      [&](const std::string&, auto& tensor) {
        if constexpr (std::is_same_v<std::decay_t<decltype(tensor)>, ConvolutionWeight<double>>) ++convolutions;
      },
      "");
  REQUIRE(convolutions == 1);
}

TEST_CASE("gradients and caches of another policy are refused", "[Policy]") {
  const PolicyBatch<double> batch({7}, 6);
  const Policy<double> pooled = strided();
  Rng rng(1);
  Policy<double>::Cache cache, other;
  const auto after = pooled.forward(batch.x, batch.context(hard), rng, cache);
  Policy<double>(gate()).forward(batch.x, batch.context(hard), rng, other);
  const auto error_of = [&](const Policy<double>::Cache& of, Policy<double> sums) {
    return argument_error([&] { pooled.backward({after.x, {}, {}}, of, sums); });
  };
  REQUIRE(error_of(cache, strided()) == "nothing thrown");
  for (const Policy<double>& sums : {Policy<double>(boundary()), Policy<double>(gate()), Policy<double>()})
    REQUIRE(error_of(cache, sums) == "Policy::backward: gradients: got those of another policy, expected its own");
  for (const Policy<double>::Cache& of : {other, Policy<double>::Cache()})
    REQUIRE(error_of(of, strided()) == "Policy::backward: cache: got that of another policy, expected its own");
}

TEST_CASE("a cache is made by the first call, reused by the next, and copied deeply", "[Policy]") {
  const PolicyBatch<double> batch({7}, 6);
  const Policy<double> pass = Pass{};
  Policy<double>::Cache cache;
  REQUIRE(cache.target<Pass>() == nullptr);
  Rng rng(1);
  pass.forward(batch.x, batch.context(hard), rng, cache);
  const auto* made = cache.target<Pass>();
  REQUIRE(made->calls == 1);
  pass.forward(batch.x, batch.context(hard), rng, cache);
  REQUIRE(cache.target<Pass>() == made);
  REQUIRE(made->calls == 2);
  const Policy<double>::Cache copy = cache;
  Policy<double>::Cache assigned;
  assigned = cache;
  pass.forward(batch.x, batch.context(hard), rng, cache);
  REQUIRE(made->calls == 3);
  REQUIRE(copy.target<Pass>()->calls == 2);
  REQUIRE(assigned.target<Pass>()->calls == 2);
  REQUIRE(cache.target<Strided>() == nullptr);

  // Of another policy it begins anew.
  Policy<double>(strided()).forward(batch.x, batch.context(hard), rng, cache);
  REQUIRE(cache.target<Pass>() == nullptr);
  REQUIRE(cache.target<Strided>() != nullptr);
  pass.forward(batch.x, batch.context(hard), rng, cache);
  REQUIRE(cache.target<Pass>()->calls == 1);
}

TEST_CASE("a policy that holds nothing can be assigned to and nothing else", "[Policy]") {
  Policy<double> empty;
  const Policy<double> copy = empty;
  const PolicyBatch<double> batch({3}, 6);
  Rng rng(1);
  Policy<double>::Cache cache;
  const auto expected = [](const std::string& call) {
    return "Policy: " + call + ": got an empty policy, expected one that holds something";
  };
  REQUIRE(argument_error([&] { copy.traits(); }) == expected("traits"));
  REQUIRE(argument_error([&] { copy.expected_rate(); }) == expected("expected_rate"));
  REQUIRE(argument_error([&] { copy.own_budget(); }) == expected("own_budget"));
  REQUIRE(argument_error([&] { empty.initialize(1.0, rng); }) == expected("initialize"));
  REQUIRE(argument_error([&] { copy.forward(batch.x, batch.context(hard)); }) == expected("forward"));
  REQUIRE(argument_error([&] { copy.forward(batch.x, batch.context(hard), rng, cache); }) == expected("forward"));
  REQUIRE(argument_error([&] { copy.backward({}, cache, empty); }) == expected("backward"));
  REQUIRE(argument_error([&] { parameter_views(empty); }) == expected("visit"));
  empty = strided();
  REQUIRE(empty.forward(batch.x, batch.context(hard)).x.rows() == 1);
}

TEST_CASE("policies of all kinds act one after another", "[Policy]") {
  PolicyBatch<double> batch({30, 0, 20}, 6);
  Rng rng(1);
  for (const Policy<double>& policy : all_policies()) {
    const auto after = policy.forward(batch.x, batch.context(hard, &rng));
    REQUIRE(after.state.total() <= batch.state.total());
    REQUIRE(after.state.offsets.length(0) > 0);
    REQUIRE(after.state.offsets.length(1) == 0);
    Vector<TokenId> ids;
    for (const Index row : after.report.kept) ids.push_back(batch.ids[row]);
    if (!after.report.kept.empty()) batch.ids = ids;  // a report of a user's may be empty
    batch.x = after.x;
    batch.state = after.state;
  }
  REQUIRE(batch.state.total() == 2);
}

}  // namespace policy_test
