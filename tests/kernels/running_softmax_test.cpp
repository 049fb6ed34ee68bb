#include <merganser/kernels/running_softmax.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <merganser/kernels/attention_panels.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace running_softmax_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::kernels::detail;
using namespace merganser::testing;
using Catch::Matchers::WithinRel;

TEMPLATE_TEST_CASE("exponentials are taken in place and summed", "[running_softmax]", float, double) {
  Rng rng(1);
  for (const Index panels : {0, 1, 3}) {
    const Index width = panels * attention_panel<TestType>;
    const auto before = random_values<TestType, std::vector<TestType>>(width, rng);
    auto after = before;
    const TestType sum = exponentiate(after.data(), width, TestType{2});
    double expected = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      const double weight = std::exp(static_cast<double>(before[i]) - 2);
      expected += weight;
      REQUIRE_THAT(static_cast<double>(after[i]), WithinRel(weight, agreement<TestType>));
    }
    REQUIRE_THAT(static_cast<double>(sum), WithinRel(expected, agreement<TestType>));
  }
}

TEMPLATE_TEST_CASE("keys that come in blocks weigh what they weigh together", "[running_softmax]", float, double) {
  constexpr Index panel = attention_panel<TestType>, stride = score_stride<TestType>;
  constexpr Index row = 2, rows = 3;
  for (const SoftmaxKind kind : {SoftmaxKind::softmax, SoftmaxKind::softmax1}) {
    std::vector<TestType> largest(attention_chunk), total(attention_chunk);
    RunningSoftmax<TestType> running{largest.data(), total.data()};
    running.start(row + rows, kind);
    const bool one = kind == SoftmaxKind::softmax1;
    REQUIRE(largest[row] == (one ? 0 : std::numeric_limits<TestType>::lowest()));
    REQUIRE(total[row] == (one ? 1 : 0));

    // What attention sums of values that are all 1.
    std::vector<double> sums(rows, one ? 1.0 : 0.0), expected_sums(rows);
    std::vector<double> expected_largest(rows, one ? 0.0 : -std::numeric_limits<double>::infinity());
    std::vector<std::vector<TestType>> all(rows);
    Rng rng(5);
    for (const Index panels : {2, 1, 3}) {
      const Index columns = panels * panel;
      std::vector<TestType> scores(static_cast<std::size_t>(rows * stride));
      std::vector<TestType> block_largest(attention_rows), factors(attention_rows);
      for (Index r = 0; r < rows; ++r) {
        const auto values = random_values<TestType, std::vector<TestType>>(columns, rng, 3.0);
        std::copy(values.begin(), values.end(), scores.begin() + r * stride);
        const auto i = static_cast<std::size_t>(r);
        all[i].insert(all[i].end(), values.begin(), values.end());
        block_largest[i] = *std::max_element(values.begin(), values.end());
      }
      running.add(row, rows, scores.data(), columns, block_largest.data(), factors.data());
      for (Index r = 0; r < rows; ++r) {
        const auto i = static_cast<std::size_t>(r);
        sums[i] *= static_cast<double>(factors[i]);
        for (Index k = 0; k < columns; ++k)
          sums[i] += static_cast<double>(scores[i * stride + static_cast<std::size_t>(k)]);
      }
    }
    for (std::size_t i = 0; i < rows; ++i) {
      const double most =
          std::max(expected_largest[i], static_cast<double>(*std::max_element(all[i].begin(), all[i].end())));
      expected_sums[i] = one ? std::exp(-most) : 0.0;
      for (const TestType score : all[i]) expected_sums[i] += std::exp(static_cast<double>(score) - most);
      REQUIRE(static_cast<double>(largest[row + i]) == most);
      REQUIRE_THAT(static_cast<double>(total[row + i]), WithinRel(expected_sums[i], agreement<TestType>));
      REQUIRE_THAT(sums[i], WithinRel(expected_sums[i], agreement<TestType>));
    }
  }
}

}  // namespace running_softmax_test
