#include <merganser/merge/matching.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace matching_test {

using namespace merganser;
using namespace merganser::testing;
using merge::largest;
using merge::Member;
using merge::MergePlan;
using merge::plan_of_targets;

using Rows = Vector<Index>;

std::string error_of(const Rows& joins) {
  return error_text<std::invalid_argument>([&] { plan_of_targets<double>(joins); });
}

TEST_CASE("unit rows and cosines", "[matching]") {
  Matrix<double> x(4, 2);
  x << 3, 4, -6, -8, 0, 0, 4, -3;
  const Matrix<double> unit = merge::unit_rows<double>(x);
  REQUIRE(unit(0, 0) == 0.6);
  REQUIRE(unit(1, 1) == -0.8);
  REQUIRE(unit.row(2).isZero());
  REQUIRE(merge::cosine<double>(x, 0, 1) == -1);
  REQUIRE(merge::cosine<double>(x, 0, 3) == 0);
  REQUIRE(merge::cosine<double>(x, 0, 2) == 0);
  REQUIRE(merge::cosine<double>(x, 0, 0) == 1);
}

TEMPLATE_TEST_CASE("best matches are those of all products, of equal ones the first", "[matching]", float, double) {
  Rng rng(3);
  for (const Index rows : {0, 1, 5, 64, 65, 200}) {
    const Matrix<TestType> a = random_matrix<TestType>(rows, 7, rng), b = random_matrix<TestType>(33, 7, rng);
    const merge::Matches<TestType> matches = merge::best_matches<TestType>(a, b);
    REQUIRE(matches.target.size() == rows);
    for (Index i = 0; i < rows; ++i) {
      Index best = 0;
      for (Index j = 1; j < b.rows(); ++j)
        if (a.row(i).dot(b.row(j)) > a.row(i).dot(b.row(best))) best = j;
      REQUIRE(matches.target[i] == best);
      REQUIRE(std::abs(matches.score[i] - a.row(i).dot(b.row(best))) < TestType(1e-4));
    }
  }
  const Matrix<TestType> same = Matrix<TestType>::Ones(4, 2), none(0, 2);
  REQUIRE(merge::best_matches<TestType>(same, same).target == Rows{0, 0, 0, 0});
  REQUIRE(merge::best_matches<TestType>(same, none).target == Rows{-1, -1, -1, -1});
  REQUIRE_THROWS_AS(merge::best_matches<TestType>(same, Matrix<TestType>(1, 3)), std::invalid_argument);
}

TEST_CASE("the closest pairs join", "[matching]") {
  Matrix<double> x(6, 2);
  x << 1, 0, 0, 1, 0.1, 1, 1, 0.2, -1, 0, 0.5, -1;
  const Matrix<double> unit = merge::unit_rows<double>(x);
  Rows joins = merge::apart(6);
  merge::join_closest(unit, Rows{0, 2, 4}, Rows{1, 3, 5}, 2, joins);
  REQUIRE(joins == Rows{3, 1, 1, 3, 4, 5});
  merge::join_closest(unit, Rows{1, 5}, Rows{4}, 9, joins);  // more than there are
  REQUIRE(joins == Rows{3, 4, 1, 3, 4, 4});
  const Rows before = joins;
  merge::join_closest(unit, Rows{0, 2}, Rows{}, 2, joins);
  merge::join_closest(unit, Rows{}, Rows{0, 2}, 2, joins);
  merge::join_closest(unit, Rows{0, 2}, Rows{1, 3}, 0, joins);
  merge::join_closest(Matrix<double>(Matrix<double>::Constant(6, 2, std::nan(""))), Rows{0, 2}, Rows{1}, 2, joins);
  REQUIRE(joins == before);
}

TEST_CASE("even tokens join odd ones, at most half of those that may", "[matching]") {
  const auto [even, odd] = merge::even_and_odd(1, 6);
  REQUIRE(even == Rows{2, 4});
  REQUIRE(odd == Rows{1, 3, 5});
  REQUIRE(merge::even_and_odd(7, 6).even.empty());
  const Matrix<double> same = Matrix<double>::Ones(7, 2);
  REQUIRE(merge::bipartite_joins(same, 0, 9) == Rows{1, 1, 1, 3, 1, 5, 6});
  REQUIRE(merge::bipartite_joins(same, 0, 1) == Rows{1, 1, 2, 3, 4, 5, 6});
  REQUIRE(merge::bipartite_joins(same, 2, 9) == Rows{0, 1, 3, 3, 3, 5, 6});
  REQUIRE(merge::bipartite_joins(same, 9, 9) == merge::apart(7));
  REQUIRE(merge::bipartite_joins(Matrix<double>(Matrix<double>::Zero(1, 2)), 0, 1) == Rows{0});
}

TEST_CASE("tokens join others, and chains are followed", "[matching]") {
  // 0 <- 1 <- 3, 4 <- 2, 5 is dropped, 6 alone.
  const MergePlan<double> plan = plan_of_targets<double>(Rows{0, 0, 4, 1, 4, -1, 6});
  REQUIRE(plan.input_count() == 7);
  REQUIRE(plan.representatives() == Rows{0, 2, 6});
  REQUIRE(plan.groups() == Rows{0, 0, 1, 0, 1, -1, 2});
  for (const Member<double>& member : plan.members(0)) REQUIRE(member.weight == 1.0 / 3);
  REQUIRE(plan.members(1).size() == 2);
  REQUIRE(plan.members(2).front() == Member<double>{6, 1.0});
}

TEST_CASE("rows of several are weighed by size and rise", "[matching]") {
  const Vector<double> sizes = {1, 3, 2, 4};
  const MergePlan<double> plan = plan_of_targets<double>(Rows{2, 1, 2, 1}, sizes);
  REQUIRE(plan.representatives() == Rows{0, 1});
  REQUIRE(plan.members(0)[0] == Member<double>{0, 1.0 / 3});
  REQUIRE(plan.members(0)[1] == Member<double>{2, 2.0 / 3});
  REQUIRE(plan.members(1)[0] == Member<double>{1, 3.0 / 7});
  REQUIRE(plan.members(1)[1] == Member<double>{3, 4.0 / 7});
  REQUIRE(plan_of_targets<double>(Rows{}).output_count() == 0);
}

TEST_CASE("a long chain costs no more than its length", "[matching]") {
  constexpr Index tokens = 200000;
  Rows forward(tokens), backward(tokens);
  for (Index i = 0; i < tokens; ++i) forward[i] = std::min(i + 1, tokens - 1);
  for (Index i = 0; i < tokens; ++i) backward[i] = std::max<Index>(i - 1, 0);
  for (const Rows& joins : {forward, backward}) {
    const MergePlan<float> plan = plan_of_targets<float>(joins);
    REQUIRE(plan.representatives() == Rows{0});
    REQUIRE(plan.members(0).size() == tokens);
  }
}

TEST_CASE("targets that make no plan are refused", "[matching]") {
  REQUIRE(error_of({0, 2, 1}) == "plan_of_targets: joins: got 1, expected no circle");
  REQUIRE(error_of({0, 2, 3, 1}) == "plan_of_targets: joins: got 1, expected no circle");
  REQUIRE(error_of({0, 5}) == "plan_of_targets: joins: got 5, expected tokens of the sequence, or -1");
  REQUIRE(error_of({-2}) == "plan_of_targets: joins: got -2, expected tokens of the sequence, or -1");
  REQUIRE(error_of({-1, 0}) == "plan_of_targets: joins: got 0, expected a token that is not dropped");
  REQUIRE_THROWS_AS(plan_of_targets<double>(Rows{0, 1}, Vector<double>{1}), std::invalid_argument);
}

TEST_CASE("the largest scores, of equal ones the first", "[matching]") {
  const Vector<float> scores = {1, 3, 2, 3, 3};
  REQUIRE(largest<float>(scores, 2) == Rows{1, 3});
  REQUIRE(largest<float>(scores, 4) == Rows{1, 2, 3, 4});
  REQUIRE(largest<float>(scores, 0).empty());
  REQUIRE(largest<float>(scores, 9).size() == 5);
  REQUIRE(largest<float>({}, 1).empty());
  Vector<double> none(100, std::nan(""));
  REQUIRE(largest<double>(none, 2) == Rows{0, 1});
  none[7] = -5;
  none[90] = 1;
  REQUIRE(largest<double>(none, 3) == Rows{0, 7, 90});
}

}  // namespace matching_test
