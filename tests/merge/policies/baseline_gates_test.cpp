// The gates that learn nothing: the fixed rule, and statistics of the random gate.
#include <merganser/merge/policies/baseline_gates.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/core/ragged_batch.hpp>

#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace baseline_gates_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Ids = Vector<TokenId>;
using Flags = Vector<std::uint8_t>;
using Values = Vector<double>;

Values flat(const nlohmann::json& rows) {
  Values result;
  for (const auto& row : rows)
    for (const auto& value : row) result.push_back(value.get<double>());
  return result;
}

/// What a gate says that looks at ids alone.
template <Real Scalar>
Vector<Scalar> values_of(const FixedRuleGate& gate, const TokenBatch& batch, const Flags& forced = {}) {
  const Matrix<Scalar> x(batch.ids.size(), 2);
  return gate.forward(GateInput<Scalar>{x, forced, batch.ids, batch.offsets}).values;
}

/// Separator 0, amount and scale as given; one sequence.
Values rule(double amount, const Ids& ids, const Flags& forced = {}) {
  return values_of<double>({amount, -1.0, {0}}, TokenBatch::from_sequences(Vector<Ids>{ids}), forced);
}

/// What a random gate draws for so many tokens.
template <Real Scalar>
Vector<Scalar> drawn(const RandomGate& gate, Index tokens, Rng& rng, const Flags& forced = {}) {
  const Matrix<Scalar> x(tokens, 2);
  return gate.forward(GateInput<Scalar>{.x = x, .forced = forced, .rng = &rng}).values;
}

TEST_CASE("the fixed rule follows the reference, each sequence by itself", "[FixedRuleGate][golden]") {
  std::ifstream file(golden_dir() + "/fixed_gate.json");
  REQUIRE(file);
  const auto golden = nlohmann::json::parse(file);
  REQUIRE_FALSE(golden.at("cases").empty());
  for (const auto& example : golden.at("cases")) {
    FixedRuleGate gate;
    gate.amount = example.at("fixed_deletion_amount").get<double>();
    gate.scale = example.at("sigmoid_mask_scale").get<double>();
    gate.separators = golden.at("separator_ids").get<Ids>();
    TokenBatch batch;
    for (const auto& row : example.at("input_ids")) batch.push_back(row.get<Ids>());
    const auto alone = values_of<double>(gate, batch);
    CAPTURE(gate.amount, batch.ids);
    REQUIRE(alone == flat(example.at("gate_row_alone")));
    const auto single = values_of<float>(gate, batch);
    REQUIRE(Values(single.begin(), single.end()) == alone);
  }
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

TEST_CASE("a sequence of a ragged batch is treated as alone", "[FixedRuleGate]") {
  const FixedRuleGate gate{0.5, -30.0, {0}};
  const Vector<Ids> sequences = {{1, 2, 0, 3, 4, 5}, {}, {0}, {7, 0, 8}};
  Vector<float> expected;
  for (const Ids& ids : sequences) {
    const auto alone = values_of<float>(gate, TokenBatch::from_sequences(Vector<Ids>{ids}));
    expected.insert(expected.end(), alone.begin(), alone.end());
  }
  REQUIRE(values_of<float>(gate, TokenBatch::from_sequences(sequences)) == expected);
  REQUIRE(values_of<float>(gate, TokenBatch()).empty());
}

TEMPLATE_TEST_CASE("a fixed gate goes by the ids, and has no logits of its own", "[FixedRuleGate]", float, double) {
  const FixedRuleGate gate{0.5, -30.0, {0}};
  const TokenBatch batch = TokenBatch::from_sequences(Vector<Ids>{{5, 6, 7, 8}, {0, 1, 2}});
  REQUIRE(values_of<TestType>(gate, batch) == Vector<TestType>{0, 0, -30, -30, 0, 0, -30});
  const Matrix<TestType> x(7, 2);
  REQUIRE(gate.forward(GateInput<TestType>{.x = x, .ids = batch.ids, .offsets = batch.offsets}).logits.empty());
}

TEST_CASE("a fixed gate counts the words of a sequence without its pads", "[FixedRuleGate]") {
  // Without pads: 5 6 and 0 1, of which half are kept.
  REQUIRE(rule(0.5, {9, 5, 6, 9, 0, 1, 9}, {1, 0, 0, 1, 0, 0, 1}) == Values{-1, 0, -1, -1, 0, -1, -1});
  // A separator that is a pad separates nothing.
  REQUIRE(rule(0.5, {5, 6, 0, 7, 8}, {0, 0, 1, 0, 0}) == Values{0, 0, -1, -1, -1});
  REQUIRE(rule(0.0, {5, 0}, {1, 255}) == Values{-1, -1});
}

TEST_CASE("thresholds are halfway, rates those that are asked for", "[FixedRuleGate][RandomGate]") {
  REQUIRE(FixedRuleGate{0.25, -30.0, {}}.default_threshold() == -15.0);
  REQUIRE(FixedRuleGate{0.25, -30.0, {}}.expected_rate() == 0.25);
  REQUIRE(FixedRuleGate{0.25, -8.0, {}}.default_threshold() == -4.0);
  REQUIRE(RandomGate{0.75, -30.0}.default_threshold() == -15.0);
  REQUIRE(RandomGate{0.75, -30.0}.expected_rate() == 0.75);
}

TEST_CASE("the fixed rule says what does not fit", "[FixedRuleGate]") {
  REQUIRE(argument_error([] { rule(1.5, {1}); }) == "FixedRuleGate: amount: got 1.5, expected in [0, 1]");
  REQUIRE(argument_error([] { rule(std::nan(""), {1}); }) == "FixedRuleGate: amount: got nan, expected in [0, 1]");
  const FixedRuleGate gate;
  const TokenBatch batch = TokenBatch::from_sequences(Vector<Ids>{{1, 2, 3}});
  const Matrix<float> x(3, 2);
  const Ids two = {1, 2};
  REQUIRE(argument_error([&] { gate.forward(GateInput<float>{.x = x, .ids = two, .offsets = batch.offsets}); }) ==
          "FixedRuleGate: ids.size(): got 2, expected 3");
  REQUIRE(argument_error([&] { gate.forward(GateInput<float>{.x = x, .offsets = batch.offsets}); }) ==
          "FixedRuleGate: ids.size(): got 0, expected 3");
  REQUIRE(argument_error([&] { values_of<float>(gate, batch, Flags(8, 1)); }) ==
          "FixedRuleGate: forced.size(): got 8, expected 3");
}

TEST_CASE("the random gate deletes its share, and nothing in between", "[RandomGate]") {
  constexpr Index tokens = 100000;
  for (const double probability : {0.1, 0.5, 0.9}) {
    Rng rng(11);
    const auto values = drawn<float>(RandomGate{probability, -12.0}, tokens, rng);
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
  REQUIRE(drawn<double>(RandomGate{0.0, -30.0}, 1000, rng) == Values(1000, 0.0));
  REQUIRE(drawn<double>(RandomGate{1.0, -30.0}, 1000, rng) == Values(1000, -30.0));
  REQUIRE(drawn<double>(RandomGate{}, 0, rng).empty());
}

TEST_CASE("a random gate repeats itself from the same generator and draws one number a token", "[RandomGate]") {
  Rng first(4), second(4), counting(4), other(5);
  const RandomGate gate{0.5, -30.0};
  const auto values = drawn<float>(gate, 64, first);
  REQUIRE(drawn<float>(gate, 64, second) == values);
  REQUIRE(drawn<float>(gate, 64, other) != values);
  REQUIRE(drawn<float>(gate, 64, first) != values);
  for (int draw = 0; draw < 64; ++draw) counting.next();
  REQUIRE(second.state() == counting.state());
}

TEST_CASE("a random gate says what is no probability", "[RandomGate]") {
  const auto error_of = [](double probability) {
    Rng rng(1);
    return argument_error([&] { drawn<float>(RandomGate{probability, -30.0}, 1, rng); });
  };
  REQUIRE(error_of(-0.5) == "RandomGate: probability: got -0.5, expected in [0, 1]");
  REQUIRE(error_of(1.5) == "RandomGate: probability: got 1.5, expected in [0, 1]");
  REQUIRE(error_of(std::nan("")) == "RandomGate: probability: got nan, expected in [0, 1]");
}

TEST_CASE("a random gate deletes forced tokens whatever it draws, and draws for them too", "[RandomGate]") {
  Rng rng(1), counting(1);
  REQUIRE(drawn<float>({0.0, -7.0}, 7, rng, Flags{0, 1, 0, 0, 0, 9, 0}) == Vector<float>{0, -7, 0, 0, 0, -7, 0});
  for (int draw = 0; draw < 7; ++draw) counting.next();
  REQUIRE(rng.state() == counting.state());
}

TEST_CASE("a random gate says what it lacks", "[RandomGate]") {
  const RandomGate gate;
  const Matrix<float> x(7, 2);
  Rng rng(1);
  REQUIRE(argument_error([&] { gate.forward(GateInput<float>{x}); }) ==
          "RandomGate: rng: got none, expected a generator");
  REQUIRE(argument_error([&] { drawn<float>(gate, 7, rng, Flags(8, 1)); }) ==
          "RandomGate: forced.size(): got 8, expected 7");
}

TEST_CASE("baselines that delete keep the laws of policies", "[FixedRuleGate][RandomGate]") {
  PolicyLaws laws;
  laws.copies = true;
  require_policy_laws([]<Real>() { return FixedRuleGate{0.5, -30.0, {0, 1}}; }, laws);
  laws.draws = true;
  require_policy_laws([]<Real>() { return RandomGate{0.4, -30.0}; }, laws);
}

}  // namespace baseline_gates_test
