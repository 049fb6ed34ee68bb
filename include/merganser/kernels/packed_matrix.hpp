// The right-hand factor of a product, laid out once for the kernel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/parallel.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/half_precision.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// Which way a matrix argument is read.
enum class Orientation { as_is, transposed };

namespace detail {

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif
/// A packet of columns of a panel from as many rows of a source [rows x depth], those past `rows` as 0: element k of
/// row i goes to out[k * out_stride + i].
template <Real Scalar>
void pack_transposed(Index rows, Index depth, const Scalar* source, Index source_stride, Scalar* out,
                     Index out_stride) {
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr int size = PacketOf<Scalar>::size;
  Index k = 0;
  if constexpr (size > 1) {
    for (; rows == size && k + size <= depth; k += size) {
      simd::PacketBlock<Packet, size> block;
      for (int i = 0; i < size; ++i) block.packet[i] = simd::ploadu<Packet>(source + i * source_stride + k);
      simd::ptranspose(block);
      for (int i = 0; i < size; ++i) simd::pstoreu(out + (k + i) * out_stride, block.packet[i]);
    }
  }
  for (; k < depth; ++k)
    for (Index i = 0; i < size; ++i) out[k * out_stride + i] = i < rows ? source[i * source_stride + k] : Scalar{0};
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace detail

/// A matrix B [K x N] cut into panels of two packets' width, each stored row after row.
///
/// Columns past N are 0. Packing costs one pass over B; every product with B then reads memory in order.
///
/// In 16 bits the two packets of a row of a panel share their words: the lower half of word i is column i, the upper
/// half column i + packet_size, so that shifts and masks make two packets of floats of one load. Moved from, it is
/// empty.
template <Real Scalar>
class PackedMatrix {
 public:
  static constexpr int packet_size = PacketOf<Scalar>::size;
  static constexpr Index panel_width = 2 * packet_size;

  PackedMatrix() = default;
  PackedMatrix(const PackedMatrix&) = default;
  PackedMatrix& operator=(const PackedMatrix&) = default;
  PackedMatrix(PackedMatrix&& other) noexcept { *this = std::move(other); }
  PackedMatrix& operator=(PackedMatrix&& other) noexcept {
    depth_ = std::exchange(other.depth_, 0);
    cols_ = std::exchange(other.cols_, 0);
    data_ = std::exchange(other.data_, {});
    words_ = std::exchange(other.words_, {});
    precision_ = other.precision_;
    return *this;
  }
  ~PackedMatrix() = default;

  /// Packs `source` [K x N], or its transpose when `source` is [N x K] and orientation says transposed.
  PackedMatrix(const MatrixRef<Scalar>& source, Orientation orientation, Precision precision = Precision::full) {
    assign(source, orientation, precision);
  }

  /// The columns of two matrices of one shape in turn, a packet of `first`, then a packet of `second`: one product
  /// gives both in one register block. Columns are filled up with 0 to whole packets.
  static PackedMatrix side_by_side(const MatrixRef<Scalar>& first, const MatrixRef<Scalar>& second,
                                   Orientation orientation, Precision precision = Precision::full) {
    PackedMatrix packed;
    packed.assign_side_by_side(first, second, orientation, precision);
    return packed;
  }

  /// Packs again, reusing the memory.
  void assign(const MatrixRef<Scalar>& source, Orientation orientation, Precision precision = Precision::full) {
    const bool transposed = orientation == Orientation::transposed;
    resize(transposed ? source.cols() : source.rows(), transposed ? source.rows() : source.cols(), precision);
    if (!transposed && precision == Precision::full) return copy_rows(source);
    pack_panels([&](Index column, Scalar* out) { pack_packet(source, orientation, column, out); });
  }

  void assign_side_by_side(const MatrixRef<Scalar>& first, const MatrixRef<Scalar>& second, Orientation orientation,
                           Precision precision = Precision::full) {
    const bool transposed = orientation == Orientation::transposed;
    check_equal("PackedMatrix::side_by_side", "second.rows()", second.rows(), first.rows());
    check_equal("PackedMatrix::side_by_side", "second.cols()", second.cols(), first.cols());
    const Index cols = transposed ? first.rows() : first.cols();
    resize(transposed ? first.cols() : first.rows(), (cols + packet_size - 1) / packet_size * panel_width, precision);
    pack_panels([&](Index column, Scalar* out) {
      pack_packet(column % panel_width == 0 ? first : second, orientation, column / panel_width * packet_size, out);
    });
  }

  Index depth() const { return depth_; }
  Index cols() const { return cols_; }
  Precision precision() const { return precision_; }

  /// Bytes of memory held.
  std::size_t bytes() const {
    return static_cast<std::size_t>(data_.size()) * sizeof(Scalar) + std::span(words_).size_bytes();
  }

  /// The panel that starts at column `first` (a multiple of `panel_width`), [K x panel_width] row-major. In full
  /// precision only.
  const Scalar* panel(Index first) const& { return data_.data() + first * depth_; }
  const Scalar* panel(Index first) const&& = delete;  // the memory would be gone

  /// The same in 16 bits: [K x packet_size] words.
  const std::uint32_t* words(Index first) const& { return words_.data() + first / 2 * depth_; }
  const std::uint32_t* words(Index first) const&& = delete;

  /// Rows [k, k + rows) of a panel, stored in 16 bits, in full precision to out [rows x panel_width].
  void expand(Index first, Index k, Index rows, Scalar* out) const {
    if constexpr (std::same_as<Scalar, float>) {
      const std::uint32_t* in = words(first) + k * packet_size;
      if (precision_ == Precision::bfloat16)
        detail::expand<detail::Bfloat16>(rows * packet_size, in, out);
      else
        detail::expand<detail::Half>(rows * packet_size, in, out);
    }
  }

 private:
  Index padded_cols() const { return (cols_ + panel_width - 1) / panel_width * panel_width; }

  void resize(Index depth, Index cols, Precision precision) {
    const bool full = precision == Precision::full;
    if (!full && std::same_as<Scalar, double>)
      throw_invalid_argument("PackedMatrix", "precision", "16 bits", "full precision for double");
    depth_ = depth;
    cols_ = cols;
    precision_ = precision;
    data_.resize(full ? depth_ * padded_cols() : 0);
    words_.resize(full ? 0 : depth_ * padded_cols() / 2);
  }

  /// Calls pack(column, out) for every packet of columns, whose rows go to out, a panel's width apart. In 16 bits one
  /// panel at a time is there in full precision.
  template <class Pack>
  void pack_panels(Pack&& pack) {
    if (depth_ == 0) return;
    const bool full = precision_ == Precision::full;
    Vector<Scalar> unrounded(full ? 0 : depth_ * panel_width);
    for (Index first = 0; first < padded_cols(); first += panel_width) {
      Scalar* const out = full ? data_.data() + first * depth_ : unrounded.data();
      pack(first, out);
      pack(first + packet_size, out + packet_size);
      if (!full) round(out, words_.data() + first / 2 * depth_);
    }
  }

  /// The source as it is, row by row: the rows of a tall one are far apart for a panel, but its own numbers are not.
  void copy_rows(const MatrixRef<Scalar>& source) {
    using Packet = typename PacketOf<Scalar>::Type;
    constexpr Index task_rows = 256;
    parallel_for((depth_ + task_rows - 1) / task_rows, depth_ * cols_, [&](Index task) {
      for (Index k = task * task_rows; k < std::min((task + 1) * task_rows, depth_); ++k) {
        const Scalar* const row = source.data() + k * source.outerStride();
        for (Index first = 0; first < cols_; first += panel_width) {
          Scalar* const out = data_.data() + first * depth_ + k * panel_width;
          const Index used = std::min(panel_width, cols_ - first);
          if (used == panel_width) {  // not copy_n, which calls a function for every row
            simd::pstoreu(out, simd::ploadu<Packet>(row + first));
            simd::pstoreu(out + packet_size, simd::ploadu<Packet>(row + first + packet_size));
          } else {
            std::fill(std::copy_n(row + first, used, out), out + panel_width, Scalar{0});
          }
        }
      }
    });
  }

  /// One packet of columns of the source, from `column` on, to the rows of a panel.
  void pack_packet(const MatrixRef<Scalar>& source, Orientation orientation, Index column, Scalar* out) {
    if (orientation == Orientation::transposed) return pack_packet_transposed(source, column, out);
    const Index used = std::clamp<Index>(source.cols() - column, 0, packet_size);
    if (used == 0) column = 0;
    for (Index k = 0; k < depth_; ++k, out += panel_width) {
      std::copy_n(source.data() + k * source.outerStride() + column, used, out);
      std::fill(out + used, out + packet_size, Scalar{0});
    }
  }

  void pack_packet_transposed(const MatrixRef<Scalar>& source, Index column, Scalar* out) {
    const Index used = std::clamp<Index>(source.rows() - column, 0, packet_size);
    detail::pack_transposed<Scalar>(used, depth_, source.data() + column * source.outerStride(), source.outerStride(),
                                    out, panel_width);
  }

  /// A panel in full precision to its words.
  void round(const Scalar* in, std::uint32_t* out) const {
    for (Index k = 0; k < depth_; ++k, in += panel_width, out += packet_size)
      for (Index i = 0; i < packet_size; ++i) out[i] = rounded(in[i]) | rounded(in[i + packet_size]) << 16;
  }

  std::uint32_t rounded(Scalar value) const {
    const auto number = static_cast<float>(value);
    return precision_ == Precision::bfloat16 ? detail::bfloat16_bits(number) : detail::half_bits(number);
  }

  Index depth_ = 0;
  Index cols_ = 0;
  RowVector<Scalar> data_;
  Vector<std::uint32_t> words_;  ///< in place of data_ in 16 bits
  Precision precision_ = Precision::full;
};

}  // namespace merganser::kernels
