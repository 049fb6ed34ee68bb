#include <merganser/kernels/packed_matrix.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace packed_matrix_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;

// Whether every panel holds the columns of B [K x N], row after row, and 0 past column N.
template <Real Scalar>
bool holds(const PackedMatrix<Scalar>& packed, const Matrix<Scalar>& b) {
  if (packed.depth() != b.rows() || packed.cols() != b.cols()) return false;
  for (Index first = 0; first < b.cols(); first += PackedMatrix<Scalar>::panel_width) {
    constexpr Index width = PackedMatrix<Scalar>::panel_width;
    for (Index k = 0; k < b.rows(); ++k)
      for (Index c = 0; c < width; ++c) {
        const Scalar expected = first + c < b.cols() ? b(k, first + c) : Scalar{0};
        if (packed.panel(first)[k * width + c] != expected) return false;
      }
  }
  return true;
}

TEMPLATE_TEST_CASE("packing keeps every element, in both orientations", "[PackedMatrix]", float, double) {
  constexpr Index panel = PackedMatrix<TestType>::panel_width;
  Rng rng(1);
  for (const Index depth : {0, 1, 2, 7, 16, 19, 33})
    for (Index cols = 0; cols <= 2 * panel + 1; ++cols) {
      const auto b = random_matrix<TestType>(depth, cols, rng);
      const Matrix<TestType> transposed = b.transpose();
      CAPTURE(depth, cols);
      REQUIRE(holds(PackedMatrix<TestType>(b, Orientation::as_is), b));
      REQUIRE(holds(PackedMatrix<TestType>(transposed, Orientation::transposed), b));
    }
}

TEMPLATE_TEST_CASE("a block of a larger matrix is packed from where it lies", "[PackedMatrix]", float, double) {
  Rng rng(2);
  const auto large = random_matrix<TestType>(41, 47, rng);
  for (const Index row : {0, 1, 5})
    for (const Index col : {0, 1, 3, 7}) {
      const auto block = large.block(row, col, 17, 23);
      CAPTURE(row, col);
      REQUIRE(holds(PackedMatrix<TestType>(block, Orientation::as_is), Matrix<TestType>(block)));
      REQUIRE(holds(PackedMatrix<TestType>(block, Orientation::transposed), Matrix<TestType>(block.transpose())));
    }
}

TEMPLATE_TEST_CASE("two matrices side by side take turns, a packet each", "[PackedMatrix]", float, double) {
  constexpr Index packet = PackedMatrix<TestType>::packet_size, panel = PackedMatrix<TestType>::panel_width;
  Rng rng(4);
  for (const Index depth : {1, 5, 33})
    for (const Index cols : {Index{1}, packet, packet + 1, 3 * packet - 1}) {
      const auto a = random_matrix<TestType>(depth, cols, rng), b = random_matrix<TestType>(depth, cols, rng);
      const Index packets = (cols + packet - 1) / packet;
      Matrix<TestType> both = Matrix<TestType>::Zero(depth, packets * panel);
      for (Index i = 0; i < packets; ++i) {
        const Index used = std::min(packet, cols - i * packet);
        both.middleCols(i * panel, used) = a.middleCols(i * packet, used);
        both.middleCols(i * panel + packet, used) = b.middleCols(i * packet, used);
      }
      CAPTURE(depth, cols);
      REQUIRE(holds(PackedMatrix<TestType>::side_by_side(a, b, Orientation::as_is), both));
      const Matrix<TestType> a_turned = a.transpose(), b_turned = b.transpose();
      REQUIRE(holds(PackedMatrix<TestType>::side_by_side(a_turned, b_turned, Orientation::transposed), both));
    }
}

TEST_CASE("16 bits hold the rounded numbers, two columns a word, and expand to them", "[PackedMatrix]") {
  constexpr Index packet = PackedMatrix<float>::packet_size, panel = PackedMatrix<float>::panel_width;
  Rng rng(5);
  const auto b = random_matrix<float>(7, panel + 3, rng);
  const PackedMatrix<float> full(b, Orientation::as_is);
  for (const Precision precision : {Precision::bfloat16, Precision::half}) {
    const PackedMatrix<float> packed(b, Orientation::as_is, precision);
    REQUIRE(packed.precision() == precision);
    REQUIRE(2 * packed.bytes() == full.bytes());
    PackedMatrix<float> again(b, Orientation::as_is, precision);
    again.assign(b, Orientation::as_is);
    REQUIRE(holds(again, Matrix<float>(b)));
    REQUIRE(again.bytes() == full.bytes());
    again.assign(b, Orientation::as_is, precision);
    REQUIRE(again.bytes() == packed.bytes());
    REQUIRE(std::equal(again.words(0), again.words(0) + 7 * packet, packed.words(0)));
    for (const Index first : {Index{0}, panel}) {
      float expanded[static_cast<std::size_t>(3 * panel)];
      packed.expand(first, 2, 3, expanded);
      for (Index k = 2; k < 5; ++k)
        for (Index column = 0; column < panel; ++column) {
          const float value = full.panel(first)[k * panel + column];
          const std::uint32_t word = packed.words(first)[k * packet + column % packet];
          const std::uint32_t bits = column < packet ? word & 0xFFFFu : word >> 16;
          REQUIRE(bits == (precision == Precision::bfloat16 ? kernels::detail::bfloat16_bits(value)
                                                            : kernels::detail::half_bits(value)));
          REQUIRE(std::abs(expanded[(k - 2) * panel + column] - value) <= std::abs(value) / 256);
        }
    }
    REQUIRE_THROWS_AS(PackedMatrix<double>(Matrix<double>::Zero(1, 1), Orientation::as_is, precision),
                      std::invalid_argument);
  }
}

TEMPLATE_TEST_CASE("packing again forgets what was packed before", "[PackedMatrix]", float, double) {
  Rng rng(3);
  PackedMatrix<TestType> packed;
  REQUIRE(packed.depth() == 0);
  REQUIRE(packed.cols() == 0);
  for (const Index extent : {35, 3, 18}) {
    const auto b = random_matrix<TestType>(extent, extent + 4, rng);
    packed.assign(b, Orientation::as_is);
    REQUIRE(holds(packed, b));
    packed.assign(b, Orientation::transposed);
    REQUIRE(holds(packed, Matrix<TestType>(b.transpose())));
  }
}

template <class Packed>
concept HandsOutPanels = requires(Packed&& packed) {
  std::forward<Packed>(packed).panel(0);
}
|| requires(Packed&& packed) { std::forward<Packed>(packed).words(0); };

TEST_CASE("moved from, a packed matrix is empty, and a temporary hands out no panels", "[PackedMatrix]") {
  PackedMatrix<float> packed(Matrix<float>::Ones(3, 4), Orientation::as_is);
  const PackedMatrix<float> taken = std::move(packed);
  REQUIRE((taken.depth() == 3 && taken.cols() == 4 && taken.panel(0)[0] == 1));
  REQUIRE((packed.depth() == 0 && packed.cols() == 0 && packed.bytes() == 0));
  packed = taken;
  PackedMatrix<float>& itself = packed;
  packed = std::move(itself);
  REQUIRE((packed.depth() == 3 && packed.cols() == 4 && packed.panel(0)[0] == 1));
  static_assert(HandsOutPanels<const PackedMatrix<float>&> && !HandsOutPanels<PackedMatrix<float>>);
}

}  // namespace packed_matrix_test
