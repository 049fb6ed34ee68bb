// The small products inside attention: right-hand factors packed into panels, and a register tile that fits every row.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <utility>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/register_block.hpp>

namespace merganser::inline MERGANSER_ISA::kernels::detail {

/// Columns of a panel.
template <Real Scalar>
inline constexpr Index attention_panel = PackedMatrix<Scalar>::panel_width;

template <Real Scalar>
constexpr Index whole_panels(Index count) {
  return (count + attention_panel<Scalar> - 1) / attention_panel<Scalar> * attention_panel<Scalar>;
}

/// Memory of a call, from the reserve: threads may have little stack.
template <Real Scalar>
class CallMemory {
 public:
  /// Memory for arrays of so many numbers.
  explicit CallMemory(std::initializer_list<Index> counts) {
    Index sum = 0;
    for (const Index count : counts) sum += whole_lines(count);
    memory_.resize(sum);
    next_ = memory_.data();
  }
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;
  ~CallMemory() = default;

  /// One of the arrays, not yet written to, from the beginning of a cache line on.
  Scalar* take(Index count) { return std::exchange(next_, next_ + whole_lines(count)); }

 private:
  static constexpr Index whole_lines(Index count) {
    constexpr Index line = 64 / static_cast<Index>(sizeof(Scalar));
    return (count + line - 1) / line * line;
  }

  RowVector<Scalar> memory_;
  Scalar* next_ = nullptr;
};

/// Packs source [rows x cols] into panels of its columns, each [rows x panel], columns past the last as 0.
template <Real Scalar>
void pack_columns(const MatrixRef<Scalar>& source, Scalar* out) {
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

/// One block of a product, of whose last panel's columns the first `used` exist in the result.
template <Real Scalar>
void multiply_used(typename BlockKernel<Scalar>::Multiply multiply, Index rows, Index used,
                   const BlockProduct<Scalar>& product) {
  constexpr Index panel = attention_panel<Scalar>;
  if (used == panel) return multiply(product);
  Scalar tile[static_cast<std::size_t>(block_rows * panel)] = {};
  for (Index r = 0; r < rows && product.start != BlockStart::zero; ++r)
    std::copy_n(product.sums + r * product.stride, used, tile + r * panel);
  BlockProduct<Scalar> in_tile = product;
  in_tile.sums = tile;
  in_tile.stride = panel;
  multiply(in_tile);
  for (Index r = 0; r < rows; ++r) std::copy_n(tile + r * panel, used, product.sums + r * product.stride);
}

/// The panels of a right-hand factor.
template <Real Scalar>
struct Panels {
  const Scalar* data;
  Index step;                              ///< numbers between panels
  Index stride = attention_panel<Scalar>;  ///< numbers between the rows of a panel

  /// Packed panels of so many rows each.
  static Panels packed(const Scalar* data, Index depth) { return {data, depth * attention_panel<Scalar>}; }
  /// A matrix where it lies, whose columns are whole panels.
  static Panels in_place(const MatrixRef<Scalar>& b) { return {b.data(), attention_panel<Scalar>, b.outerStride()}; }
};

/// c [rows x cols] = start + a [rows x depth] b, of whose panels the first `depth` rows are read: in blocks of rows,
/// panel by panel, and rows that fill no block one by one, several panels at once.
template <Real Scalar>
void multiply_panels(Index rows, Index depth, Index cols, Strided<Scalar> a, Panels<Scalar> b, Scalar* c,
                     Index c_stride, BlockStart start, const Scalar* factors = nullptr) {
  using Kernel = BlockKernel<Scalar>;
  constexpr Index panel = attention_panel<Scalar>;
  const auto product = [&](Index row, Index column) {
    return BlockProduct<Scalar>{.depth = depth,
                                .a = a.from(row, 0),
                                .b = b.data + column / panel * b.step,
                                .b_stride = b.stride,
                                .panel_step = b.step,
                                .sums = c + row * c_stride + column,
                                .stride = c_stride,
                                .start = start,
                                .factors = factors != nullptr ? factors + row : nullptr};
  };
  const Index in_blocks = rows - rows % block_rows % few_rows;
  for (Index column = 0; column < cols; column += panel)
    for (Index row = 0; row < in_blocks;) {
      const Kernel kernel = in_blocks - row >= block_rows ? Kernel::tall() : Kernel::few();
      multiply_used<Scalar>(kernel.multiply_last, kernel.rows, std::min(panel, cols - column), product(row, column));
      row += kernel.rows;
    }
  for (Index row = in_blocks; row < rows; ++row)
    for (Index column = 0; column < cols;) {
      const Index panels = Kernel::side_by_side((cols - column) / panel);
      multiply_used<Scalar>(Kernel::one_row(panels), 1, std::min(panel, cols - column), product(row, column));
      column += panels * panel;
    }
}

}  // namespace merganser::kernels::detail
