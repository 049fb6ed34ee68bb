#include <merganser/core/matrix.hpp>

#include <cstdint>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>

#include "support/catch.hpp"

using namespace merganser;

namespace {

const double* read_data(MatrixRef<double> matrix) { return matrix.data(); }
double* written_data(MutableMatrixRef<double> matrix) { return matrix.data(); }

Matrix<double> counting(Index rows, Index cols) {
  Matrix<double> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<double>(i);
  return m;
}

}  // namespace

TEST_CASE("a matrix binds to references of Eigen's type without a copy") {
  Matrix<double> m = counting(5, 3);
  REQUIRE(read_data(m) == m.data());
  REQUIRE(read_data(std::as_const(m)) == m.data());
  REQUIRE(written_data(m) == m.data());
  REQUIRE(read_data(m.middleRows(2, 2)) == m.data() + 6);
  REQUIRE(written_data(m.block(1, 1, 3, 2)) == m.data() + 4);
  const Eigen::Ref<const PlainRowVector<double>> row = m.row(3);
  REQUIRE(row.data() == m.data() + 9);
  const PlainMatrix<double> plain = m;
  REQUIRE(read_data(plain) == plain.data());
  REQUIRE(plain == m);
  const Eigen::Ref<const PlainMatrix<double>, 0, Eigen::OuterStride<>> eigen = m;
  REQUIRE((eigen.data() == m.data() && eigen.outerStride() == 3));
}

TEST_CASE("a matrix takes the shape of what is assigned") {
  Matrix<double> m;
  REQUIRE((m.rows() == 0 && m.cols() == 0 && m.data() == nullptr));
  const Matrix<double> a = counting(3, 2);
  m = a + a;
  REQUIRE((m.rows() == 3 && m.cols() == 2 && m(2, 1) == 10));
  m = a * a.transpose();
  REQUIRE((m.rows() == 3 && m.cols() == 3 && m(2, 1) == 4.0 * 2 + 5.0 * 3));
  m = Matrix<double>::Zero(0, 7);
  REQUIRE((m.rows() == 0 && m.cols() == 7));
  m = PlainMatrix<double>::Constant(1, 2, 3.0);
  REQUIRE((m.size() == 2 && m(0, 1) == 3));
  m.setZero(2, 4);
  REQUIRE((m.rows() == 2 && m.sum() == 0));
  m.setOnes(1, 4);
  REQUIRE(m.sum() == 4);
  m.setConstant(0.5);
  REQUIRE(m.sum() == 2);
  m = a.array().square();
  REQUIRE(m(2, 1) == 25);
  const Matrix<double> listed = {{1, 2, 3}, {4, 5, 6}};
  REQUIRE((listed.rows() == 2 && listed.cols() == 3 && listed(1, 0) == 4));
}

TEST_CASE("a row takes rows, columns and sizes") {
  RowVector<float> row;
  REQUIRE((row.rows() == 1 && row.size() == 0));
  row.setZero(4);
  REQUIRE((row.rows() == 1 && row.cols() == 4 && row.sum() == 0));
  const Matrix<float> m = Matrix<float>::Constant(3, 2, 2.0F);
  row = m.colwise().sum();
  REQUIRE((row.size() == 2 && row[1] == 6));
  row = m.col(0);
  REQUIRE((row.rows() == 1 && row.size() == 3 && row[2] == 2));
  row.resize(0);
  REQUIRE((row.rows() == 1 && row.size() == 0));
  REQUIRE(RowVector<float>(7).cols() == 7);
}

TEST_CASE("copies have memory of their own, moves take it along") {
  Matrix<double> a = counting(4, 4);
  Matrix<double> b = a;
  REQUIRE(b.data() != a.data());
  b(0, 0) = 9;
  REQUIRE(a(0, 0) == 0);
  const double* const memory = a.data();
  Matrix<double> c = std::move(a);
  REQUIRE((c.data() == memory && a.size() == 0 && a.data() == nullptr));
  a = c;
  REQUIRE((a == c && a.data() != memory));
  b = std::move(c);
  REQUIRE((b.data() == memory && c.size() == 0 && c.rows() == 0));
  Matrix<double>& itself = b;
  b = std::move(itself);
  REQUIRE((b.data() == memory && b.rows() == 4));
  b = itself;
  REQUIRE((b.data() == memory && b == a));
  Matrix<double> d(1, 2);
  const double* const other = d.data();
  swap(b, d);
  REQUIRE((d.data() == memory && b.data() == other && d.rows() == 4 && b.cols() == 2));
  static_assert(std::is_nothrow_move_constructible_v<Matrix<float>>);
  static_assert(std::is_nothrow_move_assignable_v<Matrix<float>>);
}

TEST_CASE("a matrix that becomes smaller keeps its memory") {
  Matrix<double> m = counting(20, 30);
  const double* const memory = m.data();
  m.resize(7, 3);
  REQUIRE((m.data() == memory && m.rows() == 7 && m.cols() == 3));
  m = counting(30, 20) * 2.0;
  REQUIRE(m.data() == memory);
  m.resize(0, 30);
  REQUIRE((m.data() == nullptr && m.cols() == 30));
  m.resize(20, 31);
  REQUIRE(m.size() == 620);
  REQUIRE(reinterpret_cast<std::uintptr_t>(m.data()) % MemoryReserve::alignment == 0);
}

TEST_CASE("a conservative change of shape keeps common elements") {
  Matrix<double> m = counting(3, 4);
  m.conservativeResize(50, Eigen::NoChange);
  REQUIRE((m.rows() == 50 && m.topRows(3) == counting(3, 4)));
  m.conservativeResize(2, Eigen::NoChange);
  REQUIRE(m == counting(3, 4).topRows(2));
  m.conservativeResize(3, 2);
  REQUIRE(m.topRows(2) == counting(3, 4).topLeftCorner(2, 2));
  m.conservativeResize(0, 2);
  REQUIRE((m.size() == 0 && m.cols() == 2));
  RowVector<double> row = counting(1, 5);
  row.conservativeResize(3);
  REQUIRE((row.size() == 3 && row[2] == 2));
}

TEST_CASE("an impossible size is an error") {
  Matrix<double> m = counting(2, 2);
  const Index most = std::numeric_limits<Index>::max();
  REQUIRE_THROWS_AS(m.resize(most, 2), std::bad_alloc);
  REQUIRE_THROWS_AS(m.resize(most / 16, 1), std::bad_alloc);
  REQUIRE((m.size() == 0 && m.data() == nullptr));
  m = counting(2, 3);
  REQUIRE(m(1, 2) == 5);
}

TEST_CASE("matrices live in containers") {
  std::vector<Matrix<double>> list;
  for (Index i = 0; i < 20; ++i) list.push_back(counting(i, i));
  list.erase(list.begin() + 3);
  REQUIRE((list.size() == 19 && list[3] == counting(4, 4) && list.back() == counting(19, 19)));
}
