// Numbers of 16 bits: rounding floats to bfloat16 and to IEEE half precision, and packets of them back to floats.
#pragma once

#include <bit>
#include <cstdint>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// How the numbers of a packed factor are stored. Sums are always of the scalar type.
enum class Precision {
  full,      ///< as the scalar type
  bfloat16,  ///< float only: the upper half of each number, rounded to the nearest (even) one
  half,      ///< float only: IEEE half precision, rounded to the nearest (even) one; beyond 65504 infinite
};

namespace detail {

/// The upper 16 bits of a number, rounded to the nearest, ties to even. NaN stays NaN.
inline std::uint32_t bfloat16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (bits >> 16) | 0x40u;
  return (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
}

/// IEEE half precision, rounded to the nearest, ties to even. NaN stays NaN.
inline std::uint32_t half_bits(float value) {
  return Eigen::numext::bit_cast<Eigen::numext::uint16_t>(Eigen::half(value));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

/// Packets of 32-bit words, or a word alone where there are no packets.
template <class FloatPacket>
struct WordsFor {
  using Floats = FloatPacket;
  static constexpr int size = simd::unpacket_traits<Floats>::size;

  static auto load(const std::uint32_t* in) {
    if constexpr (size == 1)
      return *in;
    else
      return simd::ploadu<typename simd::unpacket_traits<Floats>::integer_packet>(
          reinterpret_cast<const std::int32_t*>(in));
  }
  template <class Packet>
  static Packet mask(const Packet& words, std::uint32_t bits) {
    if constexpr (size == 1)
      return words & bits;
    else
      return simd::pand(words, simd::pset1<Packet>(static_cast<std::int32_t>(bits)));
  }
  template <int count, class Packet>
  static Packet left(const Packet& words) {
    if constexpr (size == 1)
      return words << count;
    else
      return simd::plogical_shift_left<count>(words);
  }
  template <int count, class Packet>
  static Packet right(const Packet& words) {
    if constexpr (size == 1)
      return words >> count;
    else
      return simd::plogical_shift_right<count>(words);
  }
  template <class Packet>
  static Floats floats(const Packet& words) {
    if constexpr (size == 1)
      return std::bit_cast<float>(words);
    else
      return simd::preinterpret<Floats>(words);
  }
};
using Words = WordsFor<PacketOf<float>::Type>;

/// Two packets of floats of one packet of words: of the lower halves, then of the upper ones.
struct Bfloat16 {
  static void expand(const std::uint32_t* in, Words::Floats* out) {
    const auto words = Words::load(in);
    out[0] = Words::floats(Words::left<16>(words));
    out[1] = Words::floats(Words::mask(words, 0xFFFF0000u));
  }
};

/// The same for half precision. The exponent and the fraction, moved to their places in a float, make the number times
/// 2^-112, subnormal numbers too; what then is 2^16 or more is infinite or NaN.
struct Half {
  static void expand(const std::uint32_t* in, Words::Floats* out) {
    const auto words = Words::load(in);
    out[0] = lower(words);
    out[1] = lower(Words::right<16>(words));
  }

 private:
  template <class Packet>
  static Words::Floats lower(const Packet& words) {
    const auto magnitude = Words::left<13>(Words::mask(words, 0x7FFFu));
    const Words::Floats sign = Words::floats(Words::left<16>(Words::mask(words, 0x8000u)));
    const Words::Floats finite = simd::pmul(Words::floats(magnitude), broadcast(0x1p112F));
    const Words::Floats special = simd::por(finite, broadcast(std::bit_cast<float>(0x7F800000u)));
    const Words::Floats is_finite = simd::pcmp_lt(finite, broadcast(65536.0F));
    return Words::Floats(simd::por(simd::pselect(is_finite, finite, special), sign));
  }
};

/// Words [count, whole packets] to floats [2 x count], packet by packet.
template <class Format>
void expand(Index count, const std::uint32_t* in, float* out) {
  Words::Floats floats[2];
  for (Index i = 0; i < count; i += Words::size, out += 2 * Words::size) {
    Format::expand(in + i, floats);
    simd::pstoreu(out, floats[0]);
    simd::pstoreu(out + Words::size, floats[1]);
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace detail

}  // namespace merganser::kernels
