// The innermost part of a product: a block of sums held in registers.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packed_matrix.hpp>

namespace merganser::kernels::detail {

/// Packets of sums that the register file holds beside two packets of B and a factor of A.
inline constexpr int register_sums = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 24 : 12;
/// Rows of the register block: two packets a row.
inline constexpr int block_rows = register_sums / 2;

/// Depth of a block: this much of a panel (32 KiB at most) stays in the first-level cache while rows pass by.
inline constexpr Index block_depth = 256;

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

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a packet as a template argument: its alignment is not lost
#endif

/// How a block reads one row of a panel, two packets, in full precision.
template <Real Scalar>
struct FullPanel {
  using Word = Scalar;
  using Packet = typename PacketOf<Scalar>::Type;
  static constexpr Index words = 2 * PacketOf<Scalar>::size;

  static const Word* at(const PackedMatrix<Scalar>& b, Index column) { return b.panel(column); }
  static void load(const Word* row, Packet* out) {
    out[0] = Eigen::internal::ploadu<Packet>(row);
    out[1] = Eigen::internal::ploadu<Packet>(row + PacketOf<Scalar>::size);
  }
};

/// The same in bfloat16: two packets of floats of one packet of words.
template <Real Scalar>
struct Bfloat16Panel {
  using Word = std::uint32_t;
  using Packet = typename PacketOf<Scalar>::Type;
  static constexpr Index words = PacketOf<Scalar>::size;

  static const Word* at(const PackedMatrix<Scalar>& b, Index column) { return b.bfloat16_panel(column); }
  static void load(const Word* row, Packet* out) {
    namespace simd = Eigen::internal;
    if constexpr (words == 1) {
      out[0] = std::bit_cast<Scalar>(*row << 16);
      out[1] = std::bit_cast<Scalar>(*row & 0xFFFF0000u);
    } else {
      using Integers = typename simd::unpacket_traits<Packet>::integer_packet;
      const auto lanes = simd::ploadu<Integers>(reinterpret_cast<const std::int32_t*>(row));
      out[0] = simd::preinterpret<Packet>(simd::plogical_shift_left<16>(lanes));
      out[1] = simd::preinterpret<Packet>(
          simd::pand(lanes, simd::pset1<Integers>(static_cast<std::int32_t>(0xFFFF0000u))));
    }
  }
};
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Memory that will be read soon: for each k of a block, the cache lines of one row of a panel from `next` on.
struct Prefetch {
  const char* next;
  Index step;  ///< bytes for each k

  template <Index bytes>
  void advance() {
#if defined(__GNUC__)
    for (Index line = 0; line < bytes; line += 64) __builtin_prefetch(next + line);
#endif
    next += step;
  }
};

/// sums [Rows x Panels panels] = or += a [Rows x depth] * the panels [depth x panel width], `panel_step` words apart.
template <Real Scalar, class Panel, int Panels, std::size_t... Row>
inline void multiply_block(Index depth, Strided<Scalar> a, const typename Panel::Word* panel, Index panel_step,
                           Prefetch ahead, Scalar* sums, Index stride, bool resume, std::index_sequence<Row...>) {
  namespace simd = Eigen::internal;
  using Packet = typename PacketOf<Scalar>::Type;
  constexpr Index size = PacketOf<Scalar>::size;
  constexpr std::size_t columns = static_cast<std::size_t>(2 * Panels);
  using Columns = std::make_index_sequence<columns>;
  Packet sum[sizeof...(Row)][columns];
  // Indices are constants everywhere, so that every sum is a register.
  const auto for_columns = []<std::size_t... Column>(auto&& task, std::index_sequence<Column...>) {
    (task(std::integral_constant<std::size_t, Column>{}), ...);
  };
  const auto for_all = [&](auto&& task) {
    const auto for_row = [&](auto row) { for_columns([&](auto column) { task(row, column); }, Columns{}); };
    (for_row(std::integral_constant<std::size_t, Row>{}), ...);
  };
  const auto place = [&](std::size_t row, std::size_t column) {
    return sums + static_cast<Index>(row) * stride + static_cast<Index>(column) * size;
  };
  if (resume)
    for_all([&](auto row, auto column) { sum[row()][column()] = simd::ploadu<Packet>(place(row, column)); });
  else
    for_all([&](auto row, auto column) { sum[row()][column()] = simd::pset1<Packet>(Scalar{0}); });
  for (Index k = 0; k < depth; ++k) {
    Packet b[columns];
    for_columns(
        [&](auto p) { Panel::load(panel + static_cast<Index>(p()) * panel_step, b + 2 * p()); },
        std::make_index_sequence<static_cast<std::size_t>(Panels)>{});
    const auto step = [&](auto row) {
      const Packet factor = simd::pset1<Packet>(a.data[static_cast<Index>(row()) * a.row_stride]);
      for_columns([&](auto column) { sum[row()][column()] = simd::pmadd(factor, b[column()], sum[row()][column()]); },
                  Columns{});
    };
    (step(std::integral_constant<std::size_t, Row>{}), ...);
    ahead.advance<Panel::words * static_cast<Index>(sizeof(*panel))>();
    a.data += a.col_stride;
    panel += Panel::words;
  }
  for_all([&](auto row, auto column) { simd::pstoreu(place(row, column), sum[row()][column()]); });
}

}  // namespace merganser::kernels::detail
