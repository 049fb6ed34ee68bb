// Any bytes as the numbers of a tensor that fills a layer, all of it or none. The input: one byte for the element type,
// then the numbers.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include <merganser/core/types.hpp>
#include <merganser/io/files/half_float.hpp>
#include <merganser/io/files/safetensors.hpp>

#include "safetensors_checks.hpp"

namespace merganser::fuzz {

namespace {

template <Real S>
struct Numbers {
  using ScalarType = S;
  RowVector<S> values;

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    visitor(prefix + "numbers", values);
  }
};

/// A 16-bit float by arithmetic, from the widths of its fields.
double sixteen_bit_float(std::uint16_t bits, int fraction_bits) {
  const int exponent_bits = 15 - fraction_bits, exponent_mask = (1 << exponent_bits) - 1;
  const int exponent = (bits >> fraction_bits) & exponent_mask, fraction = bits & ((1 << fraction_bits) - 1);
  const int bias = exponent_mask / 2;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == exponent_mask) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
  const double mantissa = exponent == 0 ? fraction : fraction + (1 << fraction_bits);
  return sign * std::ldexp(mantissa, std::max(exponent, 1) - bias - fraction_bits);
}

template <class Element>
Element element_at(std::string_view data, Index i) {
  Element element{};
  std::memcpy(&element, data.data() + static_cast<std::size_t>(i) * sizeof element, sizeof element);
  return element;
}

double expected_number(io::DataType type, std::string_view data, Index i) {
  if (type == io::DataType::f64) return element_at<double>(data, i);
  if (type == io::DataType::f32) return element_at<float>(data, i);
  return sixteen_bit_float(element_at<std::uint16_t>(data, i), type == io::DataType::f16 ? 10 : 7);
}

template <Real S>
bool same(S got, S expected) {
  return got == expected ? std::signbit(got) == std::signbit(expected) : std::isnan(got) && std::isnan(expected);
}

template <Real S>
void check_loading(const io::SafetensorsFile& file, io::DataType type, std::string_view data, Index count) {
  const S before = S{-42};
  Numbers<S> layer{RowVector<S>::Constant(count, before)};
  bool finite = true;
  const auto expected = [&](Index i) { return static_cast<S>(expected_number(type, data, i)); };
  if (io::is_floating(type))
    for (Index i = 0; i < count; ++i) finite = finite && std::isfinite(expected(i));
  const bool refused = throws<IoError>([&] { io::load_parameters(layer, file); });
  require(refused == (!io::is_floating(type) || !finite), "a layer is filled with finite numbers only");
  for (Index i = 0; i < count; ++i)
    require(same(layer.values[i], refused ? before : expected(i)), "a layer is filled whole or not at all");
  if (!io::is_floating(type)) return;
  io::load_parameters(layer, file, "", {.aliases = {}, .ignored = {}, .non_finite = io::NonFinite::accept});
  for (Index i = 0; i < count; ++i) require(same(layer.values[i], expected(i)), "accepted numbers come as they are");
}

/// Every 16-bit float that is a number is what it is rounded to.
void check_rounding(io::DataType type, std::string_view data, Index count) {
  for (Index i = 0; i < count; ++i) {
    const auto bits = element_at<std::uint16_t>(data, i);
    const bool half = type == io::DataType::f16;
    const float number = half ? io::detail::float_of_half(bits) : io::detail::float_of_bfloat16(bits);
    const std::uint16_t back = half ? io::detail::half_of(number) : io::detail::bfloat16_of(number);
    if (std::isnan(number))
      require(std::isnan(half ? io::detail::float_of_half(back) : io::detail::float_of_bfloat16(back)),
              "NaN stays NaN");
    else
      require(back == bits, "rounding changes no 16-bit float");
  }
}

}  // namespace

void run(std::string_view input) {
  if (input.empty()) return;
  constexpr std::array types{io::DataType::f64, io::DataType::f32,    io::DataType::f16, io::DataType::bf16,
                             io::DataType::i64, io::DataType::i32,    io::DataType::i16, io::DataType::i8,
                             io::DataType::u8,  io::DataType::boolean};
  const io::DataType type = types[static_cast<unsigned char>(input.front()) % types.size()];
  input.remove_prefix(1);
  const auto count = static_cast<Index>(input.size() / io::size_of(type));
  const std::string_view data = input.substr(0, static_cast<std::size_t>(count) * io::size_of(type));
  const std::string header = R"({"numbers":{"dtype":")" + std::string(io::name_of(type)) + R"(","shape":[)" +
                             std::to_string(count) + R"(],"data_offsets":[0,)" + std::to_string(data.size()) + "]}}";
  const io::SafetensorsFile file = io::SafetensorsFile::parse(safetensors_file(header, data), "memory");
  check_loading<float>(file, type, data, count);
  check_loading<double>(file, type, data, count);
  if (type == io::DataType::f16 || type == io::DataType::bf16) check_rounding(type, data, count);
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
