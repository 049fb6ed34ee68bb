// Expedit's way back: the nearest centres, their weights, exact gradients, and the laws.
#include <merganser/merge/recover/nearest_centres.hpp>

#include <cmath>
#include <limits>

#include <merganser/merge/policies/local_clusters.hpp>

#include "support/catch.hpp"
#include "support/recovery_laws.hpp"

namespace nearest_centres_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Layer = NearestCentres<double>;

const double slow = std::log(2.0);  // a weight halves where the squared distance grows by one

/// One sequence: three tokens, of which centres were made as given.
ReducedBatch<double> three_tokens() {
  ReducedBatch<double> all(PolicyBatch<double>({3}, 1), Policy<double>(RunsOfTokens{}), 1);
  all.batch.x << 0, 1, 5;
  all.reduction.x = Matrix<double>{{0}, {2}};
  all.y = Matrix<double>{{8}, {-4}};
  return all;
}

TEST_CASE("nearest centres: a token comes back as a mean by distance", "[NearestCentres]") {
  const ReducedBatch<double> all = three_tokens();
  const Matrix<double> both = Layer({.k = 2, .sharpness = slow}).forward(all.y, all.reduced());
  const double faint = std::exp2(-4), far = std::exp2(-16);
  REQUIRE_THAT(both(0, 0), WithinAbs((8 - 4 * faint) / (1 + faint), 1e-12));
  REQUIRE_THAT(both(1, 0), WithinAbs(2.0, 1e-12));
  REQUIRE_THAT(both(2, 0), WithinAbs((-4 + 8 * far) / (1 + far), 1e-12));
  // The nearest alone; of equally near ones the first.
  REQUIRE(identical(Layer({.k = 1}).forward(all.y, all.reduced()), Matrix<double>{{8}, {8}, {-4}}));
  REQUIRE(identical(Layer({.k = 7, .sharpness = slow}).forward(all.y, all.reduced()), both));
  const Matrix<double> longer =
      Layer({.k = 2, .sharpness = slow, .weights = CentreWeights::l2}).forward(all.y, all.reduced());
  REQUIRE_THAT(longer(1, 0), WithinAbs(4 / std::sqrt(2.0), 1e-12));
  REQUIRE_THAT(longer(0, 0), WithinAbs((8 - 4 * faint) / std::sqrt(1 + faint * faint), 1e-12));
}

TEST_CASE("nearest centres: nothing is lost where all are far", "[NearestCentres]") {
  ReducedBatch<double> all = three_tokens();
  all.batch.x(0, 0) = 1e4;
  REQUIRE_THAT(Layer({.k = 2}).forward(all.y, all.reduced())(0, 0), WithinAbs(-4, 1e-12));
  all.reduction.x(0, 0) = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(Layer({.k = 1}).forward(all.y, all.reduced())(1, 0) == -4);
}

TEST_CASE("nearest centres keep the laws of ways back", "[NearestCentres]") {
  RecoveryLaws laws;
  for (const auto weights : {CentreWeights::sum, CentreWeights::l2})
    for (const Index k : {1, 3, 50}) {
      CAPTURE(k, static_cast<int>(weights));
      require_recovery_laws(
          [&]<Real Scalar>() {
            return Recovery<Scalar>(NearestCentres<Scalar>({.k = k, .sharpness = 0.1, .weights = weights}));
          },
          laws);
    }
  laws.back_width = 4;
  const auto make = []<Real Scalar>() { return Recovery<Scalar>(NearestCentres<Scalar>()); };
  require_recovery_laws(make, laws);
  require_recovery_laws(
      make, []<Real Scalar>() { return Policy<Scalar>(LocalClusters{.budget = {.rate = 0.5}}); }, laws);
  REQUIRE_FALSE(Layer::is_causal);
}

TEST_CASE("settings and shapes of nearest centres that do not fit are named", "[NearestCentres]") {
  REQUIRE(argument_error([] { Layer({.k = 0}); }) == "NearestCentres: k: got 0, expected at least 1");
  for (const double sharpness : {0.0, -1.0, std::numeric_limits<double>::infinity()})
    REQUIRE_THROWS_AS(Layer({.sharpness = sharpness}), std::invalid_argument);
  ReducedBatch<double> all = three_tokens();
  Layer::Cache cache;
  Layer layer;
  REQUIRE(argument_error([&] { layer.forward(all.y.topRows(1), all.reduced()); }) ==
          "NearestCentres::forward: y.rows(): got 1, expected 2");
  layer.forward(all.y, all.reduced(), cache);
  REQUIRE_THROWS_AS(layer.backward(Matrix<double>::Zero(2, 1), cache, layer), std::invalid_argument);
  all.reduction.x = Matrix<double>::Zero(2, 3);
  REQUIRE(argument_error([&] { layer.forward(all.y, all.reduced()); }) ==
          "NearestCentres::forward: reduction.x.cols(): got 3, expected 1");
}

}  // namespace nearest_centres_test
