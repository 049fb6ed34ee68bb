// How many tokens go: of a share, by a policy's settings, and shared out over a stack.
#include <merganser/merge/budget.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include <merganser/core/random.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace budget_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Counts = Vector<Index>;
using Flags = Vector<std::uint8_t>;

using Own = Vector<std::optional<Budget>>;

Own tokens_of(const Counts& schedule) {
  Own own;
  for (const Index tokens : schedule) own.push_back(Budget{.tokens = tokens});
  return own;
}

Own rates_of(const Vector<double>& schedule) {
  Own own;
  for (const double rate : schedule) own.push_back(Budget{.rate = rate});
  return own;
}

/// What policies that do as they are told remove of one sequence.
Counts removed(StackBudget budget, Index policies, Index tokens) {
  Counts all;
  for (Index p = 0; p < policies; ++p) {
    all.push_back(budget.next(SequenceOffsets::from_lengths(Counts{tokens}), {})[0]);
    tokens -= all.back();
  }
  return all;
}

SequenceOffsets offsets_of(const Counts& lengths) { return SequenceOffsets::from_lengths(lengths); }

TEST_CASE("a share is rounded half up, and leaves a token", "[removals_of]") {
  REQUIRE(removals_of(5, 0.5) == 3);
  REQUIRE(removals_of(4, 0.5) == 2);
  REQUIRE(removals_of(10, 0.24) == 2);
  REQUIRE(removals_of(10, 0.25) == 3);
  REQUIRE(removals_of(10, 0.26) == 3);
  REQUIRE(removals_of(7, 0.0) == 0);
  REQUIRE(removals_of(7, 1.0) == 6);
  REQUIRE(removals_of(2, 0.9) == 1);
  REQUIRE(removals_of(1, 1.0) == 0);
  REQUIRE(removals_of(0, 0.5) == 0);
}

TEST_CASE("a policy removes by its settings unless a call asks for something", "[Budget]") {
  REQUIRE(Budget().removals(5, {}) == 0);
  REQUIRE(Budget().removals(5, 2) == 2);
  const Budget share{.rate = 0.5}, fixed{.tokens = 2};
  REQUIRE(share.removals(5, {}) == 3);
  REQUIRE(share.removals(5, 1) == 1);
  REQUIRE(share.removals(5, 0) == 0);
  REQUIRE(share.removals(0, {}) == 0);
  REQUIRE(fixed.removals(5, {}) == 2);
  REQUIRE(fixed.removals(5, 4) == 4);
  for (const Budget& budget : {share, fixed}) {
    REQUIRE(budget.removals(5, 99) == 4);  // one stays
    REQUIRE(budget.removals(5, -1) == 0);
    REQUIRE(budget.removals(1, {}) == 0);
    REQUIRE(budget.removals(0, 3) == 0);
  }
  REQUIRE(fixed.removals(2, {}) == 1);
}

TEST_CASE("settings that are no budget are named", "[Budget]") {
  const auto error_of = [](const Budget& budget) { return argument_error([&] { budget.removals(5, 1); }); };
  REQUIRE(error_of({.rate = 1.5}) == "Budget: rate: got 1.5, expected in [0, 1]");
  REQUIRE(error_of({.rate = -0.5}) == "Budget: rate: got -0.5, expected in [0, 1]");
  REQUIRE(error_of({.rate = std::nan("")}) == "Budget: rate: got nan, expected in [0, 1]");
  REQUIRE(error_of({.tokens = -1}) == "Budget: tokens: got -1, expected at least 0");
  REQUIRE(error_of({.rate = 0.5, .tokens = 1}) == "Budget: rate and tokens: got both, expected one of them");
}

TEST_CASE("without a rate nobody is told anything", "[StackBudget]") {
  StackBudget budget;
  REQUIRE(budget.next(offsets_of({5, 3}), {}).empty());
  REQUIRE(budget.next(offsets_of({5, 3}), {}).empty());
}

TEST_CASE("one policy gets exactly what the rate says", "[StackBudget]") {
  const SequenceOffsets offsets = offsets_of({10, 0, 5, 1, 2});
  for (const double rate : {0.0, 0.25, 0.5, 0.99, 1.0}) {
    Counts expected;
    for (const Index n : {10, 0, 5, 1, 2}) expected.push_back(removals_of(n, rate));
    REQUIRE(StackBudget(rate, 1, offsets, {}).next(offsets, {}) == expected);
  }
}

TEST_CASE("several policies get a share each, and the last makes the rate exact", "[StackBudget]") {
  StackBudget two(0.75, 2, offsets_of({100, 7}), {});
  REQUIRE(two.next(offsets_of({100, 7}), {}) == Counts{50, 3});  // of 7 tokens 2 stay: 1 - sqrt(2/7) is 0.465
  REQUIRE(two.next(offsets_of({50, 4}), {}) == Counts{25, 2});
  StackBudget three(0.488, 3, offsets_of({1000}), {});
  REQUIRE(three.next(offsets_of({1000}), {}) == Counts{200});
  REQUIRE(three.next(offsets_of({800}), {}) == Counts{160});
  REQUIRE(three.next(offsets_of({640}), {}) == Counts{128});
  REQUIRE(three.next(offsets_of({512}), {}) == Counts{0});
}

TEST_CASE("what one policy cannot remove goes to the next, and what went already counts", "[StackBudget]") {
  StackBudget lazy(0.75, 2, offsets_of({100, 100}), {});
  lazy.next(offsets_of({100, 100}), {});
  REQUIRE(lazy.next(offsets_of({100, 70}), {}) == Counts{75, 45});
  StackBudget eager(0.75, 2, offsets_of({100, 100}), {});
  eager.next(offsets_of({100, 100}), {});
  REQUIRE(eager.next(offsets_of({10, 26}), {}) == Counts{0, 1});
  StackBudget before(0.75, 2, offsets_of({100}), {});  // a policy without a budget stands in front of both
  REQUIRE(before.next(offsets_of({36}), {}) == Counts{6});
  REQUIRE(before.next(offsets_of({30}), {}) == Counts{5});
}

TEST_CASE("pads and what is softly deleted do not count", "[StackBudget]") {
  const SequenceOffsets offsets = offsets_of({6, 3});
  const Flags pads = {1, 0, 0, 0, 0, 1, /**/ 1, 1, 1};
  REQUIRE(StackBudget(0.5, 1, offsets, pads).next(offsets, pads) == Counts{2, 0});
  StackBudget soft(0.75, 2, offsets, pads);
  REQUIRE(soft.next(offsets, pads) == Counts{2, 0});
  const Flags gone = {1, 1, 1, 0, 0, 1, /**/ 1, 1, 1};
  REQUIRE(soft.next(offsets, gone) == Counts{1, 0});
  // Pads went out, as in a merge, and so the rows of a batch are its tokens.
  StackBudget merged(0.75, 2, offsets, pads);
  merged.next(offsets, pads);
  REQUIRE(merged.next(offsets_of({4, 0}), {}) == Counts{3, 0});
}

TEST_CASE("policies that do what they are told reach any rate together", "[StackBudget]") {
  Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    const double rate = rng.uniform();
    const auto policies = 1 + static_cast<Index>(rng.below(4));
    Counts lengths, goals;
    for (int i = 0; i < 5; ++i) lengths.push_back(static_cast<Index>(rng.below(40)));
    for (const Index n : lengths) goals.push_back(n - removals_of(n, rate));
    StackBudget budget(rate, policies, offsets_of(lengths), {});
    CAPTURE(rate, policies, lengths);
    for (Index p = 0; p < policies; ++p) {
      const Counts removals = budget.next(offsets_of(lengths), {});
      REQUIRE(removals.size() == 5);
      for (Index i = 0; i < 5; ++i) {
        REQUIRE(removals[i] >= 0);
        lengths[i] -= removals[i];
        REQUIRE(lengths[i] >= goals[i]);
      }
    }
    REQUIRE(lengths == goals);
  }
}

TEST_CASE("a rate scales a schedule of tokens and keeps its shape", "[StackBudget]") {
  const auto scaled = [](const Counts& schedule, double rate, Index tokens) {
    return removed({rate, tokens_of(schedule), offsets_of({tokens}), {}}, schedule.size(), tokens);
  };
  REQUIRE(scaled({0, 2, 4, 6}, 0.12, 100) == Counts{0, 2, 4, 6});  // its own numbers where it asks for those
  REQUIRE(scaled({0, 2, 4, 6}, 0.24, 100) == Counts{0, 4, 8, 12});
  REQUIRE(scaled({0, 2, 4, 6}, 0.24, 50) == Counts{0, 2, 4, 6});
  REQUIRE(scaled({6, 4, 2, 0}, 0.6, 100) == Counts{30, 20, 10, 0});
  REQUIRE(scaled({5, 5, 5}, 0.75, 100) == Counts{25, 25, 25});
  REQUIRE(scaled({1, 2}, 0.1, 100) == Counts{3, 7});  // rounded, and the last makes it exact
  REQUIRE(scaled({0, 9, 0}, 1.0, 10) == Counts{0, 9, 0});
  REQUIRE(scaled({3}, 0.5, 10) == Counts{5});
}

TEST_CASE("a rate scales a schedule of rates and keeps its shape", "[StackBudget]") {
  const auto scaled = [](const Vector<double>& schedule, double rate, Index tokens) {
    return removed({rate, rates_of(schedule), offsets_of({tokens}), {}}, schedule.size(), tokens);
  };
  REQUIRE(scaled({0.5, 0.2}, 0.6, 1000) == Counts{500, 100});  // its own rates where it asks for those
  REQUIRE(scaled({0.2, 0.5, 0.0}, 0.6, 1000) == Counts{200, 400, 0});
  REQUIRE(scaled({0.75, 0.5}, 1 - std::pow(0.5, 1.5), 10000) == Counts{5000, 1464});  // half the exponents: 2 to 1
  REQUIRE(scaled({0.3, 1.0, 0.2}, 0.6, 1000) == Counts{0, 600, 0});
  REQUIRE(scaled({1.0, 1.0}, 0.75, 100) == Counts{50, 25});
  for (const Index policies : {1, 2, 3, 5, 7})
    for (const double rate : {0.1, 0.37, 0.5, 0.75, 0.99})
      for (const Index tokens : {1, 7, 64, 1000})  // equal ones are as none
        REQUIRE(scaled(Vector<double>(policies, 0.3), rate, tokens) ==
                removed({rate, policies, offsets_of({tokens}), {}}, policies, tokens));
}

TEST_CASE("without a budget of its own for each policy all take equal shares", "[StackBudget]") {
  const Budget tokens{.tokens = 5}, share{.rate = 0.9};
  const Counts equal = removed({0.75, 2, offsets_of({100}), {}}, 2, 100);
  for (const Own& own : {Own{tokens, std::nullopt}, Own{std::nullopt, share}, Own{tokens, share}, Own(2),
                         Own(2, Budget()), tokens_of({0, 0}), rates_of({0, 0})})
    REQUIRE(removed({0.75, own, offsets_of({100}), {}}, 2, 100) == equal);
  const auto error_of = [](const Own& own) {
    return argument_error([&] { StackBudget(0.5, own, SequenceOffsets::single(3), {}); });
  };
  REQUIRE(error_of(rates_of({0.5, 1.5})) == "Budget: rate: got 1.5, expected in [0, 1]");
  REQUIRE(error_of({std::nullopt, Budget{.tokens = -2}}) == "Budget: tokens: got -2, expected at least 0");
}

TEST_CASE("of a schedule, too, what one policy cannot remove goes to the next", "[StackBudget]") {
  StackBudget tokens(0.6, tokens_of({2, 1, 3}), offsets_of({100}), {});
  REQUIRE(tokens.next(offsets_of({100}), {}) == Counts{20});
  REQUIRE(tokens.next(offsets_of({96}), {}) == Counts{14});  // a quarter of the 56 that are still to go
  REQUIRE(tokens.next(offsets_of({96}), {}) == Counts{56});
  StackBudget falling(0.5, tokens_of({5, 0, 0}), offsets_of({100}), {});
  REQUIRE(falling.next(offsets_of({100}), {}) == Counts{50});
  REQUIRE(falling.next(offsets_of({70}), {}) == Counts{10});  // equal shares of those that ask for nothing
  REQUIRE(falling.next(offsets_of({60}), {}) == Counts{10});
  StackBudget rates(0.6, rates_of({0.5, 0.2}), offsets_of({1000}), {});
  rates.next(offsets_of({1000}), {});
  REQUIRE(rates.next(offsets_of({700}), {}) == Counts{300});
}

TEST_CASE("policies with a schedule reach any rate together", "[StackBudget]") {
  Rng rng(4);
  for (int round = 0; round < 300; ++round) {
    const double rate = rng.uniform();
    const auto policies = 1 + static_cast<Index>(rng.below(5));
    const auto n = static_cast<Index>(rng.below(60));
    Counts tokens;
    Vector<double> rates;
    for (Index p = 0; p < policies; ++p) {
      tokens.push_back(static_cast<Index>(rng.below(4)));
      rates.push_back(rng.below(4) == 0 ? static_cast<double>(rng.below(2)) : rng.uniform());
    }
    CAPTURE(rate, n, tokens, rates);
    for (const Own& own : {tokens_of(tokens), rates_of(rates)}) {
      Index sum = 0;
      for (const Index removals : removed({rate, own, offsets_of({n}), {}}, policies, n)) {
        REQUIRE(removals >= 0);
        sum += removals;
      }
      REQUIRE(sum == removals_of(n, rate));
    }
  }
}

}  // namespace budget_test
