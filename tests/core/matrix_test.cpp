#include <merganser/core/matrix.hpp>

#include <cstdint>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include <merganser/core/types.hpp>

#include "support/catch.hpp"

namespace matrix_test {

using namespace merganser;

const double* read_data(MatrixRef<double> matrix) { return matrix.data(); }
double* written_data(MutableMatrixRef<double> matrix) { return matrix.data(); }

Matrix<double> counting(Index rows, Index cols) {
  Matrix<double> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<double>(i);
  return m;
}

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

// What the plain matrix of Eigen gives, with everything evaluated first.
TEST_CASE("a product of a matrix is assigned to it, whatever its shape") {
  const Matrix<double> a = counting(40, 3), wide = counting(3, 300), square = counting(3, 3), narrow = counting(3, 1);
  for (const Matrix<double>* b : {&wide, &square, &narrow}) {
    const PlainMatrix<double> product = (a * *b).eval(), scaled = ((a * *b) / 2).eval();
    Matrix<double> m = a;
    m = m * *b;
    REQUIRE(m == product);
    m = a;
    m *= *b;
    REQUIRE(m == product);
    m = a;
    m.applyOnTheRight(*b);
    REQUIRE(m == product);
    m = *b;
    m.applyOnTheLeft(a);
    REQUIRE(m == product);
    m = a;
    m = (m * *b) / 2;
    REQUIRE(m == scaled);
    m = a;
    m = (m * *b).transpose();
    REQUIRE(m == product.transpose());
    m = a;
    m = (m * *b).cwiseAbs();
    REQUIRE(m == product.cwiseAbs());
    m = *b;
    m = a * m;
    REQUIRE(m == product);
  }
  Matrix<double> gram = a;
  gram = (gram * gram.transpose()) / 3;
  REQUIRE(gram == PlainMatrix<double>((a * a.transpose()) / 3));
  gram = a + a * square;
  gram += gram * square;
  REQUIRE(gram == PlainMatrix<double>((a + a * square) + (a + a * square) * square));
  RowVector<double> row = counting(1, 3);
  row = row * wide;
  REQUIRE(row == PlainRowVector<double>(counting(1, 3) * wide));
  row = counting(1, 3);
  row = a * row.transpose();
  REQUIRE(row == counting(1, 3) * a.transpose());
}

TEST_CASE("without aliasing a product is computed in place, in its own shape") {
  const Matrix<double> a = counting(4, 3), b = counting(3, 5);
  Matrix<double> m;
  m.noalias() = a * b;
  REQUIRE(m == PlainMatrix<double>(a * b));
  const double* const memory = m.data();
  m.noalias() = a.topRows(2) * b;
  REQUIRE((m == PlainMatrix<double>(a.topRows(2) * b) && m.data() == memory));
  m.noalias() += a.topRows(2) * b;
  REQUIRE(m == PlainMatrix<double>(2 * (a.topRows(2) * b)));
  m.noalias() -= a.topRows(2) * b;
  m.noalias() -= a.topRows(2) * b;
  REQUIRE(m.isZero(0));
  RowVector<double> row;
  row.noalias() = counting(1, 3) * b;
  REQUIRE(row == PlainRowVector<double>(counting(1, 3) * b));
}

TEST_CASE("a part of a matrix and its transpose are assigned to it") {
  const PlainMatrix<double> a = counting(6, 4);
  const auto after = [&](auto&& change) {
    Matrix<double> m = a;
    change(m);
    return m;
  };
  REQUIRE(after([](auto& m) { m = m.transpose(); }) == a.transpose());
  REQUIRE(after([](auto& m) { m.transposeInPlace(); }) == a.transpose());
  REQUIRE(after([](auto& m) { m.adjointInPlace(); }) == a.transpose());
  REQUIRE(after([](auto& m) { m = m.row(3); }) == a.row(3));
  REQUIRE(after([](auto& m) { m = m.col(2); }) == a.col(2));
  REQUIRE(after([](auto& m) { m = m.block(1, 1, 4, 2); }) == a.block(1, 1, 4, 2));
  REQUIRE(after([](auto& m) { m = m.block(1, 1, 4, 2).transpose(); }) == a.block(1, 1, 4, 2).transpose());
  REQUIRE(after([](auto& m) { m = m.bottomRows(5).array(); }) == a.bottomRows(5));
  REQUIRE(after([](auto& m) { m = m.diagonal(); }) == a.diagonal());
  REQUIRE(after([](auto& m) { m = m.topRows(0); }).size() == 0);
  REQUIRE(after([](auto& m) { m = m.replicate(3, 2); }) == a.replicate(3, 2));
  REQUIRE(after([](auto& m) { m = MatrixRef<double>(m.middleRows(2, 3)); }) == a.middleRows(2, 3));
  REQUIRE(after([](auto& m) { m.topRows(2) = m.bottomRows(2); }).topRows(2) == a.bottomRows(2));
  REQUIRE(after([](auto& m) { m.row(0).swap(m.row(5)); }).row(5) == a.row(0));
  Matrix<double> square = a.topRows(4);
  const double* const memory = square.data();
  square = square.transpose();
  square.transposeInPlace();
  REQUIRE((square == a.topRows(4) && square.data() == memory));
  RowVector<double> row = a.row(2);
  row = row.segment(1, 2);
  REQUIRE(row == a.row(2).segment(1, 2));
  row = row.transpose();
  REQUIRE(row == a.row(2).segment(1, 2));
}

TEST_CASE("a matrix is filled by lists and by rules") {
  Matrix<double> m(2, 2);
  m << 1, 2, 3, 4;
  REQUIRE(m == Matrix<double>{{1, 2}, {3, 4}});
  Matrix<double> both(2, 4);
  both << m, m.transpose();
  REQUIRE(both == Matrix<double>{{1, 2, 1, 3}, {3, 4, 2, 4}});
  m.setIdentity(3, 5);
  REQUIRE(m == PlainMatrix<double>::Identity(3, 5));
  m.setIdentity();
  REQUIRE((m.rows() == 3 && m.sum() == 3));
  m *= 2;
  REQUIRE(m.sum() == 6);
}

TEST_CASE("what changes a matrix returns it, so that auto is a matrix and no view") {
  const Matrix<double> ones = Matrix<double>::Ones(2, 2);
  const auto changed = [](auto&& change) {
    Matrix<double> m{{1, 2}, {3, 4}};
    return change(m);  // by value: a view would look at what is gone
  };
  const auto is = [](const auto& m, const Matrix<double>& expected) {
    static_assert(std::is_same_v<decltype(m), const Matrix<double>&>);
    return m == expected;
  };
  REQUIRE(is(changed([&](auto& m) { return m += ones; }), {{2, 3}, {4, 5}}));
  REQUIRE(is(changed([&](auto& m) { return m -= ones * ones; }), {{-1, 0}, {1, 2}}));
  REQUIRE(is(changed([](auto& m) { return m *= 2; }), {{2, 4}, {6, 8}}));
  REQUIRE(is(changed([](auto& m) { return m /= 2; }), {{0.5, 1}, {1.5, 2}}));
  REQUIRE(is(changed([](auto& m) { return m *= Matrix<double>::Ones(2, 1); }), {{3}, {7}}));
  REQUIRE(is(changed([](auto& m) { return m.setZero(); }), {{0, 0}, {0, 0}}));
  REQUIRE(is(changed([](auto& m) { return m.setOnes(); }), ones));
  REQUIRE(is(changed([](auto& m) { return m.setConstant(3); }), {{3, 3}, {3, 3}}));
  REQUIRE(is(changed([](auto& m) { return m.setIdentity(); }), {{1, 0}, {0, 1}}));
  REQUIRE(is(changed([](auto& m) { return m.noalias() = m.row(0) * 2.0; }), {{2, 4}}));
  REQUIRE(is(changed([](auto& m) { return (m << 5, 6, 7, 8).finished(); }), {{5, 6}, {7, 8}}));
  const auto listed = (Matrix<double>(2, 3) << ones, Matrix<double>::Zero(2, 1)).finished();
  REQUIRE(is(listed, {{1, 1, 0}, {1, 1, 0}}));
}

TEST_CASE("an assignment within memory that is kept reads what was there") {
  for (const Index kept : {2, 100}) {  // with and without room for the result
    const auto with_room = [&] {
      Matrix<double> m(kept, kept);
      m = counting(2, 2);
      return m;
    };
    const PlainMatrix<double> a = counting(2, 2), wide = counting(2, 5);
    Matrix<double> m = with_room();
    m = m * wide;
    REQUIRE(m == a * wide);
    m = with_room();
    m = (m * wide).transpose() / 3;
    REQUIRE(m == ((a * wide).transpose() / 3).eval());
    m = with_room();
    m *= wide;
    REQUIRE(m == a * wide);
    m = with_room();
    m.applyOnTheLeft(wide.transpose());
    REQUIRE(m == wide.transpose() * a);
    m = with_room();
    m = m.replicate(3, 2).eval();
    REQUIRE(m == a.replicate(3, 2));
    m = with_room();
    m = m.col(1);
    REQUIRE(m == a.col(1));
  }
}

template <class Tensor>
concept SetsRandom = requires(Tensor m) {
  m.setRandom();
};
template <class Tensor>
concept SetsUnit = requires(Tensor m) {
  m.setUnit(3, 1);
};
template <class Tensor>
concept SetsSpaced = requires(Tensor m) {
  m.setLinSpaced(3, 1.0, 2.0);
};
template <class Tensor>
concept SwapsWithPart = requires(Tensor m, PlainMatrix<double> other) {
  m.swap(other);
};
template <class Tensor>
concept Transposes = requires(Tensor m) {
  m.transposeInPlace();
};

TEST_CASE("what would need another shape and cannot have it does not compile") {
  static_assert(!SetsUnit<RowVector<double>> && !SetsSpaced<RowVector<double>> && !SetsRandom<Matrix<double>>);
  static_assert(!SwapsWithPart<Matrix<double>> && !Transposes<RowVector<double>> && Transposes<Matrix<double>>);
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
  m = counting(3, 4);
  const double* const memory = m.data();
  m.conservativeResize(4, 2);
  REQUIRE((m.data() == memory && m.rows() == 4 && m.topRows(3) == counting(3, 4).leftCols(2)));
  m.conservativeResize(2, 3);
  REQUIRE(m.leftCols(2) == counting(3, 4).topLeftCorner(2, 2));
  REQUIRE_THROWS_AS(m.conservativeResize(std::numeric_limits<Index>::max() / 16, 1), std::bad_alloc);
  REQUIRE_THROWS_AS(m.conservativeResize(-1, 3), std::bad_alloc);
  REQUIRE((m.rows() == 2 && m.leftCols(2) == counting(3, 4).topLeftCorner(2, 2)));
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
  REQUIRE_THROWS_AS(m.resize(-1, -1), std::bad_alloc);
  REQUIRE(m == counting(2, 2));  // there is no such size
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

}  // namespace matrix_test
