#include <merganser/merge/policies/tofu.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <merganser/merge/compaction.hpp>
#include <merganser/merge/policies/tome.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace tofu_test {

using namespace merganser;
using namespace merganser::testing;
using merge::MergePlan;
using merge::ToFu;
using merge::Tokens;
using Fusion = ToFu::Fusion;
using NormScale = ToFu::NormScale;

using Rows = Vector<Index>;

Tokens<double> tokens_of(const Matrix<double>& x, std::optional<Index> removals = std::nullopt) {
  Tokens<double> tokens{x, {}};
  tokens.removals = removals;
  return tokens;
}

Matrix<double> fused(const ToFu& policy, const Tokens<double>& tokens) {
  return merge::Compaction<double>({policy.plan(tokens)}, SequenceOffsets::single(tokens.count())).compact(tokens.x);
}

/// 2 and 0 are like 1, and 2 the more so; 4 and 5 are like nobody.
Matrix<double> scene() {
  Matrix<double> x(6, 2);
  x << 3, 4, 0, 2, 0.6, 8, -1, 0, 1, 0, 1, -2;
  return x;
}

TEST_CASE("pairs of token fusion are those of token merging", "[ToFu]") {
  for (const Index n : {1, 2, 3, 8, 31, 70})
    for (const Index protected_rows : {0, 1, 2})
      for (const Index removals : {Index{0}, Index{1}, n / 4, n}) {
        Rng rng(static_cast<std::uint64_t>(n + 7));
        const Matrix<double> metric = random_matrix<double>(n, 5, rng), x = random_matrix<double>(n, 4, rng);
        const Vector<double> sizes(n, 2.0);
        const GivenAttention<double> attention({}, metric);
        Tokens<double> tokens = tokens_of(x, removals);
        tokens.sizes = sizes;
        tokens.attention = &attention;
        CAPTURE(n, protected_rows, removals);
        const MergePlan<double> expected = merge::ToMe{.protected_rows = protected_rows}.plan(tokens);
        REQUIRE(ToFu{.fusion = Fusion::mean, .protected_rows = protected_rows}.plan(tokens) == expected);
        MergePlan<double> scaled = expected;
        scaled.set_combine(merge::Combine::restored_norm);
        REQUIRE(ToFu{.protected_rows = protected_rows}.plan(tokens) == scaled);
        const MergePlan<double> pruned = ToFu{.fusion = Fusion::pruned, .protected_rows = protected_rows}.plan(tokens);
        REQUIRE(pruned.output_count() == expected.output_count());
        for (Index row = 0; row < pruned.output_count(); ++row) {
          REQUIRE(pruned.members(row).size() == 1);
          REQUIRE(pruned.members(row)[0].weight == 1);
        }
      }
}

TEST_CASE("a fused row is as long as its longest token", "[ToFu]") {
  const Matrix<double> x = scene();
  const Matrix<double> rows = fused(ToFu{.budget = {.tokens = 2}}, tokens_of(x));
  REQUIRE(rows.rows() == 4);
  const Matrix<double> mean = (x.row(0) + x.row(1) + x.row(2)) / 3;
  const double longest = x.row(2).norm();
  for (Index c = 0; c < 2; ++c)
    REQUIRE_THAT(rows(0, c), Catch::Matchers::WithinRel(mean(0, c) * longest / mean.norm(), 1e-12));
  REQUIRE(rows.row(1) == x.row(3));
  REQUIRE(identical(fused(ToFu{.fusion = Fusion::pruned}, tokens_of(x, 2)), Matrix<double>([&] {
                      Matrix<double> stay(4, 2);
                      stay << x.row(1), x.row(3), x.row(4), x.row(5);
                      return stay;
                    }())));
}

TEST_CASE("the published scale divides by the length of the token that is joined", "[ToFu]") {
  Matrix<double> x = scene();
  const ToFu policy{.norm_scale = NormScale::published};
  Matrix<double> rows = fused(policy, tokens_of(x, 2));
  const Matrix<double> mean = (x.row(0) + x.row(1) + x.row(2)) / 3;
  for (Index c = 0; c < 2; ++c)
    REQUIRE_THAT(rows(0, c), Catch::Matchers::WithinRel(mean(0, c) * x.row(2).norm() / 2, 1e-12));
  REQUIRE(policy.plan(tokens_of(x, 2)).combine() == merge::Combine::weighted_sum);
  for (Index row = 1; row < 4; ++row) REQUIRE(policy.plan(tokens_of(x, 2)).members(row)[0].weight == 1);
  // A token of zeros is joined: nothing is divided by its length.
  x.setZero();
  x(0, 0) = 1;
  rows = fused(policy, tokens_of(x, 3));
  REQUIRE(rows.allFinite());
  REQUIRE(rows.maxCoeff() == 0.25);  // 0, 2 and 4 join 1
}

TEST_CASE("fused rows count sizes", "[ToFu]") {
  const Matrix<double> x = scene();
  const Vector<double> sizes = {1, 1, 3, 1, 1, 1};
  Tokens<double> tokens = tokens_of(x, 1);
  tokens.sizes = sizes;
  for (const Fusion fusion : {Fusion::mean, Fusion::scaled_mean}) {
    const MergePlan<double> plan = ToFu{.fusion = fusion}.plan(tokens);
    REQUIRE(plan.groups() == Rows{0, 1, 1, 2, 3, 4});
    REQUIRE(plan.members(1)[1] == merge::Member<double>{2, 0.75});
  }
}

TEST_CASE("token fusion of what cannot be matched", "[ToFu]") {
  REQUIRE(error_text<std::invalid_argument>([] { ToFu{.protected_rows = -1}.plan(tokens_of(scene())); }) ==
          "ToFu: protected_rows: got -1, expected at least 0");
  const Matrix<double> none(0, 2), nan = Matrix<double>::Constant(5, 2, std::numeric_limits<double>::quiet_NaN());
  for (const Fusion fusion : {Fusion::mean, Fusion::scaled_mean, Fusion::pruned})
    for (const NormScale scale : {NormScale::of_mean, NormScale::published}) {
      const ToFu policy{.fusion = fusion, .norm_scale = scale};
      REQUIRE(policy.plan(tokens_of(none, 1)).output_count() == 0);
      REQUIRE(policy.plan(tokens_of(nan, 2)).output_count() == 5);
      const Matrix<double> same = Matrix<double>::Ones(7, 3);
      REQUIRE(fused(policy, tokens_of(same, 6)).isApprox(Matrix<double>::Ones(4, 3)));
    }
}

TEST_CASE("token fusion keeps the laws of policies", "[ToFu]") {
  for (const Fusion fusion : {Fusion::mean, Fusion::scaled_mean, Fusion::pruned})
    for (const NormScale scale : {NormScale::of_mean, NormScale::published}) {
      if (scale == NormScale::published && fusion != Fusion::scaled_mean) continue;
      PolicyLaws laws;
      laws.at_most_half = true;
      laws.copies = fusion == Fusion::pruned;
      if (scale == NormScale::published) laws.size_bias = merge::SizeBias::log_size;
      require_policy_laws([=]<Real>() { return ToFu{{.rate = 0.4}, fusion, scale}; }, laws);
      require_protected_rows([=](Index rows) {
        return ToFu{.budget = {.rate = 0.4}, .fusion = fusion, .norm_scale = scale, .protected_rows = rows};
      });
    }
}

TEST_CASE("the gradients of token fusion agree with finite differences", "[ToFu]") {
  for (const Fusion fusion : {Fusion::mean, Fusion::scaled_mean, Fusion::pruned})
    require_planner_gradients(ToFu{.budget = {.rate = 0.4}, .fusion = fusion});
  require_frozen_plan_gradients(ToFu{.budget = {.rate = 0.4}, .norm_scale = NormScale::published});
}

}  // namespace tofu_test
