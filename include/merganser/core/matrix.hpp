// Matrices of run-time size whose memory comes from the reserve and is kept when they shrink.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include <Eigen/Core>

#if !EIGEN_VERSION_AT_LEAST(3, 4, 0)
#error "merganser needs Eigen 3.4 or newer: an older one comes first on the include path"
#include <merganser/needs_eigen_3.4>
#endif

#include <merganser/core/memory_reserve.hpp>

namespace merganser::inline MERGANSER_ISA {

/// A view of the plain Eigen matrix that owns what it looks at: wherever Eigen takes a matrix it takes this one, and
/// an Eigen::Ref of the plain type binds to it without a copy.
///
/// It is used like the plain matrix: elements are not initialised, an assignment takes the shape of its right-hand
/// side, and what changes the matrix returns it and no view of it. The rules of aliasing are Eigen's, made wider: what
/// is assigned may be a product of this matrix, a part of it or its transpose; what else reads other elements than it
/// writes (2 * m.transpose(), m.replicate(2, 1)) needs eval(). What Eigen resizes in other ways (setIdentity,
/// applyOnTheLeft, ...) is here with the same result or does not compile. Two things Eigen does not let us forbid: a
/// function that resizes an Eigen::MatrixBase finds a shape that is fixed, and an Eigen::Ref that writes takes a const
/// matrix as it takes a view.
///
/// Memory comes from `MemoryReserve`; a matrix that becomes smaller keeps it, one without elements gives it back.
template <class PlainMatrix>
class OwningMatrix : public Eigen::Map<PlainMatrix, Eigen::Aligned64> {
  using View = Eigen::Map<PlainMatrix, Eigen::Aligned64>;
  static constexpr bool is_row = PlainMatrix::RowsAtCompileTime == 1;
  static_assert(PlainMatrix::ColsAtCompileTime == Eigen::Dynamic &&
                (is_row || PlainMatrix::RowsAtCompileTime == Eigen::Dynamic));
  static_assert(PlainMatrix::IsRowMajor && std::is_floating_point_v<typename PlainMatrix::Scalar>);

 public:
  using Plain = PlainMatrix;
  using Scalar = typename Plain::Scalar;
  using Index = Eigen::Index;

  /// Without elements.
  OwningMatrix() : View(nullptr, is_row ? 1 : 0, 0) {}

  explicit OwningMatrix(Index size) requires is_row : OwningMatrix() { resize(size); }
  OwningMatrix(Index rows, Index cols) : OwningMatrix() { resize(rows, cols); }

  /// Rows of equal length.
  OwningMatrix(std::initializer_list<std::initializer_list<Scalar>> rows) : OwningMatrix() { *this = Plain(rows); }

  OwningMatrix(const OwningMatrix& other) : OwningMatrix() { *this = other; }
  OwningMatrix(OwningMatrix&& other) noexcept : View(other.data(), other.rows(), other.cols()) {
    other.show(nullptr, is_row ? 1 : 0, 0);
  }
  template <class Derived>
  OwningMatrix(const Eigen::EigenBase<Derived>& expression) : OwningMatrix() {
    *this = expression.derived();
  }
  template <class Derived>
  OwningMatrix(const Eigen::MatrixBase<Derived>& expression) : OwningMatrix() {  // nothing can look at new memory
    noalias() = expression.derived();
  }
  ~OwningMatrix() { MemoryReserve::release(this->data()); }

  OwningMatrix& operator=(const OwningMatrix& other) { return assign(static_cast<const View&>(other)); }
  OwningMatrix& operator=(OwningMatrix&& other) noexcept {
    swap(other);
    if (&other != this) other.resize(0, 0);
    return *this;
  }
  template <class Derived>
  OwningMatrix& operator=(const Eigen::EigenBase<Derived>& expression) {
    return assign(expression.derived());
  }

  /// The elements mean nothing afterwards.
  /// @throws std::bad_alloc if there is not enough memory: the matrix is then without elements; or if there is no such
  /// size: it is then as before
  void resize(Index rows, Index cols) {
    if constexpr (is_row) {
      eigen_assert((rows == 1 || cols == 0) && "a row vector has one row");
      rows = 1;
    }
    const std::size_t bytes = bytes_of(rows, cols);
    if (bytes == 0 || bytes > MemoryReserve::size(this->data())) {
      MemoryReserve::release(this->data());
      show(nullptr, is_row ? 1 : 0, 0);
      if (bytes > 0) return show(static_cast<Scalar*>(MemoryReserve::allocate(bytes)), rows, cols);
    }
    show(this->data(), rows, cols);
  }
  void resize(Index size) requires is_row { resize(1, size); }

  /// Keeps the elements that both shapes have.
  /// @throws std::bad_alloc if there is not enough memory or no such size; the matrix is then as before
  void conservativeResize(Index rows, Index cols) {
    const Index same_rows = std::min(rows, this->rows()), same_cols = std::min(cols, this->cols());
    if (cols <= this->cols() && fits(rows, cols) && rows > 0 && cols > 0) {
      for (Index r = 1; cols < this->cols() && r < same_rows; ++r)
        std::copy_n(this->data() + r * this->cols(), cols, this->data() + r * cols);
      return show(this->data(), rows, cols);
    }
    OwningMatrix other(rows, cols);
    other.topLeftCorner(same_rows, same_cols) = this->topLeftCorner(same_rows, same_cols);
    swap(other);
  }
  void conservativeResize(Index rows, Eigen::NoChange_t) { conservativeResize(rows, this->cols()); }
  void conservativeResize(Index size) requires is_row { conservativeResize(1, size); }

  OwningMatrix& setConstant(const Scalar& value) {
    View::setConstant(value);
    return *this;
  }
  OwningMatrix& setZero() {
    View::setZero();
    return *this;
  }
  OwningMatrix& setOnes() { return setConstant(Scalar(1)); }
  OwningMatrix& setConstant(Index rows, Index cols, const Scalar& value) {
    resize(rows, cols);
    return setConstant(value);
  }
  OwningMatrix& setZero(Index rows, Index cols) { return setConstant(rows, cols, Scalar(0)); }
  OwningMatrix& setOnes(Index rows, Index cols) { return setConstant(rows, cols, Scalar(1)); }
  OwningMatrix& setZero(Index size) requires is_row { return setZero(1, size); }
  OwningMatrix& setOnes(Index size) requires is_row { return setOnes(1, size); }
  OwningMatrix& setIdentity() {
    View::setIdentity();
    return *this;
  }
  OwningMatrix& setIdentity(Index rows, Index cols) {
    resize(rows, cols);
    return setIdentity();
  }
  template <class... Arguments>
  void setRandom(const Arguments&...) = delete;
  template <class... Arguments>
  void setLinSpaced(const Arguments&...) = delete;
  template <class... Arguments>
  void setUnit(const Arguments&...) = delete;

  void transposeInPlace() requires(!is_row) {
    if (this->rows() == this->cols()) return View::transposeInPlace();
    *this = this->transpose();
  }
  void adjointInPlace() requires(!is_row) { transposeInPlace(); }

  Eigen::CommaInitializer<OwningMatrix> operator<<(const Scalar& first) { return {*this, first}; }
  template <class Derived>
  Eigen::CommaInitializer<OwningMatrix> operator<<(const Eigen::DenseBase<Derived>& first) {
    return {*this, first};
  }

  template <class Derived>
  OwningMatrix& operator+=(const Eigen::EigenBase<Derived>& other) {
    View::operator+=(other.derived());
    return *this;
  }
  template <class Derived>
  OwningMatrix& operator-=(const Eigen::EigenBase<Derived>& other) {
    View::operator-=(other.derived());
    return *this;
  }
  OwningMatrix& operator*=(const Scalar& factor) {
    View::operator*=(factor);
    return *this;
  }
  OwningMatrix& operator/=(const Scalar& divisor) {
    View::operator/=(divisor);
    return *this;
  }
  template <class Derived>
  OwningMatrix& operator*=(const Eigen::EigenBase<Derived>& other) {
    return *this = *this * other.derived();
  }
  template <class Derived>
  void applyOnTheRight(const Eigen::EigenBase<Derived>& other) {
    *this = *this * other.derived();
  }
  template <class Derived>
  void applyOnTheLeft(const Eigen::EigenBase<Derived>& other) {
    *this = other.derived() * *this;
  }

  /// Promises that what is assigned reads nothing of this matrix.
  class NoAlias {
   public:
    explicit NoAlias(OwningMatrix& matrix) : matrix_(matrix) {}

    template <class Derived>
    OwningMatrix& operator=(const Eigen::MatrixBase<Derived>& expression) {
      matrix_.resize_for(expression);
      matrix_.View::noalias() = expression.derived();
      return matrix_;
    }
    template <class Derived>
    OwningMatrix& operator+=(const Eigen::MatrixBase<Derived>& expression) {
      matrix_.View::noalias() += expression.derived();
      return matrix_;
    }
    template <class Derived>
    OwningMatrix& operator-=(const Eigen::MatrixBase<Derived>& expression) {
      matrix_.View::noalias() -= expression.derived();
      return matrix_;
    }

   private:
    OwningMatrix& matrix_;
  };
  NoAlias noalias() { return NoAlias(*this); }

  /// Exchanges memory, not elements; with nothing but another matrix of this type.
  void swap(OwningMatrix& other) noexcept {
    Scalar* const data = this->data();
    const Index rows = this->rows(), cols = this->cols();
    show(other.data(), other.rows(), other.cols());
    other.show(data, rows, cols);
  }
  friend void swap(OwningMatrix& a, OwningMatrix& b) noexcept { a.swap(b); }

 private:
  /// @throws std::bad_alloc if the number does not exist
  static std::size_t bytes_of(Index rows, Index cols) {
    constexpr Index most = std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(Scalar));
    if (rows < 0 || cols < 0 || (cols > 0 && rows > most / cols)) throw std::bad_alloc();
    return static_cast<std::size_t>(rows * cols) * sizeof(Scalar);
  }

  bool fits(Index rows, Index cols) const { return bytes_of(rows, cols) <= MemoryReserve::size(this->data()); }

  /// Lets the view look at other memory, the way that Eigen documents for maps.
  void show(Scalar* data, Index rows, Index cols) noexcept { ::new (static_cast<View*>(this)) View(data, rows, cols); }

  template <class Expression>
  void resize_for(const Expression& expression) {
    if constexpr (is_row)
      resize(expression.size());
    else
      resize(expression.rows(), expression.cols());
  }

  /// Whether an expression shows numbers in memory, as blocks and maps do.
  template <class Expression>
  static constexpr bool shows_memory() {
    if constexpr (requires { Expression::Flags; })
      return (static_cast<unsigned>(Expression::Flags) & Eigen::DirectAccessBit) != 0;
    else
      return false;
  }

  /// Whether an expression is a block, the transpose or another view of the memory of this matrix.
  template <class Expression>
  bool is_shown_by(const Expression& expression) const {
    const auto own = reinterpret_cast<std::uintptr_t>(this->data());
    return reinterpret_cast<std::uintptr_t>(expression.data()) - own < MemoryReserve::size(this->data());
  }

  template <class Expression>
  OwningMatrix& assign(const Expression& expression) {
    if constexpr (shows_memory<Expression>())
      if (is_shown_by(expression)) return assign(static_cast<const View&>(OwningMatrix(expression)));
    OwningMatrix before;  // can still be read while larger memory is filled
    if (!fits(expression.rows(), expression.cols())) swap(before);
    resize_for(expression);
    View::operator=(expression);
    return *this;
  }
};

}  // namespace merganser
