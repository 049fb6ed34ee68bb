// Activation functions and their derivatives, one pass over a block.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// Calls task(r) for every row of a matrix of this shape, in parallel where it is large.
template <class Task>
void for_each_row(Index rows, Index cols, Task&& task) {
  constexpr Index rows_a_task = 64;
  constexpr Index operations = 8;  // of one element, about
  parallel_for((rows + rows_a_task - 1) / rows_a_task, rows * cols * operations, [&](Index i) {
    for (Index r = i * rows_a_task; r < std::min((i + 1) * rows_a_task, rows); ++r) task(r);
  });
}

/// The tanh form of GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2) on packets:
/// gelu(x) = x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), which is x s(2u) with the logistic function s.
///
/// Below -20 the value is that of -20, nearly 0, so that infinities do no harm.
template <Real Scalar, class Packet>
struct PacketGelu {
  Packet x, square;
  PacketLogistic<Scalar, Packet> logistic;

  explicit PacketGelu(const Packet& input)
      : x(simd::pmax(input, broadcast(Scalar{-20}))), square(simd::pmul(x, x)), logistic(twice_u(x, square)) {}

  Packet value() const { return simd::pmul(x, logistic.value()); }

  /// s + x s (1 - s) 2 du/dx
  Packet derivative() const {
    const Packet s = logistic.value();
    const Packet bend = simd::pmul(simd::pmul(x, s), logistic.complement());
    const Packet inner =
        simd::pmul(broadcast(2 * slope), multiply_add(broadcast(3 * cubic), square, broadcast(Scalar{1})));
    return multiply_add(bend, inner, s);
  }

  static constexpr Scalar slope = static_cast<Scalar>(std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
  static constexpr Scalar cubic = static_cast<Scalar>(0.044715);

 private:
  static Packet twice_u(const Packet& x, const Packet& square) {
    const Packet stretched = multiply_add(Packet(simd::pmul(broadcast(cubic), square)), x, x);
    return simd::pmul(broadcast(2 * slope), stretched);
  }
};

/// gelu(x) * gate of packets.
template <Real Scalar>
inline constexpr auto gated_gelu_packet = []<class Packet>(const Packet& x, const Packet& gate) {
  return simd::pmul(PacketGelu<Scalar, Packet>(x).value(), gate);
};

/// y = gelu(x) * gate. All blocks have one shape.
/// @throws std::invalid_argument if they don't
template <Real Scalar>
void gated_gelu(const Matrix<Scalar>& x, const Matrix<Scalar>& gate, Matrix<Scalar>& y) {
  check_same_shape("kernels::gated_gelu", "gate", gate, x);
  check_same_shape("kernels::gated_gelu", "y", y, x);
  for_each_row(x.rows(), x.cols(), [&](Index r) {
    transform(x.cols(), y.row(r).data(), gated_gelu_packet<Scalar>, x.row(r).data(), gate.row(r).data());
  });
}

/// Gradients of `gated_gelu`; grad_x and grad_gate are overwritten.
/// @throws std::invalid_argument if the blocks are not of one shape
template <Real Scalar>
void gated_gelu_backward(const Matrix<Scalar>& x, const Matrix<Scalar>& gate, const Matrix<Scalar>& grad_y,
                         Matrix<Scalar>& grad_x, Matrix<Scalar>& grad_gate) {
  check_same_shape("kernels::gated_gelu_backward", "gate", gate, x);
  check_same_shape("kernels::gated_gelu_backward", "grad_y", grad_y, x);
  check_same_shape("kernels::gated_gelu_backward", "grad_x", grad_x, x);
  check_same_shape("kernels::gated_gelu_backward", "grad_gate", grad_gate, x);
  for_each_row(x.rows(), x.cols(), [&](Index r) {
    transform(
        x.cols(), grad_x.row(r).data(),
        []<class Packet>(const Packet& a, const Packet& b, const Packet& g) {
          return simd::pmul(simd::pmul(g, b), PacketGelu<Scalar, Packet>(a).derivative());
        },
        x.row(r).data(), gate.row(r).data(), grad_y.row(r).data());
    transform(
        x.cols(), grad_gate.row(r).data(),
        []<class Packet>(const Packet& a, const Packet& g) {
          return simd::pmul(g, PacketGelu<Scalar, Packet>(a).value());
        },
        x.row(r).data(), grad_y.row(r).data());
  });
}

/// The exact GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2): x Phi(x), Phi of the normal distribution.
template <Real Scalar>
Scalar exact_gelu(Scalar x) {
  return x / 2 * std::erfc(-x / std::numbers::sqrt2_v<Scalar>);
}

/// Phi(x) + x phi(x)
template <Real Scalar>
Scalar exact_gelu_derivative(Scalar x) {
  constexpr Scalar density = std::numbers::inv_sqrtpi_v<Scalar> / std::numbers::sqrt2_v<Scalar>;
  return multiply_add(x * density, std::exp(-x * x / 2), std::erfc(-x / std::numbers::sqrt2_v<Scalar>) / 2);
}

/// sigmoid(x) = 1 / (1 + exp(-x)), without overflow.
template <Real Scalar>
Scalar sigmoid(Scalar x) {
  const Scalar e = std::exp(-std::abs(x));
  return x >= Scalar{0} ? Scalar{1} / (Scalar{1} + e) : e / (Scalar{1} + e);
}

/// log(sigmoid(x)), without overflow.
template <Real Scalar>
Scalar log_sigmoid(Scalar x) {
  return std::min(x, Scalar{0}) - std::log1p(std::exp(-std::abs(x)));
}

}  // namespace merganser::kernels
