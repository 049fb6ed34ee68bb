#include <merganser/kernels/attention_distance.hpp>

#include <algorithm>
#include <vector>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace attention_distance_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::kernels::detail;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

// Keys in every order, fewer than a block and as many.
std::vector<std::vector<Position>> key_lists(Index block) {
  std::vector<std::vector<Position>> lists;
  for (const Index count : {Index{1}, Index{7}, block}) {
    std::vector<Position> consecutive, gaps, mixed;
    for (Index k = 0; k < count; ++k) {
      consecutive.push_back(static_cast<Position>(20 + k));
      gaps.push_back(static_cast<Position>(3 * k + k % 2));
      mixed.push_back(static_cast<Position>((37 * k) % 101));
    }
    lists.insert(lists.end(), {consecutive, gaps, mixed});
  }
  return lists;
}

std::size_t place(Position key, Position query, Index radius) {
  return static_cast<std::size_t>(std::clamp<Index>(Index{key} - query, -radius, radius) + radius);
}

TEST_CASE("the order of keys is seen", "[attention_distance]") {
  using List = std::vector<Position>;
  REQUIRE(order_of(List{}) == KeyOrder::consecutive);
  REQUIRE(order_of(List{9}) == KeyOrder::consecutive);
  REQUIRE(order_of(List{4, 5, 6}) == KeyOrder::consecutive);
  REQUIRE(order_of(List{4, 6, 7}) == KeyOrder::rising);
  REQUIRE(order_of(List{4, 4, 5}) == KeyOrder::rising);
  REQUIRE(order_of(List{4, 3, 5}) == KeyOrder::any);
}

TEMPLATE_TEST_CASE("a row of biases is looked up by distance, near and far", "[attention_distance]", float, double) {
  using Table = DistanceTable<TestType>;
  Rng rng(1);
  for (const Index radius : {Index{0}, Index{3}, Index{40}, Index{500}}) {
    const std::vector<TestType> bias = random_values<TestType, std::vector<TestType>>(2 * radius + 1, rng);
    HeadScores<TestType> scores;
    REQUIRE(Table::size(scores) == 0);
    scores.distance_bias = bias.data();
    scores.radius = radius;
    std::vector<TestType> table(static_cast<std::size_t>(Table::size(scores)));
    Table::fill(scores, table.data());
    for (const auto& keys : key_lists(Table::block)) {
      const Table distances(radius, order_of(keys));
      for (const Position query : {-1000000, -300, 0, 19, 23, 60, 300, 1000000}) {
        std::vector<TestType> looked_up(static_cast<std::size_t>(Table::block));
        const TestType* row = distances.row(table.data(), query, keys, looked_up.data());
        for (std::size_t k = 0; k < keys.size(); ++k) {
          CAPTURE(radius, query, k, keys[k]);
          REQUIRE(row[k] == bias[place(keys[k], query, radius)]);
        }
        const bool in_table = row >= table.data() && row + Table::block <= table.data() + table.size();
        REQUIRE((in_table || row == looked_up.data()));  // a whole block can be read
      }
    }
  }
}

TEMPLATE_TEST_CASE("the gradient of a row of biases is added up by distance", "[attention_distance]", float, double) {
  using Table = DistanceTable<TestType>;
  Rng rng(2);
  for (const Index radius : {Index{0}, Index{3}, Index{40}, Index{500}})
    for (const auto& keys : key_lists(Table::block)) {
      const Table distances(radius, order_of(keys));
      std::vector<TestType> table(static_cast<std::size_t>(2 * (radius + Table::block) + 1), TestType{0});
      std::vector<double> expected(static_cast<std::size_t>(2 * radius + 1), 10.0);
      for (const Position query : {-1000000, 0, 19, 23, 60, 1000000}) {
        const auto grad = random_values<TestType, std::vector<TestType>>(static_cast<Index>(keys.size()), rng);
        distances.add(table.data(), query, keys, grad.data());
        for (std::size_t k = 0; k < keys.size(); ++k)
          expected[place(keys[k], query, radius)] += static_cast<double>(grad[k]);
      }
      std::vector<TestType> sum(expected.size(), TestType{10});
      distances.fold(table.data(), sum.data());
      for (std::size_t d = 0; d < sum.size(); ++d)
        REQUIRE_THAT(static_cast<double>(sum[d]), WithinAbs(expected[d], 1e-4));
    }
}

}  // namespace attention_distance_test
