#include <merganser/merge/policies/attention_top_k.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/given_attention.hpp"
#include "support/policy_laws.hpp"

namespace attention_top_k_test {

using namespace merganser;
using namespace merganser::testing;
using merge::AttentionTopK;
using merge::MergePlan;
using merge::Tokens;

using Rows = Vector<Index>;
using Score = AttentionTopK::Score;
using Rest = AttentionTopK::Rest;

/// Two heads over four tokens; the mean receives 1.2, 0.9, 1.4, 0.5.
struct Scene {
  Matrix<double> x = Matrix<double>::Identity(4, 4);
  GivenAttention<double> attention{
      {head({{0.4, 0.2, 0.3, 0.1}, {0.1, 0.4, 0.4, 0.1}, {0.3, 0.2, 0.4, 0.1}, {0.2, 0.2, 0.2, 0.4}}),
       head({{0.5, 0.1, 0.3, 0.1}, {0.3, 0.3, 0.4, 0.0}, {0.2, 0.3, 0.5, 0.0}, {0.4, 0.1, 0.3, 0.2}})}};
  Tokens<double> tokens{x, {}};

  explicit Scene(Index removals) {
    tokens.attention = &attention;
    tokens.removals = removals;
  }

  static Matrix<double> head(std::initializer_list<std::initializer_list<double>> rows) {
    Matrix<double> result(4, 4);
    Index i = 0;
    for (const auto& row : rows) {
      Index j = 0;
      for (const double value : row) result(i, j++) = value;
      ++i;
    }
    return result;
  }
};

TEST_CASE("scores are what a token receives, with or without its own, or a class token's attention",
          "[AttentionTopK]") {
  const Scene s(1);
  const auto all = AttentionTopK{}.received(s.tokens);
  REQUIRE_THAT(all[0], Catch::Matchers::WithinAbs(1.2, 1e-12));
  REQUIRE_THAT(all[3], Catch::Matchers::WithinAbs(0.5, 1e-12));
  const auto others = AttentionTopK{.score = Score::received_from_others}.received(s.tokens);
  REQUIRE_THAT(others[0], Catch::Matchers::WithinAbs(1.2 - 0.45, 1e-12));
  const auto of_class = AttentionTopK{.score = Score::class_token}.received(s.tokens);
  REQUIRE_THAT(of_class[2], Catch::Matchers::WithinAbs(0.3, 1e-12));
}

TEST_CASE("the tokens of largest score stay in their order", "[AttentionTopK]") {
  REQUIRE(AttentionTopK{}.plan(Scene(0).tokens).representatives() == Rows{0, 1, 2, 3});
  REQUIRE(AttentionTopK{}.plan(Scene(2).tokens).representatives() == Rows{0, 2});
  REQUIRE(AttentionTopK{.protected_rows = 2}.plan(Scene(2).tokens).representatives() == Rows{0, 1});
  REQUIRE(AttentionTopK{.score = Score::class_token}.plan(Scene(3).tokens).representatives() == Rows{0});
  REQUIRE(AttentionTopK{.budget = {.rate = 0.5}}.traits().has_budget);
  REQUIRE(AttentionTopK{.score = Score::class_token}.traits().needs_class_token);
}

TEST_CASE("the rest is fused to one token more, within the budget", "[AttentionTopK]") {
  const MergePlan<double> mean = AttentionTopK{.rest = Rest::fused_mean}.plan(Scene(1).tokens);
  REQUIRE(mean.representatives() == Rows{0, 1, 2});  // 1 and 3 are fused
  REQUIRE(mean.groups() == Rows{0, 1, 2, 1});
  REQUIRE_THAT(mean.members(1)[0].weight, Catch::Matchers::WithinAbs(0.9 / 1.4, 1e-12));
  REQUIRE_THAT(mean.members(1)[1].weight, Catch::Matchers::WithinAbs(0.5 / 1.4, 1e-12));
  const MergePlan<double> sum = AttentionTopK{.rest = Rest::fused_sum}.plan(Scene(1).tokens);
  REQUIRE_THAT(sum.members(1)[0].weight, Catch::Matchers::WithinAbs(0.9, 1e-12));
  REQUIRE(AttentionTopK{.rest = Rest::fused_mean}.plan(Scene(3).tokens).output_count() == 1);
  REQUIRE(AttentionTopK{.rest = Rest::fused_mean}.plan(Scene(0).tokens).output_count() == 4);
}

TEST_CASE("without attention in front of it a top-k is refused", "[AttentionTopK]") {
  const Matrix<double> x = Matrix<double>::Zero(2, 2);
  REQUIRE(error_text<std::invalid_argument>([&] {
            AttentionTopK{}.plan(Tokens<double>{x, {}});
          }) == "Tokens: attention: got none, expected a policy behind the attention of a block");
  REQUIRE_THROWS_AS(AttentionTopK{.protected_rows = -1}.plan(Scene(1).tokens), std::invalid_argument);
}

TEST_CASE("a top-k by attention keeps the laws of policies", "[AttentionTopK]") {
  for (const Score score : {Score::received, Score::received_from_others, Score::class_token})
    for (const Rest rest : {Rest::dropped, Rest::fused_mean, Rest::fused_sum}) {
      PolicyLaws laws;
      laws.copies = rest == Rest::dropped;
      laws.keeps_equal = rest != Rest::fused_sum;
      CAPTURE(static_cast<int>(score), static_cast<int>(rest));
      require_policy_laws([=]<Real>() { return AttentionTopK{.budget = {.rate = 0.5}, .score = score, .rest = rest}; },
                          laws);
    }
  for (const Rest rest : {Rest::dropped, Rest::fused_mean, Rest::fused_sum})
    require_protected_rows(
        [=](Index rows) { return AttentionTopK{.budget = {.rate = 0.5}, .rest = rest, .protected_rows = rows}; });
  require_planner_gradients(AttentionTopK{.budget = {.rate = 0.5}, .rest = Rest::fused_mean});
}

}  // namespace attention_top_k_test
