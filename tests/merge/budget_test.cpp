// How many tokens go: of a share, by a policy's settings, and shared out over a stack.
#include <merganser/merge/budget.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include <merganser/core/random.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

namespace {

using Counts = Vector<Index>;
using Flags = Vector<std::uint8_t>;

SequenceOffsets offsets_of(const Counts& lengths) { return SequenceOffsets::from_lengths(lengths); }

}  // namespace

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
