// Matrix products: one register-blocked kernel on Eigen's packet primitives.
#pragma once

#include <algorithm>
#include <cstddef>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/kernels/register_block.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// What happens to the destination of a product.
enum class Store { overwrite, add };

namespace detail {

/// Rows of the destination in one parallel task, a multiple of the block height: each panel read serves as many.
inline constexpr Index task_rows = 96;
/// Parallel tasks of a product that has enough rows and columns for them.
inline constexpr Index enough_tasks = 24;
/// Depth of a part: this much of a panel (32 KiB at most) stays in the first-level cache while rows pass by.
inline constexpr Index block_depth = 256;

/// Columns that a task takes at once where it makes their sums in place: those stay in the second-level cache.
inline constexpr Index columns_at_once = 512;

/// What becomes of the sums of a product on their way to C [rows x cols].
enum class Finish {
  store,
  add,        ///< the sums start from what is there
  gated_gelu  ///< gelu(x) y of the packets x and y of each panel of a side-by-side factor
};

/// Where the sums of a product go.
template <Real Scalar>
struct Destination {
  Scalar* c;
  Index stride;
  Index cols;
  Finish finish;

  /// The columns from `column` on, before `column_end`, that all exist in C and can be summed there.
  Index in_place(Index column, Index column_end) const {
    return finish == Finish::gated_gelu ? 0 : std::max<Index>(std::min(column_end, cols) - column, 0);
  }

  BlockStart start() const { return finish == Finish::add ? BlockStart::add : BlockStart::zero; }

  /// Fills a tile with what its sums start from.
  void give(Index row, Index rows, Index column, Index columns, Scalar* tile) const {
    if (finish != Finish::add) return;
    const Index used = std::min(columns, cols - column);
    for (Index r = row; r < row + rows; ++r, tile += columns)
      std::fill(std::copy_n(c + r * stride + column, used, tile), tile + columns, Scalar{0});
  }

  /// Finishes a tile of sums; columns are those of B.
  void take(Index row, Index rows, Index column, Index columns, const Scalar* tile) const {
    const Index used = std::min(columns, cols - column);
    for (Index r = row; r < row + rows; ++r, tile += columns) {
      Scalar* out = c + r * stride;
      if (finish == Finish::gated_gelu)
        gate(column, columns, tile, out);
      else
        std::copy_n(tile, used, out + column);
    }
  }

 private:
  void gate(Index column, Index columns, const Scalar* sums, Scalar* out) const {
    constexpr Index size = PacketOf<Scalar>::size;
    for (Index pair = 0; pair < columns; pair += 2 * size) {
      const Index first = (column + pair) / 2;
      transform(std::min(size, cols - first), out + first, gated_gelu_packet<Scalar>, sums + pair, sums + pair + size);
    }
  }
};

/// One product on one thread: rows of A against some panels of B, tile by tile.
template <Real Scalar>
class RowProduct {
 public:
  RowProduct(Strided<Scalar> a, const PackedMatrix<Scalar>& b, const Destination<Scalar>& destination)
      : a_(a), b_(b), destination_(destination) {}

  /// Rows [row, row_end) and the panels that start at `column` or later, before `column_end`.
  void run(Index row, Index row_end, Index column, Index column_end) {
    using Kernel = BlockKernel<Scalar>;
    const auto blocks = [&](const Kernel& kernel, Index rows) {
      if (rows > 0) run_blocks(kernel, row, rows, column, column_end);
      row += rows;
    };
    const Index rows = row_end - row, lower = rows % block_rows, last = lower % few_rows;
    blocks(Kernel::tall(), rows - lower);
    blocks(Kernel::few(), lower - last);
    blocks(last > 1 ? Kernel::few() : Kernel::one_from(b_.precision()), last);
  }

 private:
  static constexpr Index width = PackedMatrix<Scalar>::panel_width;

  /// Rows in blocks, the last of which may be cut short. Columns by whole panels; those that fill no panel, or are no
  /// sums in the end, go through a tile.
  void run_blocks(const BlockKernel<Scalar>& kernel, Index row, Index rows, Index column, Index column_end) {
    const Index group = kernel.panels * width, most = kernel.panels == 1 ? columns_at_once : group;
    const bool whole_rows = rows % kernel.rows == 0;
    while (column < column_end) {
      const Index there = whole_rows ? destination_.in_place(column, column_end) / width * width : 0;
      const Index columns = there > 0 ? std::min(there, most) : column_end - column > group - width ? group : width;
      Scalar* const c = destination_.c + row * destination_.stride + column;
      if (there > 0) {
        multiply(kernel, row, rows, column, columns, c, destination_.stride);
      } else {
        tile_.resize(task_rows * width);
        destination_.give(row, rows, column, columns, tile_.data());
        multiply(kernel, row, rows, column, columns, tile_.data(), columns);
        destination_.take(row, rows, column, columns, tile_.data());
      }
      column += columns;
    }
  }

  /// The sums of these rows and whole panels of columns. The depth in parts: while the panels pass by, the rows of a
  /// part stay in the second-level cache; while the rows pass by, a part of a panel stays in the first.
  void multiply(const BlockKernel<Scalar>& kernel, Index row, Index rows, Index column, Index columns, Scalar* sums,
                Index stride) {
    const Index depth = b_.depth(), blocks = (rows + kernel.rows - 1) / kernel.rows;
    const bool expands = b_.precision() != Precision::full && kernel.rows > 1;
    BlockProduct<Scalar> block{.stride = stride, .start = destination_.start()};
    for (Index k = 0; k < depth; k += block.depth) {
      block.depth = std::min(expands ? block_depth / kernel.panels : block_depth, depth - k);
      const Strided<Scalar> a = part_of_rows(row, rows, k, block.depth, blocks * kernel.rows);
      for (Index first = 0; first < columns;) {
        const Index panels = columns - first < kernel.panels * width ? 1 : kernel.panels;
        if (expands)
          expand(column + first, panels, k, block);
        else
          find(column + first, k, block);
        for (Index i = 0; i < blocks; ++i) {
          block.a = a.from(i * kernel.rows, 0);
          block.sums = sums + i * kernel.rows * stride + first;
          if (!expands) block.ahead = read_ahead(block, i, blocks, columns > panels * width);
          (panels == kernel.panels ? kernel.multiply : kernel.multiply_last)(block);
        }
        first += panels * width;
      }
      block.start = BlockStart::add;
    }
  }

  /// Lets the block read panels from row k on, where they lie.
  void find(Index column, Index k, BlockProduct<Scalar>& block) const {
    const bool full = b_.precision() == Precision::full;
    block.b_stride = full ? width : width / 2;
    block.panel_step = b_.depth() * block.b_stride;
    if (full)
      block.b = b_.panel(column) + k * block.b_stride;
    else
      block.b = b_.words(column) + k * block.b_stride;
  }

  /// The same for panels in 16 bits that several rows are multiplied with.
  void expand(Index column, Index panels, Index k, BlockProduct<Scalar>& block) {
    expanded_.resize(block_depth * width);
    block.b = expanded_.data();
    block.b_stride = width;
    block.panel_step = block.depth * width;
    for (Index p = 0; p < panels; ++p)
      b_.expand(column + p * width, k, block.depth, expanded_.data() + p * block.panel_step);
  }

  /// One block alone reads a few lines ahead in its panels, so that the processor's own prefetching, which goes
  /// further, is not disturbed; several share the part that comes next among them, which is of the next panel or the
  /// next of the same panel.
  Prefetch read_ahead(const BlockProduct<Scalar>& block, Index i, Index blocks, bool next_panel) const {
    constexpr Index distance = 256;
    const Index row_bytes = width * (b_.precision() == Precision::full ? static_cast<Index>(sizeof(Scalar)) : 2);
    const char* here = static_cast<const char*>(block.b);
    if (blocks == 1) return {here + distance, row_bytes};
    const Index step = row_bytes / blocks;
    return {here + (next_panel ? b_.depth() : block.depth) * row_bytes + i * block.depth * step, step};
  }

  /// Rows of A from k on as blocks read them: where they lie, or a copy if their numbers are far apart or if they fill
  /// no whole block; then rows of 0 follow.
  Strided<Scalar> part_of_rows(Index row, Index rows, Index k, Index depth, Index filled) {
    constexpr Index far = 1024;  // bytes
    const Strided<Scalar> a = a_.from(row, k);
    if (rows == filled && a.col_stride * static_cast<Index>(sizeof(Scalar)) < far) return a;
    if (filled > few_rows) rows_.resize(block_depth * task_rows);
    Scalar* const copies = filled > few_rows ? rows_.data() : few_;
    for (Index j = 0; j < depth; ++j) {
      Scalar* const out = copies + j * filled;
      if (a.row_stride == 1)
        std::copy_n(a.data + j * a.col_stride, rows, out);
      else
        for (Index r = 0; r < rows; ++r) out[r] = a.from(r, j).data[0];
      std::fill(out + rows, out + filled, Scalar{0});
    }
    return {copies, 1, filled};
  }

  Strided<Scalar> a_;
  const PackedMatrix<Scalar>& b_;
  const Destination<Scalar>& destination_;
  // In memory from the reserve, where needed: threads may have little stack.
  RowVector<Scalar> rows_;  ///< of one part, if they are copied; a few go here:
  alignas(64) Scalar few_[static_cast<std::size_t>(few_rows * block_depth)];
  RowVector<Scalar> tile_;      ///< [task_rows x width] sums of panels that are not made in place
  RowVector<Scalar> expanded_;  ///< [block_depth x width] panels in full precision
};

/// Hands the sums of a [rows x depth] b to the destination, in parallel.
template <Real Scalar>
void multiply_packed(Index rows, Strided<Scalar> a, const PackedMatrix<Scalar>& b,
                     const Destination<Scalar>& destination) {
  constexpr Index group = 4 * PackedMatrix<Scalar>::panel_width;
  const Index row_tasks = (rows + task_rows - 1) / task_rows;
  if (row_tasks == 0) return;
  const Index groups = (b.cols() + group - 1) / group;
  const Index wanted = std::min(groups, (enough_tasks + row_tasks - 1) / row_tasks);
  const Index task_columns = wanted == 0 ? group : (groups + wanted - 1) / wanted * group;
  const Index column_tasks = (b.cols() + task_columns - 1) / task_columns;
  parallel_for(row_tasks * column_tasks, rows * b.depth() * b.cols(), [&](Index task) {
    const Index row = task / column_tasks * task_rows, column = task % column_tasks * task_columns;
    RowProduct<Scalar>(a, b, destination)
        .run(row, std::min(row + task_rows, rows), column, std::min(column + task_columns, b.cols()));
  });
}

template <Real Scalar>
void multiply_strided(Index rows, Strided<Scalar> a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c,
                      Store store) {
  if (b.depth() > 0)
    multiply_packed<Scalar>(rows, a, b,
                            {c.data(), c.outerStride(), b.cols(), store == Store::add ? Finish::add : Finish::store});
  else if (store == Store::overwrite)  // a sum of nothing, whose factors have no memory to point to
    c.setZero();
}

}  // namespace detail

/// c [M x N] = or += a [M x K] b [K x N].
///
/// Every element is summed over k in rising order, from 0 or from what is there, whatever the shapes, so a row has the
/// same bits alone and inside a larger batch, and with any number of threads.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
void multiply(const MatrixRef<Scalar>& a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c,
              Store store = Store::overwrite) {
  check_equal("kernels::multiply", "a.cols()", a.cols(), b.depth());
  check_equal("kernels::multiply", "c.rows()", c.rows(), a.rows());
  check_equal("kernels::multiply", "c.cols()", c.cols(), b.cols());
  detail::multiply_strided<Scalar>(a.rows(), {a.data(), a.outerStride(), 1}, b, c, store);
}

/// c [M x N] = or += a^T b, where a is [K x M] and b [K x N]. Summed as in `multiply`.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
void multiply_transposed(const MatrixRef<Scalar>& a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c,
                         Store store = Store::overwrite) {
  check_equal("kernels::multiply_transposed", "a.rows()", a.rows(), b.depth());
  check_equal("kernels::multiply_transposed", "c.rows()", c.rows(), a.cols());
  check_equal("kernels::multiply_transposed", "c.cols()", c.cols(), b.cols());
  detail::multiply_strided<Scalar>(a.cols(), {a.data(), 1, a.outerStride()}, b, c, store);
}

/// c [M x N] = gelu(a b0) * (a b1), where b holds b0 and b1 [K x N] side by side. Neither product is stored.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
void multiply_gated_gelu(const MatrixRef<Scalar>& a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c) {
  constexpr Index size = PacketOf<Scalar>::size;
  check_argument(a.cols() == b.depth() && b.depth() > 0, "kernels::multiply_gated_gelu", "a.cols()", a.cols(),
                 "the depth of b, at least 1");
  check_equal("kernels::multiply_gated_gelu", "c.rows()", c.rows(), a.rows());
  check_equal("kernels::multiply_gated_gelu", "b.cols()", b.cols(), (c.cols() + size - 1) / size * 2 * size);
  detail::multiply_packed<Scalar>(a.rows(), {a.data(), a.outerStride(), 1}, b,
                                  {c.data(), c.outerStride(), c.cols(), detail::Finish::gated_gelu});
}

}  // namespace merganser::kernels
