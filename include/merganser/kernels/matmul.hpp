// Matrix products: one register-blocked kernel on Eigen's packet primitives.
#pragma once

#include <algorithm>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/packed_matrix.hpp>

namespace merganser::kernels {

/// What happens to the destination of a product.
enum class Store { overwrite, add };

namespace detail {

/// Rows of the register block: with two packets a row, the accumulators fill most of the register file.
inline constexpr int block_rows = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 12 : 6;
/// Rows of the destination in one parallel task; a multiple of both block heights.
inline constexpr Index task_rows = 48;

/// A left-hand factor read element by element: element (i, k) is data[i * row_stride + k * col_stride].
template <Real Scalar>
struct Strided {
  const Scalar* data;
  Index row_stride;
  Index col_stride;

  Strided rows_from(Index row) const { return {data + row * row_stride, row_stride, col_stride}; }
};

/// c [Rows x Packets packets] = or += a [Rows x depth] * panel [depth x Packets packets].
template <Real Scalar, int Packets, std::size_t... Row>
inline void multiply_block(Index depth, Strided<Scalar> a, const Scalar* panel, Scalar* c, Index c_stride, Store store,
                           std::index_sequence<Row...>) {
  namespace simd = Eigen::internal;
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr int size = PacketOf<Scalar>::size;
  Packet sum[sizeof...(Row)][Packets];
  ((sum[Row][0] = simd::pset1<Packet>(Scalar{0})), ...);
  if constexpr (Packets == 2) ((sum[Row][1] = simd::pset1<Packet>(Scalar{0})), ...);
  for (Index k = 0; k < depth; ++k) {
    const Packet b0 = simd::ploadu<Packet>(panel);
    if constexpr (Packets == 2) {
      const Packet b1 = simd::ploadu<Packet>(panel + size);
      const auto step = [&](std::size_t row) {
        const Packet factor = simd::pset1<Packet>(a.data[static_cast<Index>(row) * a.row_stride]);
        sum[row][0] = simd::pmadd(factor, b0, sum[row][0]);
        sum[row][1] = simd::pmadd(factor, b1, sum[row][1]);
      };
      (step(Row), ...);
    } else {
      ((sum[Row][0] =
            simd::pmadd(simd::pset1<Packet>(a.data[static_cast<Index>(Row) * a.row_stride]), b0, sum[Row][0])),
       ...);
    }
    a.data += a.col_stride;
    panel += Packets * size;
  }
  const auto write = [&](std::size_t row, int packet) {
    Scalar* out = c + static_cast<Index>(row) * c_stride + packet * size;
    const Packet value = sum[row][packet];
    simd::pstoreu(out, store == Store::add ? simd::padd(simd::ploadu<Packet>(out), value) : value);
  };
  (write(Row, 0), ...);
  if constexpr (Packets == 2) (write(Row, 1), ...);
}

/// The same for the last panel, of which only `used` columns exist in c.
template <Real Scalar, int Packets, int Rows>
void multiply_block_partial(Index depth, Strided<Scalar> a, const Scalar* panel, Index used, Scalar* c, Index c_stride,
                            Store store) {
  constexpr Index width = Packets * PacketOf<Scalar>::size;
  Scalar block[Rows * width];
  multiply_block<Scalar, Packets>(depth, a, panel, block, width, Store::overwrite, std::make_index_sequence<Rows>{});
  for (Index row = 0; row < Rows; ++row) {
    for (Index column = 0; column < used; ++column) {
      Scalar& out = c[row * c_stride + column];
      out = store == Store::add ? out + block[row * width + column] : block[row * width + column];
    }
  }
}

/// Rows [row, rows) of one panel, in blocks of Rows, then of fewer.
template <Real Scalar, int Packets, int Rows>
void multiply_panel(Index row, Index rows, Strided<Scalar> a, const PackedMatrix<Scalar>& b, Index first, Scalar* c,
                    Index c_stride, Store store) {
  constexpr Index width = Packets * PacketOf<Scalar>::size;
  const Index used = std::min(width, b.cols() - first);
  for (; row + Rows <= rows; row += Rows) {
    Scalar* out = c + row * c_stride + first;
    if (used == width)
      multiply_block<Scalar, Packets>(b.depth(), a.rows_from(row), b.panel(first), out, c_stride, store,
                                      std::make_index_sequence<Rows>{});
    else
      multiply_block_partial<Scalar, Packets, Rows>(b.depth(), a.rows_from(row), b.panel(first), used, out, c_stride,
                                                    store);
  }
  if constexpr (Rows > 1) multiply_panel<Scalar, Packets, Rows / 2>(row, rows, a, b, first, c, c_stride, store);
}

/// c [rows x N] = or += a [rows x K] b, on the calling thread.
template <Real Scalar>
void multiply_rows(Index rows, Strided<Scalar> a, const PackedMatrix<Scalar>& b, Scalar* c, Index c_stride,
                   Store store) {
  for (Index first = 0; first < b.cols(); first += PackedMatrix<Scalar>::panel_width) {
    if (b.width(first) == PackedMatrix<Scalar>::panel_width)
      multiply_panel<Scalar, 2, block_rows>(0, rows, a, b, first, c, c_stride, store);
    else
      multiply_panel<Scalar, 1, block_rows>(0, rows, a, b, first, c, c_stride, store);
  }
}

template <Real Scalar>
void multiply_strided(Index rows, Strided<Scalar> a, const PackedMatrix<Scalar>& b, MutableMatrixRef<Scalar> c,
                      Store store) {
  if (b.depth() == 0) {  // a sum of nothing, whose factors have no memory to point to
    if (store == Store::overwrite) c.setZero();
    return;
  }
  const Index tasks = (rows + task_rows - 1) / task_rows;
  parallel_for(tasks, rows * b.depth() * b.cols(), [&](Index task) {
    const Index row = task * task_rows;
    multiply_rows(std::min(task_rows, rows - row), a.rows_from(row), b, c.data() + row * c.outerStride(),
                  c.outerStride(), store);
  });
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

}  // namespace merganser::kernels
