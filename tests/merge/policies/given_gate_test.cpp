#include <merganser/merge/policies/given_gate.hpp>

#include <cstdint>

#include <merganser/merge/gated_deletion.hpp>

#include "support/catch.hpp"
#include "support/policy_laws.hpp"

namespace given_gate_test {

using namespace merganser;
using namespace merganser::testing;
using merge::DeletionMode;
using merge::DeletionOptions;
using merge::GivenGate;

TEST_CASE("a mask of what stays becomes gate values", "[GivenGate]") {
  const Vector<std::uint8_t> keep = {1, 0, 1};
  REQUIRE(merge::keep_mask_values(keep) == Vector<double>{0, -30, 0});
  REQUIRE(merge::keep_mask_values(keep, -2) == Vector<double>{0, -2, 0});
  REQUIRE(merge::keep_mask_values({}).empty());
}

TEST_CASE("a given gate keeps all tokens but pads where nothing is given", "[GivenGate]") {
  const PolicyBatch<double> batch({3, 0, 2}, 4);
  const DeletionOptions options;
  const merge::Policy<double> policy(GivenGate{});
  REQUIRE(identical(policy.forward(batch.x, batch.context(options)).x, batch.x));
  Vector<Index> rows;
  const PolicyBatch<double> padded = batch.padded(rows);
  REQUIRE(identical(policy.forward(padded.x, padded.context(options)).x, batch.x));
}

TEST_CASE("a given gate deletes what it is told, a token's rate and threshold as of any gate", "[GivenGate]") {
  PolicyBatch<float> batch({3, 0, 2}, 4);
  const Vector<double> values = {-30, 0, -1, -20, -14};
  DeletionOptions options;
  options.gate_values = values;
  const merge::Policy<float> policy(GivenGate{});
  const auto kept = [&] { return policy.forward(batch.x, batch.context(options)).report.kept; };
  REQUIRE(kept() == Vector<Index>{1, 2, 4});
  options.threshold = -0.5;
  REQUIRE(kept() == Vector<Index>{1, 4});  // one token of a sequence stays
  options.threshold = {};
  Vector<Index> removals = {2, 0, 1};
  merge::PolicyContext<float> context = batch.context(options);
  context.removals = removals;
  options.target_rate = 0.6;
  REQUIRE(policy.forward(batch.x, context).report.kept == Vector<Index>{1, 4});
  options.target_rate = {};
  options.mode = DeletionMode::soft;
  const merge::Reduction<float> soft = policy.forward(batch.x, batch.context(options));
  REQUIRE(soft.state.key_bias == Vector<float>{-30, 0, -1, -20, -14});
  REQUIRE(soft.report.scores == Vector<float>{-30, 0, -1, -20, -14});
}

TEST_CASE("a given gate goes by the tokens that are left", "[GivenGate]") {
  PolicyBatch<float> batch({2}, 4);
  batch.state.origin = {1, 3};  // of four
  const Vector<double> values = {-30, -2, -30, -3};
  DeletionOptions options;
  options.gate_values = values;
  const merge::Policy<float> policy(GivenGate{});
  REQUIRE(policy.forward(batch.x, batch.context(options)).report.scores == Vector<float>{-2, -3});
  batch.state.origin = {1, 4};
  REQUIRE_THROWS_AS(policy.forward(batch.x, batch.context(options)), std::invalid_argument);
}

TEST_CASE("a given gate is a policy like any other", "[GivenGate]") {
  Vector<double> values;
  Rng rng(3);
  for (Index t = 0; t < 200; ++t) values.push_back(-30 * rng.uniform());
  PolicyLaws laws;
  laws.options.gate_values = values;
  laws.copies = true;
  require_policy_laws([]<Real Scalar>() { return merge::Policy<Scalar>(GivenGate{}); }, laws);
}

}  // namespace given_gate_test
