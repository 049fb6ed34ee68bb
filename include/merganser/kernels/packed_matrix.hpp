// The right-hand factor of a product, laid out once for the kernel.
#pragma once

#include <algorithm>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::kernels {

/// Which way a matrix argument is read.
enum class Orientation { as_is, transposed };

/// A matrix B [K x N] cut into panels of two packets' width, each stored row after row.
///
/// Columns past N are 0. A last panel that fits in one packet is one packet wide. Packing costs one pass over B; every
/// product with B then reads memory in order.
template <Real Scalar>
class PackedMatrix {
 public:
  static constexpr int packet_size = PacketOf<Scalar>::size;
  static constexpr Index panel_width = 2 * packet_size;

  PackedMatrix() = default;

  /// Packs `source` [K x N], or its transpose when `source` is [N x K] and orientation says transposed.
  PackedMatrix(const MatrixRef<Scalar>& source, Orientation orientation) { assign(source, orientation); }

  /// Packs again, reusing the memory.
  void assign(const MatrixRef<Scalar>& source, Orientation orientation) {
    const bool transposed = orientation == Orientation::transposed;
    depth_ = transposed ? source.cols() : source.rows();
    cols_ = transposed ? source.rows() : source.cols();
    data_.resize(depth_ * padded_cols());
    for (Index first = 0; first < cols_; first += panel_width) {
      if (transposed)
        pack_panel_transposed(source, first);
      else
        pack_panel(source, first);
    }
  }

  Index depth() const { return depth_; }
  Index cols() const { return cols_; }

  /// The width of the panel that starts at column `first`: two packets, or one where that is enough.
  Index width(Index first) const { return cols_ - first > packet_size ? panel_width : packet_size; }

  /// The panel that starts at column `first` (a multiple of `panel_width`), [K x width(first)] row-major.
  const Scalar* panel(Index first) const { return data_.data() + first * depth_; }

 private:
  using Packet = typename PacketOf<Scalar>::Type;

  Index padded_cols() const { return (cols_ + packet_size - 1) / packet_size * packet_size; }

  void pack_panel(const MatrixRef<Scalar>& source, Index first) {
    const Index panel = width(first);
    const Index used = std::min(panel, cols_ - first);
    Scalar* out = data_.data() + first * depth_;
    for (Index k = 0; k < depth_; ++k, out += panel) {
      const Scalar* row = source.data() + k * source.outerStride() + first;
      std::copy_n(row, used, out);
      std::fill(out + used, out + panel, Scalar{0});
    }
  }

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif
  void pack_panel_transposed(const MatrixRef<Scalar>& source, Index first) {
    namespace simd = Eigen::internal;
    const Index panel = width(first);
    const Index used = std::min(panel, cols_ - first);
    Scalar* out = data_.data() + first * depth_;
    const auto row = [&](Index column) { return source.data() + (first + column) * source.outerStride(); };
    const Index whole_depth = depth_ / packet_size * packet_size;
    for (Index column = 0; column < panel; column += packet_size) {
      Index k = 0;
      if constexpr (packet_size > 1) {
        for (; column + packet_size <= used && k < whole_depth; k += packet_size) {
          simd::PacketBlock<Packet, packet_size> block;
          for (int i = 0; i < packet_size; ++i) block.packet[i] = simd::ploadu<Packet>(row(column + i) + k);
          simd::ptranspose(block);
          for (int i = 0; i < packet_size; ++i) simd::pstoreu(out + (k + i) * panel + column, block.packet[i]);
        }
      }
      for (; k < depth_; ++k)
        for (Index i = column; i < column + packet_size; ++i) out[k * panel + i] = i < used ? row(i)[k] : Scalar{0};
    }
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

  Index depth_ = 0;
  Index cols_ = 0;
  Eigen::Array<Scalar, Eigen::Dynamic, 1> data_;
};

}  // namespace merganser::kernels
