// The small products inside attention: right-hand factors packed into panels, and a register tile that fits every row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/register_block.hpp>

namespace merganser::kernels::detail {

/// Columns of a panel.
template <Real Scalar>
inline constexpr Index attention_panel = PackedMatrix<Scalar>::panel_width;

template <Real Scalar>
constexpr Index whole_panels(Index count) {
  return (count + attention_panel<Scalar> - 1) / attention_panel<Scalar> * attention_panel<Scalar>;
}

/// Memory of a call: in the object, on the stack, while `bytes` are enough, and on the heap for very wide heads.
template <Real Scalar, std::size_t bytes>
class CallMemory {
 public:
  explicit CallMemory(Index count) {
    if (static_cast<std::size_t>(count) > capacity) heap_.resize(static_cast<std::size_t>(count));
    next_ = heap_.empty() ? stack_ : heap_.data();
  }
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;

  /// The next `count` numbers, not yet written to.
  Scalar* take(Index count) { return std::exchange(next_, next_ + count); }

 private:
  static constexpr std::size_t capacity = bytes / sizeof(Scalar);

  alignas(64) Scalar stack_[capacity];
  std::vector<Scalar> heap_;
  Scalar* next_ = nullptr;
};

/// Packs source [rows x cols] into panels of its columns, each [rows x panel], columns past the last as 0.
template <Real Scalar>
void pack_columns(const MatrixRef<Scalar>& source, Scalar* out) {
  namespace simd = Eigen::internal;
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size, panel = attention_panel<Scalar>;
  for (Index first = 0; first < source.cols(); first += panel) {
    const Index used = std::min(panel, source.cols() - first);
    for (Index r = 0; r < source.rows(); ++r, out += panel) {
      const Scalar* row = source.data() + r * source.outerStride() + first;
      if (used == panel) {  // not copy_n, which calls a function for every row
        simd::pstoreu(out, simd::ploadu<Packet>(row));
        simd::pstoreu(out + size, simd::ploadu<Packet>(row + size));
      } else {
        std::copy_n(row, used, out);
        std::fill(out + used, out + panel, Scalar{0});
      }
    }
  }
}

/// Packs source [rows x cols] into panels of its rows, each [cols x panel], rows past the last as 0.
template <Real Scalar>
void pack_rows(const MatrixRef<Scalar>& source, Scalar* out) {
  constexpr Index size = PacketOf<Scalar>::size, panel = attention_panel<Scalar>;
  const Index rows = source.rows(), depth = source.cols();
  for (Index first = 0; first < rows; first += panel, out += depth * panel)
    for (Index row = first; row < first + panel; row += size) {
      const Index used = std::clamp<Index>(rows - row, 0, size);
      pack_transposed<Scalar>(used, depth, used > 0 ? source.data() + row * source.outerStride() : nullptr,
                              source.outerStride(), out + (row - first), panel);
    }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

/// How the sums of a tile start.
enum class TileStart {
  zero,
  add,   ///< from what is there
  scale  ///< from what is there, times the factor of its row
};

/// c [Rows x panel] = start + a [Rows x depth] b [depth x panel], every element summed over k in rising order.
template <Real Scalar, TileStart start, std::size_t... Row>
inline void multiply_tile(Index depth, Strided<Scalar> a, const Scalar* b, Index b_stride, Scalar* c, Index c_stride,
                          const Scalar* factors, std::index_sequence<Row...>) {
  namespace simd = Eigen::internal;
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  Packet sum[sizeof...(Row)][2];
  const auto begin = [&](std::size_t row, Index column) {
    if constexpr (start == TileStart::zero) return simd::pset1<Packet>(Scalar{0});
    const Packet there = simd::ploadu<Packet>(c + static_cast<Index>(row) * c_stride + column);
    if constexpr (start == TileStart::scale) return simd::pmul(there, simd::pset1<Packet>(factors[row]));
    return there;
  };
  ((sum[Row][0] = begin(Row, 0)), ...);  // no loop over the two: not every compiler would then keep sums in registers
  ((sum[Row][1] = begin(Row, size)), ...);
  for (Index k = 0; k < depth; ++k) {
    const Packet b0 = simd::ploadu<Packet>(b), b1 = simd::ploadu<Packet>(b + size);
    const auto step = [&](std::size_t row) {
      const Packet factor = simd::pset1<Packet>(a.data[static_cast<Index>(row) * a.row_stride]);
      sum[row][0] = simd::pmadd(factor, b0, sum[row][0]);
      sum[row][1] = simd::pmadd(factor, b1, sum[row][1]);
    };
    (step(Row), ...);
    a.data += a.col_stride;
    b += b_stride;
  }
  const auto write = [&](std::size_t row) {
    Scalar* out = c + static_cast<Index>(row) * c_stride;
    simd::pstoreu(out, sum[row][0]);
    simd::pstoreu(out + size, sum[row][1]);
  };
  (write(Row), ...);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Rows [row, rows) of the product with one panel, of whose columns the first `used` exist in c: in tiles of Rows rows,
/// then of fewer.
template <Real Scalar, TileStart start, int Rows = block_rows>
void multiply_panel_rows(Index row, Index rows, Index depth, Strided<Scalar> a, const Scalar* b, Index b_stride,
                         Scalar* c, Index c_stride, Index used, const Scalar* factors) {
  constexpr Index panel = attention_panel<Scalar>;
  for (; row + Rows <= rows; row += Rows) {
    const Strided<Scalar> part{a.data + row * a.row_stride, a.row_stride, a.col_stride};
    Scalar* out = c + row * c_stride;
    const Scalar* row_factors = start == TileStart::scale ? factors + row : nullptr;
    if (used == panel) {
      multiply_tile<Scalar, start>(depth, part, b, b_stride, out, c_stride, row_factors,
                                   std::make_index_sequence<static_cast<std::size_t>(Rows)>{});
    } else {
      Scalar block[static_cast<std::size_t>(Rows * panel)] = {};
      if constexpr (start != TileStart::zero)
        for (Index r = 0; r < Rows; ++r) std::copy_n(out + r * c_stride, used, block + r * panel);
      multiply_tile<Scalar, start>(depth, part, b, b_stride, block, panel, row_factors,
                                   std::make_index_sequence<static_cast<std::size_t>(Rows)>{});
      for (Index r = 0; r < Rows; ++r) std::copy_n(block + r * panel, used, out + r * c_stride);
    }
  }
  if constexpr (Rows > 1)
    multiply_panel_rows<Scalar, start, Rows / 2>(row, rows, depth, a, b, b_stride, c, c_stride, used, factors);
}

/// c [rows x cols] = start + a [rows x depth] b, with b packed into panels of `packed_depth` >= depth rows.
template <Real Scalar, TileStart start>
void multiply_panels(Index rows, Index depth, Index cols, Strided<Scalar> a, const Scalar* b, Index packed_depth,
                     Scalar* c, Index c_stride, const Scalar* factors = nullptr) {
  constexpr Index panel = attention_panel<Scalar>;
  if (rows == 0) return;  // c may be null
  for (Index first = 0; first < cols; first += panel)
    multiply_panel_rows<Scalar, start>(0, rows, depth, a, b + first * packed_depth, panel, c + first, c_stride,
                                       std::min(panel, cols - first), factors);
}

}  // namespace merganser::kernels::detail
