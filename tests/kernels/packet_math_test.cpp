#include <merganser/kernels/packet_math.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packet_loop.hpp>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace packet_math_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;

// One float in so many, of all that there are between two.
std::vector<float> sample(float lowest, float highest) {
  std::vector<float> x;
  for (std::uint64_t pattern = 0; pattern < std::uint64_t{1} << 32; pattern += 4801) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(pattern));
    if (value >= lowest && value <= highest) x.push_back(value);
  }
  return x;
}

template <Real Scalar, class Of>
std::vector<Scalar> values_of(const std::vector<Scalar>& x, Of of) {
  std::vector<Scalar> y(x.size());
  transform(static_cast<Index>(x.size()), y.data(), of, x.data());
  return y;
}

template <Real Scalar>
std::vector<Scalar> tanh_of(const std::vector<Scalar>& x) {
  return values_of(x, [](const auto& p) { return packet_tanh<Scalar>(p); });
}

template <Real Scalar>
std::vector<Scalar> exp_of(const std::vector<Scalar>& x) {
  return values_of(x, [](const auto& p) { return packet_exp<Scalar>(p); });
}

// The largest error in units in the last place of the result, at least of the smallest normal number.
template <class Of, class Reference>
double worst_units(float lowest, float highest, Of of, Reference reference) {
  const std::vector<float> x = sample(lowest, highest), y = values_of(x, of);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = reference(static_cast<double>(x[i]));
    int exponent = 0;
    std::frexp(std::max(std::abs(expected), 0x1p-126), &exponent);
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - expected) / std::ldexp(1.0, exponent - 24));
  }
  return worst;
}

constexpr float largest = std::numeric_limits<float>::max();

double gelu(double x) { return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

constexpr auto packet_gelu = []<class Packet>(const Packet& x) { return PacketGelu<float, Packet>(x).value(); };

// The bounds of docs/kernels.md, which bench/ulp_errors measures over every float.
TEST_CASE("functions of floats are as good as they say, in units in the last place", "[packet_math]") {
  REQUIRE(worst_units(
              -80, 88, [](const auto& x) { return packet_exp<float>(x); }, [](double x) { return std::exp(x); }) <= 2);
  REQUIRE(worst_units(
              -80, 88, [](const auto& x) { return packet_expm1<float>(x); }, [](double x) { return std::expm1(x); }) <=
          4);
  REQUIRE(worst_units(
              -largest, largest, [](const auto& x) { return packet_tanh<float>(x); },
              [](double x) { return std::tanh(x); }) <= 4);
  REQUIRE(worst_units(
              -79, largest, []<class Packet>(const Packet& x) { return PacketLogistic<float, Packet>(x).value(); },
              [](double x) { return 1 / (1 + std::exp(-x)); }) <= 4);
  REQUIRE(worst_units(
              -largest, 39, []<class Packet>(const Packet& x) { return PacketLogistic<float, Packet>(x).complement(); },
              [](double x) { return 1 / (1 + std::exp(x)); }) <= 4);
  REQUIRE(worst_units(-1, largest, packet_gelu, gelu) <= 4);
}

TEST_CASE("gelu below -1 is good to 1e-7", "[packet_math]") {
  const std::vector<float> x = sample(-largest, -1), y = values_of(x, packet_gelu);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - gelu(static_cast<double>(x[i]))));
  REQUIRE(worst <= 1e-7);
}

TEST_CASE("functions of doubles are good to a few units", "[packet_math]") {
  std::vector<double> x;
  for (int i = -20000; i <= 20000; ++i) x.push_back(i / 500.0);
  for (int i = -1000; i < 0; ++i) x.push_back(std::ldexp(1.3, i));
  std::vector<double> exp(x.size()), expm1(x.size()), tanh(x.size());
  const auto count = static_cast<Index>(x.size());
  transform(
      count, exp.data(), [](const auto& p) { return packet_exp<double>(p); }, x.data());
  transform(
      count, expm1.data(), [](const auto& p) { return packet_expm1<double>(p); }, x.data());
  transform(
      count, tanh.data(), [](const auto& p) { return packet_tanh<double>(p); }, x.data());
  constexpr double bound = 4 * std::numeric_limits<double>::epsilon();
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    REQUIRE(std::abs(exp[i] - std::exp(x[i])) <= bound * std::exp(x[i]));
    REQUIRE(std::abs(expm1[i] - std::expm1(x[i])) <= bound * std::abs(std::expm1(x[i])));
    REQUIRE(std::abs(tanh[i] - std::tanh(x[i])) <= bound * std::abs(std::tanh(x[i])));
  }
}

TEMPLATE_TEST_CASE("exp has no subnormal numbers", "[packet_math]", float, double) {
  constexpr TestType infinite = std::numeric_limits<TestType>::infinity();
  const TestType lowest = std::is_same_v<TestType, float> ? TestType(-80) : TestType(-700);
  std::vector<TestType> x;
  for (int i = 0; i <= 2000; ++i) x.push_back(lowest * (TestType(1.5) - static_cast<TestType>(i) / TestType(1000)));
  const auto y = exp_of(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i], y[i]);
    if (x[i] < lowest)
      REQUIRE(y[i] == TestType{0});
    else
      REQUIRE(std::abs(y[i] / std::exp(x[i]) - 1) <= 8 * std::numeric_limits<TestType>::epsilon());
    REQUIRE((y[i] == TestType{0} || y[i] >= std::numeric_limits<TestType>::min()));
  }
  const std::vector<TestType> hidden = {TestType(-1e9), -infinite, std::numeric_limits<TestType>::lowest(), 0};
  REQUIRE(exp_of(hidden) == std::vector<TestType>{0, 0, 0, 1});
}

TEMPLATE_TEST_CASE("what is not a number stays visible", "[packet_math]", float, double) {
  for (const std::size_t place : {0U, 3U, 40U}) {  // in a packet and in a tail
    std::vector<TestType> values(41, TestType{1});
    values[place] = std::numeric_limits<TestType>::quiet_NaN();
    for (const std::vector<TestType>& y : {tanh_of(values), exp_of(values)}) {
      REQUIRE(std::isnan(y[place]));
      REQUIRE(std::count_if(y.begin(), y.end(), [](TestType v) { return std::isnan(v); }) == 1);
    }
  }
}

TEMPLATE_TEST_CASE("tanh far out is 1", "[packet_math]", float, double) {
  constexpr TestType infinite = std::numeric_limits<TestType>::infinity();
  const std::vector<TestType> x = {0, 20, -20, TestType(1e30), TestType(-1e30), infinite, -infinite};
  REQUIRE(tanh_of(x) == std::vector<TestType>{0, 1, -1, 1, -1, 1, -1});
}

TEST_CASE("tanh never leaves [-1, 1]", "[packet_math]") {
  for (const float y : tanh_of(sample(-100, 100))) REQUIRE(std::abs(y) <= 1);
}

TEMPLATE_TEST_CASE("multiply_add rounds once where there is an instruction for it, else twice", "[packet_math]", float,
                   double) {
  constexpr Index size = PacketOf<TestType>::size;
  Rng rng(1);
  for (int trial = 0; trial < 200; ++trial) {
    const auto a = random_values<TestType>(size, rng), b = random_values<TestType>(size, rng);
    Vector<TestType> c(size), packets = c;
    for (Index i = 0; i < c.size(); ++i) c[i] = -a[i] * b[i];  // what is left is the rounding of the product
    transform(
        size, packets.data(), [](const auto& x, const auto& y, const auto& z) { return multiply_add(x, y, z); },
        a.data(), b.data(), c.data());
    for (Index i = 0; i < c.size(); ++i) {
      REQUIRE(packets[i] == (products_may_fuse ? std::fma(a[i], b[i], c[i]) : TestType{0}));
      REQUIRE(multiply_add(a[i], b[i], c[i]) == packets[i]);
    }
  }
}

TEMPLATE_TEST_CASE("a rounded product is not merged with what is added to it", "[packet_math]", float, double) {
  const TestType third = TestType{1} / TestType{3};
  volatile TestType a = third, b = third;
  const TestType product = rounded(TestType(a * b));
  REQUIRE(product - rounded(TestType(a * b)) == TestType{0});
}

}  // namespace packet_math_test
