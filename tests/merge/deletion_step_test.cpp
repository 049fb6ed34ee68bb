// What a gate does to the tokens between two blocks, its gradient, and the law that soft deletion tends to hard.
#include <merganser/merge/deletion_step.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/nn/multi_head_attention.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace deletion_step_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Rows = Vector<Index>;
using Values = Vector<double>;
using Flags = Vector<std::uint8_t>;
using State = TokenState<double>;
using Step = DeletionStep<double>;

const DeletionOptions soft = DeletionOptions::with_mode(DeletionMode::soft);
const DeletionOptions hard = DeletionOptions::with_mode(DeletionMode::hard);

DeletionOptions hard_with(SurvivorBias bias) {
  DeletionOptions options = hard;
  options.survivor_bias = bias;
  return options;
}

SequenceOffsets offsets_of(const Rows& lengths) { return SequenceOffsets::from_lengths(lengths); }

/// Three sequences of 4, 0 and 3 tokens, some of them far into their texts.
State start() { return State::start(offsets_of({4, 0, 3}), {3, 5, 7, 9, 0, 1, 4}); }

/// Keeps rows 0, 2, 3 of the first sequence and 1 of the last.
const Values gate_values = {-1, -20, -2, -3, -29, -4, -16};
const Rows kept = {0, 2, 3, 5};

Values sum(const Values& a, const Values& b) {
  Values result = a;
  for (Index i = 0; i < a.size(); ++i) result[i] += b[i];
  return result;
}

template <class Value>
Vector<Value> at(const Vector<Value>& values, const Rows& rows) {
  Vector<Value> result;
  for (const Index row : rows) result.push_back(values[row]);
  return result;
}

TEST_CASE("tokens start at their own rows, without bias", "[TokenState]") {
  const State state = start();
  REQUIRE(state.total() == 7);
  REQUIRE(state.origin == Rows{0, 1, 2, 3, 4, 5, 6});
  REQUIRE(state.positions == Vector<Position>{3, 5, 7, 9, 0, 1, 4});
  REQUIRE(state.key_bias.empty());
  REQUIRE(state.hidden.empty());
  REQUIRE(state.forced.empty());
}

TEST_CASE("soft deletion moves nothing, and gate values add up", "[DeletionStep]") {
  const Step first(start(), gate_values, -15.0, soft);
  REQUIRE(first.after().offsets == start().offsets);
  REQUIRE(first.after().positions == start().positions);
  REQUIRE(first.after().origin == start().origin);
  REQUIRE(first.after().key_bias == gate_values);
  REQUIRE(first.kept_rows() == kept);  // those that hard deletion would keep
  REQUIRE(first.input_tokens() == 7);
  REQUIRE(first.groups().empty());

  const Values again = {-30, -5, -5, -30, 0, 0, 0};
  const Step second(first.after(), again, -15.0, soft);
  REQUIRE(second.after().key_bias == sum(gate_values, again));
  REQUIRE(second.kept_rows() == Rows{2, 5});  // of those that the first left

  Rng rng(1);
  const auto x = random_matrix<double>(7, 3, rng);
  REQUIRE(identical(first.forward(x), x));
  REQUIRE(identical(first.backward(x), x));
}

TEST_CASE("hard deletion leaves the survivors and all that is known of them", "[DeletionStep]") {
  State before = start();
  before.hidden = {0, 0, 0, 1, 0, 1, 0};
  before.forced = {0, 1, 0, 0, 0, 0, 1};
  before.deleted = {0, 1, 0, 0, 0, 0, 1};
  before.sizes = {1, 2, 3, 4, 5, 6, 7};
  const Step step(before, gate_values, -15.0, hard);
  const State& after = step.after();
  REQUIRE(after.offsets == offsets_of({3, 0, 1}));
  REQUIRE(after.total() == 4);
  REQUIRE(after.positions == at(before.positions, kept));
  REQUIRE(after.origin == kept);
  REQUIRE(after.hidden == Flags{0, 0, 1, 1});
  REQUIRE(after.forced == Flags{0, 0, 0, 0});
  REQUIRE(after.deleted.empty());
  REQUIRE(after.sizes == Values{1, 3, 4, 6});
  REQUIRE(step.groups() == Rows{0, -1, 1, 2, -1, 3, -1});
  REQUIRE(after.key_bias == at(gate_values, kept));
  REQUIRE(step.kept_rows() == kept);
  REQUIRE(step.input_tokens() == 7);

  Rng rng(1);
  const auto x = random_matrix<double>(7, 3, rng);
  const auto y = step.forward(x);
  REQUIRE(y.rows() == 4);
  for (Index row = 0; row < 4; ++row) REQUIRE(identical(Matrix<double>(y.row(row)), Matrix<double>(x.row(kept[row]))));
}

TEST_CASE("pads count in no budget and never survive, softly or hard", "[DeletionStep]") {
  State before = start();
  before.forced = {1, 1, 0, 0, 1, 1, 1};
  DeletionOptions rated = hard, low = hard;
  rated.target_rate = 0.5;
  low.threshold = -100;
  for (DeletionOptions options : {hard, rated, low}) {
    // Of rows 2 and 3, with -2 and -3, half are one; a sequence of pads has nobody to keep.
    const Rows expected = options.target_rate ? Rows{2} : Rows{2, 3};
    REQUIRE(Step(before, gate_values, -15.0, options).after().origin == expected);
    options.mode = DeletionMode::soft;
    const Step step(before, gate_values, -15.0, options);
    REQUIRE(step.kept_rows() == expected);
    REQUIRE(step.after().hidden == before.forced);
    for (Index row = 0; row < 7; ++row)
      REQUIRE((step.after().deleted[row] == 0) == (std::find(expected.begin(), expected.end(), row) != expected.end()));
  }
}

TEST_CASE("two soft gates delete what two hard ones remove", "[DeletionStep]") {
  const double rate = GENERATE(-1.0, 0.3, 0.5, 1.0);  // below 0: by the threshold
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    State before = State::start(offsets_of({9, 0, 1, 6}), Vector<Position>(16, 0));
    for (int t = 0; t < 16; ++t) before.forced.push_back(rng.bernoulli(0.2) ? 1 : 0);
    const Values first = random_values<double>(16, rng, 20.0), second = random_values<double>(16, rng, 20.0);
    DeletionOptions options = soft;
    if (rate >= 0) options.target_rate = rate;
    const Step soft_first(before, first, 0.0, options), soft_second(soft_first.after(), second, 0.0, options);
    options.mode = DeletionMode::hard;
    const Step hard_first(before, first, 0.0, options);
    const Step hard_second(hard_first.after(), at(second, hard_first.after().origin), 0.0, options);
    REQUIRE(soft_first.kept_rows() == hard_first.after().origin);
    REQUIRE(soft_second.kept_rows() == hard_second.after().origin);
  }
}

TEST_CASE("nobody looks at a token whose gate value is no number", "[DeletionStep]") {
  Values values = gate_values;
  values[0] = std::nan("");
  const Step step(start(), values, -15.0, soft);
  REQUIRE(step.kept_rows() == Rows{2, 3, 5});
  REQUIRE(step.after().hidden == Flags{1, 0, 0, 0, 0, 0, 0});
  for (const double bias : step.after().key_bias) REQUIRE(std::isfinite(bias));
  REQUIRE(Step(start(), values, -15.0, hard).after().origin == Rows{2, 3, 5});
}

TEST_CASE("after two hard gates the origin is still the first batch", "[DeletionStep]") {
  const Step first(start(), gate_values, -15.0, hard);
  const Values again = {-20, -1, -20, -30};
  const Step second(first.after(), again, -15.0, hard);
  REQUIRE(second.kept_rows() == Rows{1, 3});
  REQUIRE(second.after().origin == Rows{2, 5});
  REQUIRE(second.after().positions == Vector<Position>{7, 1});
  REQUIRE(second.after().offsets == offsets_of({1, 0, 1}));
  REQUIRE(second.after().key_bias == Values{-3, -34});
}

TEST_CASE("survivors keep their gate values as key bias or lose them", "[DeletionStep]") {
  State before = start();
  REQUIRE(Step(before, gate_values, -15.0, hard_with(SurvivorBias::kept)).after().key_bias == at(gate_values, kept));
  REQUIRE(Step(before, gate_values, -15.0, hard_with(SurvivorBias::dropped)).after().key_bias.empty());
  before.key_bias = {1, 2, 3, 4, 5, 6, 7};
  REQUIRE(Step(before, gate_values, -15.0, hard_with(SurvivorBias::kept)).after().key_bias ==
          at(sum(before.key_bias, gate_values), kept));
  REQUIRE(Step(before, gate_values, -15.0, hard_with(SurvivorBias::dropped)).after().key_bias ==
          at(before.key_bias, kept));
}

TEST_CASE("a hard step whose removal is delayed weakens and marks", "[DeletionStep]") {
  State before = start();
  before.key_bias = {1, 2, 3, 4, 5, 6, 7};
  const Step step(before, gate_values, -15, hard, {}, Removal::delayed);
  const Step weak(before, gate_values, -15, soft);
  REQUIRE(step.after().key_bias == sum(before.key_bias, gate_values));
  REQUIRE(step.after().deleted == Flags{0, 1, 0, 0, 1, 0, 1});
  REQUIRE(step.after().deleted == weak.after().deleted);
  REQUIRE(step.after().offsets == before.offsets);
  REQUIRE(step.kept_rows() == kept);
  REQUIRE(step.groups().empty());
  const Matrix<double> x = Matrix<double>::Ones(7, 2);
  REQUIRE(identical(step.forward(x), x));
  REQUIRE(identical(step.backward(x), x));
  const Values grad = {1, 2, 3, 4, 5, 6, 7};
  Values grad_gate;
  REQUIRE(step.backward_bias(grad, grad_gate) == grad);
  REQUIRE(grad_gate == grad);

  const Step dropping(before, gate_values, -15, hard_with(SurvivorBias::dropped), {}, Removal::delayed);
  REQUIRE(dropping.after().key_bias == Values{1, -18, 3, 4, -24, 6, -9});
  REQUIRE(dropping.backward_bias(grad, grad_gate) == grad);
  REQUIRE(grad_gate == Values{0, 2, 0, 0, 5, 0, 7});
  const Step softly(before, gate_values, -15, soft, {}, Removal::delayed);
  REQUIRE(softly.after().key_bias == weak.after().key_bias);
}

TEST_CASE("overrides of a call reach the step", "[DeletionStep]") {
  DeletionOptions options = hard;
  options.threshold = -2.5;
  REQUIRE(Step(start(), gate_values, -15.0, options).kept_rows() == Rows{0, 2, 5});  // the last keeps its highest
  options.threshold.reset();
  options.target_rate = 0.5;
  REQUIRE(Step(start(), gate_values, -15.0, options).kept_rows() == Rows{0, 2, 5});
  REQUIRE(Step(start(), gate_values, -15.0, options, Rows{3, 0, 1}).kept_rows() == Rows{0, 5, 6});
  options.mode = DeletionMode::soft;
  REQUIRE(Step(start(), gate_values, -15.0, options, Rows{3, 0, 1}).kept_rows() == Rows{0, 5, 6});
}

TEST_CASE("the gradients of a step agree with finite differences", "[DeletionStep]") {
  for (const DeletionOptions& options : {soft, hard_with(SurvivorBias::kept), hard_with(SurvivorBias::dropped)})
    for (const bool biased : {false, true}) {
      Rng rng(9);
      State before = start();
      if (biased) before.key_bias = random_values<double>(7, rng);
      auto x = random_matrix<double>(7, 3, rng);
      Values values = gate_values;  // all further from the threshold than a step of the check
      const Step step(before, values, -15.0, options);
      const auto probe = random_matrix<double>(step.after().total(), 3, rng);
      const auto bias_probe = random_values<double>(step.after().key_bias.size(), rng);

      Matrix<double> grad_x = step.backward(probe);
      Values grad_values = {1};  // to be overwritten
      Values grad_bias = step.backward_bias(bias_probe, grad_values);
      const bool hard_and_dropped =
          options.mode == DeletionMode::hard && options.survivor_bias == SurvivorBias::dropped;
      CAPTURE(static_cast<int>(options.mode), static_cast<int>(options.survivor_bias), biased);
      REQUIRE(grad_values.empty() == hard_and_dropped);
      REQUIRE(grad_bias.size() == before.key_bias.size());
      grad_values.resize(7, 0.0);

      const auto view = [](const char* name, Values& list) {
        return ParameterView<double>{name, list.data(), 1, list.size(), true};
      };
      require_gradients(
          [&] {
            const Step moved(before, values, -15.0, options);
            double loss = probe_sum(probe, moved.forward(x));
            for (Index i = 0; i < bias_probe.size(); ++i) loss += bias_probe[i] * moved.after().key_bias[i];
            return loss;
          },
          {tensor_view("x", x), view("values", values), view("bias", before.key_bias)},
          {tensor_view("x", grad_x), view("values", grad_values), view("bias", grad_bias)});
    }
}

TEST_CASE("where no bias goes on, no gradient comes back", "[DeletionStep]") {
  const Step step(start(), gate_values, -15.0, hard_with(SurvivorBias::dropped));
  Values grad_values = {1, 2, 3};
  REQUIRE(step.backward_bias({}, grad_values).empty());
  REQUIRE(grad_values.empty());
}

TEST_CASE("batches without tokens go through", "[DeletionStep]") {
  for (const DeletionOptions& options : {soft, hard, hard_with(SurvivorBias::dropped)})
    for (const Rows& lengths : {Rows{}, Rows{0, 0}}) {
      const Step step(State::start(offsets_of(lengths), {}), {}, -15.0, options);
      REQUIRE(step.after().offsets == offsets_of(lengths));
      REQUIRE(step.after().key_bias.empty());
      REQUIRE(step.kept_rows().empty());
      REQUIRE(step.forward(Matrix<double>(0, 3)).cols() == 3);
      Values grad_values;
      REQUIRE(step.backward_bias({}, grad_values).empty());
    }
}

TEST_CASE("a step says what does not fit", "[DeletionStep]") {
  const Values few(3, 0.0);
  REQUIRE(argument_error([&] { Step(start(), few, -15.0, hard); }) ==
          "DeletionStep: gate_values.size(): got 3, expected 7");
  State before = start();
  before.key_bias = few;
  REQUIRE(argument_error([&] { Step(before, gate_values, -15.0, hard); }) ==
          "DeletionStep: key_bias.size(): got 3, expected 7");
  REQUIRE(argument_error([&] { Step(start(), gate_values, std::nan(""), hard); }) ==
          "DeletionStep: threshold: got nan, expected a gate value, no NaN");
  before = start();
  before.forced = {1};
  REQUIRE(argument_error([&] { Step(before, gate_values, -15.0, soft); }) ==
          "DeletionStep: forced.size(): got 1, expected 7");
  const auto error_of = [](DeletionMode mode) {
    return argument_error([&] { Step(start(), gate_values, -15.0, DeletionOptions::with_mode(mode)); });
  };
  REQUIRE(error_of(DeletionMode::none) == "DeletionStep: options.mode: got none, expected soft or hard");
  REQUIRE(error_of(DeletionMode::everything) == "DeletionStep: options.mode: got everything, expected soft or hard");
  DeletionOptions both = hard;
  both.threshold = -1.0;
  both.target_rate = 0.5;
  REQUIRE(argument_error([&] { Step(start(), gate_values, -15.0, both); }) ==
          "DeletionOptions: threshold and target_rate: got both, expected at most one of them");
  const Step step(start(), gate_values, -15.0, hard);
  Values grad_values;
  REQUIRE(argument_error([&] { step.backward_bias(few, grad_values); }) ==
          "DeletionStep::backward_bias: grad_after.size(): got 3, expected 4");
  REQUIRE(argument_error([&] { step.forward(Matrix<double>::Zero(3, 2)); }) ==
          "Compaction::compact: x.rows(): got 3, expected 7");
}

TEMPLATE_TEST_CASE("in attention, soft deletion with a saturated gate is hard deletion", "[DeletionStep]", float,
                   double) {
  Rng rng(4);
  nn::MultiHeadAttention<TestType> attention({5, 2, 3, nn::SoftmaxKind::softmax, {}});
  randomise(attention, rng);
  const auto x = random_matrix<TestType>(7, 5, rng);
  const Vector<TestType> values = {0, -60, 0, -60, 0, -60, -60};
  const auto attend = [&](const DeletionOptions& options) {
    const DeletionStep<TestType> step(TokenState<TestType>::start(offsets_of({4, 3}), {0, 1, 2, 3, 0, 1, 2}), values,
                                      -30.0, options);
    nn::AttentionContext<TestType> context;
    context.queries = context.keys = step.after().offsets.ranges();
    context.key_bias = step.after().key_bias;
    const auto rows = step.forward(x);
    return attention.forward(rows, rows, context);
  };
  const auto weakened = attend(soft), removed = attend(hard);
  REQUIRE(removed.rows() == 3);
  const Index survivors[] = {0, 2, 4};
  for (Index row = 0; row < 3; ++row)
    REQUIRE(relative_difference(Matrix<TestType>(weakened.row(survivors[row])), Matrix<TestType>(removed.row(row))) <=
            agreement<TestType>);
}

/// An encoder whose gates are sure: every value is 0 or the scale.
template <Real Scalar>
struct SureEncoder {
  using Encoder = models::Encoder<Scalar>;

  Encoder encoder;
  models::EncoderInput<Scalar> input;

  SureEncoder(double scale, const Rows& gated_blocks) {
    typename Encoder::Config config;
    config.width = 8;
    config.heads = 2;
    config.head_width = 3;
    config.feed_forward_width = 12;
    config.blocks = 4;
    typename DeleteGate<Scalar>::Config gate;
    gate.width = 8;
    gate.scale = scale;
    Vector<Placement<Scalar>> placements;
    for (const Index block : gated_blocks) placements.push_back(before_block(block, DeleteGate<Scalar>(gate)));
    encoder = Encoder(config, placements);
    Rng rng(12);
    encoder.initialize(1.0, rng);
    for (auto& placement : encoder.policies)
      fill_random(placement.policy.template target<DeleteGate<Scalar>>()->weight, rng, 3000.0);
    input.embedded = RaggedBatch<Scalar>(random_matrix<Scalar>(30, 8, rng), offsets_of({14, 1, 0, 15}));
  }

  models::EncoderOutput<Scalar> run(const DeletionOptions& options) const { return encoder.forward(input, options); }

  /// Between the survivors of hard deletion and the same tokens under soft deletion.
  double difference(const DeletionOptions& options) const {
    const auto removed = run(options), weakened = run(soft);
    Matrix<Scalar> survivors(removed.hidden.total(), removed.hidden.values.cols());
    for (Index row = 0; row < survivors.rows(); ++row)
      survivors.row(row) = weakened.hidden.values.row(removed.origin[row]);
    return relative_difference(survivors, removed.hidden.values);
  }
};

TEMPLATE_TEST_CASE("in an encoder, soft deletion with saturated gates is hard deletion", "[DeletionStep]", float,
                   double) {
  for (const Rows& blocks : {Rows{1}, Rows{0}, Rows{1, 3}}) {
    const SureEncoder<TestType> sure(-60, blocks);
    const auto weakened = sure.run(soft), removed = sure.run(hard);
    CAPTURE(blocks, removed.deletion.kept, removed.deletion.tokens);
    for (const auto& report : weakened.reports)
      for (const TestType value : report.scores)
        REQUIRE((static_cast<double>(value) > -1e-12 || static_cast<double>(value) < -60 + 1e-4));
    REQUIRE(weakened.hidden.total() == 30);
    REQUIRE(removed.hidden.total() < 25);
    REQUIRE(removed.hidden.total() > 5);
    REQUIRE(weakened.deletion.kept == removed.deletion.kept);
    REQUIRE(sure.difference(hard) <= agreement<TestType>);
    REQUIRE(removed.hidden.offsets.length(2) == 0);
    for (Index row = 0; row < removed.hidden.total(); ++row) {
      const Index origin = removed.origin[row];
      REQUIRE(removed.hidden.positions[row] == sure.input.embedded.positions[origin]);
    }
  }
}

TEST_CASE("the surer the gate, the smaller the difference of soft and hard", "[DeletionStep]") {
  double last = 1;
  for (const double scale : {-4.0, -8.0, -16.0, -32.0}) {
    const double difference = SureEncoder<double>(scale, {1}).difference(hard);
    CAPTURE(scale, difference, last);
    REQUIRE(difference < 0.1 * last);
    REQUIRE(difference < 20 * std::exp(scale));
    last = difference;
    if (scale > -10) REQUIRE(difference > 1e-6);  // the measure does see what there is
  }
}

}  // namespace deletion_step_test
