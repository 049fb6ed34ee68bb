#include <merganser/kernels/head_scores.hpp>

#include <type_traits>

#include "support/attention_head.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace head_scores_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;

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

TEST_CASE("a head refuses inputs of other sizes", "[HeadScores]") {
  Head<float> head = make_head<float>(3, 4, {.radius = 2, .key_bias = true, .hidden = true}, 1);
  REQUIRE_NOTHROW(run(head));
  const auto error = [&](auto&& change) {
    Head<float> changed = head;
    change(changed);
    return argument_error([&] { run(changed); });
  };
  REQUIRE(error([](auto& h) { h.query_positions.pop_back(); }) ==
          "kernels::attend: scores.query_positions.size(): got 2, expected 3");
  REQUIRE(error([](auto& h) { h.key_positions.clear(); }) ==
          "kernels::attend: scores.key_positions.size(): got 0, expected 4");
  REQUIRE(error([](auto& h) { h.key_bias.pop_back(); }) ==
          "kernels::attend: scores.key_bias.size(): got 3, expected 4");
  REQUIRE(error([](auto& h) { h.hidden.pop_back(); }) ==
          "kernels::attend: scores.hidden_keys.size(): got 3, expected 4");
  REQUIRE(error([](auto& h) { h.radius = -1; }) == "kernels::attend: scores.radius: got -1, expected at least 0");
  REQUIRE(error([](auto& h) { h.v.conservativeResize(3, 5); }) == "kernels::attend: v.rows(): got 3, expected 4");
  REQUIRE(error([](auto& h) { h.k.conservativeResize(4, 4); }) == "kernels::attend: k.cols(): got 4, expected 5");
  REQUIRE(argument_error([&] { gradients_of<float>(head, Matrix<float>::Ones(2, 5), 0, 0); }) ==
          "kernels::attend_backward: grad_y: got 2 x 5, expected 3 x 5");
}

}  // namespace head_scores_test
