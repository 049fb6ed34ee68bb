#include <merganser/merge/policies/density_peaks.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace density_peaks_test {

using namespace merganser;
using namespace merganser::testing;
using merge::DensityPeaks;
using merge::MergePlan;
using merge::Tokens;
using Rest = DensityPeaks::Rest;

using Rows = Vector<Index>;

MergePlan<double> planned(const DensityPeaks& policy, const Matrix<double>& x, std::optional<Index> removals,
                          std::span<const double> sizes = {}) {
  Tokens<double> tokens{x, {}, sizes};
  tokens.removals = removals;
  return policy.plan(tokens);
}

/// Four numbers about 0, three about 10, one at 30.
Matrix<double> crowds() {
  Matrix<double> x(8, 1);
  x << -0.3, 0, 10.2, 30, 0.3, 10, 0.1, 9.9;
  return x;
}

/// The published formulas over a whole matrix of distances.
merge::PeakClusters published(const Matrix<double>& x, Index k, Index clusters, const Vector<double>& noise) {
  const Index n = x.rows();
  Matrix<double> distance(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      distance(i, j) = (x.row(i) - x.row(j)).norm() / std::sqrt(static_cast<double>(x.cols()));
  Vector<double> density, score;
  for (Index i = 0; i < n; ++i) {
    Vector<double> row(distance.row(i).data(), distance.row(i).data() + n);
    std::sort(row.begin(), row.end());
    double sum = 0;
    for (Index j = 0; j < std::min(k, n); ++j) sum += row[j] * row[j];
    density.push_back(std::exp(-sum / static_cast<double>(std::min(k, n))) + noise[i]);
  }
  for (Index i = 0; i < n; ++i) {
    double parent = distance.maxCoeff();
    for (Index j = 0; j < n; ++j)
      if (density[j] > density[i]) parent = std::min(parent, distance(i, j));
    score.push_back(parent * density[i]);
  }
  Rows order(n), of(n);
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(), [&](Index a, Index b) { return score[a] > score[b]; });
  order.resize(clusters);
  for (Index i = 0; i < n; ++i)
    of[i] = std::min_element(order.begin(), order.end(),
                             [&](Index a, Index b) { return distance(i, a) < distance(i, b); }) -
            order.begin();
  for (Index peak = 0; peak < clusters; ++peak) of[order[peak]] = peak;
  return {order, of};
}

TEST_CASE("peaks are the middles of crowds", "[density_peaks]") {
  const merge::PeakClusters found = merge::density_peaks<double>(crowds(), 3, 2);
  Rows peaks = found.peaks;
  std::sort(peaks.begin(), peaks.end());
  REQUIRE(peaks == Rows{5, 6});  // 10 and 0.1
  for (const Index token : {0, 1, 4, 6}) REQUIRE(found.of[token] == found.of[1]);
  for (const Index token : {2, 3, 5, 7}) REQUIRE(found.of[token] == found.of[5]);
}

TEST_CASE("density peaks are those of the published formulas", "[density_peaks]") {
  for (const Index n : {1, 2, 9, 70, 150})
    for (const Index k : {1, 2, 5, 200})
      for (const Index clusters : {Index{1}, (n + 2) / 3, n}) {
        Rng rng(static_cast<std::uint64_t>(n + 10 * k));
        const Matrix<double> x = random_matrix<double>(n, 6, rng);
        Vector<double> noise;
        for (Index i = 0; i < n; ++i) noise.push_back(1e-6 * rng.uniform());
        const merge::PeakClusters found = merge::density_peaks<double>(x, k, clusters, noise),
                                  expected = published(x, k, clusters, noise);
        CAPTURE(n, k, clusters);
        REQUIRE(found.peaks == expected.peaks);
        REQUIRE(found.of == expected.of);
      }
}

TEMPLATE_TEST_CASE("equal tokens have one peak, and the first is it", "[density_peaks]", float, double) {
  Rng rng(4);
  const Matrix<TestType> two = random_matrix<TestType>(2, 37, rng);
  Matrix<TestType> x(130, 37);
  for (Index i = 0; i < x.rows(); ++i) x.row(i) = two.row(i % 2);
  const merge::PeakClusters found = merge::density_peaks<TestType>(x, 4, 3);
  REQUIRE(found.peaks == Rows{0, 1, 2});  // of the third crowd there is nothing: any token has a score of 0
  for (Index i = 3; i < x.rows(); ++i) REQUIRE(found.of[i] == i % 2);
  REQUIRE(merge::density_peaks<TestType>(Matrix<TestType>::Ones(5, 3), 2, 1).of == Rows(5, 0));
}

TEST_CASE("numbers that do not fit density peaks are named", "[density_peaks]") {
  const auto error = [](Index k, Index clusters, const Vector<double>& noise = {}) {
    return argument_error([&] { merge::density_peaks<double>(crowds(), k, clusters, noise); });
  };
  REQUIRE(error(0, 1) == "density_peaks: k: got 0, expected at least 1");
  REQUIRE(error(1, 9) == "density_peaks: clusters: got 9, expected from 0 to the tokens");
  REQUIRE(error(1, -1) == "density_peaks: clusters: got -1, expected from 0 to the tokens");
  REQUIRE(error(1, 1, {0.5}) == "density_peaks: noise.size(): got 1, expected 8");
  REQUIRE(merge::density_peaks<double>(Matrix<double>(0, 2), 1, 0).peaks.empty());
  REQUIRE(merge::density_peaks<double>(crowds(), 1, 0).of == Rows(8, -1));
  const Matrix<double> none = Matrix<double>::Constant(70, 3, std::numeric_limits<double>::quiet_NaN());
  REQUIRE(merge::density_peaks<double>(none, 3, 5).peaks.size() == 5);
}

TEST_CASE("peaks stay, and the others are dropped or join them", "[DensityPeaks]") {
  const Vector<double> sizes = {1, 2, 1, 1, 1, 3, 1, 1};
  const MergePlan<double> kept = planned({.k = 3}, crowds(), 6);
  REQUIRE(kept.representatives() == Rows{5, 6});
  const MergePlan<double> joined = planned({.k = 3, .rest = Rest::joined}, crowds(), 6, sizes);
  REQUIRE(joined.groups() == Rows{0, 0, 1, 1, 0, 1, 0, 1});
  REQUIRE(joined.representatives() == Rows{0, 2});
  REQUIRE(joined.members(0)[1] == merge::Member<double>{1, 0.4});
  REQUIRE(planned({}, crowds(), std::nullopt).output_count() == 8);
  REQUIRE(planned({.budget = {.tokens = 3}}, crowds(), std::nullopt).output_count() == 5);
  for (const Rest rest : {Rest::dropped, Rest::joined})
    for (const Index protected_rows : {0, 2, 8, 10}) {
      const MergePlan<double> plan = planned({.rest = rest, .protected_rows = protected_rows}, crowds(), 7);
      REQUIRE(plan.output_count() == std::clamp<Index>(protected_rows, 1, 8));
      for (Index row = 0; row < std::min<Index>(protected_rows, 8); ++row) REQUIRE(plan.members(row).size() == 1);
    }
  REQUIRE(argument_error([] { planned({.k = 0}, crowds(), 1); }) == "DensityPeaks: k: got 0, expected at least 1");
  REQUIRE(argument_error([] { planned({.protected_rows = -1}, crowds(), 1); }) ==
          "DensityPeaks: protected_rows: got -1, expected at least 0");
}

TEST_CASE("density peaks keep the laws of policies", "[DensityPeaks]") {
  for (const Rest rest : {Rest::dropped, Rest::joined}) {
    PolicyLaws laws;
    laws.copies = rest == Rest::dropped;
    for (const merge::SizeBias size_bias : {merge::SizeBias::none, merge::SizeBias::log_size}) {
      laws.size_bias = size_bias;
      require_policy_laws([=]<Real>() { return DensityPeaks{.budget = {.rate = 0.5}, .k = 3, .rest = rest}; }, laws);
    }
    require_protected_rows(
        [=](Index rows) { return DensityPeaks{.budget = {.rate = 0.5}, .rest = rest, .protected_rows = rows}; });
    require_planner_gradients(DensityPeaks{.budget = {.rate = 0.5}, .rest = rest});
  }
}

}  // namespace density_peaks_test
