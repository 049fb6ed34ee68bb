// What rules of segments promise, to be called from the test of each.
#pragma once

#include <algorithm>
#include <cstdint>

#include <merganser/merge/segment_rule.hpp>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

/// The marks of a rule that reads ids alone.
template <class Rule>
Vector<std::uint8_t> marks_of(const Rule& rule, const Vector<TokenId>& ids) {
  const Matrix<double> x = Matrix<double>::Zero(ids.size(), 1);
  merge::Tokens<double> tokens{x, {}};
  tokens.ids = ids;
  return rule.marks(tokens);
}

/// One mark a token, of which the first is set; for causal rules the marks of the beginning of a sequence are the
/// beginning of its marks.
template <class Rule>
void require_segment_laws(const Rule& rule, TokenId ids_below = 7) {
  static_assert(merge::SegmentRule<Rule, float> && merge::SegmentRule<Rule, double>);
  Rng rng(5);
  for (const Index n : {0, 1, 2, 3, 4, 7, 16, 33}) {
    Vector<TokenId> ids;
    for (Index t = 0; t < n; ++t) ids.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(ids_below))));
    const Vector<std::uint8_t> marks = marks_of(rule, ids);
    CAPTURE(n);
    REQUIRE(marks.size() == n);
    REQUIRE((n == 0 || marks[0] != 0));
    for (Index begin = 0; merge::traits_of(rule).is_causal && begin <= n; ++begin) {
      const Vector<TokenId> front(ids.begin(), ids.begin() + begin);
      REQUIRE(marks_of(rule, front) == Vector<std::uint8_t>(marks.begin(), marks.begin() + begin));
    }
  }
}

}  // namespace merganser::testing
