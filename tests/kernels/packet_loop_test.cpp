#include <merganser/kernels/packet_loop.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace packet_loop_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

constexpr Index largest_shift = 15;  // elements: every place inside a cache line of float, and inside two of double

// A copy of `values` that starts `shift` elements into a buffer.
template <Real Scalar>
struct Shifted {
  std::vector<Scalar> buffer;
  Index shift;

  Shifted(const std::vector<Scalar>& values, Index start)
      : buffer(static_cast<std::size_t>(start), Scalar{0}), shift(start) {
    buffer.insert(buffer.end(), values.begin(), values.end());
  }
  Scalar* data() { return buffer.data() + shift; }
};

// Functions whose last bit tells the packet form from the scalar form.
template <Real Scalar>
std::vector<Scalar> tanh_of(const Scalar* in, Index count) {
  std::vector<Scalar> out(static_cast<std::size_t>(count));
  transform(
      count, out.data(), [](const auto& x) { return packet_tanh<Scalar>(x); }, in);
  return out;
}

template <Real Scalar>
std::vector<Scalar> exp_of(const Scalar* in, Index count) {
  std::vector<Scalar> out(static_cast<std::size_t>(count));
  transform(
      count, out.data(), [](const auto& x) { return packet_exp<Scalar>(x); }, in);
  return out;
}

TEMPLATE_TEST_CASE("transform computes every element and writes no other", "[packet_loop]", float, double) {
  constexpr Index size = PacketOf<TestType>::size;
  constexpr TestType untouched = -77;
  Rng rng(1);
  for (Index count = 0; count <= 4 * size + 3; ++count) {
    const std::vector<TestType> a = random_values<TestType, std::vector<TestType>>(count, rng),
                                b = random_values<TestType, std::vector<TestType>>(count, rng);
    std::vector<TestType> out(static_cast<std::size_t>(count + 2), untouched);
    transform(
        count, out.data() + 1, [](const auto& x, const auto& y) { return simd::psub(x, y); }, a.data(), b.data());
    bool right = out.front() == untouched && out.back() == untouched;
    for (std::size_t i = 0; i < a.size(); ++i) right = right && out[i + 1] == a[i] - b[i];
    CAPTURE(count);
    REQUIRE(right);
  }
}

TEMPLATE_TEST_CASE("transform works in place", "[packet_loop]", float, double) {
  Rng rng(2);
  std::vector<TestType> values = random_values<TestType, std::vector<TestType>>(37, rng);
  const std::vector<TestType> before = values;
  transform(
      37, values.data(), [](const auto& x) { return simd::padd(x, x); }, values.data());
  for (std::size_t i = 0; i < values.size(); ++i) REQUIRE(values[i] == 2 * before[i]);
}

TEMPLATE_TEST_CASE("broadcast fills every lane", "[packet_loop]", float, double) {
  TestType lanes[PacketOf<TestType>::size];
  simd::pstoreu(lanes, broadcast(TestType{2.5}));
  for (const TestType lane : lanes) REQUIRE(lane == TestType{2.5});
}

TEMPLATE_TEST_CASE("bits do not depend on the place in memory", "[packet_loop]", float, double) {
  Rng rng(3);
  for (const Index count : {1, 5, 16, 37, 131}) {
    const std::vector<TestType> a = random_values<TestType, std::vector<TestType>>(count, rng),
                                b = random_values<TestType, std::vector<TestType>>(count, rng);
    const auto tanh = tanh_of(a.data(), count);
    const auto exp = exp_of(a.data(), count);
    const TestType a_sum = sum(count, a.data());
    const TestType a_dot = dot(count, a.data(), b.data());
    for (Index shift = 1; shift <= largest_shift; ++shift) {
      Shifted<TestType> moved_a(a, shift), moved_b(b, largest_shift - shift);
      CAPTURE(count, shift);
      REQUIRE(tanh_of(moved_a.data(), count) == tanh);
      REQUIRE(exp_of(moved_a.data(), count) == exp);
      REQUIRE(sum(count, moved_a.data()) == a_sum);
      REQUIRE(dot(count, moved_a.data(), moved_b.data()) == a_dot);
    }
  }
}

TEMPLATE_TEST_CASE("an element has the same bits in a packet and in a tail", "[packet_loop]", float, double) {
  Rng rng(4);
  const std::vector<TestType> values = random_values<TestType, std::vector<TestType>>(67, rng, 3.0);
  const auto tanh = tanh_of(values.data(), 67);
  const auto exp = exp_of(values.data(), 67);
  for (std::size_t i = 0; i < values.size(); ++i) {
    REQUIRE(tanh_of(values.data() + i, 1).front() == tanh[i]);
    REQUIRE(exp_of(values.data() + i, 1).front() == exp[i]);
  }
}

TEMPLATE_TEST_CASE("sums and dot products are those of plain loops", "[packet_loop]", float, double) {
  constexpr Index size = PacketOf<TestType>::size;
  Rng rng(5);
  REQUIRE(sum(0, static_cast<const TestType*>(nullptr)) == TestType{0});
  REQUIRE(dot(0, static_cast<const TestType*>(nullptr), static_cast<const TestType*>(nullptr)) == TestType{0});
  for (Index count = 1; count <= 4 * size + 3; ++count) {
    const std::vector<TestType> a = random_values<TestType, std::vector<TestType>>(count, rng),
                                b = random_values<TestType, std::vector<TestType>>(count, rng);
    double plain_sum = 0, plain_dot = 0, plain_mixed = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      plain_sum += x;
      plain_dot += x * y;
      plain_mixed += x * x * y;
    }
    const double tolerance =
        10.0 * static_cast<double>(count) * static_cast<double>(std::numeric_limits<TestType>::epsilon());
    const TestType mixed = sum<TestType>(
        count, [](const auto& total, const auto& x, const auto& y) { return multiply_add(simd::pmul(x, x), y, total); },
        a.data(), b.data());
    CAPTURE(count);
    REQUIRE_THAT(static_cast<double>(sum(count, a.data())), WithinAbs(plain_sum, tolerance));
    REQUIRE_THAT(static_cast<double>(dot(count, a.data(), b.data())), WithinAbs(plain_dot, tolerance));
    REQUIRE_THAT(static_cast<double>(mixed), WithinAbs(plain_mixed, 5 * tolerance));
  }
}

TEMPLATE_TEST_CASE("what is not a number stays visible in a sum", "[packet_loop]", float, double) {
  for (const std::size_t place : {0U, 3U, 40U}) {  // in a packet and in a tail
    std::vector<TestType> values(41, TestType{1});
    values[place] = std::numeric_limits<TestType>::quiet_NaN();
    REQUIRE(std::isnan(sum(41, values.data())));
  }
}

}  // namespace packet_loop_test
