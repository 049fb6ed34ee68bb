#include <merganser/kernels/query_group.hpp>

#include <algorithm>
#include <vector>

#include "support/attention_head.hpp"
#include "support/catch.hpp"

namespace query_group_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::kernels::detail;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("a group of queries has every key that one of them sees, and knows whether one is hidden",
                   "[query_group]", float, double) {
  constexpr Index block = key_block<TestType>;
  std::uint64_t seed = 1;
  for (const Features& features : all_features()) {
    if (features.soft_cap > 0 || features.radius > 0) continue;
    const Index keys = block + 9, queries = 30;
    const auto head = make_head<TestType>(queries, keys, features, seed++);
    const auto scores = head.scores();
    std::vector<TestType> table(static_cast<std::size_t>(DistanceTable<TestType>::size(scores)));
    AttentionRules<TestType> rules(scores, keys, table.data());
    INFO(describe(features));
    for (const Index first_key : {Index{0}, block}) {
      const Index count = std::min(block, keys - first_key);
      rules.enter(first_key, count);
      for (const Index first : {0, 7, 24}) {
        const Index rows = std::min<Index>(6, queries - first);
        const auto group = QueryGroup::of(rules, count, first, rows);
        REQUIRE(group.first == first);
        REQUIRE(group.rows == rows);
        REQUIRE(group.columns == whole_panels<TestType>(group.keys));
        REQUIRE(group.keys <= count);
        bool any_hidden = false;
        for (Index q = first; q < first + rows; ++q)
          for (Index k = 0; k < count; ++k) {
            const bool hidden = plain_score(head, q, first_key + k) == hidden_score;
            if (k >= group.keys) REQUIRE(hidden);
            if (k < group.keys) any_hidden = any_hidden || hidden;
          }
        if (any_hidden) REQUIRE(group.hides);
        if (!features.hidden && features.visibility == Visibility::all) REQUIRE_FALSE(group.hides);
      }
    }
  }
}

TEST_CASE("a group finds its rows in a matrix and in a block of one", "[query_group]") {
  Matrix<float> m(5, 4);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(i);
  const QueryGroup group{2, 3, 0, 0, false};
  const Strided<float> rows = group.rows_of<float>(m.rightCols(2));
  REQUIRE(*rows.from(0, 0).data == m(2, 2));
  REQUIRE(*rows.from(2, 1).data == m(4, 3));
}

}  // namespace query_group_test
