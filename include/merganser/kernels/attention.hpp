// Unscaled dot-product attention of one head over one sequence, in blocks of queries and keys.
#pragma once

#include <algorithm>
#include <limits>

#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_panels.hpp>
#include <merganser/kernels/attention_rules.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

namespace detail {

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
};

}  // namespace detail

/// Numbers that `pack_keys` writes for keys [t_k x K].
template <Real Scalar>
Index packed_keys_size(Index keys, Index width) {
  return detail::whole_panels<Scalar>(keys) * width;
}

/// Lays out keys [t_k x K] for `attend`, which else does it at every call.
template <Real Scalar>
void pack_keys(const MatrixRef<Scalar>& k, Scalar* out) {
  detail::pack_rows<Scalar>(k, out);
}

/// y [t_q x K] = weights(q, k) v for one head of one sequence.
///
/// q [t_q x K], k and v [t_k x K]; `packed_keys` may hold what `pack_keys` made of k. `rows` receive what backward
/// needs, unless null. Keys are taken in blocks of a fixed
/// size with a running maximum and sum; a block that is hidden from all queries at hand is left out. So memory beside
/// the output is constant in t_q and t_k, and causal attention takes half the time. The bits of a row of y depend on
/// its query and the keys that it sees alone, whatever hidden ones hold, also NaN. With no keys, or if the bias of all
/// is -infinity, y is 0.
///
/// Milakov and Gimelshein 2018, arXiv 1805.02867 (running softmax); Dao et al. 2022, arXiv 2205.14135 (in blocks).
/// @return the sum over all pairs of max(score - excess_limit, 0); hidden pairs count 0. Not computed (0) unless
///         `excess_limit` is given.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
double attend(const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const MatrixRef<Scalar>& v,
              const HeadScores<Scalar>& scores, MutableMatrixRef<Scalar> y, SoftmaxRows<Scalar> rows = {},
              const Scalar* excess_limit = nullptr, const Scalar* packed_keys = nullptr) {
  using namespace detail;
  check_equal("kernels::attend", "k.cols()", k.cols(), q.cols());
  check_equal("kernels::attend", "v.rows()", v.rows(), k.rows());
  check_equal("kernels::attend", "y.rows()", y.rows(), q.rows());
  check_equal("kernels::attend", "y.cols()", y.cols(), v.cols());
  scores.check("kernels::attend", q.rows(), k.rows());
  constexpr Index block = key_block<Scalar>, stride = score_stride<Scalar>;
  const Index depth = q.cols(), width = v.cols(), keys = k.rows();
  y.setZero();
  // For few queries values are read where they lie: packing would cost more than the product.
  const bool in_place = q.rows() < block_rows && width % attention_panel<Scalar> == 0;
  const Index key_numbers = block * depth, value_numbers = block * whole_panels<Scalar>(width);
  const Index table_size = DistanceTable<Scalar>::size(scores);
  CallMemory<Scalar> memory(
      {key_numbers, value_numbers, table_size, attention_rows * stride, attention_chunk, attention_chunk});
  Scalar* const key_panels = memory.take(key_numbers);
  Scalar* const value_panels = memory.take(value_numbers);
  AttentionRules<Scalar> rules(scores, keys, memory.take(table_size));
  Scalar* const weights = memory.take(attention_rows * stride);
  RunningSoftmax<Scalar> running{memory.take(attention_chunk), memory.take(attention_chunk)};
  Scalar largest[attention_rows], factors[attention_rows], sums[attention_rows];
  double excess = 0;

  for (Index chunk = 0; chunk < q.rows(); chunk += attention_chunk) {
    const Index chunk_rows = std::min(attention_chunk, q.rows() - chunk);
    running.start(chunk_rows, scores.softmax);
    for (Index first = 0; first < keys; first += block) {
      const Index count = std::min(block, keys - first);
      rules.enter(first, count);
      if (rules.visible_keys(chunk, chunk_rows) == 0) continue;
      FiniteBlock<Scalar> finite;
      if (packed_keys == nullptr) pack_rows<Scalar>(k.middleRows(first, count), key_panels);
      if (!in_place) pack_columns<Scalar>(v.middleRows(first, count), value_panels);
      const Scalar* const block_keys = packed_keys == nullptr ? key_panels : packed_keys + first * depth;
      const Panels<Scalar> block_values =
          in_place ? Panels<Scalar>::in_place(v.middleRows(first, count)) : Panels<Scalar>::packed(value_panels, count);
      for (Index row = 0; row < chunk_rows; row += attention_rows) {
        const Index query = chunk + row, group = std::min(attention_rows, chunk_rows - row);
        const Index visible = rules.visible_keys(query, group);
        if (visible == 0) continue;
        const Index columns = whole_panels<Scalar>(visible);
        multiply_panels<Scalar>(group, depth, columns, {q.data() + query * q.outerStride(), q.outerStride(), 1},
                                Panels<Scalar>::packed(block_keys, depth), weights, stride, BlockStart::zero);
        const bool hides = rules.hides(query, group, std::min(columns, count));
        for (Index r = 0; r < group; ++r) {
          Scalar* const out = weights + r * stride;
          if (hides || excess_limit != nullptr) {
            rules.score(query + r, out, columns, nullptr);
            if (excess_limit != nullptr)
              for (Index key = 0; key < std::min(columns, count); ++key)
                excess += std::max(static_cast<double>(out[key] - *excess_limit), 0.0);
            largest[r] = rules.weigh(out, columns);
          } else {
            largest[r] = rules.score_and_weigh(query + r, out, columns);
          }
        }
        Scalar* const before = running.largest + row;
        Scalar* const total = running.total + row;
        for (Index r = 0; r < group; ++r) largest[r] = std::max(before[r], largest[r]);
        transform(
            group, factors, [](const auto& a, const auto& b) { return packet_exp<Scalar>(simd::psub(a, b)); }, before,
            largest);
        for (Index r = 0; r < group; ++r) sums[r] = exponentiate(weights + r * stride, columns, largest[r]);
        transform(
            group, total, [](const auto& t, const auto& f, const auto& s) { return multiply_add(t, f, s); }, total,
            factors, sums);
        std::copy_n(largest, group, before);
        if (hides && !finite.of(v.middleRows(first, count))) {
          for (Index r = 0; r < group; ++r) {
            const Scalar* const row_weights = weights + r * stride;
            y.row(query + r) *= factors[r];
            rules.for_each_part(query + r, row_weights, std::min(columns, count), [&](Index key) {
              add_scaled(width, row_weights[key], v.row(first + key).data(), y.row(query + r).data());
            });
          }
          continue;
        }
        multiply_panels<Scalar>(group, std::min(columns, count), width, {weights, stride, 1}, block_values,
                                y.data() + query * y.outerStride(), y.outerStride(), BlockStart::scale, factors);
      }
    }
    for (Index r = 0; r < chunk_rows; ++r) {
      const Scalar factor = running.total[r] == 0 ? Scalar{0} : 1 / running.total[r];
      y.row(chunk + r) *= factor;
      if (rows.largest != nullptr) rows.largest[chunk + r] = running.largest[r];
      if (rows.factor != nullptr) rows.factor[chunk + r] = factor;
    }
  }
  return excess;
}

}  // namespace merganser::kernels
