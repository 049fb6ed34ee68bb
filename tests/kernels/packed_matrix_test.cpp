#include <merganser/kernels/packed_matrix.hpp>

#include "support/catch.hpp"
#include "support/random_values.hpp"

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;

namespace {

// Whether every panel holds the columns of B [K x N], row after row, and 0 past column N.
template <Real Scalar>
bool holds(const PackedMatrix<Scalar>& packed, const Matrix<Scalar>& b) {
  if (packed.depth() != b.rows() || packed.cols() != b.cols()) return false;
  for (Index first = 0; first < b.cols(); first += PackedMatrix<Scalar>::panel_width) {
    const Index width = packed.width(first);
    for (Index k = 0; k < b.rows(); ++k)
      for (Index c = 0; c < width; ++c) {
        const Scalar expected = first + c < b.cols() ? b(k, first + c) : Scalar{0};
        if (packed.panel(first)[k * width + c] != expected) return false;
      }
  }
  return true;
}

}  // namespace

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

TEMPLATE_TEST_CASE("a last panel that fits in one packet is one packet wide", "[PackedMatrix]", float, double) {
  constexpr Index packet = PackedMatrix<TestType>::packet_size, panel = PackedMatrix<TestType>::panel_width;
  REQUIRE(panel == 2 * packet);
  const auto width = [](Index cols, Index first) {
    return PackedMatrix<TestType>(Matrix<TestType>::Zero(2, cols), Orientation::as_is).width(first);
  };
  REQUIRE(width(1, 0) == packet);
  REQUIRE(width(packet, 0) == packet);
  REQUIRE(width(packet + 1, 0) == panel);
  REQUIRE(width(panel, 0) == panel);
  REQUIRE(width(panel + 1, 0) == panel);
  REQUIRE(width(panel + 1, panel) == packet);
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
