#include <merganser/merge/recover/scatter.hpp>

#include <array>
#include <utility>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/recovery_laws.hpp"

namespace scatter_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;
using Others = Scatter<double>::Others;

constexpr std::array others = {Others::stale, Others::zero, Others::added};

/// Tokens 1, 2, ... whose rows 10, 20, ... are to go to given places.
struct Places {
  Matrix<double> x, y;
  TokenState<double> state;
  Reduction<double> reduction;

  Places(const Rows& lengths, const Rows& rows, const Rows& kept, const Rows& groups) {
    const SequenceOffsets offsets = SequenceOffsets::from_lengths(lengths);
    state = TokenState<double>::start(offsets, counting_positions(offsets));
    reduction.state.offsets = SequenceOffsets::from_lengths(rows);
    reduction.report.kept = kept;
    reduction.report.group = groups;
    x.resize(offsets.total(), 1);
    y.resize(reduction.state.total(), 1);
    for (Index t = 0; t < x.rows(); ++t) x(t, 0) = static_cast<double>(t + 1);
    for (Index row = 0; row < y.rows(); ++row) y(row, 0) = static_cast<double>(10 * (row + 1));
  }

  Vector<double> back(const Scatter<double>::Config& config) const {
    const Matrix<double> values = Scatter<double>(config).forward(y, {x, state, reduction});
    return {values.data(), values.data() + values.size()};
  }
};

TEST_CASE("rows go to their places, and the others keep what they had", "[Scatter]") {
  Places batch({4, 2}, {2, 1}, {1, 2, 5}, {-1, 0, 1, 1, -1, 2});
  REQUIRE(batch.back({Others::stale}) == Vector<double>{1, 10, 20, 4, 5, 30});
  REQUIRE(batch.back({Others::zero}) == Vector<double>{0, 10, 20, 0, 0, 30});
  REQUIRE(batch.back({Others::added}) == Vector<double>{1, 12, 23, 4, 5, 36});
  batch.state.forced = {1, 0, 0, 0, 0, 0};
  REQUIRE(batch.back({Others::stale}) == Vector<double>{0, 10, 20, 4, 5, 30});
  REQUIRE(batch.back({Others::added}) == Vector<double>{0, 12, 23, 4, 5, 36});
}

TEST_CASE("of rows at one place the last counts, and all are added", "[Scatter]") {
  const Places batch({3}, {3}, {0, 0, 2}, {1, 1, 2});
  REQUIRE(batch.back({Others::stale}) == Vector<double>{20, 2, 30});
  REQUIRE(batch.back({Others::added}) == Vector<double>{31, 2, 33});
  Scatter<double> gradients;
  const Matrix<double> grad = batch.x;
  for (const Others kind : others) {
    const Scatter<double> scatter({kind});
    Scatter<double>::Cache cache;
    scatter.forward(batch.y, {batch.x, batch.state, batch.reduction}, cache);
    const RecoveryGradient<double> back = scatter.backward(grad, cache, gradients);
    REQUIRE(back.y(0, 0) == (kind == Others::added ? 1.0 : 0.0));
    REQUIRE(back.y(1, 0) == 1.0);
    REQUIRE(back.y(2, 0) == 3.0);
  }
}

TEST_CASE("where nothing moved all rows go to their tokens", "[Scatter]") {
  const Places batch({3}, {3}, {1}, {});  // soft deletion: what hard deletion would keep
  REQUIRE(batch.back({}) == Vector<double>{10, 20, 30});
}

TEST_CASE("scattering rows keeps the laws of recoveries", "[Scatter]") {
  for (const Others kind : others) {
    const auto make = [&]<Real Scalar>() {
      using Kind = typename Scatter<Scalar>::Others;
      return Recovery<Scalar>(Scatter<Scalar>({.others = static_cast<Kind>(kind)}));
    };
    RecoveryLaws laws;
    laws.returns_alone = kind != Others::added;
    if (kind == Others::zero) laws.back_width = 4;
    require_recovery_laws(make, std::as_const(laws));
    require_recovery_laws(
        [&]<Real Scalar>() {
          using Kind = typename Scatter<Scalar>::Others;
          return Recovery<Scalar>(Scatter<Scalar>({.others = static_cast<Kind>(kind), .copies = true}));
        },
        []<Real Scalar>() { return Policy<Scalar>(FirstOfThree{}); }, laws);
  }
}

TEST_CASE("what is scattered is causal where rows are single tokens, and it is made sure that they are", "[Scatter]") {
  REQUIRE_FALSE(Scatter<double>().is_causal());
  REQUIRE(Scatter<double>({.copies = true}).is_causal());
  const Places single({3}, {2}, {0, 2}, {0, -1, 1}), merged({3}, {2}, {0, 2}, {0, 0, 1});
  REQUIRE(single.back({.copies = true}) == Vector<double>{10, 2, 20});
  REQUIRE(argument_error([&] { merged.back({.copies = true}); }) ==
          "Scatter::forward: report.group: got 0, expected rows of one token, as `copies` says");
}

TEST_CASE("rows and gradients that cannot be scattered are named", "[Scatter]") {
  const Places batch({3}, {2}, {0, 2}, {0, -1, 1});
  const Matrix<double> wide = Matrix<double>::Zero(2, 2);
  REQUIRE(argument_error([&] {
            Scatter<double>().forward(wide, {batch.x, batch.state, batch.reduction});
          }) == "Scatter::forward: y.cols(): got 2, expected 1");
  REQUIRE(argument_error([&] {
            Scatter<double>().forward(batch.x, {batch.x, batch.state, batch.reduction});
          }) == "Scatter::forward: y.rows(): got 3, expected 2");
  Scatter<double>::Cache cache;
  Scatter<double> gradients;
  Scatter<double>().forward(batch.y, {batch.x, batch.state, batch.reduction}, cache);
  REQUIRE(argument_error([&] { Scatter<double>().backward(batch.y, cache, gradients); }) ==
          "Scatter::backward: grad.rows(): got 2, expected 3");
  for (const Index place : {-1, 3})
    REQUIRE_THROWS_AS(Places({3}, {2}, {0, place}, {0, -1, 1}).back({}), std::invalid_argument);
  REQUIRE_THROWS_AS(Places({3}, {2}, {0}, {0, -1, 1}).back({}), std::invalid_argument);
}

}  // namespace scatter_test
