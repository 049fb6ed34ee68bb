// Arithmetic on packets: sums of products whose rounding no compiler decides, exp, the logistic function and tanh.
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <numbers>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packets.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

/// Whether there is an instruction for a b + c with one rounding: then a compiler may use it wherever it sees a product
/// and a sum, and GCC does so in some copies of an inlined function and not in others.
#if defined(__FMA__) || defined(__FMA4__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMA)
inline constexpr bool products_may_fuse = true;
#else
inline constexpr bool products_may_fuse = false;
#endif

/// A product, rounded: no compiler merges it with a sum that it goes into.
template <class Value>
Value rounded(const Value& product) {
  if constexpr (products_may_fuse)
    return opaque(product);
  else
    return product;
}

/// a b + c of packets or numbers, with one rounding if this build has an instruction for that, else with two: the same
/// bits in every copy of the code. Whatever adds a product to something is written with it, or with `rounded`.
template <class Value>
Value multiply_add(const Value& a, const Value& b, const Value& c) {
  if constexpr (std::floating_point<Value> && products_may_fuse)
    return std::fma(a, b, c);
  else if constexpr (simd::pmadd_fuses || !products_may_fuse)
    return simd::pmadd(a, b, c);
  else
    return simd::padd(rounded(Value(simd::pmul(a, b))), rounded(c));
}

namespace detail {

/// Whether a type of packet has integers of the same width, so that its bits can be computed with.
template <class Packet>
concept HasBits = requires(Packet p) {
  requires std::same_as < typename simd::unpacket_traits<Packet>::type,
  float > ;
  requires simd::unpacket_traits<Packet>::size >
  1;
  simd::plogical_shift_left<23>(simd::preinterpret<typename simd::unpacket_traits<Packet>::integer_packet>(p));
};

/// e^x as 2^n e^r with |r| <= ln(2) / 2 and e^r = 1 + r slope.
template <class Packet>
struct SplitExp {
  Packet r, slope, power;  ///< slope times `raise`, power divided by it

  /// So that the power is 0, not subnormal, where e^x is to be 0.
  static constexpr float raise = HasBits<Packet> ? 2048 : 1;
};

/// In single precision: slope is 1 + r times a quartic (error of e^r 4.5e-8). The power comes from the bits of
/// x log2(e) + magic, whose last are n + 116. 0 below -80.
template <HasBits Packet>
SplitExp<Packet> split_exp(const Packet& x) {
  using Bits = typename simd::unpacket_traits<Packet>::integer_packet;
  constexpr float raise = SplitExp<Packet>::raise, magic = 12582912 + 116;
  const Packet bounded = simd::pmax(x, broadcast(-80.5F));
  const Packet shifted = multiply_add(bounded, broadcast(1.44269504F), broadcast(magic));
  const Packet n = simd::psub(shifted, broadcast(magic));
  Packet r = multiply_add(n, broadcast(-0.693359375F), bounded);  // the first digits of ln(2): the product is exact
  r = multiply_add(n, broadcast(2.12194440e-4F), r);
  Packet slope = broadcast(raise * 1.45813539e-3F);
  slope = multiply_add(slope, r, broadcast(raise * 8.36078767e-3F));
  slope = multiply_add(slope, r, broadcast(raise * 4.16578636e-2F));
  slope = multiply_add(slope, r, broadcast(raise * 1.66665866e-1F));
  slope = multiply_add(slope, r, broadcast(raise * 5.00000230e-1F));
  slope = multiply_add(slope, r, broadcast(raise));
  return {r, slope, simd::preinterpret<Packet>(simd::plogical_shift_left<23>(simd::preinterpret<Bits>(shifted)))};
}

/// In double precision, and for floats without integers of their own: slope is 2 P / (Q - r P) with polynomials in r^2
/// (Cephes mathematical library). 0 below -700 (float: -80).
template <class Packet>
SplitExp<Packet> split_exp(const Packet& x) {
  using Scalar = typename simd::unpacket_traits<Packet>::type;
  constexpr bool single = std::same_as<Scalar, float>;
  const auto number = [](double value) { return broadcast(static_cast<Scalar>(value)); };
  const Packet lowest = number(single ? -80 : -700), magic = number(single ? 0x1.8p23 : 0x1.8p52);
  const Packet bounded = simd::pmax(x, lowest);
  const Packet n = simd::psub(multiply_add(bounded, number(std::numbers::log2e), magic), magic);
  Packet r = multiply_add(n, number(-0.693145751953125), bounded);
  r = multiply_add(n, number(-1.42860682030941723212e-6), r);
  const Packet square = simd::pmul(r, r);
  Packet p = multiply_add(number(1.26177193074810590878e-4), square, number(3.02994407707441961300e-2));
  p = multiply_add(p, square, number(9.99999999999999999910e-1));
  Packet q = multiply_add(number(3.00198505138664455042e-6), square, number(2.52448340349684104192e-3));
  q = multiply_add(q, square, number(2.27265548208155028766e-1));
  q = multiply_add(q, square, number(2.00000000000000000009e0));
  const Packet slope = simd::pdiv(Packet(simd::padd(p, p)), multiply_add(Packet(simd::pnegate(r)), p, q));
  return {r, slope, simd::pselect(simd::pcmp_lt(x, lowest), number(0), simd::pldexp(number(1), n))};
}

/// a / -b for b < 0 (float: from -2^120 to -2^-120), by Newton's method where products fuse: there a division would
/// take longer than everything else in tanh. Elsewhere the division is faster, and tanh by half a unit better with it.
template <class Packet>
Packet quotient_by_minus(const Packet& a, const Packet& b) {
  if constexpr (HasBits<Packet> && simd::pmadd_fuses) {
    using Bits = typename simd::unpacket_traits<Packet>::integer_packet;
    const int sign = std::numeric_limits<int>::min();
    const Bits guess = simd::psub(simd::pset1<Bits>(0x7EF311C7 + sign), simd::preinterpret<Bits>(b));
    Packet inverse = simd::preinterpret<Packet>(guess);
    const Packet error = multiply_add(b, inverse, broadcast(1.0F));  // at most 0.051, then its cube
    inverse = multiply_add(inverse, multiply_add(error, error, error), inverse);
    const Packet first = rounded(Packet(simd::pmul(a, inverse)));
    return multiply_add(multiply_add(b, first, a), inverse, first);
  } else {
    return simd::pdiv(a, Packet(simd::pnegate(b)));
  }
}

}  // namespace detail

/// exp of a packet for x up to 88 (float) and 709 (double), 0 below -80 and -700. In float good to 2 units in the last
/// place (ULP); all errors are in docs/kernels.md.
///
/// Eigen's exp does not reach 0, whatever the argument, but stops at a subnormal number, and products with those take a
/// hundred times as long: half of the weights of causal attention.
template <Real Scalar, class Packet>
Packet packet_exp(const Packet& x) {
  const detail::SplitExp<Packet> e = detail::split_exp(x);
  const Packet mantissa = multiply_add(e.slope, e.r, broadcast(Scalar{detail::SplitExp<Packet>::raise}));
  return simd::pmul(mantissa, e.power);  // exact
}

/// exp(x) - 1 of a packet, in the range of `packet_exp`, to 4 ULP: as good near 0 as far from it.
template <Real Scalar, class Packet>
Packet packet_expm1(const Packet& x) {
  constexpr Scalar raise{detail::SplitExp<Packet>::raise};
  const detail::SplitExp<Packet> e = detail::split_exp(x);
  const Packet growth = simd::pmul(e.slope, e.r);
  return multiply_add(growth, e.power, multiply_add(e.power, broadcast(raise), broadcast(Scalar{-1})));
}

/// The logistic function 1 / (1 + exp(-x)) of a packet and its complement 1 / (1 + exp(x)), both to 4 ULP also where
/// they are small: the first is 0 where exp is, the second exp(-40) above 40.
template <Real Scalar, class Packet>
struct PacketLogistic {
  Packet exponential, minus_both;

  explicit PacketLogistic(const Packet& x)
      : exponential(packet_exp<Scalar>(Packet(simd::pmin(x, broadcast(Scalar{40}))))),
        minus_both(simd::psub(broadcast(Scalar{-1}), exponential)) {}

  Packet value() const { return detail::quotient_by_minus(exponential, minus_both); }
  Packet complement() const { return detail::quotient_by_minus(broadcast(Scalar{1}), minus_both); }
};

/// tanh(x / 2) of a packet, to 4 ULP: with e = exp(x) - 1 it is e / (e + 2).
template <Real Scalar, class Packet>
Packet packet_tanh_of_half(const Packet& x) {
  const Packet e = packet_expm1<Scalar>(Packet(simd::pmin(x, broadcast(Scalar{40}))));
  return detail::quotient_by_minus(e, Packet(simd::psub(broadcast(Scalar{-2}), e)));
}

/// tanh of a packet, to 4 ULP.
template <Real Scalar, class Packet>
Packet packet_tanh(const Packet& x) {
  return packet_tanh_of_half<Scalar>(Packet(simd::padd(x, x)));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace merganser::kernels
