#include <merganser/merge/policies/adaptive_sampling.hpp>

#include <algorithm>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/policy_laws.hpp"

namespace adaptive_sampling_test {

using namespace merganser;
using namespace merganser::testing;
using merge::AdaptiveSampling;
using merge::MergePlan;
using merge::Tokens;

using Rows = Vector<Index>;
using Score = AdaptiveSampling::Score;

/// One head whose every query gives these weights; values of length 1.
MergePlan<double> planned(const AdaptiveSampling& policy, const Vector<double>& weights, Index removals) {
  const Index n = weights.size();
  Matrix<double> rows(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) rows(i, j) = weights[j];
  const GivenAttention<double> attention({rows}, {}, Matrix<double>::Ones(n, 1));
  const Matrix<double> x = Matrix<double>::Zero(n, 1);
  Tokens<double> tokens{x, {}};
  tokens.attention = &attention;
  tokens.removals = removals;
  return policy.plan(tokens);
}

TEST_CASE("tokens stand for their share of the cumulative score", "[AdaptiveSampling]") {
  const Vector<double> even(8, 0.125), sharp = {0.01, 0.9, 0.01, 0.02, 0.02, 0.02, 0.01, 0.01};
  REQUIRE(planned({}, even, 0).output_count() == 7);  // the lowest of the sum stands at 0, where no sample is
  REQUIRE(planned({}, even, 4).output_count() == 4);
  const MergePlan<double> few = planned({}, sharp, 0);
  REQUIRE(few.output_count() < 6);  // one token takes most of the samples
  REQUIRE(few.groups()[1] >= 0);
  REQUIRE(planned({}, sharp, 7).representatives() == Rows{1});
  REQUIRE(planned({}, {0.5}, 0).output_count() == 1);
}

TEST_CASE("never more stays than was asked for", "[AdaptiveSampling]") {
  Rng rng(2);
  for (const Score score : {Score::received, Score::class_token})
    for (const Index n : {1, 2, 3, 20}) {
      Vector<double> weights;
      for (Index t = 0; t < n; ++t) weights.push_back(rng.uniform());
      for (Index removals = 0; removals < n; ++removals) {
        const Index rows = planned({.score = score}, weights, removals).output_count();
        REQUIRE(rows <= n - removals);
        REQUIRE(rows >= 1);
      }
    }
  const MergePlan<double> with_class = planned({.score = Score::class_token}, Vector<double>(6, 1.0), 3);
  REQUIRE(with_class.representatives()[0] == 0);
}

TEST_CASE("values weigh, and a score of nothing is an even one", "[AdaptiveSampling]") {
  Matrix<double> weights = Matrix<double>::Constant(3, 3, 0.25), values(3, 2);
  values << 3, 4, 0, 1, 0, 4;
  const Matrix<double> x = Matrix<double>::Zero(3, 1);
  const GivenAttention<double> attention({weights}, {}, values);
  Tokens<double> tokens{x, {}};
  tokens.attention = &attention;
  REQUIRE(AdaptiveSampling{}.scores(tokens) == Vector<double>{0.5, 0.1, 0.4});
  const GivenAttention<double> none({Matrix<double>::Zero(3, 3)}, {}, values);
  tokens.attention = &none;
  REQUIRE(AdaptiveSampling{}.scores(tokens) == Vector<double>(3, 1.0 / 3));
  tokens.attention = nullptr;
  REQUIRE_THROWS_AS(AdaptiveSampling{}.plan(tokens), std::invalid_argument);
}

TEST_CASE("adaptive sampling keeps the laws of policies", "[AdaptiveSampling]") {
  PolicyLaws laws;
  laws.copies = true;
  laws.may_take_more = true;  // a token of large score takes several samples
  for (const Score score : {Score::received, Score::class_token})
    require_policy_laws([=]<Real>() { return AdaptiveSampling{.budget = {.rate = 0.4}, .score = score}; }, laws);
  require_planner_gradients(AdaptiveSampling{.budget = {.rate = 0.4}});
}

}  // namespace adaptive_sampling_test
