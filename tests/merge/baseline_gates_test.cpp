// The gates that learn nothing: the reference's fixed rule, and statistics of the random gate.
#include <merganser/merge/baseline_gates.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/ragged_batch.hpp>

#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

namespace {

using Ids = Vector<TokenId>;
using Values = Vector<double>;

Values flat(const nlohmann::json& rows) {
  Values result;
  for (const auto& row : rows)
    for (const auto& value : row) result.push_back(value.get<double>());
  return result;
}

/// Separator 0, amount and scale as given; one sequence.
Values rule(double amount, const Ids& ids) {
  return FixedRuleGate{amount, -1.0, {0}}.values<double>(ids, SequenceOffsets::single(ids.size()),
                                                         FixedRuleScope::sequence);
}

}  // namespace

TEST_CASE("the fixed rule follows the reference", "[FixedRuleGate][golden]") {
  std::ifstream file(golden_dir() + "/fixed_gate.json");
  REQUIRE(file);
  const auto golden = nlohmann::json::parse(file);
  REQUIRE_FALSE(golden.at("cases").empty());
  std::size_t differing = 0;
  for (const auto& example : golden.at("cases")) {
    FixedRuleGate gate;
    gate.amount = example.at("fixed_deletion_amount").get<double>();
    gate.scale = example.at("sigmoid_mask_scale").get<double>();
    gate.separators = golden.at("separator_ids").get<Ids>();
    TokenBatch batch;
    for (const auto& row : example.at("input_ids")) batch.push_back(row.get<Ids>());
    const auto alone = gate.values<double>(batch.ids, batch.offsets, FixedRuleScope::sequence);
    const auto together = gate.values<double>(batch.ids, batch.offsets, FixedRuleScope::batch);
    CAPTURE(gate.amount, batch.ids);
    REQUIRE(alone == flat(example.at("gate_row_alone")));
    REQUIRE(together == flat(example.at("gate_reference_batched")));
    REQUIRE((alone == together) == example.at("batched_equals_row_alone").get<bool>());
    if (alone != together) ++differing;

    const auto single = gate.values<float>(batch.ids, batch.offsets, FixedRuleScope::sequence);
    REQUIRE(Values(single.begin(), single.end()) == alone);
  }
  REQUIRE(differing > 0);
}

TEST_CASE("the fixed rule keeps the head of every segment", "[FixedRuleGate]") {
  //                     segment 0 | 1       | 2 | 3
  const Ids ids = {/*   */ 5, 6, /**/ 0, 7, 8, /**/ 0, /**/ 0, 9};
  REQUIRE(rule(0.5, ids) == Values{0, -1, 0, 0, -1, 0, 0, -1});
  REQUIRE(rule(0.0, ids) == Values(8, 0.0));
  REQUIRE(rule(1.0, ids) == Values(8, -1.0));
  REQUIRE(rule(0.75, {0, 1, 2, 3}) == Values{0, -1, -1, -1});
  REQUIRE(rule(0.5, {1, 2, 3, 4, 5}) == Values{0, 0, 0, -1, -1});  // no separator: one segment
  REQUIRE(rule(0.5, {0, 0, 0}) == Values{0, 0, 0});
  REQUIRE(rule(0.5, {}).empty());
}

TEST_CASE("the share is rounded up in single precision, as the reference has it", "[FixedRuleGate]") {
  const auto kept = [](double amount, Index tokens) {
    const Values values = rule(amount, Ids(tokens, 1));
    return std::count(values.begin(), values.end(), 0.0);
  };
  REQUIRE(kept(0.4, 25) == 16);  // 0.6 in single precision is above 0.6
  REQUIRE(kept(0.7, 10) == 3);   // 1 - 0.7 in double precision is above 0.3
}

TEST_CASE("by itself, a sequence of a ragged batch is treated as alone", "[FixedRuleGate]") {
  const FixedRuleGate gate{0.5, -30.0, {0}};
  const Vector<Ids> sequences = {{1, 2, 0, 3, 4, 5}, {}, {0}, {7, 0, 8}};
  const TokenBatch batch = TokenBatch::from_sequences(sequences);
  Vector<float> expected;
  for (const Ids& ids : sequences) {
    const auto alone = gate.values<float>(ids, SequenceOffsets::single(ids.size()), FixedRuleScope::sequence);
    expected.insert(expected.end(), alone.begin(), alone.end());
  }
  REQUIRE(gate.values<float>(batch.ids, batch.offsets, FixedRuleScope::sequence) == expected);
}

TEST_CASE("over a batch, one mask serves all sequences as far as they reach", "[FixedRuleGate]") {
  // Segment lengths over both: 0: 1 + 2 = 3, 1: 2 + 1 = 3; so each mask begins with kept 2, deleted 1, kept 2,
  // deleted 1.
  const TokenBatch batch = TokenBatch::from_sequences(Vector<Ids>{{1, 0, 2}, {3, 4, 0}, {}});
  const FixedRuleGate gate{0.5, -30.0, {0}};
  REQUIRE(gate.values<double>(batch.ids, batch.offsets, FixedRuleScope::batch) == Values{0, 0, -30, 0, 0, -30});
  REQUIRE(gate.values<double>({}, SequenceOffsets(), FixedRuleScope::batch).empty());
}

TEST_CASE("the fixed rule says what does not fit", "[FixedRuleGate]") {
  REQUIRE(argument_error([] { rule(1.5, {1}); }) == "FixedRuleGate: amount: got 1.5, expected in [0, 1]");
  REQUIRE(argument_error([] { rule(std::nan(""), {1}); }) == "FixedRuleGate: amount: got nan, expected in [0, 1]");
  const Ids ids = {1, 2};
  REQUIRE(argument_error([&] {
            FixedRuleGate{}.values<float>(ids, SequenceOffsets::single(3), FixedRuleScope::sequence);
          }) == "FixedRuleGate::values: ids.size(): got 2, expected 3");
}

TEST_CASE("the random gate deletes its share, and nothing in between", "[RandomGate]") {
  constexpr Index tokens = 100000;
  for (const double probability : {0.1, 0.5, 0.9}) {
    Rng rng(11);
    const auto values = RandomGate{probability, -12.0}.values<float>(tokens, rng);
    REQUIRE(values.size() == tokens);
    const auto deleted = std::count(values.begin(), values.end(), -12.0F);
    REQUIRE(std::count(values.begin(), values.end(), 0.0F) + deleted == tokens);
    const double deviation = std::sqrt(probability * (1 - probability) / static_cast<double>(tokens));
    CAPTURE(probability, deleted);
    REQUIRE_THAT(static_cast<double>(deleted) / static_cast<double>(tokens),
                 Catch::Matchers::WithinAbs(probability, 5 * deviation));
    // Neighbours are independent: pairs of deleted tokens are as frequent as chance has it.
    Index pairs = 0;
    for (Index t = 1; t < values.size(); ++t) pairs += values[t] != 0 && values[t - 1] != 0 ? 1 : 0;
    REQUIRE_THAT(static_cast<double>(pairs) / static_cast<double>(tokens),
                 Catch::Matchers::WithinAbs(probability * probability, 0.01));
  }
}

TEST_CASE("a random gate with probability 0 keeps all, with 1 deletes all", "[RandomGate]") {
  Rng rng(1);
  REQUIRE(RandomGate{0.0, -30.0}.values<double>(1000, rng) == Values(1000, 0.0));
  REQUIRE(RandomGate{1.0, -30.0}.values<double>(1000, rng) == Values(1000, -30.0));
  REQUIRE(RandomGate{}.values<double>(0, rng).empty());
}

TEST_CASE("a random gate repeats itself from the same generator and draws one number a token", "[RandomGate]") {
  Rng first(4), second(4), counting(4), other(5);
  const RandomGate gate{0.5, -30.0};
  const auto values = gate.values<float>(64, first);
  REQUIRE(gate.values<float>(64, second) == values);
  REQUIRE(gate.values<float>(64, other) != values);
  REQUIRE(gate.values<float>(64, first) != values);
  for (int draw = 0; draw < 64; ++draw) counting.next();
  REQUIRE(second.state() == counting.state());
}

TEST_CASE("a random gate says what is no probability", "[RandomGate]") {
  const auto error_of = [](double probability) {
    Rng rng(1);
    return argument_error([&] { RandomGate{probability, -30.0}.values<float>(1, rng); });
  };
  REQUIRE(error_of(-0.5) == "RandomGate: probability: got -0.5, expected in [0, 1]");
  REQUIRE(error_of(1.5) == "RandomGate: probability: got 1.5, expected in [0, 1]");
  REQUIRE(error_of(std::nan("")) == "RandomGate: probability: got nan, expected in [0, 1]");
}
