#include <merganser/merge/policies/pitome.hpp>

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"

namespace pitome_test {

using namespace merganser;
using namespace merganser::testing;
using merge::MergePlan;
using merge::PiToMe;
using merge::Tokens;
using Energy = PiToMe::Energy;
using Pairing = PiToMe::Pairing;

using Rows = Vector<Index>;

MergePlan<double> planned(const PiToMe& policy, const Matrix<double>& x, Index removals) {
  Tokens<double> tokens{x, {}};
  tokens.removals = removals;
  return policy.plan(tokens);
}

/// Three tokens alike, two others alike, and one like nobody.
Matrix<double> crowd() {
  Matrix<double> x(6, 3);
  x << 1, 0, 0, 0, 1, 0, 1, 0.1, 0, 0, 0, 1, 1, 0.05, 0.05, 0.1, 1, 0;
  return x;
}

TEST_CASE("the energy of a token is the mean of a function of its cosines", "[PiToMe]") {
  const Matrix<double> unit = merge::unit_rows<double>(crowd());
  const PiToMe text{.margin = 0.6}, vision{.margin = 0.6, .alpha = 0.5, .energy = Energy::elu};
  for (Index i = 0; i < 6; ++i) {
    double gauss = 0, elu = 0;
    for (Index j = 0; j < 6; ++j) {
      const double s = unit.row(i).dot(unit.row(j));
      gauss += std::exp(-0.5 * std::pow((1 - s) / 0.4, 2)) / (0.4 * std::sqrt(2 * 3.14159265358979323846));
      elu += s > 0.6 ? s - 0.6 : 0.5 * (std::exp(s - 0.6) - 1);
    }
    REQUIRE_THAT(text.energies(unit)[i], Catch::Matchers::WithinRel(gauss / 6, 1e-12));
    REQUIRE_THAT(vision.energies(unit)[i], Catch::Matchers::WithinRel(elu / 6, 1e-12));
  }
  REQUIRE(text.energies(Matrix<double>(0, 3)).empty());
}

TEST_CASE("tokens like many others merge, and those like few stay", "[PiToMe]") {
  for (const Pairing pairing : {Pairing::halves, Pairing::alternating, Pairing::bipartite}) {
    const MergePlan<double> plan = planned({.margin = 0.9, .pairing = pairing}, crowd(), 1);
    REQUIRE(plan.output_count() == 5);
    const Rows groups = plan.groups();
    REQUIRE(std::count(groups.begin(), groups.end(), groups[3]) == 1);  // like nobody
    Index merged = 0;
    for (const Index token : {0, 2, 4}) merged += std::count(groups.begin(), groups.end(), groups[token]) > 1;
    REQUIRE(merged == 2);
  }
  REQUIRE(planned({}, crowd(), 5).output_count() == 3);  // half at most
  const MergePlan<double> dropped = planned({.margin = 0.9, .sources = PiToMe::Sources::dropped}, crowd(), 1);
  REQUIRE(dropped.output_count() == 5);
  for (Index row = 0; row < 5; ++row) REQUIRE(dropped.members(row).size() == 1);
}

TEST_CASE("protected tokens have no part in it", "[PiToMe]") {
  const MergePlan<double> plan = planned({.protected_rows = 2}, Matrix<double>::Ones(7, 2), 5);
  REQUIRE(plan.output_count() == 5);
  REQUIRE(plan.members(0).size() == 1);
  REQUIRE(plan.members(1).size() == 1);
  const auto error = [](const PiToMe& policy) {
    return error_text<std::invalid_argument>([&] { planned(policy, Matrix<double>::Ones(3, 2), 1); });
  };
  REQUIRE(error({.margin = 1}) == "PiToMe: margin: got 1, expected below 1");
  REQUIRE(error({.protected_rows = -2}) == "PiToMe: protected_rows: got -2, expected at least 0");
}

TEST_CASE("protective merging keeps the laws of policies", "[PiToMe]") {
  for (const Pairing pairing : {Pairing::halves, Pairing::alternating, Pairing::bipartite})
    for (const Energy energy : {Energy::gaussian, Energy::elu}) {
      PolicyLaws laws;
      laws.at_most_half = true;
      require_policy_laws([=]<Real>() { return PiToMe{.budget = {.rate = 0.4}, .energy = energy, .pairing = pairing}; },
                          laws);
    }
  for (const Pairing pairing : {Pairing::halves, Pairing::alternating, Pairing::bipartite})
    require_protected_rows(
        [=](Index rows) { return PiToMe{.budget = {.rate = 0.4}, .pairing = pairing, .protected_rows = rows}; });
  require_planner_gradients(PiToMe{.budget = {.rate = 0.4}});
}

}  // namespace pitome_test
