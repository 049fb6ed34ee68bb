#include <merganser/kernels/head_scores.hpp>

#include <type_traits>

#include "support/catch.hpp"

using namespace merganser;
using namespace merganser::kernels;

TEMPLATE_TEST_CASE("a head adds nothing unless told so", "[head_scores]", float, double) {
  const HeadScores<TestType> scores;
  REQUIRE(scores.softmax == SoftmaxKind::softmax);
  REQUIRE(scores.visibility == Visibility::all);
  REQUIRE(scores.soft_cap == TestType{0});
  REQUIRE(scores.distance_bias == nullptr);
  REQUIRE((scores.key_bias.empty() && scores.hidden_keys.empty()));
  const HeadGradients<TestType> gradients;
  REQUIRE((gradients.distance_bias == nullptr && gradients.key_bias == nullptr));
  REQUIRE(gradients.excess_weight == TestType{0});
}

TEST_CASE("what forward leaves can be read and not written by backward", "[head_scores]") {
  STATIC_REQUIRE(std::is_same_v<decltype(SoftmaxRows<float>{}.largest), float*>);
  STATIC_REQUIRE(std::is_same_v<decltype(SoftmaxRows<const float>{}.factor), const float*>);
}
