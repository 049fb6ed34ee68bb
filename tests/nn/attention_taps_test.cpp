#include <merganser/nn/attention_taps.hpp>

#include "support/catch.hpp"
#include "support/given_attention.hpp"

namespace attention_taps_test {

using namespace merganser;
using namespace merganser::testing;

TEST_CASE("anybody's attention can answer", "[attention_taps]") {
  Matrix<double> weights(2, 2);
  weights << 0.25, 0.75, 0.5, 0.5;
  const GivenAttention<double> given({weights});
  const nn::AttentionTaps<double>& taps = given;
  REQUIRE(taps.weights(0, 0) == weights);
  REQUIRE(taps.row(0, 1)(0, 1) == 0.5);
  REQUIRE(taps.received(0, {}, nn::OwnWeight::counted)(0, 0) == 0.75);
  const Vector<double> twice = {2, 0};
  REQUIRE(taps.received(0, twice, nn::OwnWeight::counted)(0, 1) == 1.5);
}

}  // namespace attention_taps_test
