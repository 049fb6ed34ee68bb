#include <merganser/core/random.hpp>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <vector>

#include "support/catch.hpp"

namespace random_test {

using namespace merganser;
using Catch::Matchers::WithinAbs;

// The generator written down a second time from the paper: xoshiro256++, with the rotations of <bit>.
struct Reference {
  Rng::State s;

  std::uint64_t next() {
    const std::uint64_t out = std::rotl(s[0] + s[3], 23) + s[0];
    const Rng::State old = s;
    s[0] = old[0] ^ old[1] ^ old[3];
    s[1] = old[0] ^ old[1] ^ old[2];
    s[2] = old[0] ^ old[2] ^ (old[1] << 17);
    s[3] = std::rotl(old[1] ^ old[3], 45);
    return out;
  }
};

struct Moments {
  double mean = 0, variance = 0, third = 0;
};

// Central moments of many draws; the third is divided by the standard deviation cubed.
Moments moments(const std::function<double()>& draw, int count) {
  std::vector<double> values(static_cast<std::size_t>(count));
  Moments result;
  for (double& value : values) result.mean += (value = draw()) / count;
  for (const double value : values) result.variance += std::pow(value - result.mean, 2) / count;
  for (const double value : values) result.third += std::pow(value - result.mean, 3) / count;
  result.third /= std::pow(result.variance, 1.5);
  return result;
}

constexpr int draws =
    200000;  // standard error of a mean: 0.0022 standard deviations; the bounds below are four times that

TEST_CASE("a seed is spread by splitmix64", "[Rng]") {
  // The first outputs of splitmix64 from 0, as published with it.
  const Rng::State expected = {0xe220a8397b1dcdafU, 0x6e789e6aa1b965f4U, 0x06c45d188009454fU, 0xf88bb8a8724c81ecU};
  REQUIRE(Rng(0).state() == expected);
  REQUIRE(Rng().state() == expected);
}

TEST_CASE("the bits are those of xoshiro256++", "[Rng]") {
  SECTION("published first values of the state 1, 2, 3, 4") {
    Rng rng = Rng::from_state({1, 2, 3, 4});
    for (const std::uint64_t value : {41943041ULL, 58720359ULL, 3588806011781223ULL, 3591011842654386ULL,
                                      9228616714210784205ULL, 9973669472204895162ULL})
      REQUIRE(rng.next() == value);
  }
  SECTION("ten thousand values of a second implementation") {
    Rng rng(20250101);
    Reference reference{rng.state()};
    bool same = true;
    for (int i = 0; i < 10000; ++i) same = same && rng.next() == reference.next();
    REQUIRE(same);
    REQUIRE(rng.state() == reference.s);
  }
}

TEST_CASE("seeds repeat and differ, states resume, copies go their own way", "[Rng]") {
  Rng first(7), second(7), other(8);
  REQUIRE(first.next() == second.next());
  REQUIRE(first.next() != other.next());

  Rng resumed = Rng::from_state(first.state());
  Rng copy = first;
  const std::uint64_t value = first.next();
  REQUIRE(resumed.next() == value);
  REQUIRE(copy.next() == value);
}

TEST_CASE("a fork differs from its parent and advances it by one draw", "[Rng]") {
  Rng parent(3), twin(3);
  Rng child = parent.fork();
  twin.next();
  REQUIRE(parent.state() == twin.state());
  REQUIRE(child.state() != parent.state());
  Rng sibling = parent.fork();
  REQUIRE(sibling.next() != child.next());
}

TEST_CASE("uniform numbers lie in [0, 1) with the moments of the uniform distribution", "[Rng]") {
  Rng rng(1);
  double smallest = 1, largest = 0;
  const Moments m = moments(
      [&] {
        const double u = rng.uniform();
        smallest = std::min(smallest, u);
        largest = std::max(largest, u);
        return u;
      },
      draws);
  REQUIRE(smallest >= 0.0);
  REQUIRE(largest < 1.0);
  REQUIRE(smallest < 0.001);
  REQUIRE(largest > 0.999);
  REQUIRE_THAT(m.mean, WithinAbs(0.5, 0.0026));
  REQUIRE_THAT(m.variance, WithinAbs(1.0 / 12, 0.0007));
  REQUIRE_THAT(m.third, WithinAbs(0.0, 0.02));
}

TEST_CASE("uniform numbers use the upper 53 bits", "[Rng]") {
  Rng rng = Rng::from_state({1, 2, 3, 4}), twin = rng;
  REQUIRE(rng.uniform() == std::ldexp(static_cast<double>(twin.next() / 2048), -53));
}

TEST_CASE("below gives every number under the count equally often", "[Rng]") {
  Rng rng(2);
  std::vector<int> hits(7, 0);
  for (int i = 0; i < 70000; ++i) ++hits.at(rng.below(7));
  for (const int count : hits) REQUIRE(std::abs(count - 10000) < 4 * 93);  // four standard deviations of a binomial

  REQUIRE(rng.below(1) == 0);
  // Of three quarters of 2^64, the remainder of a draw alone would hit the lowest third half of the time.
  const std::uint64_t third = 1ULL << 62;
  int low = 0;
  for (int i = 0; i < draws; ++i) low += rng.below(3 * third) < third ? 1 : 0;
  REQUIRE_THAT(static_cast<double>(low) / draws, WithinAbs(1.0 / 3, 0.0043));
  REQUIRE(rng.below(std::numeric_limits<std::uint64_t>::max()) < std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("normal numbers have the moments of the normal distribution", "[Rng]") {
  Rng rng(4);
  int within_one = 0;
  const Moments m = moments(
      [&] {
        const double x = rng.normal();
        within_one += std::abs(x) < 1 ? 1 : 0;
        return x;
      },
      draws);
  REQUIRE_THAT(m.mean, WithinAbs(0.0, 0.009));
  REQUIRE_THAT(m.variance, WithinAbs(1.0, 0.013));
  REQUIRE_THAT(m.third, WithinAbs(0.0, 0.022));
  REQUIRE_THAT(static_cast<double>(within_one) / draws, WithinAbs(0.682689, 0.0042));
}

TEST_CASE("a normal number takes two draws and hides none", "[Rng]") {
  Rng rng(5), twin(5);
  rng.normal();
  twin.next();
  twin.next();
  REQUIRE(rng.state() == twin.state());
}

TEST_CASE("Gumbel numbers have the moments of the Gumbel distribution", "[Rng]") {
  Rng rng(6);
  const Moments m = moments([&] { return rng.gumbel(); }, draws);
  REQUIRE_THAT(m.mean, WithinAbs(0.5772157, 0.012));
  REQUIRE_THAT(m.variance, WithinAbs(1.6449341, 0.032));
  REQUIRE_THAT(m.third, WithinAbs(1.1395471, 0.12));
}

TEST_CASE("a Bernoulli draw is true as often as asked, and 0 and 1 are certain", "[Rng]") {
  Rng rng(8);
  int hits = 0;
  for (int i = 0; i < draws; ++i) hits += rng.bernoulli(0.3) ? 1 : 0;
  REQUIRE_THAT(static_cast<double>(hits) / draws, WithinAbs(0.3, 0.0042));
  for (int i = 0; i < 1000; ++i) {
    REQUIRE_FALSE(rng.bernoulli(0.0));
    REQUIRE(rng.bernoulli(1.0));
  }
}

TEST_CASE("the smallest and the largest uniform number give finite numbers", "[Rng]") {
  const std::uint64_t all_bits = std::numeric_limits<std::uint64_t>::max();
  const Rng smallest = Rng::from_state({0, 0, 0, 0});        // draws 0 for ever
  const Rng largest = Rng::from_state({0, 0, 0, all_bits});  // draws 2^64 - 1 first
  REQUIRE(Rng(smallest).uniform() == 0.0);
  REQUIRE(Rng(largest).uniform() == 1.0 - 0x1.0p-53);
  for (const Rng& rng : {smallest, largest}) {
    REQUIRE(std::isfinite(Rng(rng).normal()));
    REQUIRE(std::isfinite(Rng(rng).gumbel()));
  }
}

}  // namespace random_test
