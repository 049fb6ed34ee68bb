// What is a policy layer, and what its report says.
#include <merganser/merge/policy_layer.hpp>

#include <utility>

#include <merganser/merge/gated_deletion.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/boundary_pooling.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>

#include "support/catch.hpp"

namespace policy_layer_test {

using namespace merganser;
using namespace merganser::merge;

using Rows = Vector<Index>;
using Flags = Vector<std::uint8_t>;

static_assert(PolicyLayer<BoundaryPooling<float>, float> && PolicyLayer<StridedPooling<double>, double>);
static_assert(!PolicyLayer<StridedPooling<double>, float>, "a layer of other numbers is none");
static_assert(PolicyLayer<GatedDeletion<float, DeleteGate<float>>, float>);
static_assert(PolicyLayer<GatedDeletion<double, RandomGate>, double>);
static_assert(!PolicyLayer<DeleteGate<float>, float> && !PolicyLayer<RandomGate, float>, "gates must be lifted");
static_assert(!PolicyLayer<int, float>);

/// The least that is a policy layer.
struct Nothing {
  struct Cache {};
  Reduction<float> forward(Matrix<float> x, const PolicyContext<float>& context) const {
    return {std::move(x), context.state, {}};
  }
  Reduction<float> forward(Matrix<float> x, const PolicyContext<float>& context, Rng&, Cache&) const {
    return forward(std::move(x), context);
  }
  TokenGradient<float> backward(ReductionGradient<float> grad, const Cache&, Nothing&) const {
    return {std::move(grad.x), std::move(grad.key_bias)};
  }
};
static_assert(PolicyLayer<Nothing, float>);

struct WithoutTraining {
  struct Cache {};
  Reduction<float> forward(Matrix<float> x, const PolicyContext<float>& context) const {
    return {std::move(x), context.state, {}};
  }
};
static_assert(!PolicyLayer<WithoutTraining, float>);

TEST_CASE("a report counts what its policy alone removed, without pads", "[PolicyReport]") {
  PolicyReport<float> report;
  report.offsets = SequenceOffsets::from_lengths(Rows{4, 0, 3, 2});
  report.kept = {1, 3, 6, 7};
  report.forced = {0, 0, 0, 0, /**/ 1, 0, 0, /**/ 1, 1};
  const DeletionStatistics deletion = report.deletion();
  REQUIRE(deletion.tokens == Rows{4, 0, 2, 0});
  REQUIRE(deletion.kept == Rows{2, 0, 1, 0});  // a pad is no survivor even if a policy kept it
  REQUIRE(deletion.deletion_rate() == 0.5);
  report.forced.clear();
  REQUIRE(report.deletion().tokens == Rows{4, 0, 3, 2});
  REQUIRE(report.deletion().kept == Rows{2, 0, 1, 1});
  REQUIRE(PolicyReport<float>().deletion().deletion_rate() == 0.0);
}

TEST_CASE("a report of a merge says who went where", "[PolicyReport]") {
  auto before = TokenState<double>::start(SequenceOffsets::from_lengths(Rows{4, 2}), {0, 1, 2, 3, 0, 1});
  before.forced = {0, 0, 1, 0, 0, 0};
  MergePlan<double> plan(4);
  plan.open(1);
  plan.add(0);
  plan.add(1);
  plan.keep(3);
  const Compaction<double> compaction({plan, MergePlan<double>::keeping(Rows{1}, 2)}, before.offsets);
  const auto report = PolicyReport<double>::of_merge(before, compaction);
  REQUIRE(report.offsets == before.offsets);
  REQUIRE(report.kept == Rows{1, 3, 5});
  REQUIRE(report.group == Rows{0, 0, -1, 1, -1, 2});
  REQUIRE(report.forced == Flags{0, 0, 1, 0, 0, 0});
  REQUIRE_FALSE(report.is_gate);
  REQUIRE(report.scores.empty());
  REQUIRE(report.logits.empty());
  REQUIRE(report.auxiliaries.empty());
  REQUIRE(report.deletion().tokens == Rows{3, 2});
  REQUIRE(report.deletion().kept == Rows{2, 1});
}

TEST_CASE("an auxiliary is a mean over tokens that nobody steers, unless it says so", "[Auxiliary]") {
  const Auxiliary auxiliary{"own", 2.0};
  REQUIRE_FALSE(auxiliary.steered);
  REQUIRE(auxiliary.over == MeanOver::tokens);
}

}  // namespace policy_layer_test
