// A gate as a policy: soft and hard deletion, thresholds, rates, reports, and gradients through all of them.
#include <merganser/merge/gated_deletion.hpp>

#include <cmath>
#include <cstdint>
#include <string>

#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/delete_gate.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace gated_deletion_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;
using Flags = Vector<std::uint8_t>;
using Values = Vector<double>;

const DeletionOptions soft = DeletionOptions::with_mode(DeletionMode::soft);
const DeletionOptions hard = DeletionOptions::with_mode(DeletionMode::hard);

/// A gate of a user's own: what stands first in a token.
struct FirstColumn {
  GateValues<double> forward(const GateInput<double>& input) const {
    GateValues<double> said;
    for (Index t = 0; t < input.x.rows(); ++t) said.values.push_back(input.forced[t] ? -30 : input.x(t, 0));
    return said;
  }
  double default_threshold() const { return -15; }
};
static_assert(GatedDeletion<double, FirstColumn>::traits.is_gate);
static_assert(GatedDeletion<double, FirstColumn>::traits.has_budget);
static_assert(GatedDeletion<double, FirstColumn>::traits.is_training_free);
static_assert(!GatedDeletion<double, DeleteGate<double>>::traits.is_training_free, "what the gate says of itself");
static_assert(GatedDeletion<double, DeleteGate<double>>::traits.is_causal);

/// Sequences of 4, 0 and 3 tokens, of which by their first columns 0, 2, 3 and 5 stay.
PolicyBatch<double> batch_of(const Values& first = {-1, -20, -2, -3, -29, -4, -16}) {
  PolicyBatch<double> batch({4, 0, 3}, 3);
  for (Index t = 0; t < 7; ++t) batch.x(t, 0) = first[t];
  return batch;
}

const Values values = {-1, -20, -2, -3, -29, -4, -16};
const GatedDeletion<double, FirstColumn> own(FirstColumn{});

/// The same for numbers of any type.
struct AnyFirstColumn {
  template <Real Scalar>
  GateValues<Scalar> forward(const GateInput<Scalar>& input) const {
    GateValues<Scalar> said;
    for (Index t = 0; t < input.x.rows(); ++t) said.values.push_back(input.x(t, 0));
    return said;
  }
  double default_threshold() const { return 0; }
};

template <class Value>
Vector<Value> at(const Vector<Value>& list, const Rows& rows) {
  Vector<Value> result;
  for (const Index row : rows) result.push_back(list[row]);
  return result;
}

template <Real Scalar = double>
DeleteGate<Scalar> learned(GateNoise noise = GateNoise::none) {
  typename DeleteGate<Scalar>::Config config;
  config.width = 4;
  config.noise = noise;
  config.initial_bias = 0;
  DeleteGate<Scalar> gate(config);
  Rng rng(5);
  randomise(gate, rng);
  return gate;
}

ParameterView<double> view(const char* name, Values& list) { return {name, list.data(), 1, list.size(), true}; }

TEST_CASE("soft deletion adds gate values to key biases and moves nothing", "[GatedDeletion]") {
  PolicyBatch<double> batch = batch_of();
  batch.state.key_bias = {1, 1, 1, 1, 1, 1, 2};
  batch.state.forced = {0, 0, 1, 0, 0, 0, 0};
  const auto after = own.forward(batch.x, batch.context(soft));
  REQUIRE(identical(after.x, batch.x));
  REQUIRE(after.state.offsets == batch.state.offsets);
  REQUIRE(after.state.key_bias == Values{0, -19, -29, -2, -28, -3, -14});
  REQUIRE(after.state.deleted == Flags{0, 1, 1, 0, 1, 0, 1});
  REQUIRE(after.state.hidden == Flags{0, 0, 1, 0, 0, 0, 0});
  REQUIRE(after.state.sizes.empty());
  REQUIRE(after.report.kept == Rows{0, 3, 5});  // those that hard deletion would keep
  REQUIRE(after.report.group.empty());
  REQUIRE(after.report.deletion().tokens == Rows{3, 0, 3});
  REQUIRE(after.report.deletion().kept == Rows{2, 0, 1});
}

TEST_CASE("hard deletion removes what is not above the threshold", "[GatedDeletion]") {
  PolicyBatch<double> batch = batch_of();
  batch.state.sizes = {1, 2, 3, 4, 5, 6, 7};
  const auto after = own.forward(batch.x, batch.context(hard));
  const Rows kept = {0, 2, 3, 5};
  REQUIRE(after.x.rows() == 4);
  for (Index row = 0; row < 4; ++row) REQUIRE((after.x.row(row).array() == batch.x.row(kept[row]).array()).all());
  REQUIRE(after.state.offsets == SequenceOffsets::from_lengths(Rows{3, 0, 1}));
  REQUIRE(after.state.origin == kept);
  REQUIRE(after.state.positions == at(batch.state.positions, kept));
  REQUIRE(after.state.sizes == Values{1, 3, 4, 6});
  REQUIRE(after.state.key_bias == at(values, kept));
  REQUIRE(after.state.deleted.empty());
  REQUIRE(after.report.kept == kept);
  REQUIRE(after.report.group == Rows{0, -1, 1, 2, -1, 3, -1});
}

TEST_CASE("the threshold is the call's, else the settings', else the gate's", "[GatedDeletion]") {
  const PolicyBatch<double> batch = batch_of();
  const GatedDeletion<double, FirstColumn> strict(FirstColumn{}, {.threshold = -2.5});
  REQUIRE(own.threshold() == -15);
  REQUIRE(strict.threshold() == -2.5);
  REQUIRE(own.forward(batch.x, batch.context(hard)).report.threshold == -15);
  const auto by_settings = strict.forward(batch.x, batch.context(hard)).report;
  REQUIRE(by_settings.threshold == -2.5);
  REQUIRE(by_settings.kept == Rows{0, 2, 5});  // the last sequence keeps its highest
  DeletionOptions call = hard;
  call.threshold = -25;
  const auto by_call = strict.forward(batch.x, batch.context(call)).report;
  REQUIRE(by_call.threshold == -25);
  REQUIRE(by_call.kept == Rows{0, 1, 2, 3, 5, 6});
  REQUIRE(argument_error([] { GatedDeletion<double, FirstColumn>(FirstColumn{}, {.threshold = std::nan("")}); }) ==
          "GatedDeletion: threshold: got nan, expected a gate value, no NaN");
}

TEST_CASE("a call says how many tokens go, of each sequence or as a share", "[GatedDeletion]") {
  const PolicyBatch<double> batch = batch_of();
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard}) {
    DeletionOptions options = DeletionOptions::with_mode(mode);
    options.target_rate = 0.5;
    PolicyContext<double> context = batch.context(options);
    REQUIRE(own.forward(batch.x, context).report.kept == Rows{0, 2, 5});  // 1.5 of three round up
    const Rows removals = {3, 0, 1};
    context.removals = removals;
    REQUIRE(own.forward(batch.x, context).report.kept == Rows{0, 5, 6});
    Rng rng(1);
    GatedDeletion<double, FirstColumn>::Cache cache;
    REQUIRE(own.forward(batch.x, context, rng, cache).report.kept == Rows{0, 5, 6});
  }
}

TEST_CASE("survivors of a gate keep its values as key bias or lose them", "[GatedDeletion]") {
  PolicyBatch<double> batch = batch_of();
  DeletionOptions dropping = hard;
  dropping.survivor_bias = SurvivorBias::dropped;
  const Rows kept = {0, 2, 3, 5};
  REQUIRE(own.forward(batch.x, batch.context(hard)).state.key_bias == at(values, kept));
  REQUIRE(own.forward(batch.x, batch.context(dropping)).state.key_bias.empty());
  batch.state.key_bias = {1, 2, 3, 4, 5, 6, 7};
  REQUIRE(own.forward(batch.x, batch.context(hard)).state.key_bias == Values{0, 1, 1, 2});
  REQUIRE(own.forward(batch.x, batch.context(dropping)).state.key_bias == Values{1, 3, 4, 6});
}

TEST_CASE("a gate whose rows leave later does to them what soft deletion does", "[GatedDeletion]") {
  const GatedDeletion<double, FirstColumn> later(FirstColumn{}, {.removal = Removal::delayed});
  PolicyBatch<double> batch = batch_of();
  batch.state.key_bias = {1, 1, 1, 1, 1, 1, 2};
  batch.state.forced = {0, 0, 1, 0, 0, 0, 0};
  DeletionOptions rated = hard, dropping = hard;
  rated.target_rate = 0.5;
  dropping.survivor_bias = SurvivorBias::dropped;
  for (const DeletionOptions& options : {hard, rated}) {
    DeletionOptions softly = options;
    softly.mode = DeletionMode::soft;
    const auto after = later.forward(batch.x, batch.context(options)),
               weak = own.forward(batch.x, batch.context(softly));
    REQUIRE(identical(after.x, batch.x));
    REQUIRE(after.state.key_bias == weak.state.key_bias);
    REQUIRE(after.state.deleted == weak.state.deleted);
    REQUIRE(after.state.hidden == weak.state.hidden);
    REQUIRE(after.report.scores == weak.report.scores);
    REQUIRE(after.report.kept == Rows{0, 1, 2, 3, 4, 5, 6});  // all go on
    REQUIRE(after.report.group.empty());
    REQUIRE(after.report.deletion().deleted() == 0);
    REQUIRE(later.forward(batch.x, batch.context(softly)).report.kept == weak.report.kept);
  }
  // Survivors that lose their gate values lose them here; what goes has its until it goes.
  REQUIRE(later.forward(batch.x, batch.context(dropping)).state.key_bias == Values{1, -19, -29, 1, -28, 1, -14});
}

TEST_CASE("a report says what the gate said", "[GatedDeletion]") {
  PolicyBatch<double> batch = batch_of();
  batch.state.forced = {0, 1, 0, 0, 0, 0, 0};
  const auto report = own.forward(batch.x, batch.context(hard)).report;
  REQUIRE(report.is_gate);
  REQUIRE(report.offsets == batch.state.offsets);
  REQUIRE(report.scores == Values{-1, -30, -2, -3, -29, -4, -16});
  REQUIRE(report.logits == report.scores);  // a gate without logits of its own
  REQUIRE(report.forced == batch.state.forced);
  REQUIRE(report.auxiliaries.size() == 1);
  REQUIRE(report.auxiliaries[0].name == "gate");
  REQUIRE(report.auxiliaries[0].steered);
  REQUIRE(report.auxiliaries[0].over == MeanOver::tokens);
  REQUIRE_THAT(report.auxiliaries[0].value, Catch::Matchers::WithinAbs(-55.0 / 6, 1e-14));  // without the pad

  PolicyBatch<double> wide({4, 3}, 4);
  wide.state.forced = {0, 1, 0, 0, 0, 0, 1};
  const DeleteGate<double> gate = learned();
  for (const auto kind : {GateRegulariser::mean_gate, GateRegulariser::clamped_logits, GateRegulariser::logits,
                          GateRegulariser::variance}) {
    const GatedDeletion<double, DeleteGate<double>> policy(gate, {.threshold = -1.0, .regulariser = kind});
    const auto said = gate.forward({wide.x, wide.state.forced});
    const auto of_learned = policy.forward(wide.x, wide.context(soft)).report;
    REQUIRE(of_learned.scores == said.values);
    REQUIRE(of_learned.logits == said.logits);
    REQUIRE(of_learned.auxiliaries[0].value ==
            regularise<double>(kind, said.values, said.logits, wide.state.forced, -1.0).value);
  }
}

TEST_CASE("a gate is shown marks, ids, sequences and the generator of the call", "[GatedDeletion]") {
  struct Curious {
    GateValues<double> forward(const GateInput<double>& input) const {
      REQUIRE(input.x.cols() == 3);
      REQUIRE(Flags(input.forced.list().begin(), input.forced.list().end()) == Flags{0, 0, 0, 1, 0, 0, 0});
      REQUIRE(Vector<TokenId>(input.ids.begin(), input.ids.end()) == Vector<TokenId>{4, 5, 6, 7, 8, 9, 10});
      REQUIRE(input.offsets == SequenceOffsets::from_lengths(Rows{4, 0, 3}));
      GateValues<double> said;
      for (Index t = 0; t < 7; ++t) said.values.push_back(input.rng == nullptr ? 0.0 : input.rng->uniform());
      return said;
    }
    double default_threshold() const { return -15; }
  };
  const GatedDeletion<double, Curious> policy(Curious{});
  PolicyBatch<double> batch = batch_of();
  batch.ids = {4, 5, 6, 7, 8, 9, 10};
  batch.state.forced = {0, 0, 0, 1, 0, 0, 0};
  GatedDeletion<double, Curious>::Cache cache;
  Rng call(1), training(1);
  REQUIRE(policy.forward(batch.x, batch.context(soft)).report.scores == Values(7, 0.0));
  const auto drawn = policy.forward(batch.x, batch.context(soft, &call)).report.scores;
  REQUIRE(drawn != Values(7, 0.0));
  REQUIRE(policy.forward(batch.x, batch.context(soft), training, cache).report.scores == drawn);
}

TEMPLATE_TEST_CASE("a random gate draws from the generator of the call, in training from that of training",
                   "[GatedDeletion]", float, double) {
  const PolicyBatch<TestType> batch({40, 20}, 3);
  const GatedDeletion<TestType, RandomGate> policy(RandomGate{0.5, -30.0});
  typename GatedDeletion<TestType, RandomGate>::Cache cache;
  Rng first(7), second(7), direct(7);
  const auto drawn = policy.forward(batch.x, batch.context(hard, &first)).report.scores;
  REQUIRE(drawn == RandomGate{0.5, -30.0}.forward(GateInput<TestType>{.x = batch.x, .rng = &direct}).values);
  REQUIRE(policy.forward(batch.x, batch.context(hard), second, cache).report.scores == drawn);
  REQUIRE(first.state() == second.state());
  REQUIRE(argument_error([&] { policy.forward(batch.x, batch.context(hard)); }) ==
          "RandomGate: rng: got none, expected a generator");
}

TEST_CASE("only a gate that learns has parameters", "[GatedDeletion]") {
  GatedDeletion<double, DeleteGate<double>> learns(learned());
  const auto views = parameter_views(learns, "encoder.block.1.");
  REQUIRE(views.size() == 3);
  REQUIRE(views[0].name == "encoder.block.1.delete_gate.layer_norm.weight");
  REQUIRE(views[1].name == "encoder.block.1.delete_gate.feed_forward.weight");
  Rng rng(1);
  const Matrix<double> before = learns.gate.weight;
  learns.initialize(1.0, rng);
  REQUIRE_FALSE(identical(before, learns.gate.weight));
  GatedDeletion<double, RandomGate> random(RandomGate{});
  GatedDeletion<double, FirstColumn> users = own;
  const auto state = rng.state();
  random.initialize(1.0, rng);
  users.initialize(1.0, rng);
  REQUIRE(rng.state() == state);
  REQUIRE(parameter_views(random).empty());
  REQUIRE(parameter_views(users).empty());
}

TEST_CASE("the gradients of a gated deletion agree with finite differences", "[GatedDeletion]") {
  DeletionOptions dropping = hard, rated = hard;
  dropping.survivor_bias = SurvivorBias::dropped;
  rated.target_rate = 0.5;
  for (const DeletionOptions& options : {soft, hard, dropping, rated})
    for (const GateRegulariser kind : {GateRegulariser::mean_gate, GateRegulariser::clamped_logits,
                                       GateRegulariser::logits, GateRegulariser::variance})
      for (const bool biased : {false, true}) {
        PolicyBatch<double> batch({7, 0, 5}, 4);
        batch.state.forced = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        Rng rng(8);
        if (biased) batch.state.key_bias = random_values<double>(12, rng);
        GatedDeletion<double, DeleteGate<double>> policy(learned(GateNoise::gumbel), {.regulariser = kind});
        const auto run = [&](GatedDeletion<double, DeleteGate<double>>::Cache& cache) {
          Rng noise(3);
          return policy.forward(batch.x, batch.context(options), noise, cache);
        };
        GatedDeletion<double, DeleteGate<double>>::Cache cache;
        const auto after = run(cache);
        if (options.mode == DeletionMode::hard) REQUIRE(after.state.total() < 10);
        const auto probe = random_matrix<double>(after.state.total(), 4, rng);
        const auto bias_probe = random_values<double>(after.state.key_bias.size(), rng);
        const auto score_probe = random_values<double>(12, rng);
        auto gradients = zeros_like(policy);
        auto grad = policy.backward({probe, bias_probe, {score_probe, {3.5}}}, cache, gradients);
        REQUIRE(grad.key_bias.size() == batch.state.key_bias.size());
        auto parameters = parameter_views(policy), analytic = parameter_views(gradients);
        parameters.push_back(tensor_view("x", batch.x));
        analytic.push_back(tensor_view("x", grad.x));
        parameters.push_back(view("key_bias", batch.state.key_bias));
        analytic.push_back(view("key_bias", grad.key_bias));
        CAPTURE(static_cast<int>(options.mode), static_cast<int>(options.survivor_bias), static_cast<int>(kind),
                biased);
        require_gradients(
            [&] {
              GatedDeletion<double, DeleteGate<double>>::Cache other;
              const auto moved = run(other);
              double loss = probe_sum(probe, moved.x) + 3.5 * moved.report.auxiliaries[0].value;
              for (Index i = 0; i < bias_probe.size(); ++i) loss += bias_probe[i] * moved.state.key_bias[i];
              for (Index t = 0; t < 12; ++t) loss += score_probe[t] * moved.report.scores[t];
              return loss;
            },
            parameters, analytic);
      }
}

TEST_CASE("without gradients of the report there are those of the tokens alone", "[GatedDeletion]") {
  const PolicyBatch<double> batch({7, 5}, 4);
  const GatedDeletion<double, DeleteGate<double>> policy(learned());
  GatedDeletion<double, DeleteGate<double>>::Cache cache;
  Rng rng(3);
  policy.forward(batch.x, batch.context(soft), rng, cache);
  const auto probe = random_matrix<double>(12, 4, rng);
  auto gradients = zeros_like(policy);
  const auto grad = policy.backward({probe, {}, {}}, cache, gradients);
  REQUIRE(identical(grad.x, probe));
  REQUIRE(grad.key_bias.empty());
  for (const auto& tensor : parameter_views(gradients)) REQUIRE((tensor.array() == 0).all());

  // A gradient of the key bias or of the auxiliary reaches the gate.
  Values grad_values(12, 1.0 / 12);
  DeleteGate<double>::Cache gate_cache;
  auto expected = zeros_like(policy.gate);
  policy.gate.forward({batch.x}, rng, gate_cache);
  const Matrix<double> through = policy.gate.backward(grad_values, {}, gate_cache, expected);
  REQUIRE(identical(policy.backward({probe, grad_values, {}}, cache, gradients).x, Matrix<double>(probe + through)));
  REQUIRE(identical(gradients.gate.weight, expected.weight));
  gradients = zeros_like(policy);
  REQUIRE(relative_difference(policy.backward({probe, {}, {{}, {1.0}}}, cache, gradients).x, probe + through) < 1e-15);
}

TEST_CASE("gates that learn nothing pass gradients by", "[GatedDeletion]") {
  PolicyBatch<double> batch = batch_of();
  batch.state.key_bias.assign(7, 0.5);
  for (const DeletionOptions& options : {soft, hard}) {
    GatedDeletion<double, FirstColumn>::Cache cache;
    Rng rng(1);
    const Index rows = own.forward(batch.x, batch.context(options), rng, cache).x.rows();
    const auto probe = random_matrix<double>(rows, 3, rng);
    GatedDeletion<double, FirstColumn> gradients = own;
    const auto grad = own.backward({probe, Values(rows, 2.0), {Values(7, 9.0), {9.0}}}, cache, gradients);
    REQUIRE(identical(grad.x, cache.step.backward(probe)));
    REQUIRE(grad.key_bias == (rows == 7 ? Values(7, 2.0) : Values{2, 0, 2, 2, 0, 2, 0}));
  }
}

TEST_CASE("a gate of a user's own keeps the laws of policies", "[GatedDeletion]") {
  PolicyLaws laws;
  laws.copies = true;
  require_policy_laws([]<Real>() { return AnyFirstColumn{}; }, laws);
  laws.options.target_rate = 0.4;
  require_policy_laws([]<Real>() { return AnyFirstColumn{}; }, laws);
}

TEST_CASE("a gated deletion says what does not fit", "[GatedDeletion]") {
  PolicyBatch<double> batch = batch_of();
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::everything}) {
    const DeletionOptions options = DeletionOptions::with_mode(mode);
    REQUIRE(argument_error([&] { own.forward(batch.x, batch.context(options)); }) ==
            std::string("DeletionStep: options.mode: got ") + (mode == DeletionMode::none ? "none" : "everything") +
                ", expected soft or hard");
  }
  REQUIRE(argument_error([&] { own.forward(batch.x.topRows(3), batch.context(hard)); }) ==
          "DeletionStep: gate_values.size(): got 3, expected 7");
  PolicyContext<double> context = batch.context(hard);
  const Rows two = {1, 1};
  context.removals = two;
  REQUIRE(argument_error([&] { own.forward(batch.x, context); }) ==
          "deletion_plans: removals.size(): got 2, expected 3");
}

}  // namespace gated_deletion_test
