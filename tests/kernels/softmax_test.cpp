#include <merganser/kernels/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "support/golden_dir.hpp"
#include "support/random_values.hpp"

namespace softmax_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

template <Real Scalar>
struct Weights {
  std::vector<Scalar> values;
  Scalar log_denominator;
};

template <Real Scalar>
Weights<Scalar> weights_of(std::vector<Scalar> x, SoftmaxKind kind) {
  const Scalar log_denominator = softmax_row(static_cast<Index>(x.size()), x.data(), kind);
  return {x, log_denominator};
}

// The definition, in double, with the largest score taken out.
std::vector<double> plain_weights(const std::vector<double>& x, SoftmaxKind kind) {
  double largest = kind == SoftmaxKind::softmax1 ? 0.0 : -std::numeric_limits<double>::infinity();
  for (const double value : x) largest = std::max(largest, value);
  double total = kind == SoftmaxKind::softmax1 ? std::exp(-largest) : 0.0;
  for (const double value : x) total += std::exp(value - largest);
  std::vector<double> y;
  for (const double value : x) y.push_back(std::exp(value - largest) / total);
  return y;
}

template <Real Scalar>
std::vector<Scalar> cast(const std::vector<double>& x) {
  return {x.begin(), x.end()};
}

constexpr SoftmaxKind kinds[] = {SoftmaxKind::softmax, SoftmaxKind::softmax1};

TEMPLATE_TEST_CASE("softmax1 gives the golden values", "[softmax]", float, double) {
  std::ifstream file(golden_dir() + "/softmax1.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  REQUIRE(golden.at("cases").size() == 11);
  const double tolerance = 8 * static_cast<double>(std::numeric_limits<TestType>::epsilon());
  for (const nlohmann::json& example : golden.at("cases")) {
    const auto x = example.at("x").get<std::vector<double>>();
    const auto expected = example.at("y").get<std::vector<double>>();
    std::vector<TestType> row;  // the lowest float of the file is a little below it in decimal
    for (const double value : x)
      row.push_back(static_cast<TestType>(std::max(value, -static_cast<double>(std::numeric_limits<float>::max()))));
    const std::vector<TestType> y = weights_of(row, SoftmaxKind::softmax1).values;
    CAPTURE(x);
    for (std::size_t i = 0; i < y.size(); ++i)
      REQUIRE_THAT(static_cast<double>(y[i]), WithinAbs(expected[i], tolerance));
  }
}

TEMPLATE_TEST_CASE("weights and log denominator are those of the definition", "[softmax]", float, double) {
  Rng rng(1);
  const double tolerance = 40 * static_cast<double>(std::numeric_limits<TestType>::epsilon());
  for (const SoftmaxKind kind : kinds)
    for (const Index count : {1, 2, 7, 16, 33, 100})
      for (const double deviation : {0.1, 3.0, 20.0}) {
        const std::vector<double> x = random_values<double, std::vector<double>>(count, rng, deviation);
        const std::vector<double> expected = plain_weights(x, kind);
        const Weights<TestType> weights = weights_of(cast<TestType>(x), kind);
        double log_denominator = -std::numeric_limits<double>::infinity();
        double total = 0, worst = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          worst = std::max(worst, std::abs(static_cast<double>(weights.values[i]) - expected[i]));
          total += static_cast<double>(weights.values[i]);
          if (expected[i] > 0) log_denominator = std::max(log_denominator, x[i] - std::log(expected[i]));
        }
        CAPTURE(count, deviation);
        REQUIRE(worst <= tolerance);
        REQUIRE_THAT(static_cast<double>(weights.log_denominator), WithinAbs(log_denominator, 60 * tolerance));
        if (kind == SoftmaxKind::softmax)
          REQUIRE_THAT(total, WithinAbs(1.0, tolerance));
        else
          REQUIRE(total < 1.0 + tolerance);
      }
}

TEMPLATE_TEST_CASE("a row of one score, and of none", "[softmax]", float, double) {
  REQUIRE(weights_of<TestType>({5}, SoftmaxKind::softmax).values == std::vector<TestType>{1});
  REQUIRE(weights_of<TestType>({0}, SoftmaxKind::softmax1).values == std::vector<TestType>{0.5});
  for (const SoftmaxKind kind : kinds) {
    REQUIRE(softmax_row(0, static_cast<TestType*>(nullptr), kind) == TestType{0});
  }
}

TEMPLATE_TEST_CASE("softmax ignores a shift, softmax1 does not", "[softmax]", float, double) {
  const std::vector<TestType> x = {1, -2, TestType(0.5)}, shifted = {5, 2, TestType(4.5)};
  REQUIRE(weights_of(x, SoftmaxKind::softmax).values == weights_of(shifted, SoftmaxKind::softmax).values);
  REQUIRE(weights_of(x, SoftmaxKind::softmax1).values[0] < weights_of(shifted, SoftmaxKind::softmax1).values[0]);
}

TEMPLATE_TEST_CASE("a row of hidden scores is uniform under softmax and weighs nothing under softmax1", "[softmax]",
                   float, double) {
  for (const Index count : {1, 3, 37}) {
    const std::vector<TestType> hidden(static_cast<std::size_t>(count), TestType(-1e9));
    const TestType share = TestType{1} / static_cast<TestType>(count);
    const Weights<TestType> plain = weights_of(hidden, SoftmaxKind::softmax);
    const Weights<TestType> extra = weights_of(hidden, SoftmaxKind::softmax1);
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      REQUIRE_THAT(static_cast<double>(plain.values[i]), WithinRel(static_cast<double>(share), 1e-6));
      REQUIRE(extra.values[i] == TestType{0});
    }
  }
}

TEMPLATE_TEST_CASE("a hidden score beside others weighs exactly nothing", "[softmax]", float, double) {
  for (const SoftmaxKind kind : kinds) {
    const Weights<TestType> weights = weights_of<TestType>({TestType(-1e9), 2, TestType(-1e9), 1}, kind);
    REQUIRE(weights.values[0] == TestType{0});
    REQUIRE(weights.values[2] == TestType{0});
    REQUIRE(weights.values[1] > weights.values[3]);
  }
}

TEMPLATE_TEST_CASE("softmax has the same bits wherever it lies in memory", "[softmax]", float, double) {
  Rng rng(4);
  const std::vector<TestType> x = random_values<TestType, std::vector<TestType>>(45, rng, 4.0);
  for (const SoftmaxKind kind : kinds) {
    const Weights<TestType> expected = weights_of(x, kind);
    for (std::size_t shift = 1; shift <= 15; ++shift) {
      std::vector<TestType> moved(shift);
      moved.insert(moved.end(), x.begin(), x.end());
      REQUIRE(softmax_row(45, moved.data() + shift, kind) == expected.log_denominator);
      REQUIRE(std::equal(expected.values.begin(), expected.values.end(), moved.data() + shift));
    }
  }
}

TEMPLATE_TEST_CASE("a score that is not a number spoils its row visibly", "[softmax]", float, double) {
  for (const SoftmaxKind kind : kinds) {
    std::vector<TestType> x(21, TestType{1});
    x[20] = std::numeric_limits<TestType>::quiet_NaN();
    REQUIRE(std::isnan(weights_of(x, kind).values[0]));
  }
}

TEMPLATE_TEST_CASE("a row of nothing but -infinity weighs nothing", "[softmax]", float, double) {
  constexpr TestType infinite = std::numeric_limits<TestType>::infinity();
  const std::vector<TestType> nothing(37, -infinite);
  for (const SoftmaxKind kind : kinds)
    for (const TestType weight : weights_of(nothing, kind).values) REQUIRE(weight == TestType{0});
  std::vector<TestType> row = nothing;
  REQUIRE(softmax_row(37, row.data(), SoftmaxKind::softmax) == -infinite);
}

}  // namespace softmax_test
