#include <merganser/merge/policies/equal_information.hpp>

#include <cmath>
#include <limits>

#include <merganser/merge/policies/segment_pooling.hpp>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/policy_laws.hpp"
#include "support/segment_laws.hpp"

namespace equal_information_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Flags = Vector<std::uint8_t>;

/// A token of id k has k bits, and half a bit more for each time that it was there.
struct Bits {
  Vector<double> operator()(std::span<const TokenId> ids) const {
    Vector<double> logs, seen(256, 0.0);
    for (const TokenId id : ids) logs.push_back(-std::log(2.0) * (static_cast<double>(id) + 0.5 * seen[id]++));
    return logs;
  }
};

/// Says what it was told, whatever the ids.
struct Given {
  Vector<double> values = {};
  Vector<double> operator()(std::span<const TokenId>) const { return values; }
};

using Rule = EqualInformation<Bits>;

Flags marks_of_bits(const Vector<double>& bits, double window) {
  Given given;
  for (const double value : bits) given.values.push_back(-value * std::log(2.0));
  return marks_of(EqualInformation<Given>{given, window}, Vector<TokenId>(bits.size(), 1));
}

TEST_CASE("a window holds as many tokens as fit its bits", "[EqualInformation]") {
  REQUIRE(marks_of_bits({1, 2, 2.5, 1, 9, 0.5, 0, 4, 5.5}, 6) == Flags{1, 0, 0, 1, 1, 1, 0, 0, 1});
  REQUIRE(marks_of_bits({9, 9, 9}, 6) == Flags{1, 1, 1});
  REQUIRE(marks_of_bits({0, 0, 0}, 6) == Flags{1, 0, 0});
  REQUIRE(marks_of_bits({}, 6).empty());
}

TEST_CASE("every window fits, and the token behind it did not", "[EqualInformation]") {
  Rng rng(2);
  Vector<double> bits;
  for (Index t = 0; t < 300; ++t) bits.push_back(8 * rng.uniform());
  const Flags marks = marks_of_bits(bits, 16);
  Index windows = 0;
  for_each_segment(marks, [&](Index begin, Index end) {
    double sum = 0;
    for (Index t = begin; t < end; ++t) sum += bits[t];
    REQUIRE(sum <= 16 + 1e-9);
    if (end < 300) REQUIRE(sum + bits[end] > 16 - 1e-9);
    ++windows;
  });
  REQUIRE(windows > 300 * 4 / 16);
}

TEST_CASE("windows of equal information keep the laws of rules and of policies", "[EqualInformation]") {
  for (const double bits : {3.25, 8.25}) {
    require_segment_laws(Rule{.bits = bits});
    require_policy_laws([=]<Real>() { return SegmentPooling<Rule>{{.bits = bits}}; });
  }
  REQUIRE(SegmentPooling<Rule>{}.traits().is_causal);
}

TEST_CASE("settings and probabilities that do not fit are named, and numbers that are none end", "[EqualInformation]") {
  for (const double bits : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()})
    REQUIRE_THROWS_AS(marks_of(Rule{.bits = bits}, {1}), std::invalid_argument);
  REQUIRE(argument_error([] {
            marks_of(EqualInformation<Given>{{{1.0}}}, {1, 2});
          }) == "EqualInformation: log_probabilities.size(): got 1, expected 2");
  const Matrix<double> x = Matrix<double>::Zero(2, 1);
  REQUIRE(argument_error([&] {
            Rule{}.marks(Tokens<double>{x, {}});
          }) == "EqualInformation: ids.size(): got 0, expected 2");
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinite = std::numeric_limits<double>::infinity();
  REQUIRE(marks_of_bits({1, nan, 1, infinite, 1}, 6) == Flags{1, 1, 1, 1, 1});
}

}  // namespace equal_information_test
