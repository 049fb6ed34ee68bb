#include <merganser/models/encoder.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "models/small_planners.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace encoder_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::DeletionMode;
using merge::DeletionOptions;
using merge::SurvivorBias;

/// A stack and the gates in it.
struct Sizes {
  StackConfig stack;
  Vector<io::GateConfig> gates;

  template <Real Scalar>
  Encoder<Scalar> make() const {
    return Encoder<Scalar>(stack, io::placements_of<Scalar>({gates, {}}, stack));
  }
};

Sizes sizes_of(const StackConfig& stack, const Vector<Index>& blocks) {
  Sizes sizes{stack, {}};
  for (const Index block : blocks) sizes.gates.push_back(gate_at(block));
  return sizes;
}

/// An encoder of three blocks and the rows of four sequences, one of them empty.
template <Real Scalar>
struct Setup {
  Encoder<Scalar> encoder;
  TokenBatch ids;
  Matrix<Scalar> rows;
  Vector<std::uint8_t> hidden, forced;
  std::optional<double> limit = 0.5;

  explicit Setup(const Sizes& sizes, const Vector<Index>& lengths = {3, 1, 5, 0}, std::uint64_t seed = 1)
      : encoder(sizes.make<Scalar>()), ids(random_tokens(lengths, 11, seed)) {
    fill_model(encoder, seed);
    Rng rng(seed + 1);
    rows = random_matrix<Scalar>(ids.total(), sizes.stack.width, rng);
  }

  EncoderInput<Scalar> input(Rng* rng = nullptr) const { return {{rows, ids.offsets}, ids.ids, hidden, forced, rng}; }

  EncoderOutput<Scalar> forward(const DeletionOptions& options) const {
    Rng rng(9);
    return encoder.forward(input(&rng), options);
  }

  EncoderOutput<Scalar> forward(const DeletionOptions& options, typename Encoder<Scalar>::Cache& cache) const {
    Rng rng(9);
    cache.excess_limit = limit;
    return encoder.forward(input(&rng), options, rng, cache);
  }
};

void check_encoder(Setup<double>& s, const DeletionOptions& options) {
  const Threads one(1);
  Encoder<double>::Cache cache;
  s.limit = limit_between_scores([&](double limit) {
    s.limit = limit;
    s.forward(options, cache);
    const Vector<double> means = s.encoder.excess_means(cache);
    return std::accumulate(means.begin(), means.end(), 0.0);
  });
  const EncoderOutput<double> output = s.forward(options, cache);
  REQUIRE(plan_margin(output, options) > 0.1);
  REQUIRE(kink_margin(cache.blocks, s.encoder.config().activation) > 0.005);
  const EncoderProbe probe(output);
  Encoder<double> gradients = zeros_like(s.encoder);
  Matrix<double> grad_rows =
      s.encoder.backward(probe.hidden, probe.key_bias, probe.reports, probe.excess, cache, gradients);
  auto parameters = parameter_views(s.encoder), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("rows", s.rows));
  analytic.push_back(tensor_view("rows", grad_rows));
  require_gradients(
      [&] {
        const EncoderOutput<double> moved = s.forward(options, cache);
        return probe(moved, s.encoder.excess_means(cache));
      },
      parameters, analytic);
}

StackConfig three_blocks() {
  StackConfig stack = tiny_stack();
  stack.blocks = 3;
  return stack;
}

/// An encoder without norm in its gate at block 0: the logit of a token is 31 x_0 - 29, for x_0 = +-1: 2 or -60.
template <Real Scalar>
Setup<Scalar> decided(double scale = -30) {
  Sizes sizes = sizes_of(three_blocks(), {0});
  sizes.gates[0].norm = merge::GateNorm::none;
  sizes.gates[0].scale = scale;
  Setup<Scalar> s(sizes, {4, 1, 6, 0});
  merge::DeleteGate<Scalar>& gate = gate_in(s.encoder);
  gate.weight.setZero();
  gate.weight(0, 0) = 31;
  gate.bias(0) = -29;
  const Vector<Index> signs{1, -1, -1, 1, /**/ 1, /**/ -1, 1, 1, -1, 1, -1};
  for (Index t = 0; t < s.rows.rows(); ++t) s.rows(t, 0) = static_cast<Scalar>(signs[t]);
  return s;
}

/// The learned gates of an encoder, with their rows leaving so many blocks later.
template <Real Scalar>
Vector<merge::Placement<Scalar>> delay_gates(Encoder<Scalar>& encoder, Index delay) {
  Vector<merge::Placement<Scalar>> placements;
  for (Index p = 0; p < encoder.policies.size(); ++p)
    for (merge::Placement<Scalar>& placed :
         merge::delayed<Scalar>(encoder.policies[p].block, merge::DeleteGate<Scalar>(gate_in(encoder, p)), delay))
      placements.push_back(std::move(placed));
  return placements;
}

const Vector<Index> survivors_of_decided{0, 3, 4, 6, 7, 9};

TEST_CASE("the gradients of an encoder agree with finite differences", "[Encoder]") {
  StackConfig stack = three_blocks();
  SECTION("no deletion, with a gate at rest") {
    Setup<double> s(sizes_of(stack, {1}));
    check_encoder(s, deletion(DeletionMode::none));
  }
  SECTION("soft, two gates with blocks between them, absolute positions, dropout") {
    stack.positions = PositionScheme::absolute;
    stack.dropout = 0.25;
    Setup<double> s(sizes_of(stack, {0, 2}));
    set_regulariser(s.encoder, merge::GateRegulariser::variance);
    check_encoder(s, deletion(DeletionMode::soft));
  }
  SECTION("soft, hidden and forced tokens, log sigmoid without norm") {
    stack.score_bound = nn::ScoreBound::soft_cap(4);
    Sizes sizes = sizes_of(stack, {1});
    sizes.gates[0].activation = merge::GateActivation::log_sigmoid;
    sizes.gates[0].norm = merge::GateNorm::none;
    Setup<double> s(sizes);
    set_regulariser(s.encoder, merge::GateRegulariser::logits);
    s.hidden = {0, 0, 1, 0, 0, 0, 0, 1, 0};
    s.forced = s.hidden;
    check_encoder(s, deletion(DeletionMode::soft));
  }
  SECTION("hard, survivors keep their bias, gates at 0 and 1, ReLU") {
    stack.activation = nn::Activation::relu;
    Setup<double> s(sizes_of(stack, {0, 1}));
    check_encoder(s, deletion(DeletionMode::hard));
  }
  SECTION("hard, survivors drop their bias, gates at 0 and 2, Gumbel noise") {
    Sizes sizes = sizes_of(stack, {0, 2});
    for (io::GateConfig& gate : sizes.gates) gate.noise = merge::GateNoise::gumbel;
    Setup<double> s(sizes);
    set_regulariser(s.encoder, merge::GateRegulariser::logits);
    check_encoder(s, deletion(DeletionMode::hard, SurvivorBias::dropped));
  }
  SECTION("hard to a rate, normalised scores") {
    stack.score_bound = nn::ScoreBound::normalised(6);
    Setup<double> s(sizes_of(stack, {1}), {3, 1, 5, 0}, 2);
    DeletionOptions options;
    options.target_rate = 0.4;
    check_encoder(s, options);
  }
  SECTION("soft, hard, hard without survivors' bias, to a rate, with pads: rows leave later") {
    DeletionOptions rated;
    rated.target_rate = 0.4;
    for (const DeletionOptions& options : {deletion(DeletionMode::soft), deletion(DeletionMode::hard),
                                           deletion(DeletionMode::hard, SurvivorBias::dropped), rated}) {
      Setup<double> s(sizes_of(stack, {0}), {3, 1, 5, 0}, 2);
      s.encoder.policies = delay_gates(s.encoder, 2);
      if (options.target_rate) s.forced = {0, 0, 1, 0, 0, 0, 0, 0, 0};
      check_encoder(s, options);
      const Index left = s.forward(options).hidden.total();
      REQUIRE((options.mode == DeletionMode::soft ? left == 9 : left < 8));
    }
  }
  SECTION("hard, two gates whose delays overlap, rows leave behind the last block") {
    Setup<double> s(sizes_of(stack, {0, 1}));
    s.encoder.policies = delay_gates(s.encoder, 2);
    check_encoder(s, deletion(DeletionMode::hard));
  }
  SECTION("hard by rule: a gate without parameters") {
    Sizes sizes = sizes_of(stack, {1});
    sizes.gates[0].kind = io::GateKind::fixed;
    sizes.gates[0].separators = {4, 7};
    Setup<double> s(sizes);
    check_encoder(s, deletion(DeletionMode::hard));
  }
}

TEMPLATE_TEST_CASE("training and inference agree in every mode", "[Encoder]", float, double) {
  const Setup<TestType> s(sizes_of(three_blocks(), {0, 2}));
  for (const DeletionMode mode :
       {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything}) {
    typename Encoder<TestType>::Cache cache;
    const auto trained = s.forward(deletion(mode), cache), inferred = s.forward(deletion(mode));
    REQUIRE(relative_difference(trained.hidden.values, inferred.hidden.values) <= agreement<TestType>);
    REQUIRE(trained.hidden.offsets == inferred.hidden.offsets);
    REQUIRE(trained.hidden.positions == inferred.hidden.positions);
    REQUIRE(trained.origin == inferred.origin);
    REQUIRE(trained.key_bias == inferred.key_bias);
    REQUIRE(trained.deletion.kept == inferred.deletion.kept);
    REQUIRE(trained.reports.size() == inferred.reports.size());
  }
}

TEMPLATE_TEST_CASE("a sequence alone gives the bits that it gives in a batch", "[Encoder]", float, double) {
  const Setup<TestType> s(sizes_of(small_stack(), {0, 1}), {70, 1, 0, 33, 5});
  Vector<DeletionOptions> all;
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard})
    all.push_back(deletion(mode));
  all.push_back(deletion(DeletionMode::hard, SurvivorBias::dropped));
  all.emplace_back().target_rate = 0.5;
  for (const DeletionOptions& options : all) {
    const EncoderOutput<TestType> together = s.forward(options);
    if (options.mode == DeletionMode::hard) {
      REQUIRE(together.hidden.total() > 5);
      REQUIRE(together.hidden.total() < s.ids.total());
    }
    for (Index i = 0; i < s.ids.count(); ++i) {
      Setup<TestType> single = s;
      single.ids = alone(s.ids, i);
      single.rows = rows_of(s.rows, s.ids.offsets, i);
      const EncoderOutput<TestType> own = single.forward(options);
      REQUIRE(identical(own.hidden.values, rows_of(together.hidden.values, together.hidden.offsets, i)));
      REQUIRE(own.deletion.kept[0] == together.deletion.kept[i]);
    }
  }
}

TEMPLATE_TEST_CASE("one and two threads give the same bits", "[Encoder]", float, double) {
  const Setup<TestType> s(sizes_of(small_stack(), {0, 1}), {70, 1, 0, 33, 5});
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
    require_same_bits_with_threads([&] { return s.forward(deletion(mode)).hidden.values; });
    require_same_bits_with_threads([&] {
      typename Encoder<TestType>::Cache cache;
      const auto output = s.forward(deletion(mode), cache);
      Encoder<TestType> gradients = zeros_like(s.encoder);
      return s.encoder.backward(output.hidden.values, output.key_bias, {}, 0.1, cache, gradients);
    });
  }
}

TEST_CASE("an encoder adds to its gradients and leaves everything else alone", "[Encoder]") {
  const Setup<double> s(sizes_of(three_blocks(), {1})), same = s;
  require_backward_adds(s.encoder, [&](Encoder<double>& gradients) {
    Encoder<double>::Cache cache;
    const auto output = s.forward(deletion(DeletionMode::soft), cache);
    s.encoder.backward(output.hidden.values, output.key_bias, {}, 0.1, cache, gradients);
  });
  REQUIRE(numbers_of(s.encoder) == numbers_of(same.encoder));
  REQUIRE(identical(s.rows, same.rows));
}

TEST_CASE("hard deletion at block 0 is the ungated encoder on the survivors, at their original places", "[Encoder]") {
  for (const PositionScheme scheme : {PositionScheme::relative, PositionScheme::absolute}) {
    Setup<double> s = decided<double>();
    StackConfig stack = three_blocks();
    stack.positions = scheme;
    const Vector<merge::Placement<double>> gate = s.encoder.policies;
    s.encoder = Encoder<double>(stack, gate);
    fill_model(s.encoder, 1);
    s.encoder.policies = gate;
    // Positions are added before the gate looks; the first coordinate must still decide.
    if (scheme == PositionScheme::absolute) s.encoder.position.absolute.weight.col(0).setZero();

    const EncoderOutput<double> output = s.forward(deletion(DeletionMode::hard, SurvivorBias::dropped));
    REQUIRE(output.origin == survivors_of_decided);
    REQUIRE(output.hidden.positions == Vector<Position>{0, 3, 0, 1, 2, 4});
    REQUIRE(output.hidden.offsets == SequenceOffsets::from_lengths(Vector<Index>{2, 1, 3, 0}));
    REQUIRE(output.key_bias.empty());
    REQUIRE(output.deletion.tokens == Vector<Index>{4, 1, 6, 0});
    REQUIRE(output.deletion.kept == Vector<Index>{2, 1, 3, 0});

    Setup<double> plain = s;
    plain.encoder.policies.clear();
    RaggedBatch<double> batch(Matrix<double>(s.rows(survivors_of_decided, Eigen::all)), output.hidden.offsets,
                              output.hidden.positions);
    const EncoderInput<double> input{batch};
    REQUIRE(relative_difference(plain.encoder.forward(input, {}).hidden.values, output.hidden.values) <=
            agreement<double>);
  }
}

TEST_CASE("soft deletion with a saturated gate tends to hard deletion with survivors' bias kept", "[Encoder]") {
  double last = 1;
  for (const double scale : {-10.0, -30.0, -100.0}) {
    const Setup<double> s = decided<double>(scale);
    const EncoderOutput<double> soft = s.forward(deletion(DeletionMode::soft));
    const EncoderOutput<double> kept = s.forward(deletion(DeletionMode::hard));
    const EncoderOutput<double> dropped = s.forward(deletion(DeletionMode::hard, SurvivorBias::dropped));
    REQUIRE(kept.origin == survivors_of_decided);
    REQUIRE(soft.hidden.total() == s.ids.total());
    REQUIRE(soft.deletion.kept == kept.deletion.kept);
    REQUIRE(soft.reports[0].kept == survivors_of_decided);
    const Matrix<double> survivors = soft.hidden.values(survivors_of_decided, Eigen::all);
    const double gap = relative_difference(survivors, kept.hidden.values);
    REQUIRE(gap < last);
    REQUIRE(relative_difference(survivors, dropped.hidden.values) > 1e-3);  // survivors stand at scale * sigmoid(-2)
    for (Index i = 0; i < kept.origin.size(); ++i) REQUIRE(kept.key_bias[i] == soft.key_bias[kept.origin[i]]);
    last = std::max(gap, 1e-13);
  }
  REQUIRE(last < 1e-12);
}

TEST_CASE("two soft gates add up, and the second sees only what the first left when deletion is hard", "[Encoder]") {
  const Setup<double> s(sizes_of(three_blocks(), {0, 2}));
  const EncoderOutput<double> soft = s.forward(deletion(DeletionMode::soft));
  REQUIRE(soft.reports.size() == 2);
  for (Index t = 0; t < 9; ++t) REQUIRE(soft.key_bias[t] == soft.reports[0].scores[t] + soft.reports[1].scores[t]);
  const EncoderOutput<double> hard = s.forward(deletion(DeletionMode::hard));
  REQUIRE(hard.reports[0].block == 0);
  REQUIRE(hard.reports[1].block == 2);
  REQUIRE(hard.reports[1].offsets.total() == hard.reports[0].kept.size());
  REQUIRE(hard.hidden.total() == hard.reports[1].kept.size());
  for (Index i = 0; i < hard.origin.size(); ++i)
    REQUIRE(hard.origin[i] == hard.reports[0].kept[hard.reports[1].kept[i]]);
}

TEST_CASE("a threshold or a rate of the call overrides the trained threshold", "[Encoder]") {
  const Setup<double> s(sizes_of(three_blocks(), {1}), {30, 1, 17, 0});
  const EncoderOutput<double> trained = s.forward(deletion(DeletionMode::hard));
  REQUIRE(trained.reports[0].threshold == -15.0);
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard}) {
    DeletionOptions options = deletion(mode);
    options.threshold = -29.0;
    const EncoderOutput<double> output = s.forward(options);
    REQUIRE(output.reports[0].threshold == -29.0);
    Vector<Index> expected;
    for (Index t = 0; t < 48; ++t)
      if (output.reports[0].scores[t] > -29.0 || t == 30) expected.push_back(t);
    REQUIRE(output.reports[0].kept == expected);
    REQUIRE(expected.size() > trained.reports[0].kept.size());

    for (const double rate : {0.0, 0.1, 0.5, 0.9, 1.0}) {
      options = deletion(mode);
      options.target_rate = rate;
      const EncoderOutput<double> rated = s.forward(options);
      const auto left = [&](Index n) { return std::max<Index>(n - std::lround(rate * static_cast<double>(n)), 1); };
      REQUIRE(rated.deletion.kept == Vector<Index>{left(30), 1, left(17), 0});
    }
  }
  DeletionOptions options;
  options.target_rate = 1.5;
  REQUIRE_THROWS_AS(s.forward(options), std::invalid_argument);
  options.target_rate = 0.5;
  options.threshold = -3;
  REQUIRE_THROWS_AS(s.forward(options), std::invalid_argument);
}

TEST_CASE("a sequence whose tokens are all deleted keeps the one of highest gate value", "[Encoder]") {
  Setup<double> s(sizes_of(three_blocks(), {1}));
  gate_in(s.encoder).bias(0) = -20;
  const EncoderOutput<double> output = s.forward(deletion(DeletionMode::hard));
  REQUIRE(output.deletion.kept == Vector<Index>{1, 1, 1, 0});
  const auto& values = output.reports[0].scores;
  const auto best = std::max_element(values.begin() + 4, values.end()) - values.begin();
  REQUIRE(output.origin[2] == best);
}

TEST_CASE("forced tokens are deleted whatever the gate thinks and count as nothing", "[Encoder]") {
  Setup<double> s(sizes_of(three_blocks(), {1}));
  gate_in(s.encoder).bias(0) = 50;  // keep everything
  s.forced = {0, 1, 0, 0, 1, 0, 0, 0, 1};
  const EncoderOutput<double> hard = s.forward(deletion(DeletionMode::hard));
  REQUIRE(hard.origin == Vector<Index>{0, 2, 3, 5, 6, 7});
  REQUIRE(hard.deletion.tokens == Vector<Index>{2, 1, 3, 0});
  REQUIRE(hard.deletion.kept == Vector<Index>{2, 1, 3, 0});
  REQUIRE(hard.deletion.deletion_rate() == 0.0);
  const EncoderOutput<double> soft = s.forward(deletion(DeletionMode::soft));
  REQUIRE(soft.reports[0].scores[4] == -30.0);
  REQUIRE(soft.key_bias[4] == -30.0);
  REQUIRE(soft.reports[0].kept == hard.origin);
}

TEST_CASE("without gates, or with deletion off, everything stays", "[Encoder]") {
  const Setup<double> gated(sizes_of(three_blocks(), {0, 1})), plain(sizes_of(three_blocks(), {}));
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
    const EncoderOutput<double> output =
        mode == DeletionMode::none ? gated.forward(deletion(mode)) : plain.forward(deletion(mode));
    REQUIRE(output.reports.empty());
    REQUIRE(output.key_bias.empty());
    REQUIRE(output.hidden.total() == 9);
    REQUIRE(output.deletion.deletion_rate() == 0.0);
    Vector<Index> all(9);
    std::iota(all.begin(), all.end(), Index{0});
    REQUIRE(output.origin == all);
  }
}

TEST_CASE("the control hands on nothing and says so", "[Encoder]") {
  const Setup<double> s(sizes_of(three_blocks(), {1}));
  const EncoderOutput<double> output = s.forward(deletion(DeletionMode::everything));
  REQUIRE(output.hidden.total() == 0);
  REQUIRE(output.hidden.values.cols() == 6);
  REQUIRE(output.hidden.count() == 4);
  REQUIRE(output.origin.empty());
  REQUIRE(output.deletion.tokens == Vector<Index>{3, 1, 5, 0});
  REQUIRE(output.deletion.kept == Vector<Index>{0, 0, 0, 0});
  REQUIRE(output.deletion.deletion_rate() == 1.0);
  REQUIRE(output.deletion.deletion_rate(3) == 0.0);
}

TEST_CASE("a random gate needs a generator and repeats from its state", "[Encoder]") {
  Sizes sizes = sizes_of(three_blocks(), {1});
  sizes.gates[0].kind = io::GateKind::random;
  sizes.gates[0].rate = 0.4;
  const Setup<double> s(sizes, {300, 200});
  REQUIRE(argument_error([&] { s.encoder.forward(s.input(), {}); }) ==
          "RandomGate: rng: got none, expected a generator");
  REQUIRE(s.forward({}).origin == s.forward({}).origin);
  REQUIRE_THAT(s.forward({}).deletion.deletion_rate(), Catch::Matchers::WithinAbs(0.4, 0.08));
  Rng other(10);
  REQUIRE(s.encoder.forward(s.input(&other), {}).origin != s.forward({}).origin);
}

TEST_CASE("a batch without sequences passes through", "[Encoder]") {
  const Setup<double> s(sizes_of(three_blocks(), {1}), {});
  for (const DeletionMode mode :
       {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything}) {
    Encoder<double>::Cache cache;
    const EncoderOutput<double> output = s.forward(deletion(mode), cache);
    REQUIRE(output.hidden.count() == 0);
    REQUIRE(s.encoder.excess_means(cache) == Vector<double>{0, 0});
    Encoder<double> gradients = zeros_like(s.encoder);
    REQUIRE(s.encoder.backward(output.hidden.values, {}, {}, 1.0, cache, gradients).rows() == 0);
    REQUIRE(largest_difference(gradients, zeros_like(s.encoder)) == 0.0);
  }
}

TEST_CASE("an encoder names its gates with their blocks", "[Encoder]") {
  Encoder<float> encoder = sizes_of(three_blocks(), {0, 2}).make<float>();
  Vector<std::string> gates;
  for (const auto& view : parameter_views(encoder, "encoder."))
    if (view.name.find("delete_gate") != std::string::npos) gates.push_back(view.name);
  REQUIRE(gates ==
          Vector<std::string>{
              "encoder.block.0.delete_gate.layer_norm.weight", "encoder.block.0.delete_gate.feed_forward.weight",
              "encoder.block.0.delete_gate.feed_forward.bias", "encoder.block.2.delete_gate.layer_norm.weight",
              "encoder.block.2.delete_gate.feed_forward.weight", "encoder.block.2.delete_gate.feed_forward.bias"});
}

TEST_CASE("an encoder says what does not fit", "[Encoder]") {
  const auto error = [](auto placed) {
    return argument_error([&] { Encoder<float>(three_blocks(), {std::move(placed)}); });
  };
  const merge::DeleteGate<float> gate({.width = 6});
  REQUIRE(error(merge::before_block(4, gate)) ==
          "BlockStack: policies: block: got 4, expected a block number from 0 to 3");
  REQUIRE(error(merge::before_block(-1, gate)) ==
          "BlockStack: policies: block: got -1, expected a block number from 0 to 3");
  REQUIRE(error(merge::after_attention(3, gate)) ==
          "BlockStack: policies: block: got 3, expected a block number from 0 to 2");
  Setup<float> s(sizes_of(three_blocks(), {1}));
  s.rows = Matrix<float>::Zero(9, 5);
  REQUIRE(argument_error([&] { s.forward({}); }) == "Encoder::forward: embedded.values.cols(): got 5, expected 6");
}

TEST_CASE("an encoder reads nothing beyond the end of a short input", "[Encoder]") {
  Setup<float> s(sizes_of(three_blocks(), {1}));
  const auto error = [&s](auto&& change) {
    EncoderInput<float> input = s.input();
    change(input);
    return argument_error([&] { s.encoder.forward(input, deletion(DeletionMode::hard)); });
  };
  const Vector<std::uint8_t> marks(8, 1);
  REQUIRE(error([](auto& input) { input.ids = input.ids.first(8); }) ==
          "Encoder::forward: ids.size(): got 8, expected 9");
  REQUIRE(error([&](auto& input) { input.hidden = marks; }) == "Encoder::forward: hidden.size(): got 8, expected 9");
  REQUIRE(error([&](auto& input) { input.forced = marks; }) == "Encoder::forward: forced.size(): got 8, expected 9");
  REQUIRE(error([&](auto& input) { input.embedded.positions.pop_back(); }) ==
          "Encoder::forward: embedded.positions.size(): got 8, expected 9");
  REQUIRE(error([&](auto& input) { input.embedded.offsets = SequenceOffsets::single(8); }) ==
          "Encoder::forward: embedded.values.rows(): got 9, expected 8");
  REQUIRE(error([&](auto& input) { input.embedded.positions = Vector<Position>(9, -5); }) ==
          "PositionEncoding::bias: positions: got -5, expected positions from 0");
}

TEST_CASE("backward says which gradient does not fit", "[Encoder]") {
  Setup<double> s(sizes_of(three_blocks(), {1}));
  Encoder<double>::Cache cache;
  const EncoderOutput<double> output = s.forward(deletion(DeletionMode::soft), cache);
  Encoder<double> gradients = zeros_like(s.encoder);
  const Matrix<double> grad = Matrix<double>::Zero(9, 6);
  const Vector<merge::ReportGradient<double>> reports = {{Vector<double>(8, 0.0), {}}};
  REQUIRE(argument_error([&] { s.encoder.backward(grad, Vector<double>(9, 0.0), reports, 0, cache, gradients); }) ==
          "GatedDeletion::backward: grad.report.scores.size(): got 8, expected 9");
  REQUIRE(argument_error([&] { s.encoder.backward(grad, Vector<double>(8, 0.0), {}, 0, cache, gradients); }) ==
          "BlockStack::backward: grad_bias.size(): got 8, expected 9");
}

TEST_CASE("ids are marked where they equal one, and not at all without one", "[Encoder]") {
  REQUIRE(mark_ids(Vector<TokenId>{3, 0, 4, 0}, 0) == Vector<std::uint8_t>{0, 1, 0, 1});
  REQUIRE(mark_ids(Vector<TokenId>{3, 4}, 0).empty());
  REQUIRE(mark_ids({}, 0).empty());
}

TEST_CASE("gate values of a call stand in for the first gate, and later gates say nothing", "[Encoder]") {
  Setup<double> s(sizes_of(three_blocks(), {1, 2}));
  Vector<double> values(9, -30.0);
  for (const Index token : {0, 2, 5, 8}) values[token] = 0;
  merge::DeletionOptions options = deletion(DeletionMode::hard);
  options.gate_values = values;
  const EncoderOutput<double> output = s.encoder.forward(s.input(), options);
  REQUIRE(output.reports.size() == 1);
  REQUIRE(output.reports[0].scores == values);
  for (Index token = 0; token < 9; ++token)
    if (values[token] == 0) REQUIRE(std::count(output.origin.begin(), output.origin.end(), token) == 1);
  REQUIRE(output.origin.size() < 9);

  // While training they are constants: the gate learns nothing.
  Encoder<double>::Cache cache;
  Rng rng(1);
  options.mode = DeletionMode::soft;
  const EncoderOutput<double> trained = s.encoder.forward(s.input(), options, rng, cache);
  REQUIRE(trained.key_bias == values);
  Encoder<double> gradients = zeros_like(s.encoder);
  s.encoder.backward(Matrix<double>::Ones(9, 6), Vector<double>(9, 1.0), {}, 0, cache, gradients);
  for (merge::Placement<double>& placement : gradients.policies)
    for (const ParameterView<double>& view : parameter_views(placement.policy, ParameterName::unread()))
      for (Index i = 0; i < view.size(); ++i) REQUIRE(view.data[i] == 0);

  options.gate_values = std::span<const double>(values).first(8);
  REQUIRE(argument_error([&] { s.encoder.forward(s.input(), options); }) ==
          "BlockStack: gate_values.size(): got 8, expected 9");
  s.encoder.policies.clear();
  options.gate_values = values;
  REQUIRE(argument_error([&] { s.encoder.forward(s.input(), options); }) ==
          "BlockStack: gate_values: got values and no gate, expected a gate that takes them, such as before_block(2, "
          "GivenGate{})");
}

TEMPLATE_TEST_CASE("rows that leave behind the last block are softly deleted until then", "[Encoder]", float, double) {
  Setup<TestType> s(sizes_of(three_blocks(), {0}), {30, 1, 17, 0});
  s.forced.assign(48, 0);
  s.forced[4] = s.forced[47] = 1;
  const Vector<merge::Placement<TestType>> at_once = s.encoder.policies;
  const EncoderOutput<TestType> soft = s.forward(deletion(DeletionMode::soft));
  const EncoderOutput<TestType> hard = s.forward(deletion(DeletionMode::hard));
  s.encoder.policies = delay_gates(s.encoder, 3);
  const EncoderOutput<TestType> later = s.forward(deletion(DeletionMode::hard));
  const Vector<Index> survivors = soft.reports[0].kept;
  REQUIRE((survivors.size() > 5 && survivors.size() < 40));
  REQUIRE(identical(later.hidden.values, Matrix<TestType>(soft.hidden.values(survivors, Eigen::all))));
  REQUIRE(later.origin == survivors);
  REQUIRE(later.hidden.positions == hard.hidden.positions);
  REQUIRE(later.hidden.offsets == hard.hidden.offsets);
  REQUIRE(later.key_bias == hard.key_bias);
  REQUIRE(later.group == hard.group);
  REQUIRE(later.deleted.empty());
  // What is counted is counted once: where it leaves.
  REQUIRE(later.deletion.tokens == hard.deletion.tokens);
  REQUIRE(later.deletion.kept == hard.deletion.kept);
  REQUIRE(later.reports.size() == 2);
  REQUIRE(later.reports[0].deletion().deleted() == 0);
  REQUIRE(later.reports[0].scores == hard.reports[0].scores);
  REQUIRE(later.reports[1].kept == hard.reports[0].kept);
  REQUIRE(later.reports[1].group == hard.reports[0].group);
  REQUIRE(later.reports[1].deletion().kept == hard.deletion.kept);

  // Softly it is the gate alone, without deletion nothing.
  const EncoderOutput<TestType> same = s.forward(deletion(DeletionMode::soft));
  REQUIRE(identical(same.hidden.values, soft.hidden.values));
  REQUIRE(same.key_bias == soft.key_bias);
  REQUIRE(same.deleted == soft.deleted);
  REQUIRE(same.hidden_keys == soft.hidden_keys);
  REQUIRE(same.group == soft.group);
  REQUIRE(same.deletion.kept == soft.deletion.kept);
  REQUIRE(same.reports[0].kept == soft.reports[0].kept);
  REQUIRE(same.reports[1].kept == soft.reports[0].kept);
  REQUIRE(s.forward(deletion(DeletionMode::none)).reports.empty());
  REQUIRE(s.forward(deletion(DeletionMode::none)).hidden.total() == 48);

  // Without a delay it is the gate as it was.
  for (const SurvivorBias bias : {SurvivorBias::kept, SurvivorBias::dropped}) {
    Setup<TestType> now = s;
    now.encoder.policies = at_once;
    const EncoderOutput<TestType> was = now.forward(deletion(DeletionMode::hard, bias));
    now.encoder.policies = delay_gates(now.encoder, 0);
    REQUIRE(now.encoder.policies.size() == 1);
    REQUIRE(identical(now.forward(deletion(DeletionMode::hard, bias)).hidden.values, was.hidden.values));
    now.encoder.policies = delay_gates(now.encoder, 1);
    REQUIRE_FALSE(identical(now.forward(deletion(DeletionMode::hard, bias)).hidden.values, was.hidden.values));
    now.encoder.policies[1].block = 0;  // a removal right behind the gate
    REQUIRE(identical(now.forward(deletion(DeletionMode::hard, bias)).hidden.values, was.hidden.values));
  }
}

TEST_CASE("thresholds and rates of a call hold for gates whose rows leave later", "[Encoder]") {
  Setup<double> s(sizes_of(three_blocks(), {0, 1}), {30, 1, 17, 0});
  const Vector<merge::Placement<double>> at_once = s.encoder.policies;
  s.forced.assign(48, 0);
  s.forced[3] = s.forced[31] = 1;
  for (const Index delay : {1, 2}) {
    s.encoder.policies = delay_gates(s.encoder, delay);
    for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard})
      for (const double rate : {0.0, 0.1, 0.5, 0.9, 1.0}) {
        DeletionOptions options = deletion(mode);
        options.target_rate = rate;
        const auto left = [&](Index n) { return n - merge::removals_of(n, rate); };
        REQUIRE(s.forward(options).deletion.kept == Vector<Index>{left(29), 1, left(16), 0});
      }
    DeletionOptions options;
    options.threshold = -29.0;
    const EncoderOutput<double> output = s.forward(options);
    for (const auto& report : output.reports)
      if (report.is_gate) REQUIRE(report.threshold == -29.0);
    options.threshold = 1.0;  // nothing is above it
    REQUIRE(s.forward(options).deletion.kept == Vector<Index>{1, 1, 1, 0});
    s.encoder.policies = at_once;
  }
}

TEMPLATE_TEST_CASE("rows that leave later leave a sequence and its threads alone", "[Encoder]", float, double) {
  Setup<TestType> s(sizes_of(small_stack(), {0}), {70, 1, 0, 33, 5});
  s.encoder.policies = delay_gates(s.encoder, 1);
  for (const SurvivorBias bias : {SurvivorBias::kept, SurvivorBias::dropped}) {
    const DeletionOptions options = deletion(DeletionMode::hard, bias);
    const EncoderOutput<TestType> together = s.forward(options);
    REQUIRE((together.hidden.total() > 5 && together.hidden.total() < s.ids.total()));
    require_same_bits_with_threads([&] { return s.forward(options).hidden.values; });
    typename Encoder<TestType>::Cache cache;
    REQUIRE(relative_difference(s.forward(options, cache).hidden.values, together.hidden.values) <=
            agreement<TestType>);
    for (Index i = 0; i < s.ids.count(); ++i) {
      Setup<TestType> single = s;
      single.ids = alone(s.ids, i);
      single.rows = rows_of(s.rows, s.ids.offsets, i);
      REQUIRE(identical(single.forward(options).hidden.values,
                        rows_of(together.hidden.values, together.hidden.offsets, i)));
    }
  }
}

TEST_CASE("a config has no words for a gate whose rows leave later, but by a name", "[Encoder]") {
  Setup<double> s(sizes_of(three_blocks(), {0}));
  Vector<merge::Placement<double>> pair = delay_gates(s.encoder, 2);
  const auto error = [](const Vector<merge::Placement<double>>& placements) {
    return argument_error([&] { io::describe_policies(placements); });
  };
  const std::string expected =
      "hf_config: policies: got one that config.json has no words for, expected delete gates or a pooling on entry to "
      "blocks, or a Placement::name";
  REQUIRE(error(pair) == expected);
  REQUIRE(error({pair[0]}) == expected);
  for (merge::Placement<double>& placement : pair) placement.name = "late:block=0";
  REQUIRE(io::describe_policies(pair).named == std::vector<std::string>{"late:block=0"});
}

TEST_CASE("a rate scales a schedule of removals and keeps its shape", "[Encoder]") {
  Setup<double> s(sizes_of(three_blocks(), {}), {40, 1, 20, 0});
  s.encoder.policies = merge::after_attention_of_each<double>(
      merge::linear_schedule(3, 2, 1), [](Index removals) { return PairMerge{{.rate = {}, .tokens = removals}}; });
  const auto removed = [&](const DeletionOptions& options) {
    const EncoderOutput<double> output = s.forward(options);
    Vector<Index> counts;  // of the first sequence, then of the third
    for (const Index sequence : {0, 2})
      for (const auto& report : output.reports)
        counts.push_back(report.deletion().tokens[sequence] - report.deletion().kept[sequence]);
    return counts;
  };
  DeletionOptions options;
  REQUIRE(removed(options) == Vector<Index>{0, 2, 4, 0, 2, 4});
  for (const DeletionMode mode : {DeletionMode::soft, DeletionMode::hard}) {
    options.mode = mode;
    options.target_rate = 0.3;
    REQUIRE(removed(options) == Vector<Index>{0, 4, 8, 0, 2, 4});
    REQUIRE(s.forward(options).deletion.kept == Vector<Index>{28, 1, 14, 0});
    options.target_rate = 0.0;
    REQUIRE(removed(options) == Vector<Index>(6, 0));
  }
  // Pairs are at most half of the tokens: the first of a falling schedule leaves the rest to those behind it.
  s.encoder.policies = merge::after_attention_of_each<double>(
      merge::linear_schedule(3, 3, -1), [](Index removals) { return PairMerge{{.rate = {}, .tokens = removals}}; });
  options.target_rate = 0.9;
  REQUIRE(removed(options) == Vector<Index>{20, 10, 5, 10, 5, 2});
  options.target_rate = 0.75;
  REQUIRE(removed(options) == Vector<Index>{20, 10, 0, 10, 5, 0});
  std::swap(s.encoder.policies[0], s.encoder.policies[2]);  // the order of the list is not that of the blocks
  REQUIRE(removed(options) == Vector<Index>{20, 10, 0, 10, 5, 0});
  // Rates of its own, that make 0.6 together.
  s.encoder.policies = {merge::before_block(0, DropByLot{{.rate = 0.5}}),
                        merge::before_block(1, DropByLot{{.rate = 0.2}})};
  options.target_rate = 0.6;
  REQUIRE(removed(options) == Vector<Index>{20, 4, 10, 2});
}

}  // namespace encoder_test
