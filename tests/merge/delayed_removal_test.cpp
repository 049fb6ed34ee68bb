// Rows that a gate marked leave later: what goes, what stays, and that gate and removal together are the gate at once.
#include <merganser/merge/delayed_removal.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

#include <merganser/merge/gated_deletion.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policy.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace delayed_removal_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;
using Flags = Vector<std::uint8_t>;
using Values = Vector<double>;
using Remover = RemoveDeleted<double>;

const DeletionOptions soft = DeletionOptions::with_mode(DeletionMode::soft);
const DeletionOptions hard = DeletionOptions::with_mode(DeletionMode::hard);

static_assert(PolicyLayer<Remover, double> && AnyPolicy<RemoveDeleted<float>, float>);
static_assert(Remover::traits.is_causal && !Remover::traits.has_budget && !Remover::traits.is_gate);

/// Sequences of 4, 0 and 3 tokens, of which a gate deleted 1 and 2, 4 and 6.
PolicyBatch<double> marked() {
  PolicyBatch<double> batch({4, 0, 3}, 3);
  batch.state.key_bias = {-1, -20, -29, -3, -28, -4, -16};
  batch.state.deleted = {0, 1, 1, 0, 1, 0, 1};
  batch.state.sizes = {1, 2, 3, 4, 5, 6, 7};
  return batch;
}

/// What stands first in a token.
struct FirstColumn {
  template <Real Scalar>
  GateValues<Scalar> forward(const GateInput<Scalar>& input) const {
    GateValues<Scalar> said;
    for (Index t = 0; t < input.x.rows(); ++t) said.values.push_back(input.x(t, 0));
    return said;
  }
  double default_threshold() const { return 0; }
};

/// A gate and the removal behind it as one layer.
template <Real Scalar, Gate<Scalar> G>
struct Pair {
  using ScalarType = Scalar;
  using Gradients = Pair;
  using Gated = GatedDeletion<Scalar, G>;

  static constexpr PolicyTraits traits{.has_budget = true};

  struct Cache {
    typename Gated::Cache gate;
    typename RemoveDeleted<Scalar>::Cache removal;
  };

  Gated gate;
  RemoveDeleted<Scalar> removal = {};

  explicit Pair(G inner) : gate(std::move(inner), {.removal = Removal::delayed}) {}

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    const auto between = gate.forward(std::move(x), context);
    return said(removal.forward(between.x, {between.state, context.options}), between);
  }
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    const auto between = gate.forward(std::move(x), context, rng, cache.gate);
    return said(removal.forward(between.x, {between.state, context.options}, rng, cache.removal), between);
  }
  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients& gradients) const {
    ReportGradient<Scalar> of_gate = std::move(grad.report);
    grad.report = {};
    auto between = removal.backward(std::move(grad), cache.removal, gradients.removal);
    return gate.backward({std::move(between.x), std::move(between.key_bias), std::move(of_gate)}, cache.gate,
                         gradients.gate);
  }
  template <class Visitor>
  void visit(Visitor&& visitor, const ParameterName& prefix) {
    gate.visit(visitor, prefix);
  }

 private:
  static Reduction<Scalar> said(Reduction<Scalar> after, const Reduction<Scalar>& between) {
    REQUIRE(between.state.deleted.size() == between.state.total());
    after.report.scores = between.report.scores;
    after.report.logits = between.report.logits;
    after.report.auxiliaries = between.report.auxiliaries;
    return after;
  }
};

DeleteGate<double> learned() {
  DeleteGate<double>::Config config;
  config.width = 4;
  config.initial_bias = 0;
  DeleteGate<double> gate(config);
  Rng rng(5);
  randomise(gate, rng);
  return gate;
}

TEST_CASE("what is marked as deleted leaves, and the rest keeps all that is known of it", "[RemoveDeleted]") {
  const PolicyBatch<double> batch = marked();
  const auto after = Remover().forward(batch.x, batch.context(hard));
  const Rows kept = {0, 3, 5};
  REQUIRE(after.x.rows() == 3);
  for (Index row = 0; row < 3; ++row)
    REQUIRE(identical(Matrix<double>(after.x.row(row)), Matrix<double>(batch.x.row(kept[row]))));
  REQUIRE(after.state.offsets == SequenceOffsets::from_lengths(Rows{2, 0, 1}));
  REQUIRE(after.state.origin == kept);
  REQUIRE(after.state.key_bias == Values{-1, -3, -4});
  REQUIRE(after.state.sizes == Values{1, 4, 6});
  REQUIRE(after.state.deleted.empty());
  REQUIRE(after.report.kept == kept);
  REQUIRE(after.report.group == Rows{0, -1, -1, 1, -1, 2, -1});
  REQUIRE_FALSE(after.report.is_gate);
  REQUIRE((after.report.scores.empty() && after.report.auxiliaries.empty()));
  REQUIRE(after.report.deletion().tokens == Rows{4, 0, 3});
  REQUIRE(after.report.deletion().kept == Rows{2, 0, 1});
}

TEST_CASE("softly, or without marks, nothing leaves", "[RemoveDeleted]") {
  PolicyBatch<double> batch = marked();
  batch.state.forced = {0, 0, 1, 0, 0, 0, 0};
  const auto unmoved = [&](const DeletionOptions& options) {
    const auto after = Remover().forward(batch.x, batch.context(options));
    REQUIRE(identical(after.x, batch.x));
    REQUIRE(after.state.offsets == batch.state.offsets);
    REQUIRE(after.state.key_bias == batch.state.key_bias);
    REQUIRE(after.state.deleted == batch.state.deleted);
    REQUIRE(after.state.forced == batch.state.forced);
    REQUIRE(after.report.group.empty());
    return after.report.kept;
  };
  REQUIRE(unmoved(soft) == Rows{0, 3, 5});  // those that hard deletion would keep
  batch.state.deleted.clear();
  REQUIRE(unmoved(hard) == Rows{0, 1, 2, 3, 4, 5, 6});
  REQUIRE(unmoved(soft) == Rows{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("where everything is marked, the row of largest key bias stays", "[RemoveDeleted]") {
  PolicyBatch<double> batch = marked();
  batch.state.deleted.assign(7, 1);
  const auto kept = [&] { return Remover().forward(batch.x, batch.context(hard)).report.kept; };
  REQUIRE(kept() == Rows{0, 5});
  batch.state.forced = {1, 0, 0, 0, 1, 1, 1};
  REQUIRE(kept() == Rows{3});  // of pads nothing stays
  batch.state.forced.clear();
  batch.state.hidden = {1, 0, 0, 0, 1, 1, 1};
  REQUIRE(kept() == Rows{3, 5});  // what nobody looks at only where there is nothing else
  batch.state.hidden.clear();
  batch.state.key_bias.clear();
  REQUIRE(kept() == Rows{0, 4});
  batch.state.deleted.assign(6, 1);
  REQUIRE(argument_error(kept) == "RemoveDeleted::forward: deleted.size(): got 6, expected 7");
}

TEST_CASE("gradients reach the rows that stayed", "[RemoveDeleted]") {
  const PolicyBatch<double> batch = marked();
  Remover::Cache cache;
  Remover gradients;
  Rng rng(1);
  for (const bool again : {false, true}) {
    CAPTURE(again);
    REQUIRE(Remover().forward(batch.x, batch.context(hard), rng, cache).x.rows() == 3);
    const auto probe = random_matrix<double>(3, 3, rng);
    const auto grad = Remover().backward({probe, {1, 2, 3}, {}}, cache, gradients);
    Matrix<double> expected = Matrix<double>::Zero(7, 3);
    expected.row(0) = probe.row(0);
    expected.row(3) = probe.row(1);
    expected.row(5) = probe.row(2);
    REQUIRE(identical(grad.x, expected));
    REQUIRE(grad.key_bias == Values{1, 0, 0, 2, 0, 3, 0});
    REQUIRE(Remover().backward({probe, {}, {}}, cache, gradients).key_bias.empty());
    REQUIRE(Remover().forward(batch.x, batch.context(soft), rng, cache).x.rows() == 7);
    const Values all(7, 2.0);
    REQUIRE(Remover().backward({batch.x, all, {}}, cache, gradients).key_bias == all);
    REQUIRE(identical(Remover().backward({batch.x, all, {}}, cache, gradients).x, batch.x));
  }
}

TEST_CASE("a gate and the removal right behind it are the gate that removes at once", "[RemoveDeleted]") {
  DeletionOptions rated = hard, strict = hard, dropping = hard;
  rated.target_rate = 0.4;
  strict.threshold = 0.5;
  dropping.survivor_bias = SurvivorBias::dropped;
  for (const DeletionOptions& options : {hard, rated, strict, dropping})
    for (const bool aged : {false, true}) {
      PolicyBatch<double> batch({7, 0, 1, 9, 4}, 4);
      if (aged) batch.age();
      batch.state.forced.assign(21, 0);
      batch.state.forced[2] = batch.state.forced[20] = 1;
      batch.x(11, 0) = std::nan("");
      CAPTURE(options.target_rate.value_or(-1), options.threshold.value_or(-1), aged);
      const auto pair = Pair<double, FirstColumn>(FirstColumn{}).forward(batch.x, batch.context(options));
      const auto at_once = GatedDeletion<double, FirstColumn>(FirstColumn{}).forward(batch.x, batch.context(options));
      REQUIRE(identical(pair.x, at_once.x));
      REQUIRE(pair.state.offsets == at_once.state.offsets);
      REQUIRE(pair.state.positions == at_once.state.positions);
      REQUIRE(pair.state.origin == at_once.state.origin);
      REQUIRE(pair.state.sizes == at_once.state.sizes);
      REQUIRE(pair.state.forced == at_once.state.forced);
      REQUIRE(pair.state.deleted == at_once.state.deleted);
      REQUIRE(pair.report.kept == at_once.report.kept);
      REQUIRE(pair.report.group == at_once.report.group);
      const bool no_bias = options.survivor_bias == SurvivorBias::dropped && !aged;
      REQUIRE(pair.state.key_bias == (no_bias ? Values(pair.state.total(), 0.0) : at_once.state.key_bias));
    }
}

TEST_CASE("the gradients of a gate and its removal agree with finite differences", "[RemoveDeleted]") {
  DeletionOptions dropping = hard, rated = hard;
  dropping.survivor_bias = SurvivorBias::dropped;
  rated.target_rate = 0.5;
  using Layer = Pair<double, DeleteGate<double>>;
  for (const DeletionOptions& options : {soft, hard, dropping, rated}) {
    PolicyBatch<double> batch({7, 0, 5}, 4);
    batch.state.forced = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    Rng rng(8);
    batch.state.key_bias = random_values<double>(12, rng);
    Layer policy(learned());
    const auto run = [&](Layer::Cache& cache) {
      Rng noise(3);
      return policy.forward(batch.x, batch.context(options), noise, cache);
    };
    Layer::Cache cache;
    const auto after = run(cache);
    REQUIRE((after.state.total() < 10) == (options.mode == DeletionMode::hard));
    const auto probe = random_matrix<double>(after.state.total(), 4, rng);
    const auto bias_probe = random_values<double>(after.state.key_bias.size(), rng);
    auto gradients = zeros_like(policy);
    auto grad = policy.backward({probe, bias_probe, {{}, {3.5}}}, cache, gradients);
    auto parameters = parameter_views(policy), analytic = parameter_views(gradients);
    parameters.push_back(tensor_view("x", batch.x));
    analytic.push_back(tensor_view("x", grad.x));
    parameters.push_back({"key_bias", batch.state.key_bias.data(), 1, 12, true});
    analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
    CAPTURE(static_cast<int>(options.mode), static_cast<int>(options.survivor_bias));
    require_gradients(
        [&] {
          Layer::Cache other;
          const auto moved = run(other);
          double loss = probe_sum(probe, moved.x) + 3.5 * moved.report.auxiliaries[0].value;
          for (Index i = 0; i < bias_probe.size(); ++i) loss += bias_probe[i] * moved.state.key_bias[i];
          return loss;
        },
        parameters, analytic);
  }
}

TEST_CASE("a gate and its removal keep the laws of policies", "[RemoveDeleted]") {
  PolicyLaws laws;
  laws.copies = true;
  const auto make = []<Real Scalar>() { return Policy<Scalar>(Pair<Scalar, FirstColumn>(FirstColumn{})); };
  require_policy_laws(make, laws);
  laws.options.target_rate = 0.4;
  require_policy_laws(make, laws);
  laws.options.survivor_bias = SurvivorBias::dropped;
  require_policy_laws(make, laws);
}

}  // namespace delayed_removal_test
