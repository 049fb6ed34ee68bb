// What a planner sees, what it says of itself, and what is a planner.
#include <merganser/merge/tokens.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/random_values.hpp"

namespace tokens_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

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

TEST_CASE("attention is asked about the tokens that are shown", "[Tokens]") {
  Rng rng(1);
  Matrix<double> weights = Matrix<double>::Zero(4, 4);  // token 1 is a pad: nobody looks at it
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 4; ++j) weights(i, j) = j == 1 ? 0.0 : rng.uniform();
  const Matrix<double> keys = random_matrix<double>(4, 2, rng), values = random_matrix<double>(4, 6, rng);
  const GivenAttention<double> attention({weights, 2 * weights}, keys, values);
  const Matrix<double> x = Matrix<double>::Zero(4, 2), shown = Matrix<double>::Zero(3, 2);
  const Vector<Index> rows = {0, 2, 3};
  const Vector<double> queries = {1, 0.5, 2};

  Tokens<double> all{x, {}};
  all.attention = &attention;
  REQUIRE(all.mean_keys() == keys);
  REQUIRE(all.values() == values);
  REQUIRE(all.weights(1) == 2 * weights);
  REQUIRE(all.attention_of(2).row(0) == weights.row(2));
  REQUIRE(all.received().row(0) == weights.colwise().sum());

  Tokens<double> some{shown, {}};
  some.attention = &attention;
  some.rows = rows;
  REQUIRE(some.mean_keys().row(1) == keys.row(2));
  REQUIRE(some.values().row(2) == values.row(3));
  REQUIRE(some.weights(0)(1, 2) == weights(2, 3));
  REQUIRE(some.attention_of(2)(1, 0) == 2 * weights(3, 0));
  for (Index n = 0; n < 3; ++n) {
    const Index key = rows[n];
    REQUIRE_THAT(some.received()(0, n),
                 Catch::Matchers::WithinAbs(weights(0, key) + weights(2, key) + weights(3, key), 1e-15));
    REQUIRE_THAT(some.received(queries)(0, n),
                 Catch::Matchers::WithinAbs(weights(0, key) + 0.5 * weights(2, key) + 2 * weights(3, key), 1e-15));
  }
  REQUIRE_THROWS_AS(some.received(Vector<double>{1}), std::invalid_argument);

  const Tokens<double> none{x, {}};
  REQUIRE(error_text<std::invalid_argument>([&] { none.mean_keys(); }) ==
          "Tokens: attention: got none, expected a policy behind the attention of a block");
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

}  // namespace tokens_test
