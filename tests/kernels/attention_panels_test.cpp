#include <merganser/kernels/attention_panels.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace attention_panels_test {

using namespace merganser;
using namespace merganser::kernels::detail;
using namespace merganser::testing;

// start + a b by plain loops in double.
template <Real Scalar>
Matrix<double> plain_product(const Matrix<Scalar>& a, const Matrix<Scalar>& b, BlockStart start,
                             const Matrix<Scalar>& c, const std::vector<Scalar>& factors) {
  Matrix<double> result = a.template cast<double>() * b.template cast<double>();
  for (Index i = 0; i < c.rows() && start != BlockStart::zero; ++i)
    result.row(i) += c.row(i).template cast<double>() *
                     (start == BlockStart::scale ? static_cast<double>(factors[static_cast<std::size_t>(i)]) : 1.0);
  return result;
}

TEMPLATE_TEST_CASE("products with packed panels are those of plain loops, for all small shapes", "[attention_panels]",
                   float, double) {
  Rng rng(1);
  constexpr Index panel = attention_panel<TestType>;
  for (const Index rows : {0, 1, 2, 3, 5, 6, 11, 12, 13, 25})
    for (const Index depth : {1, 2, 17, 40})
      for (const Index cols : {Index{1}, Index{5}, panel - 1, panel, panel + 1, 2 * panel}) {
        const auto a = random_matrix<TestType>(rows, depth, rng), b = random_matrix<TestType>(depth, cols, rng),
                   c = random_matrix<TestType>(rows, cols, rng);
        const Matrix<TestType> a_transposed = a.transpose(), b_transposed = b.transpose();
        const auto factors = random_values<TestType, std::vector<TestType>>(rows, rng);
        std::vector<TestType> columns(static_cast<std::size_t>(depth * whole_panels<TestType>(cols)), TestType{77}),
            from_rows = columns;
        pack_columns<TestType>(b, columns.data());
        pack_rows<TestType>(b_transposed, from_rows.data());
        REQUIRE(columns == from_rows);
        CAPTURE(rows, depth, cols);
        for (const BlockStart start : {BlockStart::zero, BlockStart::add, BlockStart::scale}) {
          Matrix<TestType> wide = Matrix<TestType>::Constant(rows + 1, cols + 3, TestType{42}), from_columns = c;
          wide.block(0, 1, rows, cols) = c;
          multiply_panels<TestType>(rows, depth, cols, {a.data(), depth, 1},
                                    Panels<TestType>::packed(columns.data(), depth), wide.data() + 1,
                                    wide.outerStride(), start, factors.data());
          multiply_panels<TestType>(rows, depth, cols, {a_transposed.data(), 1, rows},
                                    Panels<TestType>::packed(columns.data(), depth), from_columns.data(), cols, start,
                                    factors.data());
          const Matrix<TestType> result = wide.block(0, 1, rows, cols);
          REQUIRE(relative_difference(result, plain_product(a, b, start, c, factors)) <= agreement<TestType>);
          REQUIRE(identical(result, from_columns));
          wide.block(0, 1, rows, cols).setConstant(42);
          REQUIRE((wide.array() == TestType{42}).all());
        }
      }
}

TEMPLATE_TEST_CASE("a row of a product has the same bits in a tile of any height", "[attention_panels]", float,
                   double) {
  Rng rng(2);
  const auto a = random_matrix<TestType>(23, 64, rng), b = random_matrix<TestType>(64, 40, rng);
  std::vector<TestType> packed(static_cast<std::size_t>(64 * whole_panels<TestType>(40)));
  pack_columns<TestType>(b, packed.data());
  Matrix<TestType> together(23, 40), alone(1, 40);
  multiply_panels<TestType>(23, 64, 40, {a.data(), 64, 1}, Panels<TestType>::packed(packed.data(), 64), together.data(),
                            40, BlockStart::zero);
  for (Index row = 0; row < 23; ++row) {
    multiply_panels<TestType>(1, 64, 40, {a.data() + row * 64, 64, 1}, Panels<TestType>::packed(packed.data(), 64),
                              alone.data(), 40, BlockStart::zero);
    REQUIRE(identical(alone, Matrix<TestType>(together.row(row))));
  }
}

TEMPLATE_TEST_CASE("a call finds memory for each of its arrays, on lines of the cache, and none on the stack",
                   "[attention_panels]", float, double) {
  for (const Index count : {0, 1, 10, 128, 129, 100000}) {
    CallMemory<TestType> memory({count, 3, count});
    TestType* const first = memory.take(count);
    TestType* const second = memory.take(3);
    TestType* const third = memory.take(count);
    REQUIRE(second >= first + count);
    REQUIRE(third >= second + 3);
    for (const TestType* array : {first, second, third}) REQUIRE(reinterpret_cast<std::uintptr_t>(array) % 64 == 0);
    std::fill_n(third, count, TestType{1});
    REQUIRE(sizeof(memory) <= 64);
  }
}

}  // namespace attention_panels_test
