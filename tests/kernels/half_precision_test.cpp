#include <merganser/kernels/half_precision.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace half_precision_test {

using namespace merganser;
using namespace merganser::kernels::detail;

// Every number of 16 bits in one of the halves of some words, expanded.
template <class Format>
std::vector<float> all_numbers(int shift) {
  std::vector<std::uint32_t> words(65536);
  for (std::uint32_t bits = 0; bits < 65536; ++bits)
    words[bits] = shift == 0 ? bits | 0xABCD0000u : bits << 16 | 0xABCDu;
  std::vector<float> floats(2 * words.size()), numbers;
  expand<Format>(static_cast<Index>(words.size()), words.data(), floats.data());
  const auto size = static_cast<std::size_t>(kernels::PacketOf<float>::size);
  for (std::size_t i = 0; i < words.size(); ++i)
    numbers.push_back(floats[i / size * 2 * size + i % size + (shift == 0 ? 0 : size)]);
  return numbers;
}

// By the definition of the format.
float half_value(std::uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31u), fraction = static_cast<int>(bits & 1023u);
  float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  if (exponent == 31)
    value = fraction == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  return (bits & 0x8000u) != 0 ? -value : value;
}

bool same(float a, float b) {
  return std::isnan(a) ? std::isnan(b) : std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

TEST_CASE("every bfloat16 number is the upper half of its float", "[half_precision]") {
  for (const int shift : {0, 16}) {
    const std::vector<float> numbers = all_numbers<Bfloat16>(shift);
    bool all_same = true;
    for (std::uint32_t bits = 0; bits < 65536; ++bits)
      all_same = all_same && same(numbers[bits], std::bit_cast<float>(bits << 16));
    REQUIRE(all_same);
  }
}

TEST_CASE("every number of half precision is expanded exactly", "[half_precision]") {
  for (const int shift : {0, 16}) {
    const std::vector<float> numbers = all_numbers<Half>(shift);
    bool all_same = true;
    for (std::uint32_t bits = 0; bits < 65536; ++bits) all_same = all_same && same(numbers[bits], half_value(bits));
    REQUIRE(all_same);
  }
}

TEST_CASE("rounding keeps every number of 16 bits and takes the nearest to others", "[half_precision]") {
  bool all_kept = true;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float as_half = half_value(bits), as_bfloat16 = std::bit_cast<float>(bits << 16);
    all_kept = all_kept && (std::isnan(as_half) || half_bits(as_half) == bits);
    all_kept = all_kept && (std::isnan(as_bfloat16) || bfloat16_bits(as_bfloat16) == bits);
  }
  REQUIRE(all_kept);
  REQUIRE(half_bits(1.00048828125F) == 0x3C00u);  // 1 + 2^-11 lies in the middle: to the even neighbour
  REQUIRE(half_bits(1.00146484375F) == 0x3C02u);  // 1 + 3 * 2^-11: to the even neighbour above
  REQUIRE(half_bits(65519.0F) == 0x7BFFu);
  REQUIRE(half_bits(65520.0F) == 0x7C00u);
  REQUIRE(half_bits(0x1p-25F) == 0u);  // half of the smallest: to the even neighbour
  REQUIRE(half_bits(0x1.8p-25F) == 1u);
  REQUIRE(std::isnan(half_value(half_bits(std::numeric_limits<float>::quiet_NaN()))));
  const std::uint32_t nan = bfloat16_bits(std::bit_cast<float>(0x7F800001u));
  REQUIRE(std::isnan(std::bit_cast<float>(nan << 16)));
}

}  // namespace half_precision_test
