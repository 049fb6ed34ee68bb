#include <merganser/merge/policies/mctf.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace mctf_test {

using namespace merganser;
using namespace merganser::testing;
using merge::MCTF;
using merge::MergePlan;
using merge::Tokens;
using Directions = MCTF::Directions;

using Rows = Vector<Index>;
using Values = Vector<double>;

/// Tokens whose attention gives each what `received` says, in one head.
struct Scene {
  Matrix<double> x;
  Values received, sizes;
  GivenAttention<double> attention;

  Scene(Matrix<double> vectors, Values given, Values counted)
      : x(std::move(vectors)), received(std::move(given)), sizes(std::move(counted)), attention({weights()}) {}

  Matrix<double> weights() const {
    Matrix<double> result(x.rows(), x.rows());
    for (Index key = 0; key < x.rows(); ++key)
      result.col(key).setConstant(received[key] / static_cast<double>(x.rows()));
    return result;
  }

  MergePlan<double> planned(const MCTF& policy, Index removals) const {
    Tokens<double> tokens{x, {}};
    tokens.sizes = sizes;
    tokens.removals = removals;
    tokens.attention = &attention;
    return policy.plan(tokens);
  }
};

Scene random_scene(Index n) {
  Rng rng(static_cast<std::uint64_t>(n + 5));
  Values received, sizes;
  for (Index t = 0; t < n; ++t) {
    received.push_back(0.1 + rng.uniform());
    sizes.push_back(static_cast<double>(1 + rng.below(4)));
  }
  return {random_matrix<double>(n, 5, rng), received, sizes};
}

/// The published algorithm, step by step, over a whole matrix of values: who joins whom.
Rows published(const Scene& s, const MCTF& policy, Index removals) {
  const Index n = s.x.rows(), first = policy.protected_rows;
  double least = 1e300, smallest = 1e300;
  for (Index t = 0; t < n; ++t) {
    least = std::min(least, s.received[t]);
    smallest = std::min(smallest, s.sizes[t]);
  }
  const auto power = [](double base, double temperature) {
    return temperature > 0 ? std::pow(base, 1 / temperature) : 1.0;
  };
  const auto value = [&](Index i, Index j) {
    const double cosine = s.x.row(i).dot(s.x.row(j)) / (s.x.row(i).norm() * s.x.row(j).norm());
    return power((cosine + 1) / 2, policy.similarity_temperature) *
           power(least / s.received[i] * least / s.received[j], policy.information_temperature) *
           power(smallest / s.sizes[i] * smallest / s.sizes[j], policy.size_temperature);
  };
  Rows joins = merge::apart(n);
  const auto round = [&](const Rows& from, const Rows& to, Index count) {
    Rows best(n, -1), order = from;
    for (const Index i : from)
      for (const Index j : to)
        if (best[i] < 0 || value(i, j) > value(i, best[i])) best[i] = j;
    if (to.empty()) return;
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return value(a, best[a]) > value(b, best[b]); });
    for (Index k = 0; k < count; ++k) joins[order[k]] = best[order[k]];
  };
  Rows even, odd, stayed;
  for (Index t = first; t < n; ++t) (t % 2 == 0 ? even : odd).push_back(t);
  const Index gone = std::min(removals, std::max<Index>(n - first, 0) / 2);
  const Index one = policy.directions == Directions::both ? gone / 2 : gone;
  round(even, odd, one);
  for (const Index t : even)
    if (joins[t] == t) stayed.push_back(t);
  round(odd, stayed, gone - one);
  return joins;
}

TEST_CASE("alike tokens that are little looked at and small become one", "[MCTF]") {
  Matrix<double> x(4, 2);
  x << 1, 0, 1, 0.1, 0.1, 1, 0, 1;
  const auto partner = [&](const MCTF& policy, const Values& received, const Values& sizes) {
    const Rows groups = Scene(x, received, sizes).planned(policy, 1).groups();
    return std::count(groups.begin(), groups.end(), groups[0]) > 1 ? 0 : 2;
  };
  const MCTF policy{.information_temperature = 1, .size_temperature = 1, .directions = Directions::even_to_odd};
  REQUIRE(partner(policy, {1, 1, 1, 1.01}, {1, 1, 1, 1}) == 0);
  REQUIRE(partner(policy, {1, 1, 0.5, 0.5}, {1, 1, 1, 1}) == 2);
  REQUIRE(partner(policy, {1, 1, 1, 1}, {3, 1, 1, 1}) == 2);
  // Left out, a criterion decides nothing.
  REQUIRE(partner({.information_temperature = 0, .directions = Directions::even_to_odd}, {1, 1, 1.01, 0.1},
                  {1, 1, 1, 1.2}) == 0);
  REQUIRE(partner({.similarity_temperature = 0, .information_temperature = 1, .directions = Directions::even_to_odd},
                  {0.3, 1, 1, 0.2}, {1, 1, 1, 1}) == 0);
}

TEST_CASE("a token that was joined in the first round moves on in the second", "[MCTF]") {
  Matrix<double> x(4, 2);
  x << 1, 0, 1, 0.02, 1, 0.1, -1, 1;
  const MergePlan<double> plan = Scene(x, {1, 2, 3, 1}, {2, 1, 1, 1}).planned({.information_temperature = 0}, 2);
  // 2 (or 0) joins 1, which joins the other one.
  REQUIRE(plan.groups() == Rows{0, 0, 0, 1});
  REQUIRE(plan.representatives() == Rows{0, 3});
  const Values weights = {2.0 / 7, 2.0 / 7, 3.0 / 7};  // attention x size
  for (Index i = 0; i < 3; ++i)
    REQUIRE_THAT(plan.members(0)[static_cast<std::size_t>(i)].weight, Catch::Matchers::WithinRel(weights[i], 1e-12));
}

TEST_CASE("fusion by several criteria joins whom the published algorithm joins", "[MCTF]") {
  for (const Index n : {1, 2, 3, 4, 9, 32, 90})
    for (const Index protected_rows : {0, 1, 2})
      for (const Directions directions : {Directions::both, Directions::even_to_odd})
        for (const double similarity : {1.0, 3.0, 0.0})
          for (const double others : {20.0, 2.0, 0.0})
            for (const Index removals : {Index{0}, Index{1}, n / 3, n}) {
              if (similarity == 0 && others == 0) continue;  // all pairs alike
              const MCTF policy{.similarity_temperature = similarity,
                                .information_temperature = others,
                                .size_temperature = 2 * others,
                                .directions = directions,
                                .protected_rows = protected_rows};
              const Scene s = random_scene(n);
              Values mass;
              for (Index t = 0; t < n; ++t) mass.push_back(s.received[t] * s.sizes[t]);
              CAPTURE(n, protected_rows, removals, similarity, others);
              const MergePlan<double> plan = s.planned(policy, removals);
              const MergePlan<double> expected = merge::plan_of_targets<double>(published(s, policy, removals), mass);
              REQUIRE(plan.groups() == expected.groups());
              REQUIRE(plan.output_count() == n - std::min(removals, std::max<Index>(n - protected_rows, 0) / 2));
              for (Index row = 0; row < plan.output_count(); ++row)
                for (std::size_t i = 0; i < plan.members(row).size(); ++i)
                  REQUIRE(std::abs(plan.members(row)[i].weight - expected.members(row)[i].weight) < 1e-12);
            }
}

TEST_CASE("fusion by several criteria asks attention", "[MCTF]") {
  const Matrix<double> x = Matrix<double>::Ones(3, 2);
  REQUIRE(error_text<std::invalid_argument>([&] {
            MCTF{}.plan(Tokens<double>{x, {}});
          }) == "Tokens: attention: got none, expected a policy behind the attention of a block");
  const auto error = [](const MCTF& policy) {
    return error_text<std::invalid_argument>([&] { random_scene(3).planned(policy, 1); });
  };
  REQUIRE(error({.protected_rows = -1}) == "MCTF: protected_rows: got -1, expected at least 0");
  REQUIRE(error({.size_temperature = -2}) == "MCTF: temperature: got -2, expected at least 0");
}

TEST_CASE("fusion by several criteria of nothing, equal rows, zeros and no numbers", "[MCTF]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Scene same(Matrix<double>::Ones(6, 2), Values(6, 1.0), Values(6, 1.0));
  for (Index removals = 0; removals < 6; ++removals)
    REQUIRE(same.planned({}, removals).output_count() == 6 - std::min<Index>(removals, 3));
  const MergePlan<double> zeros = Scene(Matrix<double>::Zero(6, 2), Values(6, 0.0), Values(6, 0.0)).planned({}, 3);
  REQUIRE(zeros.output_count() == 3);
  for (Index row = 0; row < 3; ++row)
    for (const merge::Member<double>& member : zeros.members(row)) REQUIRE(std::isfinite(member.weight));
  REQUIRE(Scene(Matrix<double>::Constant(6, 2, nan), Values(6, 1.0), Values(6, 1.0)).planned({}, 3).output_count() ==
          6);
  REQUIRE(Scene(Matrix<double>::Ones(6, 2), Values(6, nan), Values(6, 1.0)).planned({}, 3).output_count() == 6);
}

TEST_CASE("fusion by several criteria keeps the laws of policies", "[MCTF]") {
  for (const Directions directions : {Directions::both, Directions::even_to_odd})
    for (const merge::SizeBias size_bias : {merge::SizeBias::none, merge::SizeBias::log_size}) {
      PolicyLaws laws;
      laws.at_most_half = true;
      laws.size_bias = size_bias;
      require_policy_laws([=]<Real>() { return MCTF{.budget = {.rate = 0.4}, .directions = directions}; }, laws);
      require_protected_rows(
          [=](Index rows) { return MCTF{.budget = {.rate = 0.4}, .directions = directions, .protected_rows = rows}; });
      require_planner_gradients(MCTF{.budget = {.rate = 0.4}, .directions = directions});
    }
}

}  // namespace mctf_test
