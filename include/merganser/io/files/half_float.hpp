// The 16-bit floats of weight files, F16 and BF16, from and to float and double.
#pragma once

#include <bit>
#include <cstdint>

#include <merganser/core/instruction_set.hpp>

namespace merganser::inline MERGANSER_ISA::io::detail {

/// The number that an IEEE half has: 1 sign, 5 exponent and 10 fraction bits.
inline float float_of_half(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000U} << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fU;
  const std::uint32_t fraction = half & 0x3ffU;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24F);
  const std::uint32_t normal = ((exponent + 112U) << 23) | (fraction << 13);
  const std::uint32_t special = 0x7f800000U | (fraction << 13);
  return std::bit_cast<float>(sign | (exponent == 0 ? subnormal : exponent == 31 ? special : normal));
}

/// The number that a bfloat16 has: the upper half of a float.
inline float float_of_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

/// bits / 2^shift to the nearest whole number, a tie to the even one; shift in [1, 31].
inline std::uint32_t shift_to_even(std::uint32_t bits, std::uint32_t shift) {
  const std::uint32_t quotient = bits >> shift;
  const std::uint32_t rest = bits & ((1U << shift) - 1U);
  const std::uint32_t tie = 1U << (shift - 1U);
  return quotient + (rest > tie || (rest == tie && (quotient & 1U) != 0) ? 1U : 0U);
}

/// The nearest half, a tie to the even one; 65520 and above become infinite.
inline std::uint16_t half_of(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U;
  } else if (magnitude >= 0x477ff000U) {
    half = 0x7c00U;
  } else if (magnitude >= 0x38800000U) {  // 2^-14 and above: normal
    half = shift_to_even(magnitude, 13) - (112U << 10);
  } else if (magnitude >= 0x33000000U) {  // 2^-25 and above, in units of 2^-24
    half = shift_to_even((magnitude & 0x7fffffU) | 0x800000U, 126U - (magnitude >> 23));
  }
  return static_cast<std::uint16_t>(sign | half);
}

/// The nearest bfloat16, a tie to the even one.
inline std::uint16_t bfloat16_of(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>(shift_to_even(bits, 16));
}

/// The float beside a double whose last bit is odd, if the double is no float. Rounding that to 16 bits gives what
/// rounding the double once would give (Boldo and Melquiond 2008).
inline float round_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(nearest);
  const auto back = static_cast<double>(nearest);
  if (back == value || value != value || (bits & 1U) != 0) return nearest;
  const bool beyond = value < 0 ? back < value : back > value;
  return std::bit_cast<float>(beyond ? bits - 1U : bits + 1U);
}
inline float round_to_odd(float value) { return value; }

}  // namespace merganser::io::detail
