#include <merganser/core/types.hpp>

#include <type_traits>

#include "support/catch.hpp"

namespace types_test {

using namespace merganser;

template <class Scalar>
concept FitsMatrix = requires {
  typename Matrix<Scalar>;
};

const float* data_of(const MatrixRef<float>& x) { return x.data(); }
Index stride_of(const MatrixRef<float>& x) { return x.outerStride(); }
void fill(MutableMatrixRef<float> x) { x.setConstant(7); }
TEST_CASE("layers are written for float and double and nothing else", "[types]") {
  STATIC_REQUIRE(Real<float>);
  STATIC_REQUIRE(Real<double>);
  STATIC_REQUIRE_FALSE(Real<int>);
  STATIC_REQUIRE_FALSE(Real<long double>);
  STATIC_REQUIRE_FALSE(Real<const float>);
  STATIC_REQUIRE(FitsMatrix<float>);
  STATIC_REQUIRE_FALSE(FitsMatrix<int>);
}

TEST_CASE("indices are signed and wide, ids and positions have 32 bits", "[types]") {
  STATIC_REQUIRE(std::is_signed_v<Index>);
  STATIC_REQUIRE(sizeof(Index) == 8);
  STATIC_REQUIRE(std::is_same_v<TokenId, std::int32_t>);
  STATIC_REQUIRE(std::is_same_v<Position, std::int32_t>);
}

TEST_CASE("a matrix stores one token after the other", "[types]") {
  Matrix<float> x(2, 3);
  x << 0, 1, 2, 3, 4, 5;
  for (int i = 0; i < 6; ++i) REQUIRE(x.data()[i] == static_cast<float>(i));
}

TEST_CASE("a matrix argument binds without a copy", "[types]") {
  const Matrix<float> x = Matrix<float>::Zero(5, 4);
  REQUIRE(data_of(x) == x.data());
  REQUIRE(data_of(x.middleRows(2, 3)) == x.data() + 2 * 4);
  REQUIRE(data_of(x.middleCols(1, 2)) == x.data() + 1);
  REQUIRE(stride_of(x.middleCols(1, 2)) == 4);
  REQUIRE(data_of(x.block(3, 1, 2, 2)) == x.data() + 3 * 4 + 1);
}

TEST_CASE("a written-to argument reaches the block it was given", "[types]") {
  Matrix<float> x = Matrix<float>::Zero(3, 4);
  fill(x.block(1, 1, 2, 2));
  REQUIRE(x.sum() == 28.0F);
  REQUIRE(x.row(0).sum() == 0.0F);
  REQUIRE(x(2, 2) == 7.0F);
  REQUIRE(x(2, 3) == 0.0F);
}

TEST_CASE("arguments may have no rows", "[types]") {
  Matrix<float> x(0, 4);
  REQUIRE_NOTHROW(fill(x));
  REQUIRE(stride_of(x) == 4);
}

}  // namespace types_test
