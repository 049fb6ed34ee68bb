#include <merganser/merge/policies/zero_tprune.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace zero_tprune_test {

using namespace merganser;
using namespace merganser::testing;
using merge::MergePlan;
using merge::Tokens;
using merge::ZeroTPrune;
using Start = ZeroTPrune::Start;

using Rows = Vector<Index>;

/// Random keys and attention, whose rows add up to 1.
struct Scene {
  Matrix<double> x;
  Vector<Matrix<double>> heads;
  GivenAttention<double> attention;
  Tokens<double> tokens;

  explicit Scene(Index n, std::optional<Index> removals = std::nullopt)
      : x(random(n, 4, 1)),
        heads{head(n, 2), head(n, 3), head(n, 4)},
        attention(heads, random(n, 3, 5)),
        tokens{x, {}} {
    tokens.removals = removals;
    tokens.attention = &attention;
  }

  static Matrix<double> random(Index rows, Index cols, std::uint64_t seed) {
    Rng rng(seed + static_cast<std::uint64_t>(100 * rows));
    return random_matrix<double>(rows, cols, rng);
  }

  static Matrix<double> head(Index n, std::uint64_t seed) {
    Matrix<double> weights = random(n, n, seed).array().exp();
    for (Index query = 0; query < n; ++query) weights.row(query) /= weights.row(query).sum();
    return weights;
  }
};

double no_bound() { return std::numeric_limits<double>::infinity(); }

/// The formulas of the paper one after the other, with whole matrices: who stays.
Rows published(const Scene& s, bool by_class, Index steps, double largest_variance, Index alike, Index least) {
  const Index n = s.x.rows(), first = by_class ? 1 : 0;
  Eigen::VectorXd start = Eigen::VectorXd::Ones(n);
  if (by_class) start[0] = std::sqrt(static_cast<double>(n));
  start /= start.sum();
  Eigen::VectorXd early = Eigen::VectorXd::Zero(n), late = early, late_of_all = early;
  bool any = false;
  for (const Matrix<double>& head : s.heads) {
    const Eigen::MatrixXd step = head.transpose();
    Eigen::VectorXd rank = step * start;
    early += rank.cwiseAbs2();
    for (Index i = 1; i < steps; ++i) rank = step * rank;
    const Eigen::VectorXd scaled = static_cast<double>(n) * rank;
    const double variance = (scaled.array() - scaled.mean()).square().mean();
    late_of_all += rank.cwiseAbs2();
    if (variance > largest_variance) continue;
    any = true;
    late += rank.cwiseAbs2();
  }
  if (!any) late = late_of_all;
  const auto rising = [&](const Eigen::VectorXd& by) {
    Rows order(n - first);
    std::iota(order.begin(), order.end(), first);
    std::sort(order.begin(), order.end(), [&](Index a, Index b) { return by[a] < by[b]; });
    return order;
  };
  const Rows by_early = rising(early), by_late = rising(late);
  const Matrix<double> keys = s.attention.mean_keys(0);
  Vector<std::pair<double, Index>> likeness;
  const Index half = by_early.size() / 2;
  for (Index i = 0; i < half; ++i) {
    double best = -2;
    for (Index j = half; j < by_early.size(); ++j)
      best = std::max(best, merge::cosine<double>(keys, by_early[i], by_early[j]));
    likeness.push_back({-best, by_early[i]});
  }
  std::sort(likeness.begin(), likeness.end());
  Vector<std::uint8_t> gone(n, 0);
  for (Index i = 0; i < alike; ++i) gone[likeness[i].second] = 1;
  for (const Index token : by_late) {
    if (least == 0) break;
    if (gone[token] != 0) continue;
    gone[token] = 1;
    --least;
  }
  Rows kept;
  for (Index token = 0; token < n; ++token)
    if (gone[token] == 0) kept.push_back(token);
  return kept;
}

TEST_CASE("ranks walk along attention", "[ZeroTPrune]") {
  Matrix<double> weights(2, 2);
  weights << 0.5, 0.5, 0.25, 0.75;  // the walk ends at 1/3, 2/3
  const GivenAttention<double> attention({weights});
  const Matrix<double> x = Matrix<double>::Zero(2, 1);
  Tokens<double> tokens{x, {}};
  tokens.attention = &attention;
  for (const Start start : {Start::even, Start::class_token}) {
    const auto ranks = ZeroTPrune{.steps = 60, .start = start}.rank(tokens);
    REQUIRE_THAT(ranks.late(0, 0), Catch::Matchers::WithinAbs(1.0 / 3, 1e-12));
    REQUIRE_THAT(ranks.late(0, 1), Catch::Matchers::WithinAbs(2.0 / 3, 1e-12));
    const double of_first = start == Start::even ? 0.5 : std::sqrt(2.0) / (1 + std::sqrt(2.0));
    REQUIRE_THAT(ranks.early(0, 0), Catch::Matchers::WithinAbs(0.25 + 0.25 * of_first, 1e-12));
  }
  const auto one = ZeroTPrune{.steps = 1}.rank(tokens);
  REQUIRE(identical(one.early, one.late));
}

TEST_CASE("heads are told apart by the variance of their ranks", "[ZeroTPrune]") {
  Matrix<double> ranks(3, 4);
  ranks << 0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0, 0, 1, 0, 0, 0;
  REQUIRE(ZeroTPrune::variances(ranks) == Vector<double>{0, 1, 3});
  const auto heads = [&](double least, double largest) {
    return ZeroTPrune{.least_variance = least, .largest_variance = largest}.informative(ranks);
  };
  REQUIRE(heads(0.01, 2) == Rows{1});
  REQUIRE(heads(1, 3) == Rows{1, 2});
  REQUIRE(heads(5, 6) == Rows{0, 1, 2});  // none: all
  const auto both = ZeroTPrune::root_mean_square(ranks, Rows{1, 2});
  REQUIRE_THAT(both[0], Catch::Matchers::WithinAbs(std::sqrt(1.25 / 2), 1e-12));
  REQUIRE_THAT(ZeroTPrune::root_mean_square(ranks)[2], Catch::Matchers::WithinAbs(0.25 / std::sqrt(3.0), 1e-12));
}

TEST_CASE("those go that are like a more important token, then the least important", "[ZeroTPrune]") {
  for (const Index n : {1, 2, 3, 10, 31, 90})
    for (const bool by_class : {false, true})
      for (const double share : {0.0, 0.4, 1.0})
        for (const double variance : {0.05, no_bound()})
          for (const Index going : {Index{0}, Index{1}, n / 2, n - 1}) {
            if (going >= n) continue;
            const Scene s(n, going);
            const ZeroTPrune policy{.alike_share = share,
                                    .steps = 4,
                                    .least_variance = 0,
                                    .largest_variance = variance,
                                    .start = by_class ? Start::class_token : Start::even};
            const Index alike =
                std::min<Index>(std::lround(share * static_cast<double>(going)), (n - (by_class ? 1 : 0)) / 2);
            CAPTURE(n, by_class, share, variance, going);
            REQUIRE(policy.plan(s.tokens).representatives() ==
                    published(s, by_class, 4, variance, alike, going - alike));
          }
}

TEST_CASE("protected tokens and bad settings of Zero-TPrune", "[ZeroTPrune]") {
  for (const Index protected_rows : {0, 2, 5, 9}) {
    const MergePlan<double> plan = ZeroTPrune{.protected_rows = protected_rows}.plan(Scene(6, 5).tokens);
    REQUIRE(plan.output_count() == std::clamp<Index>(protected_rows, 1, 6));
    for (Index row = 0; row < std::min<Index>(protected_rows, 6); ++row) REQUIRE(plan.representatives()[row] == row);
  }
  REQUIRE(ZeroTPrune{.start = Start::class_token}.traits().needs_class_token);
  REQUIRE(ZeroTPrune{}.rank(Tokens<double>{Matrix<double>(0, 2), {}}).late.rows() == 0);
  const auto error = [](const ZeroTPrune& policy) { return argument_error([&] { policy.plan(Scene(4, 1).tokens); }); };
  REQUIRE(error({.alike_share = -1}) == "ZeroTPrune: alike_share: got -1, expected in [0, 1]");
  REQUIRE(error({.steps = 0}) == "ZeroTPrune: steps: got 0, expected at least 1");
  REQUIRE(error({.least_variance = 1}) == "ZeroTPrune: least_variance: got 1, expected at most the largest");
  REQUIRE(error({.protected_rows = -1}) == "ZeroTPrune: protected_rows: got -1, expected at least 0");
  Scene apart(4, 1);
  apart.tokens.attention = nullptr;
  REQUIRE_THROWS_AS(ZeroTPrune{}.plan(apart.tokens), std::invalid_argument);
}

TEST_CASE("attention that is no number does not stop Zero-TPrune", "[ZeroTPrune]") {
  Scene s(40, 15);
  for (Matrix<double>& head : s.heads) head.setConstant(std::numeric_limits<double>::quiet_NaN());
  const GivenAttention<double> attention(s.heads, Matrix<double>::Constant(40, 3, std::nan("")));
  s.tokens.attention = &attention;
  REQUIRE(ZeroTPrune{}.plan(s.tokens).output_count() == 25);
}

TEST_CASE("Zero-TPrune keeps the laws of policies", "[ZeroTPrune]") {
  PolicyLaws laws;
  laws.copies = true;
  for (const Start start : {Start::even, Start::class_token})
    for (const double share : {0.0, 0.5, 1.0}) {
      CAPTURE(share, static_cast<int>(start));
      require_policy_laws(
          [=]<Real>() { return ZeroTPrune{.budget = {.rate = 0.5}, .alike_share = share, .steps = 5, .start = start}; },
          laws);
    }
  require_protected_rows([](Index rows) { return ZeroTPrune{.budget = {.rate = 0.4}, .protected_rows = rows}; });
  require_planner_gradients(ZeroTPrune{.budget = {.rate = 0.4}});
}

}  // namespace zero_tprune_test
