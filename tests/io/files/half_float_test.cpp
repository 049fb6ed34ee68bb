#include <merganser/io/files/half_float.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <merganser/core/random.hpp>

#include "support/catch.hpp"

namespace half_float_test {

using namespace merganser;
using namespace merganser::io::detail;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// The bits of `value` rounded once to a format with the given smallest exponent and number of fraction bits, worked
/// out in whole numbers of its smallest unit.
double rounded(double value, int lowest_exponent, int fraction_bits, double overflow) {
  const double magnitude = std::abs(value);
  if (magnitude >= overflow) return std::copysign(static_cast<double>(infinity), value);
  if (magnitude == 0) return value;
  const int exponent = std::max(std::ilogb(magnitude), lowest_exponent);
  const double unit = std::ldexp(1.0, exponent - fraction_bits);
  return std::copysign(std::nearbyint(magnitude / unit) * unit, value);
}

double rounded_to_half(double value) { return rounded(value, -14, 10, 65520.0); }
double rounded_to_bfloat16(double value) { return rounded(value, -126, 7, 0x1.ffp127); }

template <class Scalar>
void check(Scalar value) {
  INFO(static_cast<double>(value));
  const double half = static_cast<double>(float_of_half(half_of(round_to_odd(value))));
  const double bfloat = static_cast<double>(float_of_bfloat16(bfloat16_of(round_to_odd(value))));
  REQUIRE(half == rounded_to_half(static_cast<double>(value)));
  REQUIRE(bfloat == rounded_to_bfloat16(static_cast<double>(value)));
  REQUIRE(std::signbit(half) == std::signbit(value));
  REQUIRE(std::signbit(bfloat) == std::signbit(value));
}

TEST_CASE("16-bit numbers are read and written back as they are", "[half_float]") {
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    if (std::isnan(float_of_half(bits)))
      REQUIRE(std::isnan(float_of_half(half_of(float_of_half(bits)))));
    else
      REQUIRE(half_of(float_of_half(bits)) == bits);
    if (std::isnan(float_of_bfloat16(bits)))
      REQUIRE(std::isnan(float_of_bfloat16(bfloat16_of(float_of_bfloat16(bits)))));
    else
      REQUIRE(bfloat16_of(float_of_bfloat16(bits)) == bits);
  }
}

TEST_CASE("numbers are rounded to the nearest, a tie to even", "[half_float]") {
  // Between neighbours: just below the middle, the middle, just above; in both signs.
  for (std::uint32_t bits = 0; bits < 0x7c00; bits += 3) {
    const double low = static_cast<double>(float_of_half(static_cast<std::uint16_t>(bits)));
    const double high =
        bits + 1 == 0x7c00 ? 65536.0 : static_cast<double>(float_of_half(static_cast<std::uint16_t>(bits + 1)));
    const double middle = (low + high) / 2;
    for (const double value : {std::nextafter(middle, 0.0), middle, std::nextafter(middle, high)})
      for (const double sign : {1.0, -1.0}) check(sign * value);
    check(static_cast<float>(middle));
    check(-std::nextafter(static_cast<float>(middle), infinity));
  }
  for (std::uint32_t bits = 0; bits < 0x7f80; bits += 5) {
    const double low = static_cast<double>(float_of_bfloat16(static_cast<std::uint16_t>(bits)));
    const double high =
        bits + 1 == 0x7f80 ? 0x1p128 : static_cast<double>(float_of_bfloat16(static_cast<std::uint16_t>(bits + 1)));
    const double middle = (low + high) / 2;
    for (const double value : {std::nextafter(middle, 0.0), middle, std::nextafter(middle, high)})
      for (const double sign : {1.0, -1.0}) check(sign * value);
  }
  CHECK(half_of(65519.996F) == 0x7bff);
  CHECK(half_of(65520.0F) == 0x7c00);
  CHECK(half_of(-infinity) == 0xfc00);
  CHECK(half_of(0x1p-25F) == 0);
  CHECK(half_of(std::nextafter(0x1p-25F, 1.0F)) == 1);
  CHECK(bfloat16_of(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(bfloat16_of(-infinity) == 0xff80);
  CHECK(std::isnan(float_of_half(half_of(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isnan(float_of_bfloat16(bfloat16_of(std::bit_cast<float>(0x7f800001U)))));
}

TEST_CASE("a double is rounded once, not through float", "[half_float]") {
  // The nearest float of each of these is a tie of the 16-bit type, on the other side of which the double lies.
  check(1 + 0x1p-11 + 0x1p-40);
  check(1 + 3 * 0x1p-11 - 0x1p-40);
  check(1 + 0x1p-8 + 0x1p-40);
  check(-(1 + 3 * 0x1p-8 - 0x1p-40));
  check(0x1p-25 + 0x1p-70);
  check(1e300);
  check(-5e-324);
  CHECK(round_to_odd(0.5) == 0.5F);
  CHECK(std::isnan(round_to_odd(std::numeric_limits<double>::quiet_NaN())));
  CHECK(round_to_odd(-std::numeric_limits<double>::infinity()) == -infinity);
  Rng rng(1);
  for (int i = 0; i < 20'000; ++i) check(rng.normal() * std::exp(20 * rng.normal()));
}

}  // namespace half_float_test
