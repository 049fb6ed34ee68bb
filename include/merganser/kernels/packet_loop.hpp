// Elementwise loops and sums whose bits depend on the values alone, not on where they lie in memory.
#pragma once

#include <algorithm>
#include <concepts>

#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// The widest packet of this build for a scalar type, from Eigen's packet primitives (size 1 where there are none).
template <Real Scalar>
struct PacketOf {
  using Type = typename Eigen::internal::packet_traits<Scalar>::type;
  static constexpr int size = Eigen::internal::unpacket_traits<Type>::size;
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

/// A packet with the same value in every lane.
template <Real Scalar>
auto broadcast(Scalar value) {
  return Eigen::internal::pset1<typename PacketOf<Scalar>::Type>(value);
}

namespace detail {

/// The last `count` values as a packet, other lanes 0.
template <Real Scalar>
auto load_tail(const Scalar* in, Index count) {
  Scalar lanes[PacketOf<Scalar>::size] = {};
  std::copy_n(in, count, lanes);
  return Eigen::internal::ploadu<typename PacketOf<Scalar>::Type>(lanes);
}

}  // namespace detail

/// out[i] = op(in[i]...) for i < count, where op maps packets to a packet.
///
/// Eigen's own loops compute the first and last elements of an unaligned array with scalar functions, whose results
/// differ in the last bit from the packet functions; here every element takes the same way.
template <Real Scalar, class Op, class... In>
void transform(Index count, Scalar* out, Op&& op, const In*... in) {
  namespace simd = Eigen::internal;
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  Index i = 0;
  for (; i + size <= count; i += size) simd::pstoreu(out + i, op(simd::ploadu<Packet>(in + i)...));
  if (i == count) return;
  Scalar lanes[PacketOf<Scalar>::size];
  simd::pstoreu(lanes, op(detail::load_tail(in + i, count - i)...));
  std::copy_n(lanes, count - i, out + i);
}

/// The sum of op(in[i]...) over i < count, in one fixed order. op must map zeros to zero.
template <Real Scalar, class Op, class... In>
Scalar sum(Index count, Op&& op, const Scalar* first, const In*... in) {
  namespace simd = Eigen::internal;
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  Packet total = broadcast(Scalar{0});
  Index i = 0;
  for (; i + size <= count; i += size)
    total = simd::padd(total, op(simd::ploadu<Packet>(first + i), simd::ploadu<Packet>(in + i)...));
  if (i < count)
    total = simd::padd(total, op(detail::load_tail(first + i, count - i), detail::load_tail(in + i, count - i)...));
  return simd::predux(total);
}

/// sum_i a_i, in one fixed order.
template <Real Scalar>
Scalar sum(Index count, const Scalar* a) {
  return sum<Scalar>(
      count, [](const auto& x) { return x; }, a);
}

/// sum_i a_i b_i, in one fixed order.
template <Real Scalar>
Scalar dot(Index count, const Scalar* a, const Scalar* b) {
  return sum<Scalar>(
      count, [](const auto& x, const auto& y) { return Eigen::internal::pmul(x, y); }, a, b);
}

namespace detail {

/// Whether a type of packet has integers of the same width, so that its bits can be computed with.
template <class Packet>
concept HasBits = requires(Packet p) {
  requires Eigen::internal::unpacket_traits<Packet>::size >
  1;
  Eigen::internal::plogical_shift_left<23>(
      Eigen::internal::preinterpret<typename Eigen::internal::unpacket_traits<Packet>::integer_packet>(p));
};

/// exp in single precision: 2^n e^r with |r| <= ln(2) / 2, where e^r is 1 + r + r^2 times a cubic (error 1.9e-7).
///
/// The power comes from the bits of x log2(e) + magic, whose last are n + 116. The polynomial has the other 2^11, so
/// that the power is 0 where the result would come near the subnormal numbers.
template <HasBits Packet>
Packet exp_from_bits(const Packet& x) {
  namespace simd = Eigen::internal;
  using Bits = typename simd::unpacket_traits<Packet>::integer_packet;
  constexpr float raised = 2048, magic = 12582912 + 116;
  const Packet bounded = simd::pmax(x, broadcast(-80.5F));
  const Packet rounded = simd::pmadd(bounded, broadcast(1.44269504F), broadcast(magic));
  const Packet n = simd::psub(rounded, broadcast(magic));
  const Packet power = simd::preinterpret<Packet>(simd::plogical_shift_left<23>(simd::preinterpret<Bits>(rounded)));
  Packet r = simd::pmadd(n, broadcast(-0.693359375F), bounded);  // the first digits of ln(2): the product is exact
  r = simd::pmadd(n, broadcast(2.12194440e-4F), r);
  Packet y = broadcast(raised * 8.36951484e-3F);
  y = simd::pmadd(y, r, broadcast(raised * 4.19200744e-2F));
  y = simd::pmadd(y, r, broadcast(raised * 1.66665019e-1F));
  y = simd::pmadd(y, r, broadcast(raised * 4.9998846e-1F));
  y = simd::pmadd(y, r, broadcast(raised));
  y = simd::pmadd(y, r, broadcast(raised));
  return simd::pmul(y, power);
}

/// -1 / x for x < 0, by Newton's method: a packet division takes longer than everything else in tanh.
template <HasBits Packet>
Packet negative_reciprocal(const Packet& x) {
  namespace simd = Eigen::internal;
  using Bits = typename simd::unpacket_traits<Packet>::integer_packet;
  const Bits guess = simd::psub(simd::pset1<Bits>(static_cast<int>(0xFEF311C7U)), simd::preinterpret<Bits>(x));
  Packet y = simd::preinterpret<Packet>(guess);
  Packet error = simd::pmadd(x, y, broadcast(1.0F));  // at most 0.051, then its cube, then the square of that
  y = simd::pmadd(y, simd::pmadd(error, error, error), y);
  error = simd::pmadd(x, y, broadcast(1.0F));
  return simd::pmadd(y, error, y);
}

}  // namespace detail

/// exp of a packet for x up to 88, 0 below e^-80 (float) and e^-700 (double); in float good to 3 units in the last
/// place.
///
/// Eigen's exp does not reach 0, whatever the argument, but stops at a subnormal number, and products with those take a
/// hundred times as long: half of the weights of causal attention.
template <Real Scalar, class Packet>
Packet packet_exp(const Packet& x) {
  namespace simd = Eigen::internal;
  if constexpr (std::same_as<Scalar, float> && detail::HasBits<Packet>) {
    return detail::exp_from_bits(x);
  } else {
    const Packet lowest = broadcast(Scalar{std::same_as<Scalar, float> ? -80 : -700});
    return simd::pselect(simd::pcmp_lt(x, lowest), broadcast(Scalar{0}), simd::pexp(x));
  }
}

/// 1 / (1 + exp(u)) of a packet: the logistic function, falling. It is what tanh is made of: tanh x = 1 - 2 f(2x).
template <Real Scalar, class Packet>
Packet packet_falling_logistic(const Packet& u) {
  namespace simd = Eigen::internal;
  const Packet exponential = packet_exp<Scalar>(Packet(simd::pmin(u, broadcast(Scalar{40}))));
  if constexpr (std::same_as<Scalar, float> && detail::HasBits<Packet>)
    return detail::negative_reciprocal(Packet(simd::psub(broadcast(Scalar{-1}), exponential)));
  else
    return simd::pdiv(broadcast(Scalar{1}), simd::padd(exponential, broadcast(Scalar{1})));
}

/// tanh of a packet, good to a few units in the last place of 1.
template <Real Scalar, class Packet>
Packet packet_tanh(const Packet& x) {
  namespace simd = Eigen::internal;
  const Packet falling = packet_falling_logistic<Scalar>(Packet(simd::padd(x, x)));
  return simd::pmadd(broadcast(Scalar{-2}), falling, broadcast(Scalar{1}));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace merganser::kernels
