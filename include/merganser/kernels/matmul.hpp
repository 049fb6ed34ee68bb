// Matrix products: one register-blocked kernel on Eigen's packet primitives.
#pragma once

#include <algorithm>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/packed_matrix.hpp>
#include <merganser/kernels/register_block.hpp>

namespace merganser::kernels {

/// What happens to the destination of a product.
enum class Store { overwrite, add };

namespace detail {

/// Rows of the destination in one parallel task, a multiple of the block height: each panel read serves as many.
inline constexpr Index task_rows = 96;
/// Parallel tasks of a product that has enough rows and columns for them.
inline constexpr Index enough_tasks = 24;

/// Panels that a block of so many rows reads side by side: few rows leave registers free, and memory is read faster in
/// several streams.
constexpr int panels_side_by_side(int rows) { return std::clamp(register_sums / (2 * rows), 1, 4); }
/// A block of a third of the height for the last rows, where so few are left, and one for a single row.
inline constexpr int few_rows = block_rows / 3;

/// One product on one thread: rows of A against some panels of B, results handed to `finish` tile by tile.
template <Real Scalar, class Panel, class Finish>
class RowProduct {
 public:
  RowProduct(Strided<Scalar> a, const PackedMatrix<Scalar>& b, const Finish& finish)
      : a_(a), b_(b), finish_(finish) {}

  /// Rows [row, row_end) and the panels that start at `column` or later, before `column_end`.
  void run(Index row, Index row_end, Index column, Index column_end) const {
    const Index whole = (row_end - row) / block_rows * block_rows;
    if (whole > 0) run_blocks<block_rows>(row, whole, column, column_end);
    const Index rest = row_end - row - whole;
    if (rest > few_rows)
      run_blocks<block_rows>(row + whole, rest, column, column_end);
    else if (rest > 1)
      run_blocks<few_rows>(row + whole, rest, column, column_end);
    else if (rest == 1)
      run_blocks<1>(row + whole, rest, column, column_end);
  }

 private:
  /// Rows in blocks of Rows, the last of which may be cut short; several panels at once while so many are left.
  template <int Rows>
  void run_blocks(Index row, Index rows, Index column, Index column_end) const {
    constexpr int panels = panels_side_by_side(Rows);
    constexpr Index width = PackedMatrix<Scalar>::panel_width, columns = panels * width;
    constexpr Index block_tile_rows = Rows == block_rows ? task_rows : Rows;
    Scalar tile[static_cast<std::size_t>(block_tile_rows * columns)];
    Scalar padded[static_cast<std::size_t>(Rows * block_depth)];
    const Index depth = b_.depth(), blocks = (rows + Rows - 1) / Rows;
    while (column < column_end) {
      const bool all_there = column + (panels - 1) * width < column_end;  // else one after the other, `panels` times
      const Index used = all_there ? columns : width;
      const Index step = all_there ? depth * Panel::words : 0;
      Scalar* direct = all_there && rows % Rows == 0 ? finish_.direct(row, column, columns) : nullptr;
      Scalar* sums = direct != nullptr ? direct : tile;
      const Index stride = direct != nullptr ? finish_.stride() : columns;
      for (Index k = 0; k < depth; k += block_depth) {
        const Index part = std::min(block_depth, depth - k);
        const auto* panel = Panel::at(b_, column) + k * Panel::words;
        for (Index r = 0; r < rows; r += Rows) {
          Strided<Scalar> a = a_.from(row + r, k);
          if (rows - r < Rows) a = pad<Rows>(a, rows - r, part, padded);
          multiply_block<Scalar, Panel, panels>(part, a, panel, step, read_ahead(panel, part, r / Rows, blocks),
                                                sums + r * stride, stride, k > 0,
                                                std::make_index_sequence<static_cast<std::size_t>(Rows)>{});
        }
      }
      if (direct == nullptr) finish_(row, rows, column, used, static_cast<const Scalar*>(tile), columns);
      column += used;
    }
  }

  /// One block alone reads some way ahead in its panel; several share the next part of the panel among them.
  static Prefetch read_ahead(const typename Panel::Word* panel, Index depth, Index block, Index blocks) {
    constexpr Index row_bytes = Panel::words * static_cast<Index>(sizeof(*panel)), distance = 4096;
    const char* here = reinterpret_cast<const char*>(panel);
    if (blocks == 1) return {here + distance, row_bytes};
    const Index step = row_bytes / blocks;
    return {here + depth * (row_bytes + block * step), step};
  }

  /// A copy of the rows that are there, with rows of 0 below.
  template <int Rows>
  static Strided<Scalar> pad(Strided<Scalar> a, Index rows, Index depth, Scalar* padded) {
    std::fill_n(padded, Rows * depth, Scalar{0});
    for (Index r = 0; r < rows; ++r)
      for (Index k = 0; k < depth; ++k) padded[k * Rows + r] = a.from(r, k).data[0];
    return {padded, 1, Rows};
  }

  Strided<Scalar> a_;
  const PackedMatrix<Scalar>& b_;
  const Finish& finish_;
};

/// Writes sums to their place in C [rows x cols], or adds them.
template <Real Scalar>
class StoreSums {
 public:
  StoreSums(Scalar* c, Index stride, Index cols, Store store) : c_(c), stride_(stride), cols_(cols), store_(store) {}

  Index stride() const { return stride_; }

  /// Where a tile may be summed in place: where all of its columns exist and nothing is added.
  Scalar* direct(Index row, Index column, Index columns) const {
    return store_ == Store::overwrite && column + columns <= cols_ ? c_ + row * stride_ + column : nullptr;
  }

  void operator()(Index row, Index rows, Index column, Index columns, const Scalar* tile, Index tile_stride) const {
    const Index used = std::min(columns, cols_ - column);
    for (Index r = 0; r < rows; ++r, tile += tile_stride) {
      Scalar* out = c_ + (row + r) * stride_ + column;
      if (store_ == Store::overwrite)
        std::copy_n(tile, used, out);
      else
        transform(
            used, out, [](const auto& x, const auto& y) { return Eigen::internal::padd(x, y); }, out, tile);
    }
  }

 private:
  Scalar* c_;
  Index stride_, cols_;
  Store store_;
};

/// gelu(sum) * sum of the first and second packet of each panel of a side-by-side factor, to C [rows x cols].
template <Real Scalar>
class StoreGatedGelu {
 public:
  StoreGatedGelu(Scalar* c, Index stride, Index cols) : c_(c), stride_(stride), cols_(cols) {}

  Index stride() const { return stride_; }
  Scalar* direct(Index, Index, Index) const { return nullptr; }

  void operator()(Index row, Index rows, Index column, Index columns, const Scalar* tile, Index tile_stride) const {
    constexpr Index size = PacketOf<Scalar>::size;
    for (Index r = 0; r < rows; ++r, tile += tile_stride)
      for (Index pair = 0; pair < columns; pair += 2 * size) {
        const Index first = (column + pair) / 2;
        transform(
            std::min(size, cols_ - first), c_ + (row + r) * stride_ + first, gated_gelu_packet<Scalar>, tile + pair,
            tile + pair + size);
      }
  }

 private:
  Scalar* c_;
  Index stride_, cols_;
};

/// Calls finish with the sums of a [rows x depth] b, in parallel.
template <Real Scalar, class Finish>
void multiply_strided(Index rows, Strided<Scalar> a, const PackedMatrix<Scalar>& b, const Finish& finish) {
  using Packed = PackedMatrix<Scalar>;
  constexpr Index group = 4 * Packed::panel_width;
  const Index row_tasks = (rows + task_rows - 1) / task_rows;
  if (row_tasks == 0) return;
  const Index groups = (b.cols() + group - 1) / group;
  const Index wanted = std::min(groups, (enough_tasks + row_tasks - 1) / row_tasks);
  const Index task_columns = wanted == 0 ? group : (groups + wanted - 1) / wanted * group;
  const Index column_tasks = (b.cols() + task_columns - 1) / task_columns;
  parallel_for(row_tasks * column_tasks, rows * b.depth() * b.cols(), [&](Index task) {
    const Index row = task / column_tasks * task_rows, row_end = std::min(row + task_rows, rows);
    const Index column = task % column_tasks * task_columns, column_end = std::min(column + task_columns, b.cols());
    if constexpr (std::same_as<Scalar, float>)
      if (b.precision() == Precision::bfloat16)
        return RowProduct<Scalar, Bfloat16Panel<Scalar>, Finish>(a, b, finish).run(row, row_end, column, column_end);
    RowProduct<Scalar, FullPanel<Scalar>, Finish>(a, b, finish).run(row, row_end, column, column_end);
  });
}

template <Real Scalar>
void multiply_and_store(Index rows, Strided<Scalar> a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c,
                        Store store) {
  if (b.depth() > 0)
    multiply_strided(rows, a, b, StoreSums<Scalar>(c.data(), c.outerStride(), b.cols(), store));
  else if (store == Store::overwrite)  // a sum of nothing, whose factors have no memory to point to
    c.setZero();
}

}  // namespace detail

/// c [M x N] = or += a [M x K] b [K x N].
///
/// Every element of the product is summed over k in rising order whatever the shapes, so a row has the same bits alone
/// and inside a larger batch, and with any number of threads.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
void multiply(const MatrixRef<Scalar>& a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c,
              Store store = Store::overwrite) {
  check_equal("kernels::multiply", "a.cols()", a.cols(), b.depth());
  check_equal("kernels::multiply", "c.rows()", c.rows(), a.rows());
  check_equal("kernels::multiply", "c.cols()", c.cols(), b.cols());
  detail::multiply_and_store<Scalar>(a.rows(), {a.data(), a.outerStride(), 1}, b, c, store);
}

/// c [M x N] = or += a^T b, where a is [K x M] and b [K x N]. Summed as in `multiply`.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar>
void multiply_transposed(const MatrixRef<Scalar>& a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c,
                         Store store = Store::overwrite) {
  check_equal("kernels::multiply_transposed", "a.rows()", a.rows(), b.depth());
  check_equal("kernels::multiply_transposed", "c.rows()", c.rows(), a.cols());
  check_equal("kernels::multiply_transposed", "c.cols()", c.cols(), b.cols());
  detail::multiply_and_store<Scalar>(a.cols(), {a.data(), 1, a.outerStride()}, b, c, store);
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
  detail::multiply_strided<Scalar>(a.rows(), {a.data(), a.outerStride(), 1}, b,
                                   detail::StoreGatedGelu<Scalar>(c.data(), c.outerStride(), c.cols()));
}

}  // namespace merganser::kernels
