// Elementwise loops and sums whose bits depend on the values alone, not on where they lie in memory.
#pragma once

#include <algorithm>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_math.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

namespace detail {

/// The last `count` values as a packet, other lanes 0.
template <Real Scalar>
auto load_tail(const Scalar* in, Index count) {
  Scalar lanes[PacketOf<Scalar>::size] = {};
  std::copy_n(in, count, lanes);
  return simd::ploadu<typename PacketOf<Scalar>::Type>(lanes);
}

}  // namespace detail

/// out[i] = op(in[i]...) for i < count, where op maps packets to a packet.
///
/// Eigen's own loops compute the first and last elements of an unaligned array with scalar functions, whose results
/// differ in the last bit from the packet functions; here every element takes the same way.
template <Real Scalar, class Op, class... In>
void transform(Index count, Scalar* out, Op&& op, const In*... in) {
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  Index i = 0;
  for (; i + size <= count; i += size) simd::pstoreu(out + i, op(simd::ploadu<Packet>(in + i)...));
  if (i == count) return;
  Scalar lanes[PacketOf<Scalar>::size];
  simd::pstoreu(lanes, op(detail::load_tail(in + i, count - i)...));
  std::copy_n(lanes, count - i, out + i);
}

/// y[i] += factor x[i] for i < count.
template <Real Scalar>
void add_scaled(Index count, Scalar factor, const Scalar* x, Scalar* y) {
  const auto factors = broadcast(factor);
  transform(
      count, y, [&](const auto& a, const auto& sum) { return multiply_add(factors, a, sum); }, x,
      static_cast<const Scalar*>(y));
}

/// Adds up terms of in[i]... over i < count in one fixed order: total = add(total, in[i]...), from 0. `add` maps
/// packets to a packet and adds nothing for zeros.
template <Real Scalar, class Add, class... In>
Scalar sum(Index count, Add&& add, const Scalar* first, const In*... in) {
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  Packet total = broadcast(Scalar{0});
  Index i = 0;
  for (; i + size <= count; i += size)
    total = add(total, simd::ploadu<Packet>(first + i), simd::ploadu<Packet>(in + i)...);
  if (i < count) total = add(total, detail::load_tail(first + i, count - i), detail::load_tail(in + i, count - i)...);
  return simd::predux(total);
}

/// sum_i a_i, in one fixed order.
template <Real Scalar>
Scalar sum(Index count, const Scalar* a) {
  return sum<Scalar>(
      count, [](const auto& total, const auto& x) { return simd::padd(total, x); }, a);
}

/// sum_i a_i b_i, in one fixed order.
template <Real Scalar>
Scalar dot(Index count, const Scalar* a, const Scalar* b) {
  return sum<Scalar>(
      count, [](const auto& total, const auto& x, const auto& y) { return multiply_add(x, y, total); }, a, b);
}

/// sum_i a_i (b_i - c_i), in one fixed order.
template <Real Scalar>
Scalar dot_difference(Index count, const Scalar* a, const Scalar* b, const Scalar* c) {
  return sum<Scalar>(
      count,
      [](const auto& total, const auto& x, const auto& y, const auto& z) {
        return multiply_add(x, simd::psub(y, z), total);
      },
      a, b, c);
}

/// Whether every number is finite.
template <Real Scalar>
bool all_finite(Index count, const Scalar* a) {
  const auto zero = broadcast(Scalar{0});
  return sum<Scalar>(
             count, [&](const auto& total, const auto& x) { return multiply_add(x, zero, total); }, a) == Scalar{0};
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace merganser::kernels
