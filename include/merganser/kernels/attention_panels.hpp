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

/// The rows of a product with one panel, of whose columns the first `used` exist: in blocks, then in lower ones.
template <Real Scalar>
void multiply_panel(Index rows, Index used, BlockProduct<Scalar> product) {
  using Kernel = BlockKernel<Scalar>;
  constexpr Index panel = attention_panel<Scalar>;
  Scalar tile[static_cast<std::size_t>(block_rows * panel)] = {};
  for (Index row = 0; row < rows;) {
    const Index left = rows - row;
    const Kernel kernel = left >= block_rows ? Kernel::tall() : left >= few_rows ? Kernel::few() : Kernel::one();
    if (used == panel) {
      kernel.multiply_last(product);
    } else {
      BlockProduct<Scalar> in_tile = product;
      in_tile.sums = tile;
      in_tile.stride = panel;
      for (Index r = 0; r < kernel.rows && product.start != BlockStart::zero; ++r)
        std::copy_n(product.sums + r * product.stride, used, tile + r * panel);
      kernel.multiply_last(in_tile);
      for (Index r = 0; r < kernel.rows; ++r) std::copy_n(tile + r * panel, used, product.sums + r * product.stride);
    }
    product.a = product.a.from(kernel.rows, 0);
    product.sums += kernel.rows * product.stride;
    if (product.factors != nullptr) product.factors += kernel.rows;
    row += kernel.rows;
  }
}

/// Panels of a right-hand factor, each with as many rows of the panels' width.
template <Real Scalar>
struct Panels {
  const Scalar* data;
  Index depth;
};

/// c [rows x cols] = start + a [rows x depth] b, of whose panels the first `depth` rows are read.
template <Real Scalar>
void multiply_panels(Index rows, Index depth, Index cols, Strided<Scalar> a, Panels<Scalar> b, Scalar* c,
                     Index c_stride, BlockStart start, const Scalar* factors = nullptr) {
  constexpr Index panel = attention_panel<Scalar>;
  if (rows == 0) return;  // c may be null
  for (Index first = 0; first < cols; first += panel)
    multiply_panel<Scalar>(rows, std::min(panel, cols - first),
                           {.depth = depth,
                            .a = a,
                            .b = b.data + first * b.depth,
                            .b_stride = panel,
                            .sums = c + first,
                            .stride = c_stride,
                            .start = start,
                            .factors = factors});
}

}  // namespace merganser::kernels::detail
