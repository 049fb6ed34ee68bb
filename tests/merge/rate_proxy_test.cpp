#include <merganser/merge/rate_proxy.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/random_values.hpp"

namespace rate_proxy_test {

using namespace merganser;
using namespace merganser::testing;
using merge::RateProxy;

const double half = std::log(0.5), quarter = std::log(0.25);

TEST_CASE("a rate is a distribution over shares that stay", "[RateProxy]") {
  const RateProxy proxy(Vector<double>{quarter, half, quarter});  // 3/3, 2/3, 1/3
  for (const Index i : {0, 2}) REQUIRE_THAT(proxy.weights()[i], Catch::Matchers::WithinAbs(0.25, 1e-15));
  REQUIRE(proxy.candidate(0, 6) == 6);
  REQUIRE(proxy.candidate(1, 6) == 4);
  REQUIRE(proxy.candidate(2, 6) == 2);
  REQUIRE(proxy.candidate(1, 4) == 3);  // rounded up
  REQUIRE(proxy.candidate(2, 1) == 1);
  REQUIRE_THAT(proxy.expected(6), Catch::Matchers::WithinAbs(4, 1e-12));
  const Vector<double> probability = proxy.token_probability(6), expected = {1, 1, 0.75, 0.75, 0.25, 0.25};
  for (Index rank = 0; rank < 6; ++rank)
    REQUIRE_THAT(probability[rank], Catch::Matchers::WithinAbs(expected[rank], 1e-12));
  REQUIRE(RateProxy(Vector<float>{0, 0}).kept(4) == 3);
  REQUIRE(RateProxy(Vector<float>{0, 0}).kept(6) == 5);  // 4.5
}

TEST_CASE("the expected number is the sum of the probabilities to stay", "[RateProxy]") {
  Rng rng(2);
  for (const Index candidates : {1, 2, 7, 16})
    for (const Index n : {1, 2, 5, 16, 100}) {
      const RateProxy proxy(random_values<double>(candidates, rng));
      double sum = 0, last = 2;
      for (const double own : proxy.token_probability(n)) {
        REQUIRE(own <= last);
        sum += last = own;
      }
      CAPTURE(candidates, n);
      REQUIRE_THAT(proxy.expected(n), Catch::Matchers::WithinRel(sum, 1e-12));
      REQUIRE((proxy.kept(n) >= 1 && proxy.kept(n) <= n));
      const double more = static_cast<double>(proxy.kept(n)) - proxy.expected(n);
      REQUIRE((more > -1e-9 && more < 1));
    }
  REQUIRE(RateProxy(Vector<double>{1.0}).kept(0) == 0);
  REQUIRE(RateProxy(Vector<double>{1.0}).token_probability(0).empty());
  REQUIRE(RateProxy(Vector<double>{std::numeric_limits<double>::quiet_NaN()}).kept(3) == 3);
}

TEST_CASE("the gradients of a rate agree with finite differences", "[RateProxy]") {
  Rng rng(3);
  for (const Index n : {1, 5, 16, 40}) {
    Vector<double> logits = random_values<double>(7, rng);
    const Vector<double> weights = random_values<double>(n, rng);
    Vector<double> gradient(7, 0.0);
    const RateProxy proxy(logits);
    proxy.backward(n, 0.3, weights, gradient);
    const auto view = [](Vector<double>& list) {
      return Vector<ParameterView<double>>{{"logits", list.data(), 1, list.size(), true}};
    };
    require_gradients(
        [&] {
          const RateProxy moved(logits);
          double sum = 0.3 * moved.expected(n);
          for (Index rank = 0; rank < n; ++rank) sum += weights[rank] * moved.token_probability(n)[rank];
          return sum;
        },
        view(logits), view(gradient));
    Vector<double> twice = gradient, once(7, 0.0);
    proxy.backward(n, 0.3, weights, twice);
    for (Index i = 0; i < 7; ++i) REQUIRE_THAT(twice[i], Catch::Matchers::WithinAbs(2 * gradient[i], 1e-12));
    proxy.backward(n, 1, {}, once);  // of the expected number alone
    const Vector<double> ones(n, 1.0);
    Vector<double> summed(7, 0.0);
    proxy.backward(n, 0, ones, summed);
    for (Index i = 0; i < 7; ++i) REQUIRE_THAT(once[i], Catch::Matchers::WithinAbs(summed[i], 1e-12));
  }
  Vector<double> gradient(2, 0.0);
  REQUIRE(argument_error([&] {
            RateProxy(Vector<double>{0, 0}).backward(3, 0, Vector<double>{1, 2}, gradient);
          }) == "RateProxy::backward: grad_probability.size(): got 2, expected 3");
}

}  // namespace rate_proxy_test
