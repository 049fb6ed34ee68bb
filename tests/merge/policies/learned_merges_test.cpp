#include <merganser/merge/policies/learned_merges.hpp>

#include <algorithm>
#include <map>

#include <merganser/merge/policies/segment_pooling.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"
#include "support/segment_laws.hpp"

namespace learned_merges_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Flags = Vector<std::uint8_t>;
using Ids = Vector<TokenId>;
using Pairs = Vector<LearnedMerges::Pair>;
constexpr LearnedMerges::Symbol made = LearnedMerges::first_merged;

Ids random_ids(Index n, std::uint64_t below, Rng& rng) {
  Ids ids;
  for (Index t = 0; t < n; ++t) ids.push_back(static_cast<TokenId>(rng.below(below)));
  return ids;
}

/// Every merge of the table once, in order, over segments as lists of tokens.
Flags in_order(const Pairs& merges, const Ids& ids) {
  Vector<Vector<TokenId>> what;  // the tokens of every merge
  Vector<Vector<TokenId>> segments;
  for (const TokenId id : ids) segments.push_back({id});
  const auto tokens_of = [&](LearnedMerges::Symbol symbol) {
    return symbol >= made ? what[symbol - made] : Vector<TokenId>{static_cast<TokenId>(symbol)};
  };
  Vector<LearnedMerges::Symbol> symbols(ids.begin(), ids.end());
  for (Index number = 0; number < merges.size(); ++number) {
    Vector<TokenId> both = tokens_of(merges[number].first);
    for (const TokenId id : tokens_of(merges[number].second)) both.push_back(id);
    what.push_back(both);
    for (Index s = 0; s + 1 < segments.size(); ++s) {
      if (symbols[s] != merges[number].first || symbols[s + 1] != merges[number].second) continue;
      segments[s] = both;
      symbols[s] = made + number;
      segments.erase(segments.begin() + s + 1);
      symbols.erase(symbols.begin() + s + 1);
    }
  }
  Flags marks;
  for (const Vector<TokenId>& segment : segments)
    for (Index t = 0; t < segment.size(); ++t) marks.push_back(t == 0 ? 1 : 0);
  return marks;
}

TEST_CASE("the most frequent pairs are merged, one after the other", "[LearnedMerges]") {
  // 1 2 stands three times; then (1 2) 3 twice.
  const Vector<Ids> sample = {{1, 2, 3, 4}, {1, 2, 3}, {5, 1, 2}};
  const LearnedMerges two = LearnedMerges::learn(sample, 9);
  REQUIRE(two.merges() == Pairs{{1, 2}, {made, 3}});
  REQUIRE(LearnedMerges::learn(sample, 1).merges() == Pairs{{1, 2}});
  REQUIRE(LearnedMerges::learn(sample, 0).merges().empty());
  REQUIRE(LearnedMerges::learn({}, 5).merges().empty());
  REQUIRE(marks_of(two, {1, 2, 3, 1, 2, 4, 2, 1}) == Flags{1, 0, 0, 1, 0, 1, 1, 1});
  REQUIRE(marks_of(LearnedMerges(), {1, 2, 3}) == Flags{1, 1, 1});
}

TEST_CASE("of equally frequent pairs the lowest is merged, and overlapping ones count once", "[LearnedMerges]") {
  const Vector<Ids> tie = {{4, 5, 0, 2, 3}, {2, 3, 9, 4, 5}};
  REQUIRE(LearnedMerges::learn(tie, 1).merges() == Pairs{{2, 3}});
  // 7 7 7 has one pair that can be joined, 7 7 7 7 has two.
  const Vector<Ids> three = {{7, 7, 7}}, four = {{7, 7, 7, 7}};
  REQUIRE(LearnedMerges::learn(three, 5).merges().empty());
  REQUIRE(LearnedMerges::learn(four, 5).merges() == Pairs{{7, 7}});
  const Vector<Ids> sevens = {{7, 7, 7, 7, 7, 7, 7, 7}};
  const LearnedMerges merges = LearnedMerges::learn(sevens, 5);
  REQUIRE(merges.merges() == Pairs{{7, 7}, {made, made}});
  REQUIRE(marks_of(merges, {7, 7, 7, 7, 7, 7, 7}) == Flags{1, 0, 0, 0, 1, 0, 1});
}

TEST_CASE("merges are applied in their order, as a slow walk over all of them does it", "[LearnedMerges]") {
  for (const std::uint64_t below : {2U, 4U, 7U})
    for (const Index merges : {1, 5, 40}) {
      Rng rng(below);
      Vector<Ids> sample;
      for (const Index n : {0, 1, 50, 90}) sample.push_back(random_ids(n, below, rng));
      const LearnedMerges learned = LearnedMerges::learn(sample, merges);
      REQUIRE((learned.merges().size() == merges || merges == 40));
      for (const Index n : {0, 1, 2, 17, 60, 90}) {
        const Ids ids = random_ids(n, below, rng);
        REQUIRE(marks_of(learned, ids) == in_order(learned.merges(), ids));
      }
    }
}

TEST_CASE("learned merges keep the laws of rules and of policies", "[LearnedMerges]") {
  Rng rng(3);
  const Vector<Ids> sample = {random_ids(200, 7, rng), random_ids(100, 7, rng)};
  const LearnedMerges merges = LearnedMerges::learn(sample, 30);
  REQUIRE(merges.merges().size() == 30);
  require_segment_laws(merges);
  require_policy_laws([&]<Real>() { return SegmentPooling<LearnedMerges>{merges}; });
  REQUIRE_FALSE(SegmentPooling<LearnedMerges>{}.traits().is_causal);
}

TEST_CASE("tables of merges that are none are named", "[LearnedMerges]") {
  REQUIRE(LearnedMerges(Pairs{{1, 2}, {made, made}}).merges().size() == 2);
  REQUIRE_THROWS_AS(LearnedMerges(Pairs{{made, 2}}), std::invalid_argument);
  REQUIRE_THROWS_AS(LearnedMerges(Pairs{{1, 2}, {3, made + 1}}), std::invalid_argument);
  REQUIRE_THROWS_AS(LearnedMerges(Pairs{{1, LearnedMerges::Symbol{1} << 31}}), std::invalid_argument);
  REQUIRE(argument_error([] {
            LearnedMerges(Pairs{{1, 2}, {1, 2}});
          }) == "LearnedMerges: merges: got 1, expected pairs that differ");
  REQUIRE(argument_error([] { LearnedMerges::learn({}, -1); }) ==
          "LearnedMerges::learn: merges: got -1, expected at least 0");
  const Matrix<double> x = Matrix<double>::Zero(2, 1);
  REQUIRE(argument_error([&] {
            LearnedMerges().marks(Tokens<double>{x, {}});
          }) == "LearnedMerges: ids.size(): got 0, expected 2");
}

}  // namespace learned_merges_test
