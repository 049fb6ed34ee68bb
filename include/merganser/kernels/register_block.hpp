// The innermost part of every product: a block of sums held in registers.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <merganser/core/types.hpp>
#include <merganser/kernels/half_precision.hpp>
#include <merganser/kernels/packet_loop.hpp>

namespace merganser::inline MERGANSER_ISA::kernels::detail {

/// Packets of sums that the register file holds beside two packets of B and a factor of A.
inline constexpr int register_sums = simd::registers >= 32 ? 24 : 12;
/// Rows of the tallest block: two packets a row.
inline constexpr int block_rows = register_sums / 2;
/// Rows of a lower block for the last rows.
inline constexpr int few_rows = block_rows / 3;

/// A left-hand factor read element by element: element (i, k) is data[i * row_stride + k * col_stride].
template <Real Scalar>
struct Strided {
  const Scalar* data;
  Index row_stride;
  Index col_stride;

  Strided from(Index row, Index column) const {
    return {data + row * row_stride + column * col_stride, row_stride, col_stride};
  }
};

/// Memory that will be read soon: for each k of a block, the cache lines of one row of every panel, from `next` on.
struct Prefetch {
  const char* next = nullptr;  ///< none: nothing is read ahead
  Index step = 0;              ///< bytes for each k

  /// The row of the panel that lies so many bytes behind the first.
  template <Index bytes>
  void touch(Index panel) const {
#if defined(__GNUC__)
    for (Index line = 0; line < bytes; line += 64) __builtin_prefetch(next + panel + line);
#endif
  }
};

/// How the sums of a block start.
enum class BlockStart {
  zero,
  add,   ///< from what is there
  scale  ///< from what is there, times the factor of its row
};

/// What a block computes: sums [rows x panels] = start + a [rows x depth] b, where b has panels of two packets' width.
template <Real Scalar>
struct BlockProduct {
  Index depth = 0;
  Strided<Scalar> a = {};
  const void* b = nullptr;  ///< the first row of the first panel: numbers, or words of a packed matrix in 16 bits
  Index b_stride = 0;       ///< numbers or words between the rows of a panel
  Index panel_step = 0;     ///< the same between panels
  Scalar* sums = nullptr;
  Index stride = 0;  ///< numbers between rows of sums
  BlockStart start = BlockStart::zero;
  const Scalar* factors = nullptr;  ///< [rows], for BlockStart::scale
  Prefetch ahead = {};
};

/// How a block reads a row of a panel: numbers as they are.
template <Real Scalar>
struct FullPrecision {
  using Word = Scalar;
  static constexpr Index row_words = 2 * PacketOf<Scalar>::size;

  static void load(const Word* row, typename PacketOf<Scalar>::Type* out) {
    using Packet = typename PacketOf<Scalar>::Type;
    out[0] = simd::ploadu<Packet>(row);
    out[1] = simd::ploadu<Packet>(row + PacketOf<Scalar>::size);
  }
};

/// The same in 16 bits.
template <class Format>
struct SixteenBits {
  using Word = std::uint32_t;
  static constexpr Index row_words = PacketOf<float>::size;

  static void load(const Word* row, PacketOf<float>::Type* out) { Format::expand(row, out); }
};

/// Computes a product of so many rows and panels; `sum` and `panel` count the packets of sums, row by row, and the
/// panels. Each sum is made in rising order of k.
template <Real Scalar, std::size_t panels, class Source, std::size_t... sum, std::size_t... panel>
void multiply_block(const BlockProduct<Scalar>& product, std::index_sequence<sum...>, std::index_sequence<panel...>) {
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  constexpr std::size_t columns = 2 * panels;
  // Indices are constants everywhere, so that every sum is a register. Packs and no lambdas: far less to compile.
  Packet sums[sizeof...(sum)];
  // Not read from the product each time: for all the compiler knows, it may change with every sum that is stored.
  Scalar* const place = product.sums;
  const Index stride = product.stride;
  if (product.start == BlockStart::zero)
    ((sums[sum] = simd::pset1<Packet>(Scalar{0})), ...);
  else
    ((sums[sum] = simd::ploadu<Packet>(place + Index{sum / columns} * stride + Index{sum % columns} * size)), ...);
  if (product.start == BlockStart::scale)
    ((sums[sum] = simd::pmul(sums[sum], simd::pset1<Packet>(product.factors[sum / columns]))), ...);
  const Scalar* a = product.a.data;
  const auto* b = static_cast<const typename Source::Word*>(product.b);
  constexpr auto word_bytes = static_cast<Index>(sizeof(*b)), row_bytes = Source::row_words * word_bytes;
  const Index panel_bytes = product.panel_step * word_bytes;
  Prefetch ahead = product.ahead.next != nullptr ? product.ahead : Prefetch{reinterpret_cast<const char*>(b), 0};
  for (Index k = 0; k < product.depth; ++k) {
    Packet row_of_b[columns], factor;
    (Source::load(b + Index{panel} * product.panel_step, row_of_b + 2 * panel), ...);
    ((factor = sum % columns == 0 ? simd::pset1<Packet>(a[Index{sum / columns} * product.a.row_stride]) : factor,
      sums[sum] = multiply_add(factor, row_of_b[sum % columns], sums[sum])),
     ...);
    (ahead.touch<row_bytes>(Index{panel} * panel_bytes), ...);
    ahead.next += ahead.step;
    a += product.a.col_stride;
    b += product.b_stride;
  }
  (simd::pstoreu(place + Index{sum / columns} * stride + Index{sum % columns} * size, sums[sum]), ...);
}

template <Real Scalar, std::size_t rows, std::size_t panels, class Source = FullPrecision<Scalar>>
void multiply_block(const BlockProduct<Scalar>& product) {
  multiply_block<Scalar, panels, Source>(product, std::make_index_sequence<rows * 2 * panels>{},
                                         std::make_index_sequence<panels>{});
}

/// A block for some number of rows. Few rows leave registers free for several panels side by side, which are read from
/// memory faster, in several streams.
template <Real Scalar>
struct BlockKernel {
  using Multiply = void (*)(const BlockProduct<Scalar>&);

  int rows;
  int panels;              ///< side by side
  Multiply multiply;       ///< this many panels
  Multiply multiply_last;  ///< one panel

 private:
  template <std::size_t block, class Source = FullPrecision<Scalar>>
  static constexpr BlockKernel of() {
    constexpr std::size_t panels = std::clamp<std::size_t>(register_sums / (2 * block), 1, 4);
    return {block, panels, &multiply_block<Scalar, block, panels, Source>, &multiply_block<Scalar, block, 1, Source>};
  }

 public:
  static constexpr BlockKernel tall() { return of<block_rows>(); }
  static constexpr BlockKernel few() { return of<few_rows>(); }
  static constexpr BlockKernel one() { return of<1>(); }

  /// How many panels a block of one row takes at once, when so many are left.
  static constexpr Index side_by_side(Index left) { return left >= 4 ? 4 : left >= 2 ? 2 : 1; }
  static constexpr Multiply one_row(Index panels) {
    return panels == 4   ? &multiply_block<Scalar, 1, 4>
           : panels == 2 ? &multiply_block<Scalar, 1, 2>
                         : &multiply_block<Scalar, 1, 1>;
  }

  /// For one row and panels in 16 bits. More rows are worth expanding them first.
  static constexpr BlockKernel one_from(Precision precision) {
    if constexpr (std::same_as<Scalar, float>) {
      if (precision == Precision::bfloat16) return of<1, SixteenBits<Bfloat16>>();
      if (precision == Precision::half) return of<1, SixteenBits<Half>>();
    }
    return one();
  }
};

}  // namespace merganser::kernels::detail
