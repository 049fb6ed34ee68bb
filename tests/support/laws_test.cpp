#include "support/laws.hpp"

#include <string>

#include <merganser/core/parallel.hpp>

namespace laws_test {

using namespace merganser;
using namespace merganser::testing;

struct Layer {
  using ScalarType = double;
  RowVector<double> weight = RowVector<double>::Constant(3, 2);

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix = "") {
    visitor(prefix + "weight", weight);
  }
};

TEST_CASE("differences are relative to the largest entry, and never hide a shape or a NaN", "[laws]") {
  Matrix<double> a(1, 2), b(1, 2);
  a << 100, 1;
  b << 100, 2;
  REQUIRE(relative_difference(a, b) == 0.01);
  REQUIRE(relative_difference(a, a) == 0.0);
  REQUIRE(std::isinf(relative_difference(a, Matrix<double>(Matrix<double>::Zero(2, 1)))));
  b(0, 0) = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(std::isinf(relative_difference(a, b)));
  REQUIRE_FALSE(identical(b, b));
  REQUIRE_FALSE(identical(a, Matrix<double>(a.leftCols(1))));
  REQUIRE(relative_difference(Matrix<double>(0, 2), Matrix<double>(0, 2)) == 0.0);
}

TEST_CASE("a layer that keeps the laws passes them", "[laws]") {
  const Layer layer;
  const auto forward = []<class Scalar>(Scalar) -> Matrix<Scalar> {
    return Matrix<Scalar>::Constant(2, 3, Scalar(0.1));
  };
  require_forward_agrees([&] { return forward(0.0); }, [&] { return forward(0.0); });
  require_float_follows_double([&] { return forward(0.0F); }, [&] { return forward(0.0); });
  require_backward_adds(layer, [](Layer& gradients) { gradients.weight.array() += 0.3; });
  require_same_bits_with_threads([] {
    Matrix<double> squares(9, 1);
    parallel_for(9, [&](Index i) { squares(i) = static_cast<double>(i * i); });
    return squares;
  });
}

}  // namespace laws_test
