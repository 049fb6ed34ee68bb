// Elementwise loops and sums whose bits depend on the values alone, not on where they lie in memory.
#pragma once

#include <algorithm>
#include <concepts>

#include <merganser/core/types.hpp>

namespace merganser::kernels {

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

/// exp of a packet, 0 below e^-80 (float) and e^-700 (double).
///
/// Eigen's exp does not reach 0, whatever the argument, but stops at a subnormal number, and products with those take a
/// hundred times as long: half of the weights of causal attention.
template <Real Scalar, class Packet>
Packet packet_exp(const Packet& x) {
  namespace simd = Eigen::internal;
  const Packet lowest = broadcast(Scalar{std::same_as<Scalar, float> ? -80 : -700});
  return simd::pselect(simd::pcmp_lt(x, lowest), broadcast(Scalar{0}), simd::pexp(x));
}

/// tanh of a packet: 1 - 2 / (exp(2x) + 1), good to a few units in the last place of 1.
template <Real Scalar, class Packet>
Packet packet_tanh(const Packet& x) {
  namespace simd = Eigen::internal;
  const Packet one = broadcast(Scalar{1});
  const Packet limit = broadcast(Scalar{20});  // exp(40) is finite and tanh(20) rounds to 1 in both types
  const Packet bounded = simd::pmin(simd::pmax(x, simd::pnegate(limit)), limit);
  const Packet exponential = simd::pexp(simd::padd(bounded, bounded));
  return simd::psub(one, simd::pdiv(broadcast(Scalar{2}), simd::padd(exponential, one)));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace merganser::kernels
