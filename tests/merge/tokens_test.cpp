// What a planner sees, what it says of itself, and what is a planner.
#include <merganser/merge/tokens.hpp>

#include "support/catch.hpp"

using namespace merganser;
using namespace merganser::merge;

namespace {

struct KeepAll {
  template <Real Scalar>
  MergePlan<Scalar> plan(const Tokens<Scalar>& tokens) const {
    MergePlan<Scalar> plan(tokens.count());
    for (Index t = 0; t < tokens.count(); ++t) plan.keep(t);
    return plan;
  }
};

struct Constant : KeepAll {
  static constexpr PolicyTraits traits{.is_causal = true, .has_budget = true};
};

struct Function : KeepAll {
  bool trained = false;
  PolicyTraits traits() const { return {.is_training_free = !trained}; }
};

struct Rows {
  Vector<Index> plan(const Tokens<float>&) const { return {}; }
};

static_assert(Planner<KeepAll, float> && Planner<KeepAll, double>);
static_assert(Planner<Constant, float> && Planner<Function, float>);
static_assert(!Planner<Rows, float>, "a plan is a MergePlan");
static_assert(!Planner<int, float>);

}  // namespace

TEST_CASE("tokens are as many as their vectors, and stand for one each unless told", "[Tokens]") {
  const Matrix<double> x = Matrix<double>::Zero(3, 2);
  const Vector<Position> positions = {4, 7, 9};
  Tokens<double> tokens{x, positions};
  REQUIRE(tokens.count() == 3);
  REQUIRE(tokens.size(2) == 1.0);
  REQUIRE(tokens.ids.empty());
  REQUIRE_FALSE(tokens.removals.has_value());
  REQUIRE(tokens.rng == nullptr);
  const Vector<double> sizes = {1, 2.5, 4};
  tokens.sizes = sizes;
  REQUIRE(tokens.size(0) == 1.0);
  REQUIRE(tokens.size(1) == 2.5);
  REQUIRE(KeepAll().plan(tokens).representatives() == Vector<Index>{0, 1, 2});
}

TEST_CASE("traits are a constant, a function or the defaults", "[PolicyTraits]") {
  const PolicyTraits defaults = traits_of(KeepAll());
  REQUIRE_FALSE(defaults.is_gate);
  REQUIRE_FALSE(defaults.is_structural);
  REQUIRE_FALSE(defaults.is_causal);
  REQUIRE(defaults.is_training_free);
  REQUIRE_FALSE(defaults.needs_class_token);
  REQUIRE_FALSE(defaults.has_budget);
  REQUIRE(traits_of(Constant()).is_causal);
  REQUIRE(traits_of(Constant()).has_budget);
  Function function;
  REQUIRE(traits_of(function).is_training_free);
  function.trained = true;
  REQUIRE_FALSE(traits_of(function).is_training_free);
}
