// How far two rows lie apart.
#pragma once

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// sum_i (a_i - b_i)^2 over i < count, in one fixed order and without cancellation.
template <Real Scalar>
Scalar squared_distance(Index count, const Scalar* a, const Scalar* b) {
  return kernels::sum<Scalar>(
      count,
      [](const auto& total, const auto& x, const auto& y) {
        const auto difference = kernels::simd::psub(x, y);
        return kernels::multiply_add(difference, difference, total);
      },
      a, b);
}

}  // namespace merganser::merge
