#include <merganser/kernels/packets.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

namespace packets_test {

using namespace merganser;
using namespace merganser::kernels;

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

template <Real Scalar>
std::vector<Scalar> lanes_of(const typename PacketOf<Scalar>::Type& packet) {
  std::vector<Scalar> lanes(static_cast<std::size_t>(PacketOf<Scalar>::size));
  simd::pstoreu(lanes.data(), packet);
  return lanes;
}

// first, first + step, ... in every lane.
template <Real Scalar>
std::vector<Scalar> counted(Scalar first, Scalar step) {
  std::vector<Scalar> lanes(static_cast<std::size_t>(PacketOf<Scalar>::size));
  for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = first + static_cast<Scalar>(i) * step;
  return lanes;
}

TEMPLATE_TEST_CASE("the names of packets mean what they say, lane by lane", "[packets]", float, double) {
  using Packet = typename PacketOf<TestType>::Type;
  const auto xs = counted<TestType>(-3, 2), ys = counted<TestType>(4, -1), zs = counted<TestType>(TestType(0.5), 1);
  const Packet x = simd::ploadu<Packet>(xs.data()), y = simd::ploadu<Packet>(ys.data()),
               z = simd::ploadu<Packet>(zs.data());
  const auto require_lanes = [&](const Packet& packet, auto of) {
    const auto lanes = lanes_of<TestType>(packet);
    for (std::size_t i = 0; i < lanes.size(); ++i) REQUIRE(lanes[i] == of(xs[i], ys[i], zs[i]));
  };
  using T = TestType;
  require_lanes(x, [](T a, T, T) { return a; });
  require_lanes(broadcast(TestType{7}), [](T, T, T) { return T{7}; });
  require_lanes(simd::padd(x, y), [](T a, T b, T) { return a + b; });
  require_lanes(simd::psub(x, y), [](T a, T b, T) { return a - b; });
  require_lanes(simd::pmul(x, y), [](T a, T b, T) { return a * b; });
  require_lanes(simd::pdiv(x, z), [](T a, T, T c) { return a / c; });
  require_lanes(simd::pmadd(x, y, z), [](T a, T b, T c) { return a * b + c; });
  require_lanes(simd::pnegate(x), [](T a, T, T) { return -a; });
  require_lanes(simd::pmax(x, y), [](T a, T b, T) { return std::max(a, b); });
  require_lanes(simd::pmin(x, y), [](T a, T b, T) { return std::min(a, b); });
  require_lanes(simd::pldexp(z, x), [](T a, T, T c) { return std::ldexp(c, static_cast<int>(a)); });
  require_lanes(simd::pselect(simd::pcmp_lt(x, y), z, y), [](T a, T b, T c) { return a < b ? c : b; });
  require_lanes(simd::pand(simd::pcmp_lt(x, y), z), [](T a, T b, T c) { return a < b ? c : T{0}; });
  require_lanes(simd::por(simd::pand(simd::pcmp_lt(x, y), z), simd::pand(simd::pcmp_lt(y, x), y)), [](T a, T b, T c) {
    return a < b ? c : b < a ? b : T{0};
  });
  require_lanes(opaque(x), [](T a, T, T) { return a; });

  const auto roots = lanes_of<TestType>(simd::psqrt(z));  // not everywhere the nearest number
  for (std::size_t i = 0; i < roots.size(); ++i)
    REQUIRE(std::abs(roots[i] - std::sqrt(zs[i])) <= 2 * std::numeric_limits<TestType>::epsilon() * roots[i]);

  TestType total = 0;
  for (const TestType a : xs) total += a;
  REQUIRE(simd::predux(x) == total);
  REQUIRE(simd::predux_max(x) == xs.back());
  REQUIRE(opaque(TestType{3}) == 3);
}

TEMPLATE_TEST_CASE("a square of packets is transposed in place", "[packets]", float, double) {
  using Packet = typename PacketOf<TestType>::Type;
  constexpr int size = PacketOf<TestType>::size;
  STATIC_REQUIRE(std::is_same_v<typename simd::unpacket_traits<Packet>::type, TestType>);
  if constexpr (size > 1) {
    simd::PacketBlock<Packet, size> block;
    for (int i = 0; i < size; ++i)
      block.packet[i] = simd::ploadu<Packet>(counted<TestType>(static_cast<TestType>(i * size), 1).data());
    simd::ptranspose(block);
    for (int i = 0; i < size; ++i)
      REQUIRE(lanes_of<TestType>(block.packet[i]) == counted<TestType>(static_cast<TestType>(i), TestType{size}));
  }
}

TEMPLATE_TEST_CASE("the bits of floats move as integers of the same width", "[packets]", float) {
  using Packet = typename PacketOf<TestType>::Type;
  if constexpr (PacketOf<TestType>::size > 1) {
    using Bits = typename simd::unpacket_traits<Packet>::integer_packet;
    const Bits bits = simd::preinterpret<Bits>(broadcast(TestType{1.5}));  // 0x3FC00000
    std::vector<std::int32_t> words(static_cast<std::size_t>(PacketOf<TestType>::size));
    simd::pstoreu(words.data(), simd::plogical_shift_right<22>(bits));
    REQUIRE(words == std::vector<std::int32_t>(words.size(), 0xFF));
    simd::pstoreu(words.data(), simd::plogical_shift_left<8>(simd::pset1<Bits>(0x00400000)));
    REQUIRE(words == std::vector<std::int32_t>(words.size(), 0x40000000));
  }
}

TEST_CASE("pmadd rounds once where the build has an instruction for it", "[packets]") {
  // (1 + 2^-12)^2 - 1 needs 25 bits: the last is lost when the product is rounded.
  const float a = 1 + 0x1p-12F, product = opaque(a * a);
  const float once = std::fma(a, a, -1.0F), twice = product - 1;
  REQUIRE(once != twice);
  const auto lanes = lanes_of<float>(simd::pmadd(opaque(broadcast(a)), opaque(broadcast(a)), broadcast(-1.0F)));
  if (PacketOf<float>::size > 1) REQUIRE(lanes[0] == (simd::pmadd_fuses ? once : twice));
}

}  // namespace packets_test
