// Softmax over keys that come block by block: the running maximum and sum of a chunk of queries.
#pragma once

#include <algorithm>
#include <limits>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_distance.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/softmax.hpp>

namespace merganser::inline MERGANSER_ISA::kernels::detail {

/// Queries for which a block of keys and values is packed.
inline constexpr Index attention_chunk = 512;
/// Queries whose scores with a block of keys are computed together; a multiple of both tile heights.
inline constexpr Index attention_rows = 24;
/// Numbers between rows of scores: not a power of two, so that rows do not fall into the same lines of the cache.
template <Real Scalar>
inline constexpr Index score_stride = key_block<Scalar> + PacketOf<Scalar>::size;

/// exp(x - largest) in place of x [width]; returns the sum. Width is whole panels.
template <Real Scalar>
Scalar exponentiate(Scalar* x, Index width, Scalar largest) {
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  const Packet shift = broadcast(largest);
  Packet even = broadcast(Scalar{0}), odd = even;
  const auto step = [&](Scalar* at) {
    const Packet weight = packet_exp<Scalar>(Packet(simd::psub(simd::ploadu<Packet>(at), shift)));
    simd::pstoreu(at, weight);
    return weight;
  };
  for (Index k = 0; k < width; k += 2 * size) {
    even = simd::padd(even, step(x + k));
    odd = simd::padd(odd, step(x + k + size));
  }
  return simd::predux(Packet(simd::padd(even, odd)));
}

/// The state of a chunk of queries between blocks of keys: y holds the sum of exp(score - largest) v so far.
template <Real Scalar>
struct RunningSoftmax {
  Scalar* largest;  ///< [attention_chunk]
  Scalar* total;    ///< [attention_chunk]

  /// The extra one of softmax1 is a key of score 0 and value 0.
  void start(Index rows, SoftmaxKind kind) {
    const bool one = kind == SoftmaxKind::softmax1;
    std::fill_n(largest, rows, one ? Scalar{0} : std::numeric_limits<Scalar>::lowest());
    std::fill_n(total, rows, one ? Scalar{1} : Scalar{0});
  }

  /// Goes on with scores of `rows` queries from the chunk's `row` on, whose largest are `block_largest`: makes weights
  /// exp(score - largest) of them in place and the factors that what was summed before is to be multiplied with.
  [[gnu::always_inline]] void add(Index row, Index rows, Scalar* scores, Index columns, Scalar* block_largest,
                                  Scalar* factors) {
    Scalar* const before = largest + row;
    Scalar sums[attention_rows];
    for (Index r = 0; r < rows; ++r) block_largest[r] = std::max(before[r], block_largest[r]);
    transform(
        rows, factors, [](const auto& a, const auto& b) { return packet_exp<Scalar>(simd::psub(a, b)); }, before,
        block_largest);
    for (Index r = 0; r < rows; ++r)
      sums[r] = exponentiate(scores + r * score_stride<Scalar>, columns, block_largest[r]);
    transform(
        rows, total + row, [](const auto& t, const auto& f, const auto& s) { return multiply_add(t, f, s); },
        total + row, factors, sums);
    std::copy_n(block_largest, rows, before);
  }
};

}  // namespace merganser::kernels::detail
