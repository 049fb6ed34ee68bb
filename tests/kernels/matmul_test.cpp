#include <merganser/kernels/matmul.hpp>

#include <bit>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace matmul_test {

using namespace merganser;
using namespace merganser::kernels;
using namespace merganser::testing;

template <Real Scalar>
Matrix<Scalar> plain_product(const Matrix<Scalar>& a, const Matrix<Scalar>& b) {
  Matrix<Scalar> c(a.rows(), b.cols());
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < b.cols(); ++j) {
      double sum = 0;
      for (Index k = 0; k < a.cols(); ++k) sum += static_cast<double>(a(i, k)) * static_cast<double>(b(k, j));
      c(i, j) = static_cast<Scalar>(sum);
    }
  return c;
}

// A block somewhere inside a larger matrix, which must stay as it is around the block.
template <Real Scalar>
struct Framed {
  Matrix<Scalar> frame;
  Index row, col, rows, cols;

  Framed(Index block_rows, Index block_cols, Rng& rng)
      : row(static_cast<Index>(rng.below(3))),
        col(static_cast<Index>(rng.below(9))),
        rows(block_rows),
        cols(block_cols) {
    frame = random_matrix<Scalar>(row + rows + 2, col + cols + static_cast<Index>(rng.below(5)), rng);
  }
  auto block() { return frame.block(row, col, rows, cols); }

  // True if `other` has the same numbers outside the block.
  bool same_outside(const Matrix<Scalar>& other) const {
    Matrix<Scalar> mine = frame, its = other;
    mine.block(row, col, rows, cols).setZero();
    its.block(row, col, rows, cols).setZero();
    return identical(mine, its);
  }
};

template <Real Scalar>
Matrix<Scalar> product(const MatrixRef<Scalar>& a, const PackedMatrix<Scalar>& b) {
  Matrix<Scalar> c(a.rows(), b.cols());
  multiply<Scalar>(a, b, c);
  return c;
}

template <Real Scalar>
Matrix<Scalar> transposed_product(const MatrixRef<Scalar>& a, const PackedMatrix<Scalar>& b) {
  Matrix<Scalar> c(a.cols(), b.cols());
  multiply_transposed<Scalar>(a, b, c);
  return c;
}

template <Real Scalar>
PackedMatrix<Scalar> packed(const Matrix<Scalar>& b) {
  return PackedMatrix<Scalar>(b, Orientation::as_is);
}

TEMPLATE_TEST_CASE("products of blocks are those of plain loops", "[matmul]", float, double) {
  Rng rng(1);
  for (int trial = 0; trial < 400; ++trial) {
    const auto extent = [&](std::uint64_t most) { return static_cast<Index>(rng.below(most + 1)); };
    // Now and then deeper than a block, higher than a task, with more columns than are taken at once, or with columns
    // of A so far apart that they are copied.
    const bool far = trial % 25 == 6, wide = trial % 25 == 7;
    const Index rows = far ? 300 + extent(100) : extent(trial % 4 == 0 ? 2 : trial % 10 == 1 ? 210 : 60);
    const Index depth = far || wide ? 250 + extent(50) : extent(trial % 10 == 3 ? 600 : 45);
    const Index cols = wide ? 700 + extent(400) : extent(trial % 10 == 5 ? 300 : 70);
    const bool b_transposed = rng.bernoulli(0.5), a_transposed = far || rng.bernoulli(0.5), add = rng.bernoulli(0.5);
    CAPTURE(rows, depth, cols, a_transposed, b_transposed, add);

    Framed<TestType> a(a_transposed ? depth : rows, a_transposed ? rows : depth, rng);
    Framed<TestType> b(b_transposed ? cols : depth, b_transposed ? depth : cols, rng);
    Framed<TestType> c(rows, cols, rng);
    const Matrix<TestType> before = c.frame;
    const Matrix<TestType> plain_a =
        a_transposed ? Matrix<TestType>(a.block().transpose()) : Matrix<TestType>(a.block());
    const Matrix<TestType> plain_b =
        b_transposed ? Matrix<TestType>(b.block().transpose()) : Matrix<TestType>(b.block());
    Matrix<TestType> expected = plain_product(plain_a, plain_b);
    if (add) expected += c.block();

    const PackedMatrix<TestType> right(b.block(), b_transposed ? Orientation::transposed : Orientation::as_is);
    const Store store = add ? Store::add : Store::overwrite;
    if (a_transposed)
      multiply_transposed<TestType>(a.block(), right, c.block(), store);
    else
      multiply<TestType>(a.block(), right, c.block(), store);
    REQUIRE(relative_difference(Matrix<TestType>(c.block()), expected) <= agreement<TestType>);
    REQUIRE(c.same_outside(before));
  }
}

TEMPLATE_TEST_CASE("without a common extent a product is 0", "[matmul]", float, double) {
  Matrix<TestType> c = Matrix<TestType>::Constant(3, 5, 7);
  multiply<TestType>(Matrix<TestType>(3, 0), packed<TestType>(Matrix<TestType>(0, 5)), c, Store::add);
  REQUIRE((c.array() == TestType{7}).all());
  multiply<TestType>(Matrix<TestType>(3, 0), packed<TestType>(Matrix<TestType>(0, 5)), c);
  REQUIRE((c.array() == TestType{0}).all());
}

TEMPLATE_TEST_CASE("overwriting does not read the destination", "[matmul]", float, double) {
  Rng rng(2);
  const auto a = random_matrix<TestType>(7, 9, rng), b = random_matrix<TestType>(9, 21, rng);
  Matrix<TestType> c = Matrix<TestType>::Constant(7, 21, std::numeric_limits<TestType>::quiet_NaN());
  multiply<TestType>(a, packed(b), c);
  REQUIRE(c.allFinite());
}

TEMPLATE_TEST_CASE("padding never leaks: columns do not see infinities of their neighbours", "[matmul]", float,
                   double) {
  Rng rng(3);
  const auto a = random_matrix<TestType>(5, 3, rng);
  Matrix<TestType> b = random_matrix<TestType>(3, PackedMatrix<TestType>::panel_width + 1, rng);
  const Matrix<TestType> clean = product<TestType>(a, packed(b));
  b(1, 0) = std::numeric_limits<TestType>::infinity();
  const Matrix<TestType> spoiled = product<TestType>(a, packed(b));
  REQUIRE_FALSE(spoiled.col(0).allFinite());
  REQUIRE(
      identical(Matrix<TestType>(spoiled.rightCols(b.cols() - 1)), Matrix<TestType>(clean.rightCols(b.cols() - 1))));
}

TEMPLATE_TEST_CASE("a row has the same bits alone and inside any batch", "[matmul]", float, double) {
  Rng rng(4);
  for (const Index cols : {1, 7, 16, 37}) {
    const auto a = random_matrix<TestType>(61, 29, rng);
    const PackedMatrix<TestType> b = packed(random_matrix<TestType>(29, cols, rng));
    const Matrix<TestType> all = product<TestType>(a, b);
    const Matrix<TestType> columns = a.transpose();
    REQUIRE(identical(transposed_product<TestType>(columns, b), all));
    for (Index first = 0; first < a.rows(); ++first)
      for (const Index rows : {1, 2, 5, 13}) {
        if (first + rows > a.rows()) continue;
        CAPTURE(cols, first, rows);
        REQUIRE(
            identical(product<TestType>(a.middleRows(first, rows), b), Matrix<TestType>(all.middleRows(first, rows))));
        REQUIRE(identical(transposed_product<TestType>(columns.middleCols(first, rows), b),
                          Matrix<TestType>(all.middleRows(first, rows))));
      }
  }
}

TEMPLATE_TEST_CASE("a column has the same bits whatever stands beside it", "[matmul]", float, double) {
  Rng rng(5);
  const auto a = random_matrix<TestType>(13, 29, rng), b = random_matrix<TestType>(29, 71, rng);
  const Matrix<TestType> all = product<TestType>(a, packed(b));
  for (const Index first : {0, 1, 15, 40, 70})
    for (const Index cols : {1, 9, 31}) {
      if (first + cols > b.cols()) continue;
      const Matrix<TestType> part = product<TestType>(a, packed<TestType>(b.middleCols(first, cols)));
      REQUIRE(identical(part, Matrix<TestType>(all.middleCols(first, cols))));
    }
}

TEMPLATE_TEST_CASE("adding has the same bits for a row alone and inside a batch", "[matmul]", float, double) {
  Rng rng(6);
  const auto a = random_matrix<TestType>(17, 11, rng), start = random_matrix<TestType>(17, 37, rng);
  const PackedMatrix<TestType> b = packed(random_matrix<TestType>(11, 37, rng));
  Matrix<TestType> all = start;
  multiply<TestType>(a, b, all, Store::add);
  for (Index row = 0; row < 17; ++row) {
    Matrix<TestType> alone = start.row(row);
    multiply<TestType>(a.row(row), b, alone, Store::add);
    REQUIRE(identical(alone, Matrix<TestType>(all.row(row))));
  }
}

TEMPLATE_TEST_CASE("products have the same bits with one thread and with two", "[matmul]", float, double) {
  Rng rng(7);
  for (const Index rows : {1, 47, 48, 49, 150}) {  // around and far above the rows of one task
    const auto a = random_matrix<TestType>(rows, 210, rng), b = random_matrix<TestType>(210, 333, rng);
    const Matrix<TestType> columns = a.transpose();
    const PackedMatrix<TestType> right = packed(b);
    require_same_bits_with_threads([&] { return product<TestType>(a, right); });
    require_same_bits_with_threads([&] { return transposed_product<TestType>(columns, right); });
    REQUIRE(relative_difference(product<TestType>(a, right), plain_product(a, b)) <= agreement<TestType>);
    REQUIRE(identical(product<TestType>(a.row(rows / 2), right),
                      Matrix<TestType>(product<TestType>(a, right).row(rows / 2))));
  }
}

TEST_CASE("a product with weights in 16 bits is the product with the rounded weights, in bits", "[matmul]") {
  using kernels::detail::bfloat16_bits, kernels::detail::half_bits;
  Rng rng(8);
  for (const Precision precision : {Precision::bfloat16, Precision::half})
    for (const Index rows : {1, 2, 3, 5, 12, 40, 101})
      for (const Index cols : {1, 17, 64, 250}) {
        const Index depth = 1 + static_cast<Index>(rng.below(600));
        const auto a = random_matrix<float>(rows, depth, rng);
        Matrix<float> b = random_matrix<float>(depth, cols, rng);
        const PackedMatrix<float> in_16_bits(b, Orientation::as_is, precision);
        for (float& value : b.reshaped())
          value = precision == Precision::bfloat16
                      ? std::bit_cast<float>(bfloat16_bits(value) << 16)
                      : Eigen::half_impl::half_to_float(
                            Eigen::half_impl::raw_uint16_to_half(static_cast<std::uint16_t>(half_bits(value))));
        CAPTURE(rows, depth, cols);
        REQUIRE(identical(product<float>(a, in_16_bits), product<float>(a, packed(b))));
      }
}

TEMPLATE_TEST_CASE("the gated product is the activation of two products, in bits", "[matmul]", float, double) {
  Rng rng(9);
  for (const Index rows : {0, 1, 3, 12, 13, 100})
    for (const Index cols : {1, 8, 19, 150}) {
      const Index depth = 1 + static_cast<Index>(rng.below(300));
      const auto a = random_matrix<TestType>(rows, depth, rng);
      const auto b0 = random_matrix<TestType>(depth, cols, rng), b1 = random_matrix<TestType>(depth, cols, rng);
      Matrix<TestType> expected(rows, cols), c(rows, cols);
      gated_gelu(product<TestType>(a, packed(b0)), product<TestType>(a, packed(b1)), expected);
      const auto both = PackedMatrix<TestType>::side_by_side(b0, b1, Orientation::as_is);
      multiply_gated_gelu<TestType>(a, both, c);
      CAPTURE(rows, depth, cols);
      REQUIRE(identical(c, expected));
    }
  const auto both =
      PackedMatrix<TestType>::side_by_side(Matrix<TestType>(3, 4), Matrix<TestType>(3, 4), Orientation::as_is);
  Matrix<TestType> c(2, 4), wide(2, 5 * PackedMatrix<TestType>::packet_size);
  REQUIRE_THROWS_AS(multiply_gated_gelu<TestType>(Matrix<TestType>::Zero(2, 4), both, c), std::invalid_argument);
  REQUIRE_THROWS_AS(multiply_gated_gelu<TestType>(Matrix<TestType>::Zero(3, 3), both, c), std::invalid_argument);
  REQUIRE_THROWS_AS(multiply_gated_gelu<TestType>(Matrix<TestType>::Zero(2, 3), both, wide), std::invalid_argument);
}

TEST_CASE("products name the extents that do not fit", "[matmul]") {
  const PackedMatrix<float> b = packed<float>(Matrix<float>::Zero(3, 5));
  Matrix<float> c(2, 5), narrow(2, 4), high(7, 5);
  REQUIRE(argument_error([&] { multiply<float>(Matrix<float>::Zero(2, 4), b, c); }) ==
          "kernels::multiply: a.cols(): got 4, expected 3");
  REQUIRE(argument_error([&] { multiply<float>(Matrix<float>::Zero(2, 3), b, high); }) ==
          "kernels::multiply: c.rows(): got 7, expected 2");
  REQUIRE(argument_error([&] { multiply<float>(Matrix<float>::Zero(2, 3), b, narrow); }) ==
          "kernels::multiply: c.cols(): got 4, expected 5");
  REQUIRE(argument_error([&] { multiply_transposed<float>(Matrix<float>::Zero(4, 2), b, c); }) ==
          "kernels::multiply_transposed: a.rows(): got 4, expected 3");
  REQUIRE(argument_error([&] { multiply_transposed<float>(Matrix<float>::Zero(3, 2), b, high); }) ==
          "kernels::multiply_transposed: c.rows(): got 7, expected 2");
  REQUIRE(argument_error([&] { multiply_transposed<float>(Matrix<float>::Zero(3, 2), b, narrow); }) ==
          "kernels::multiply_transposed: c.cols(): got 4, expected 5");
}

}  // namespace matmul_test
