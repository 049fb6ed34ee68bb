// Policies of several kinds at several places of one stack.
#include <merganser/models/block_stack.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/boundary_pooling.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>
#include <merganser/models/encoder.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/generation.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/training/trainer.hpp>

#include "models/small_planners.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace block_stack_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::after_attention;
using merge::before_block;
using merge::DeletionMode;
using merge::DeletionOptions;
using merge::Site;
using merge::SizeBias;
using merge::SurvivorBias;

constexpr DeletionMode all_modes[] = {DeletionMode::none, DeletionMode::soft, DeletionMode::hard,
                                      DeletionMode::everything};

StackConfig three_blocks(PositionScheme positions = PositionScheme::relative) {
  StackConfig stack = tiny_stack();
  stack.blocks = 3;
  stack.max_positions = 30;
  stack.positions = positions;
  return stack;
}

template <Real Scalar>
using Placements = Vector<merge::Placement<Scalar>>;

template <Real Scalar>
merge::DeleteGate<Scalar> gate(const StackConfig& stack) {
  return merge::DeleteGate<Scalar>({.width = stack.width});
}

template <Real Scalar>
merge::StridedPooling<Scalar> strided(const StackConfig& stack, Index rate = 2) {
  return merge::StridedPooling<Scalar>({stack.width, rate});
}

/// A gate, a planner before a block, one after attention whose rows weigh by their size, and a pooling.
template <Real Scalar>
Placements<Scalar> mix(const StackConfig& stack) {
  return {before_block(0, gate<Scalar>(stack)), before_block(1, DropThirds{}),
          after_attention(1, PairMerge{}, SizeBias::log_size), before_block(2, strided<Scalar>(stack))};
}

/// An encoder and the rows of some sequences, one of them empty.
template <Real Scalar>
struct Setup {
  Encoder<Scalar> encoder;
  TokenBatch ids;
  Matrix<Scalar> rows;
  Vector<std::uint8_t> forced;

  Setup(const StackConfig& stack, Placements<Scalar> placements, const Vector<Index>& lengths = {9, 1, 12, 0},
        std::uint64_t seed = 1)
      : encoder(stack, std::move(placements)), ids(random_tokens(lengths, 11, seed)) {
    fill_model(encoder, seed);
    Rng rng(seed + 1);
    rows = random_matrix<Scalar>(ids.total(), stack.width, rng);
  }

  EncoderInput<Scalar> input(Rng* rng = nullptr) const { return {{rows, ids.offsets}, ids.ids, {}, forced, rng}; }

  EncoderOutput<Scalar> forward(const DeletionOptions& options = {}) const {
    Rng rng(9);
    return encoder.forward(input(&rng), options);
  }

  EncoderOutput<Scalar> forward(const DeletionOptions& options, typename Encoder<Scalar>::Cache& cache) const {
    Rng rng(9);
    return encoder.forward(input(&rng), options, rng, cache);
  }

  /// One of the sequences by itself.
  Setup only(Index sequence) const {
    Setup single = *this;
    single.ids = alone(ids, sequence);
    single.rows = rows_of(rows, ids.offsets, sequence);
    return single;
  }
};

template <Real Scalar>
Vector<Index> blocks_of(const EncoderOutput<Scalar>& output) {
  Vector<Index> blocks;
  for (const auto& report : output.reports) blocks.push_back(report.block);
  return blocks;
}

template <Real Scalar>
Vector<Site> sites_of(const EncoderOutput<Scalar>& output) {
  Vector<Site> sites;
  for (const auto& report : output.reports) sites.push_back(report.site);
  return sites;
}

/// The tokens of each sequence that stay when a whole stack is to remove this share.
Vector<Index> kept_at(const Vector<Index>& lengths, double rate) {
  Vector<Index> kept;
  for (const Index n : lengths)
    kept.push_back(n == 0 ? 0 : std::max<Index>(n - std::lround(rate * static_cast<double>(n)), 1));
  return kept;
}

/// Writes down what it is shown, and moves nothing.
struct Witness {
  struct Seen {
    Vector<Vector<TokenId>> ids;
    Vector<Vector<Position>> positions;
    Vector<Vector<double>> sizes;
  };
  std::shared_ptr<Seen> seen = std::make_shared<Seen>();

  merge::MergePlan<double> plan(const merge::Tokens<double>& tokens) const {
    seen->ids.emplace_back(tokens.ids.begin(), tokens.ids.end());
    seen->positions.emplace_back(tokens.positions.begin(), tokens.positions.end());
    Vector<double>& sizes = seen->sizes.emplace_back();
    for (Index token = 0; token < tokens.count(); ++token) sizes.push_back(tokens.size(token));
    return KeepAll().plan(tokens);
  }
};

void check_gradients_of(Setup<double>& s, const DeletionOptions& options) {
  const Threads one(1);
  Encoder<double>::Cache cache;
  const EncoderOutput<double> output = s.forward(options, cache);
  REQUIRE(plan_margin(output, options) > 0.1);
  REQUIRE(output.hidden.total() < s.ids.total() / 2);
  const EncoderProbe probe(output);
  Encoder<double> gradients = zeros_like(s.encoder);
  Matrix<double> grad_rows = s.encoder.backward(probe.hidden, probe.key_bias, probe.reports, 0.0, cache, gradients);
  auto parameters = parameter_views(s.encoder), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("rows", s.rows));
  analytic.push_back(tensor_view("rows", grad_rows));
  require_gradients([&] { return probe(s.forward(options, cache), {}); }, parameters, analytic);
}

TEST_CASE("policies act in the order of their places and say where they stood", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  const Setup<double> s(
      stack,
      {after_attention(1, DropThirds{}), before_block(3, PairMerge{}), before_block(0, PairMerge{}),
       before_block(2, gate<double>(stack)), before_block(0, DropThirds{}), after_attention(0, PairMerge{})},
      {20, 1, 14, 0});
  Encoder<double>::Cache cache;
  for (const auto& output : {s.forward(), s.forward({}, cache)}) {
    REQUIRE(blocks_of(output) == Vector<Index>{0, 0, 0, 1, 2, 3});
    REQUIRE(sites_of(output) == Vector<Site>{Site::before_block, Site::before_block, Site::after_attention,
                                             Site::after_attention, Site::before_block, Site::before_block});
    for (Index r = 0; r < 6; ++r) REQUIRE(output.reports[r].is_gate == (r == 4));
    // Two at one place: the pairs first, as they come first in the list.
    REQUIRE(output.reports[0].kept.size() == 35 - 6 - 4);
    REQUIRE(output.reports[0].group[1] == 0);
    REQUIRE(output.reports[1].group[1] == -1);
    REQUIRE(output.reports[0].offsets == s.ids.offsets);
    for (Index r = 1; r < 6; ++r) REQUIRE(output.reports[r].offsets.total() == output.reports[r - 1].kept.size());
    REQUIRE(output.hidden.total() == output.reports[5].kept.size());
  }
}

TEST_CASE("a policy stands where it says: before a block, between its halves, or behind the last", "[BlockStack]") {
  const auto stack = three_blocks(PositionScheme::absolute);
  const Setup<double> s(stack, {before_block(1, PairMerge{}, SizeBias::log_size), after_attention(1, DropThirds{}),
                                before_block(3, PairMerge{})});
  const Encoder<double>& encoder = s.encoder;
  const DeletionOptions options;
  const nn::DistanceBias<double> bias = encoder.position.bias(counting_positions(s.ids.offsets));
  auto state = merge::TokenState<double>::start(s.ids.offsets, counting_positions(s.ids.offsets));
  Matrix<double> x = s.rows;
  encoder.position.add(x, state.positions, nullptr);
  const auto shorten = [&](auto planner, SizeBias size_bias) {
    const merge::PlanPolicy<double, decltype(planner)> policy(planner);
    auto reduced = policy.forward(std::move(x), {.state = state, .options = options, .size_bias = size_bias});
    x = std::move(reduced.x);
    state = std::move(reduced.state);
  };
  const auto attend = [&](Index b) { x = encoder.blocks[b].attend(x, self_attention_context(state, bias, {})); };
  attend(0);
  x = encoder.blocks[0].feed(x);
  shorten(PairMerge{}, SizeBias::log_size);
  REQUIRE(state.key_bias[0] == std::log(2.0));
  attend(1);
  shorten(DropThirds{}, SizeBias::none);
  x = encoder.blocks[1].feed(x);
  attend(2);
  x = encoder.blocks[2].feed(x);
  shorten(PairMerge{}, SizeBias::none);
  const auto output = s.forward();
  REQUIRE(identical(output.hidden.values, encoder.final_norm.forward(x)));
  REQUIRE(output.hidden.offsets == state.offsets);
  REQUIRE(output.key_bias == state.key_bias);
  REQUIRE(output.origin == state.origin);
}

TEST_CASE("a planner is shown the ids, positions and sizes of the tokens that are left", "[BlockStack]") {
  Witness witness;
  const Setup<double> s(
      three_blocks(),
      {before_block(0, DropThirds{}), before_block(1, PairMerge{{.tokens = 1}}), after_attention(1, witness)},
      {5, 0, 2});
  s.forward();
  const auto id = [&](Index t) { return s.ids.ids[t]; };
  REQUIRE(witness.seen->ids == Vector<Vector<TokenId>>{{id(0), id(3)}, {id(5)}});  // nobody is asked about nothing
  REQUIRE(witness.seen->positions == Vector<Vector<Position>>{{0, 3}, {0}});
  REQUIRE(witness.seen->sizes == Vector<Vector<double>>{{2, 1}, {1}});
}

TEST_CASE("a gate is shown the ids of the tokens that are left", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  Setup<double> s(stack, {before_block(0, DropThirds{}), before_block(1, merge::FixedRuleGate{1.0, -30.0, {7}})}, {6});
  s.ids.ids = {7, 7, 4, 7, 4, 5};
  const EncoderOutput<double> output = s.forward(deletion(DeletionMode::soft));
  const auto& report = output.reports[1];
  REQUIRE(report.threshold == -15.0);
  // 7 4 7 5: all of every segment goes.
  REQUIRE(report.scores == Vector<double>{-30, -30, -30, -30});
  auto& rule = *s.encoder.policies[1].policy.target<merge::FixedRuleGate>();
  rule.amount = 0.5;
  REQUIRE(s.forward(deletion(DeletionMode::soft)).reports[1].scores == Vector<double>{0, -30, 0, -30});
}

TEST_CASE("the gradients of a mix of policies agree with finite differences", "[BlockStack]") {
  const bool absolute = GENERATE(false, true);
  const StackConfig stack = three_blocks(absolute ? PositionScheme::absolute : PositionScheme::relative);
  SECTION("a gate under soft deletion") {
    Setup<double> s(stack, mix<double>(stack));
    check_gradients_of(s, deletion(DeletionMode::soft));
  }
  SECTION("a gate under hard deletion, whose survivors keep their bias or lose it") {
    Setup<double> s(stack, mix<double>(stack), {9, 1, 12, 0}, 3);
    for (const SurvivorBias bias : {SurvivorBias::kept, SurvivorBias::dropped})
      check_gradients_of(s, deletion(DeletionMode::hard, bias));
  }
  SECTION("a gate behind an attention and one behind the last block, between them what merges their biases") {
    Setup<double> s(stack,
                    {after_attention(0, gate<double>(stack)), before_block(1, PairMerge{}),
                     after_attention(1, PairMerge{}, SizeBias::log_size), before_block(2, gate<double>(stack)),
                     before_block(2, strided<double>(stack)), before_block(3, gate<double>(stack)),
                     before_block(3, PairMerge{}, SizeBias::log_size)},
                    {13, 1, 15, 0});
    set_regulariser(s.encoder, merge::GateRegulariser::logits);
    check_gradients_of(s, deletion(DeletionMode::soft));
  }
  SECTION("pads") {
    Setup<double> s(stack, mix<double>(stack));
    s.forced.resize(22, 0);
    for (const Index pad : {0, 8, 9, 15}) s.forced[pad] = 1;
    check_gradients_of(s, deletion(DeletionMode::soft));
    check_gradients_of(s, deletion(DeletionMode::hard));
  }
}

TEMPLATE_TEST_CASE("with a mix of policies a sequence alone gives the bits that it gives in a batch", "[BlockStack]",
                   float, double) {
  StackConfig stack = small_stack();
  stack.blocks = 3;
  Placements<TestType> placements = mix<TestType>(stack);
  placements.push_back(before_block(1, DropByLot{}));
  placements.push_back(after_attention(2, merge::BoundaryPooling<TestType>({stack.width, 11})));
  placements.push_back(before_block(3, PairMerge{}, SizeBias::log_size));
  const Setup<TestType> s(stack, placements, {70, 1, 0, 33, 5});
  Vector<DeletionOptions> all;
  for (const DeletionMode mode : all_modes) all.push_back(deletion(mode));
  all.emplace_back().target_rate = 0.8;
  for (const DeletionOptions& options : all) {
    CAPTURE(static_cast<int>(options.mode));
    const EncoderOutput<TestType> together = s.forward(options);
    for (Index i = 0; i < s.ids.count(); ++i) {
      const EncoderOutput<TestType> own = s.only(i).forward(options);
      REQUIRE(identical(own.hidden.values, rows_of(together.hidden.values, together.hidden.offsets, i)));
      REQUIRE(own.deletion.kept[0] == together.deletion.kept[i]);
      if (own.key_bias.empty()) continue;
      const RowRange range = together.hidden.offsets.range(i);
      REQUIRE(std::equal(own.key_bias.begin(), own.key_bias.end(), together.key_bias.begin() + range.begin));
    }
    require_same_bits_with_threads([&] { return s.forward(options).hidden.values; });
    if (options.mode == DeletionMode::everything) continue;
    require_same_bits_with_threads([&] {
      typename Encoder<TestType>::Cache cache;
      const auto output = s.forward(options, cache);
      Encoder<TestType> gradients = zeros_like(s.encoder);
      return s.encoder.backward(output.hidden.values, output.key_bias, {}, 0.0, cache, gradients);
    });
  }
}

TEMPLATE_TEST_CASE("policies that remove nothing leave the bits of a stack without them", "[BlockStack]", float,
                   double) {
  StackConfig stack = small_stack();
  stack.blocks = 2;
  const Setup<TestType> plain(stack, {}, {40, 1, 0, 13});
  DeletionOptions options = deletion(DeletionMode::hard, SurvivorBias::dropped);
  Placements<TestType> placements;
  SECTION("planners that keep everything") {
    placements = {before_block(0, KeepAll{}), after_attention(0, KeepAll{}, SizeBias::log_size),
                  before_block(1, KeepAll{}), before_block(2, KeepAll{}, SizeBias::log_size)};
  }
  SECTION("a rate of nothing") {
    placements = {before_block(0, PairMerge{}), before_block(1, gate<TestType>(stack)), after_attention(1, PairMerge{}),
                  before_block(2, DropByLot{})};
    options.target_rate = 0;
  }
  SECTION("a threshold below everything") {
    placements = {before_block(0, gate<TestType>(stack)), after_attention(1, gate<TestType>(stack))};
    options.threshold = -1e30;
  }
  Setup<TestType> s = plain;
  s.encoder.policies = placements;
  const auto with = s.forward(options), without = plain.forward(options);
  REQUIRE(with.reports.size() == placements.size());
  REQUIRE(identical(with.hidden.values, without.hidden.values));
  REQUIRE(with.hidden.positions == without.hidden.positions);
  REQUIRE(with.origin == without.origin);
  REQUIRE(with.group == without.group);
  REQUIRE(with.deletion.deletion_rate() == 0);
  const bool biased =
      std::any_of(with.key_bias.begin(), with.key_bias.end(), [](TestType value) { return value != 0; });
  REQUIRE_FALSE(biased);

  typename Encoder<TestType>::Cache cache, plain_cache;
  s.forward(options, cache);
  plain.forward(options, plain_cache);
  Encoder<TestType> gradients = zeros_like(s.encoder), plain_gradients = zeros_like(plain.encoder);
  REQUIRE(identical(s.encoder.backward(with.hidden.values, {}, {}, 0.0, cache, gradients),
                    plain.encoder.backward(with.hidden.values, {}, {}, 0.0, plain_cache, plain_gradients)));
  gradients.policies.clear();
  REQUIRE(numbers_of(gradients) == numbers_of(plain_gradients));
}

TEST_CASE("without deletion only structural policies act, under soft deletion gates weaken and others act",
          "[BlockStack]") {
  const StackConfig stack = three_blocks();
  const Setup<double> s(stack, mix<double>(stack));
  const EncoderOutput<double> none = s.forward(deletion(DeletionMode::none));
  REQUIRE(blocks_of(none) == Vector<Index>{2});
  REQUIRE(none.reports[0].offsets == s.ids.offsets);
  REQUIRE(none.deletion.kept == Vector<Index>{5, 1, 6, 0});
  REQUIRE(none.key_bias.empty());

  const EncoderOutput<double> soft = s.forward(deletion(DeletionMode::soft));
  REQUIRE(blocks_of(soft) == Vector<Index>{0, 1, 1, 2});
  REQUIRE(soft.reports[0].is_gate);
  REQUIRE(soft.reports[0].group.empty());
  REQUIRE(soft.reports[1].offsets == s.ids.offsets);  // the gate moved nothing
  REQUIRE(soft.reports[1].kept.size() == 6 + 1 + 8);

  const EncoderOutput<double> hard = s.forward();
  REQUIRE(hard.reports[0].kept == soft.reports[0].kept);
  REQUIRE(hard.reports[1].offsets.total() == hard.reports[0].kept.size());
  REQUIRE(hard.reports[0].kept.size() < 22);

  const EncoderOutput<double> everything = s.forward(deletion(DeletionMode::everything));
  REQUIRE(blocks_of(everything) == Vector<Index>{2});
  REQUIRE(everything.hidden.total() == 0);
  REQUIRE(everything.deletion.kept == Vector<Index>{0, 0, 0, 0});
  REQUIRE(everything.group == Vector<Index>(22, -1));
  REQUIRE(everything.origin.empty());
}

TEST_CASE("a rate of the call is what all policies of a stack remove together", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  const Vector<Index> lengths{30, 1, 17, 0, 2};
  const auto removed = [](const merge::PolicyReport<double>& report) {
    return report.offsets.length(0) - report.deletion().kept[0];
  };
  for (const double rate : {0.0, 0.1, 0.3, 0.5, 0.77, 0.9, 1.0}) {
    CAPTURE(rate);
    DeletionOptions options;
    options.target_rate = rate;
    SECTION("two gates " + std::to_string(rate)) {
      const Setup<double> s(stack, {before_block(0, gate<double>(stack)), before_block(2, gate<double>(stack))},
                            lengths);
      const EncoderOutput<double> hard = s.forward(options);
      REQUIRE(hard.deletion.kept == kept_at(lengths, rate));
      if (rate == 0.3) {  // 9 of 30, of which each takes a share of 1 - sqrt(0.7) of what reaches it
        REQUIRE(removed(hard.reports[0]) == 5);
        REQUIRE(removed(hard.reports[1]) == 4);
      }
      options.mode = DeletionMode::soft;
      const EncoderOutput<double> soft = s.forward(options);
      REQUIRE(soft.hidden.total() == 50);
      REQUIRE(soft.deletion.kept == kept_at(lengths, rate));
    }
    SECTION("a gate and planners with a budget " + std::to_string(rate)) {
      const Setup<double> s(
          stack, {before_block(0, gate<double>(stack)), after_attention(1, DropByLot{}), before_block(3, DropByLot{})},
          lengths);
      REQUIRE(s.forward(options).deletion.kept == kept_at(lengths, rate));
    }
    SECTION("what one cannot remove goes to those behind it " + std::to_string(rate)) {
      const Setup<double> s(stack, {before_block(0, PairMerge{}), before_block(2, DropByLot{})}, lengths);
      REQUIRE(s.forward(options).deletion.kept == kept_at(lengths, rate));
    }
    SECTION("what went without a budget counts first " + std::to_string(rate)) {
      const Setup<double> s(stack, {before_block(0, strided<double>(stack)), before_block(2, DropByLot{})}, lengths);
      Vector<Index> expected = kept_at(lengths, rate);
      const Vector<Index> pooled{15, 1, 9, 0, 1};
      for (Index i = 0; i < 5; ++i) expected[i] = std::min(expected[i], pooled[i]);
      REQUIRE(s.forward(options).deletion.kept == expected);
    }
    SECTION("pads do not count " + std::to_string(rate)) {
      Setup<double> s(stack, {before_block(0, gate<double>(stack)), before_block(2, DropByLot{})}, {34, 3, 17, 2, 2});
      s.forced.resize(s.ids.total(), 0);
      for (const Index pad : {0, 7, 8, 33, 34, 36, 54, 55}) s.forced[pad] = 1;
      REQUIRE(s.forward(options).deletion.kept == kept_at(lengths, rate));
    }
  }
}

TEST_CASE("a batch of pads among other tokens gives what the tokens alone give, with a mix of policies",
          "[BlockStack]") {
  const StackConfig stack = three_blocks();
  for (const DeletionMode mode : all_modes)
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      Design<EncoderDecoder<double>> design;
      design.vocabulary = 11;
      design.encoder = stack;
      EncoderDecoder<double> model = design.make();
      model.encoder.policies = mix<double>(stack);
      // The groups of a strided pooling are by place, pads or not; segments are not.
      model.encoder.policies.back() = before_block(2, merge::BoundaryPooling<double>({stack.width, 11}));
      fill_model(model, seed);
      const TokenBatch source = random_tokens({9, 1, 12, 0}, 11, seed), target = random_tokens({3, 2, 1, 2}, 11, 7);
      const TokenBatch padded = with_pads(source, design.pad, seed);
      EncoderDecoder<double>::ForwardOptions options;
      options.deletion = deletion(mode);
      const auto expected = model.forward(source, target, options), got = model.forward(padded, target, options);
      CAPTURE(static_cast<int>(mode), seed);
      REQUIRE(relative_difference(got.logits, expected.logits) <= 1e-12);
      REQUIRE(got.encoded.deletion.tokens == expected.encoded.deletion.tokens);
      REQUIRE(got.encoded.deletion.kept == expected.encoded.deletion.kept);
    }
}

TEST_CASE("group and origin say the same of a whole stack", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard})
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      Setup<double> s(stack, mix<double>(stack), {19, 1, 12, 0}, seed);
      s.forced.resize(32, 0);
      s.forced[3] = s.forced[19] = s.forced[31] = 1;  // none at a place that the strided pooling lends a row
      const EncoderOutput<double> output = s.forward(deletion(mode));
      REQUIRE(output.group.size() == 32);
      REQUIRE(output.origin.size() == output.hidden.total());
      REQUIRE(std::is_sorted(output.origin.begin(), output.origin.end()));
      Vector<Index> members(output.hidden.total(), 0);
      for (Index i = 0; i < 4; ++i)
        for (Index t = s.ids.offsets.begin(i); t < s.ids.offsets.end(i); ++t) {
          const Index row = output.group[t];
          if (row < 0) continue;
          REQUIRE(row >= output.hidden.offsets.begin(i));
          REQUIRE(row < output.hidden.offsets.end(i));
          REQUIRE(output.origin[row] <= t);  // these policies put a row at the place of its first token
          ++members[row];
        }
      for (Index row = 0; row < members.size(); ++row) {
        REQUIRE(output.group[output.origin[row]] == row);
        REQUIRE(members[row] >= 1);
        REQUIRE(output.hidden.positions[row] == counting_positions(s.ids.offsets)[output.origin[row]]);
      }
      // Every token is in a row that it went into by each report, or was dropped by one.
      for (Index t = 0; t < 32; ++t) {
        Index row = t;
        for (const auto& report : output.reports)
          if (row >= 0 && !report.group.empty()) row = report.group[row];
        REQUIRE(output.group[t] == row);
      }
      if (mode == DeletionMode::none) {  // nothing is dropped but pads
        for (Index t = 0; t < 32; ++t) REQUIRE((output.group[t] < 0) == (s.forced[t] != 0));
      } else {
        REQUIRE(std::count(output.group.begin(), output.group.end(), -1) > 3);
      }
    }
}

TEST_CASE("policies are set on a model that is there", "[BlockStack]") {
  Design<EncoderDecoder<double>> design;
  design.vocabulary = 11;
  design.encoder = three_blocks();
  EncoderDecoder<double> model = design.make();
  fill_model(model, 1);
  const TokenBatch source = random_tokens({9, 1, 12}, 11, 2), target = random_tokens({3, 2, 4}, 11, 3);
  const auto before = model.forward_targets(source, target, {});
  model.encoder.policies = {merge::before_block(1, PairMerge{})};
  const auto output = model.forward_targets(source, target, {});
  REQUIRE(output.encoded.deletion.kept == Vector<Index>{6, 1, 8});
  REQUIRE(relative_difference(output.logits, before.logits) > 1e-3);

  GenerationOptions generation;
  generation.max_length = 6;
  generation.step_logits = StepLogits::kept;
  const auto generated = generate(model, source, generation);
  REQUIRE(generated.encoded.origin == output.encoded.origin);
  const auto read = model.forward(source, generated.ids);
  for (Index i = 0; i < 3; ++i)
    REQUIRE(relative_difference(read.logits.row(generated.ids.offsets.begin(i)), generated.step_logits[0].row(i)) <=
            10 * agreement<double>);

  training::Trainer<EncoderDecoder<double>> trainer(model, {});
  data::Batch batch;
  batch.source = source;
  batch.target = target;
  const auto weights = numbers_of(model);
  const auto report = trainer.step(batch);
  REQUIRE(std::isfinite(report.total));
  REQUIRE(report.gradient_norm > 0);
  REQUIRE(numbers_of(model) != weights);

  model.encoder.policies.clear();
  REQUIRE(model.encode(source).reports.empty());
}

TEST_CASE("the gradients of a model with policies of one's own agree with finite differences", "[BlockStack]") {
  const Threads one(1);
  Design<SequenceClassifier<double>> design;
  design.vocabulary = 11;
  design.encoder = three_blocks();
  design.classes = 3;
  ModelSetup<SequenceClassifier<double>> s(design, random_tokens({9, 1, 0, 8}, 11, 2),
                                           random_tokens({1, 1, 1, 1}, 3, 3), {}, 1);
  s.objective.score_penalty = 0;
  s.model.encoder.policies = {after_attention(0, PairMerge{}, SizeBias::log_size),
                              before_block(1, gate<double>(design.encoder)), before_block(2, DropThirds{})};
  fill_model(s.model, 5);
  s.deletion = deletion(GENERATE(DeletionMode::soft, DeletionMode::hard));
  SequenceClassifier<double>::Cache cache;
  REQUIRE(plan_margin(s.trained(cache).encoded, s.deletion) > 0.1);
  SequenceClassifier<double> gradients = zeros_like(s.model);
  s.backward(gradients);
  require_gradients([&] { return s.evaluate(cache).total; }, parameter_views(s.model), parameter_views(gradients));
}

TEST_CASE("training and inference agree with a mix of policies, and backward adds", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  const Setup<double> s(stack, mix<double>(stack));
  for (const DeletionMode mode : all_modes) {
    require_forward_agrees([&] { return s.forward(deletion(mode)).hidden.values; },
                           [&] {
                             Encoder<double>::Cache cache;
                             return s.forward(deletion(mode), cache).hidden.values;
                           });
    if (mode == DeletionMode::everything) continue;
    require_backward_adds(s.encoder, [&](Encoder<double>& gradients) {
      Encoder<double>::Cache cache;
      const auto output = s.forward(deletion(mode), cache);
      s.encoder.backward(output.hidden.values, output.key_bias, {}, 0.1, cache, gradients);
    });
  }
}

TEST_CASE("a cache serves calls in other modes, and models with other policies", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  Setup<double> s(stack, mix<double>(stack));
  Encoder<double>::Cache used;
  const auto gradients_with = [&](DeletionMode mode, Encoder<double>::Cache& cache) {
    const auto output = s.forward(deletion(mode), cache);
    Encoder<double> gradients = zeros_like(s.encoder);
    s.encoder.backward(output.hidden.values, output.key_bias, {}, 0.0, cache, gradients);
    return numbers_of(gradients);
  };
  for (int round = 0; round < 2; ++round) {
    for (const DeletionMode mode : {DeletionMode::hard, DeletionMode::none, DeletionMode::soft}) {
      Encoder<double>::Cache fresh;
      REQUIRE(gradients_with(mode, used) == gradients_with(mode, fresh));
    }
    std::reverse(s.encoder.policies.begin(), s.encoder.policies.end());
  }
}

TEST_CASE("the tensors of policies have names of their own, wherever they stand", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  Encoder<float> encoder(stack, {before_block(1, DropThirds{}), before_block(1, gate<float>(stack)),
                                 after_attention(1, gate<float>(stack)), before_block(1, PairMerge{}),
                                 before_block(1, strided<float>(stack)), before_block(3, gate<float>(stack))});
  Vector<std::string> names;
  for (const auto& view : parameter_views(encoder, "encoder.")) names.push_back(view.name);
  Vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  REQUIRE(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
  Vector<std::string> gates;
  for (const std::string& name : names)
    if (name.ends_with("delete_gate.feed_forward.bias")) gates.push_back(name);
  REQUIRE(gates == Vector<std::string>{"encoder.block.1.delete_gate.feed_forward.bias",
                                       "encoder.block.1.policy.1.delete_gate.feed_forward.bias",
                                       "encoder.block.3.delete_gate.feed_forward.bias"});
  REQUIRE(names.back() == "encoder.final_layer_norm.weight");
}

TEST_CASE("score excess counts from the first gate on", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  const auto first = [&](Placements<double> placements) {
    return Encoder<double>(stack, std::move(placements)).first_gated_block();
  };
  REQUIRE(first({}) == 3);
  REQUIRE(first({before_block(0, PairMerge{})}) == 3);
  REQUIRE(first({before_block(2, gate<double>(stack)), before_block(1, merge::RandomGate{})}) == 1);
  REQUIRE(first({before_block(3, gate<double>(stack))}) == 3);
}

TEMPLATE_TEST_CASE("a policy behind attention can ask it, alone as in a batch, in training as at inference",
                   "[BlockStack]", float, double) {
  const StackConfig stack = three_blocks();
  Setup<TestType> s(stack, {after_attention(0, DropUnseen{}), after_attention(2, DropUnseen{{.tokens = 1}})});
  const EncoderOutput<TestType> together = s.forward();
  REQUIRE(together.hidden.total() < s.ids.total());
  typename Encoder<TestType>::Cache cache;
  REQUIRE(s.forward({}, cache).origin == together.origin);
  for (Index i = 0; i < s.ids.count(); ++i) {
    const EncoderOutput<TestType> single = s.only(i).forward();
    REQUIRE(identical(single.hidden.values, Matrix<TestType>(together.hidden.sequence(i))));
  }
  // By hand: the least looked at of the first block.
  const auto& block = s.encoder.blocks[0];
  const auto& attention = cache.blocks[0].attention;
  const auto context = self_attention_context(cache.states[0], cache.position_bias, {});
  const nn::RecordedAttention<TestType> taps(block.attention, context, attention);
  const Matrix<TestType> received = taps.received(0, {}, nn::OwnWeight::counted);
  const Vector<Index>& kept = together.reports[0].kept;
  Vector<TestType> sums(9, TestType{0});
  for (Index t = 0; t < 9; ++t) sums[t] = received.col(t).sum();
  for (const Index row : kept)
    for (Index t = 0; t < 9; ++t)
      if (row < 9 && std::find(kept.begin(), kept.end(), t) == kept.end()) REQUIRE(sums[row] >= sums[t]);
}

TEST_CASE("pads have no part in what attention answers", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  Setup<double> s(stack, {after_attention(1, DropUnseen{})}, {7, 4});
  const EncoderOutput<double> without = s.forward();
  Setup<double> padded(stack, {after_attention(1, DropUnseen{})}, {9, 6});
  padded.encoder = s.encoder;
  padded.forced.assign(15, 0);
  for (Index i = 0, from = 0; i < 2; ++i)
    for (Index t = 0; t < padded.ids.offsets.length(i); ++t) {
      const Index row = padded.ids.offsets.begin(i) + t;
      const bool pad = t >= s.ids.offsets.length(i);
      padded.forced[row] = pad ? 1 : 0;
      if (!pad) padded.rows.row(row) = s.rows.row(from++);
    }
  const EncoderOutput<double> with = padded.forward();
  REQUIRE(with.hidden.positions == without.hidden.positions);
  REQUIRE((with.hidden.values - without.hidden.values).cwiseAbs().maxCoeff() < 1e-12);
}

TEST_CASE("only the first policy behind attention can ask it: then other rows are there", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  const Setup<double> s(stack, {after_attention(1, DropThirds{}), after_attention(1, DropUnseen{})});
  REQUIRE(error_text<std::invalid_argument>([&] { s.forward(); }) ==
          "Tokens: attention: got none, expected a policy behind the attention of a block");
}

TEST_CASE("a policy at a block that does not exist is refused, at once and by every call", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  const std::string before = "BlockStack: policies: block: got ", whole = ", expected a block number from 0 to 3";
  const auto made = [&](auto placed) {
    return argument_error([&] { BlockStack<double>(stack, {std::move(placed)}, nn::Weights::zeros); });
  };
  REQUIRE(made(before_block(4, PairMerge{})) == before + "4" + whole);
  REQUIRE(made(before_block(-1, PairMerge{})) == before + "-1" + whole);
  REQUIRE(made(after_attention(3, PairMerge{})) == before + "3, expected a block number from 0 to 2");
  REQUIRE(made(before_block(3, PairMerge{})) == "nothing thrown");

  Setup<double> s(stack, {});
  Encoder<double>::Cache cache;
  s.encoder.policies = {before_block(4, PairMerge{})};
  REQUIRE(argument_error([&] { s.forward(); }) == before + "4" + whole);
  REQUIRE(argument_error([&] { s.forward({}, cache); }) == before + "4" + whole);
  s.encoder.policies = {merge::Placement<double>()};
  REQUIRE(argument_error([&] { s.forward(); }) ==
          "Policy: traits: got an empty policy, expected one that holds something");
}

TEST_CASE("gradients that were made before the policies were set are refused", "[BlockStack]") {
  const StackConfig stack = three_blocks();
  Setup<double> s(stack, {});
  Encoder<double> gradients = zeros_like(s.encoder);
  s.encoder.policies = {before_block(1, PairMerge{})};
  Encoder<double>::Cache cache;
  const auto output = s.forward({}, cache);
  REQUIRE(argument_error([&] { s.encoder.backward(output.hidden.values, {}, {}, 0.0, cache, gradients); }) ==
          "BlockStack::backward: gradients.policies.size(): got 0, expected 1");
  gradients.policies = {before_block(1, DropThirds{})};
  REQUIRE(argument_error([&] { s.encoder.backward(output.hidden.values, {}, {}, 0.0, cache, gradients); }) ==
          "Policy::backward: gradients: got those of another policy, expected its own");
}

}  // namespace block_stack_test
