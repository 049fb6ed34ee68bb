#include <merganser/nn/weight.hpp>

#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/error_text.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace weight_test {

using namespace merganser;
using namespace merganser::nn;
using namespace merganser::testing;
using kernels::Precision;

template <Real Scalar>
Matrix<Scalar> product(const Weight<Scalar>& weight, const Matrix<Scalar>& x) {
  Matrix<Scalar> y(x.rows(), weight.out_features());
  weight.multiply(x, y);
  return y;
}

template <Real Scalar>
void require_extents(const Weight<Scalar>& weight) {
  REQUIRE(weight.out_features() == 35);
  REQUIRE(weight.in_features() == 21);
}

// What a visitor without `absent` is given.
template <Real Scalar>
std::string visited(Weight<Scalar>& weight) {
  std::string names;
  weight.visit([&](const std::string& name, Matrix<Scalar>&) { names += name + " "; }, "o.weight");
  return names;
}

const char* const cannot_train = "got a model prepared for inference, expected one that can be trained or saved";
const char* const is_missing = "got an absent weight, expected a weight";

TEMPLATE_TEST_CASE("a weight is a matrix, then packed: it multiplies to the same bits, and is no longer a parameter",
                   "[Weight]", float, double) {
  Rng rng(1);
  const auto numbers = random_matrix<TestType>(35, 21, rng), x = random_matrix<TestType>(9, 21, rng);
  Weight<TestType> weight(numbers);
  REQUIRE_FALSE(weight.is_packed());
  REQUIRE_FALSE(weight.is_absent());
  require_extents(weight);
  REQUIRE(identical(weight.matrix(), numbers));
  REQUIRE(weight.bytes() == 35 * 21 * sizeof(TestType));
  REQUIRE(visited(weight) == "o.weight ");
  const auto before = product(weight, x);
  REQUIRE(relative_difference(before, Matrix<TestType>(x * numbers.transpose())) <= agreement<TestType>);

  weight.pack(Precision::full);
  weight.pack(Precision::full);  // twice is once
  REQUIRE(weight.is_packed());
  require_extents(weight);
  REQUIRE(identical(product(weight, x), before));
  const kernels::PackedMatrix<TestType> packed(numbers, kernels::Orientation::transposed);
  REQUIRE(weight.bytes() == packed.bytes());
  REQUIRE(argument_error([&] { weight.matrix(); }) == std::string("Weight::matrix: weight: ") + cannot_train);
  REQUIRE(argument_error([&] { visited(weight); }) == std::string("Weight::visit: o.weight: ") + cannot_train);
  REQUIRE(identical(product(Weight<TestType>::packed_from(numbers, Precision::full), x), before));

  const Weight<TestType> copy = weight;
  const Weight<TestType> moved = std::move(weight);
  REQUIRE(identical(product(copy, x), before));
  REQUIRE(identical(product(moved, x), before));
}

TEST_CASE("a weight packed in 16 bits takes half the memory", "[Weight]") {
  Rng rng(2);
  Weight<float> weight(random_matrix<float>(35, 21, rng));
  Weight<float> full = weight;
  full.pack(Precision::full);
  weight.pack(Precision::bfloat16);
  REQUIRE(2 * weight.bytes() == full.bytes());
  require_extents(weight);
}

TEMPLATE_TEST_CASE("a weight made of zeros is a matrix, one made of nothing has none", "[Weight]", float, double) {
  Weight<TestType> zeros(35, 21, Weights::zeros), nothing;
  require_extents(zeros);
  REQUIRE((zeros.matrix().array() == TestType{0}).all());
  REQUIRE(nothing.matrix().size() == 0);
  REQUIRE(nothing.bytes() == 0);
}

TEMPLATE_TEST_CASE("an absent weight has extents, and becomes packed when it is brought", "[Weight]", float, double) {
  Rng rng(3);
  const auto numbers = random_matrix<TestType>(35, 21, rng), x = random_matrix<TestType>(9, 21, rng);
  Weight<TestType> weight(35, 21, Weights::absent);
  REQUIRE(weight.is_absent());
  require_extents(weight);
  REQUIRE(weight.bytes() == 0);
  REQUIRE(argument_error([&] { weight.matrix(); }) == std::string("Weight::matrix: weight: ") + is_missing);
  REQUIRE(argument_error([&] { product(weight, x); }) == std::string("Weight::matrix: weight: ") + is_missing);
  REQUIRE(argument_error([&] { visited(weight); }) == std::string("Weight::visit: o.weight: ") + is_missing);
  weight.pack(Precision::full);
  REQUIRE(weight.is_absent());
  REQUIRE(argument_error([&] { weight.bring(Matrix<TestType>(34, 21), Precision::full); }) ==
          "Weight::bring: numbers.rows(): got 34, expected 35");
  REQUIRE(argument_error([&] { weight.bring(Matrix<TestType>(35, 22), Precision::full); }) ==
          "Weight::bring: numbers.cols(): got 22, expected 21");

  struct Bringer {
    const Matrix<TestType>& numbers;
    std::string names = {};
    void operator()(const std::string& name, Matrix<TestType>&) { names += name + " "; }
    void absent(Weight<TestType>& absent, const std::string& name) {
      absent.bring(numbers, Precision::full);
      names += "absent " + name + " ";
    }
  } bringer{numbers};
  weight.visit(bringer, "o.weight");
  REQUIRE(bringer.names == "absent o.weight ");
  REQUIRE(weight.is_packed());
  REQUIRE(identical(product(weight, x), product(Weight<TestType>(numbers), x)));
  REQUIRE(argument_error([&] { weight.bring(numbers, Precision::full); }) ==
          "Weight::bring: weight: got a weight that is there, expected an absent one");
  REQUIRE_THROWS_AS(weight.visit(bringer, "o.weight"), std::invalid_argument);
}

}  // namespace weight_test
