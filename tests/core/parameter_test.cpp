#include <merganser/core/parameter.hpp>

#include <limits>

#include "support/catch.hpp"

namespace parameter_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;

// A layer with a matrix, a vector and a nested layer: all that layers are made of.
template <class Scalar>
struct Inner {
  using ScalarType = Scalar;
  RowVector<Scalar> scale = RowVector<Scalar>::Ones(3);

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix = "") {
    visitor(prefix + "weight", scale);
  }
};

template <class Scalar>
struct Outer {
  using ScalarType = Scalar;
  Matrix<Scalar> weight = Matrix<Scalar>::Constant(2, 5, 4);
  Inner<Scalar> norm;

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix = "") {
    visitor(prefix + "weight", weight);
    norm.visit(visitor, prefix + "layer_norm.");
  }
};

struct Wider : Outer<double> {
  Inner<double> gate;

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix = "") {
    Outer<double>::visit(visitor, prefix);
    gate.visit(visitor, prefix + "gate.");
  }
};

TEMPLATE_TEST_CASE("views show every tensor in order, by name and shape", "[parameter]", float, double) {
  Outer<TestType> layer;
  const auto views = parameter_views(layer, "encoder.block.0.");
  REQUIRE(views.size() == 2);
  REQUIRE(views[0].name == "encoder.block.0.weight");
  REQUIRE(views[0].data == layer.weight.data());
  REQUIRE(views[0].rows == 2);
  REQUIRE(views[0].cols == 5);
  REQUIRE(views[0].size() == 10);
  REQUIRE_FALSE(views[0].is_vector);
  REQUIRE(views[1].name == "encoder.block.0.layer_norm.weight");
  REQUIRE(views[1].data == layer.norm.scale.data());
  REQUIRE(views[1].rows == 1);
  REQUIRE(views[1].cols == 3);
  REQUIRE(views[1].is_vector);
}

TEST_CASE("parameters are copied by name, all or none", "[parameter]") {
  Outer<double> from;
  from.weight.setConstant(7);
  from.norm.scale.setConstant(5);
  Outer<double> to;
  REQUIRE(copy_parameters(from, to).empty());
  REQUIRE((to.weight.array() == 7).all());
  REQUIRE((to.norm.scale.array() == 5).all());

  Inner<double> part;  // its tensor is called "weight" and has another shape
  part.scale.setConstant(9);
  REQUIRE_THROWS_WITH(copy_parameters(part, to), ContainsSubstring("weight rows"));
  REQUIRE_THROWS_WITH(copy_parameters(from, part), ContainsSubstring("weight rows"));
  REQUIRE((part.scale.array() == 9).all());

  part.scale.setConstant(3);
  Wider wider;
  REQUIRE(copy_parameters(from, wider) == Vector<std::string>{"gate.weight"});
  REQUIRE((wider.weight.array() == 7).all());
  REQUIRE((wider.gate.scale.array() == 1).all());
  wider.weight.setConstant(1);
  REQUIRE_THROWS_WITH(copy_parameters(wider, from), ContainsSubstring("gate.weight"));
  REQUIRE((from.weight.array() == 7).all());
}

TEST_CASE("a matrix of one row is no vector", "[parameter]") {
  Outer<float> layer;
  layer.weight.resize(1, 5);
  REQUIRE(parameter_views(layer)[0].rows == 1);
  REQUIRE_FALSE(parameter_views(layer)[0].is_vector);
}

TEST_CASE("writing through a view writes the layer", "[parameter]") {
  Outer<float> layer;
  for (const ParameterView<float>& view : parameter_views(layer)) view.array() += 1.0F;
  REQUIRE(layer.weight == Matrix<float>::Constant(2, 5, 5));
  REQUIRE(layer.norm.scale == RowVector<float>::Constant(3, 2));
}

TEST_CASE("zeros have the layer's shape and leave it alone", "[parameter]") {
  Outer<float> layer;
  Outer<float> zeros = zeros_like(layer);
  REQUIRE(zeros.weight == Matrix<float>::Zero(2, 5));
  REQUIRE(zeros.norm.scale == RowVector<float>::Zero(3));
  REQUIRE(layer.weight == Matrix<float>::Constant(2, 5, 4));
  set_zero(layer);
  REQUIRE(layer.weight.isZero(0));
  REQUIRE(layer.norm.scale.isZero(0));
}

TEST_CASE("zeros_like clears what is not a number", "[parameter]") {
  Outer<double> layer;
  layer.weight(1, 1) = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(zeros_like(layer).weight == Matrix<double>::Zero(2, 5));
}

TEST_CASE("parameters are counted", "[parameter]") {
  Outer<float> layer;
  REQUIRE(parameter_count(layer) == 13);
  layer.weight.resize(0, 5);
  REQUIRE(parameter_count(layer) == 3);
}

TEST_CASE("one number that is not finite is found in any tensor", "[parameter]") {
  Outer<float> layer;
  REQUIRE(all_finite(layer));
  layer.norm.scale(2) = std::numeric_limits<float>::infinity();
  REQUIRE_FALSE(all_finite(layer));
  layer.norm.scale(2) = 1;
  layer.weight(0, 0) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_FALSE(all_finite(layer));
}

struct Convolution {
  using ScalarType = float;

  ConvolutionWeight<float> weight;
  RowVector<float> bias = RowVector<float>::Ones(2);

  Convolution() {
    weight.setOnes(2, 12);
    weight.taps = 4;
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    visitor(prefix + "weight", weight);
    visitor(prefix + "bias", bias);
  }
};

TEST_CASE("a view knows the extents of its tensor in a file", "[parameter]") {
  Convolution layer, zeros = zeros_like(layer);
  using Shape = std::vector<Index>;
  REQUIRE(parameter_views(layer)[0].shape() == Shape{2, 3, 4});
  REQUIRE(parameter_views(layer)[1].shape() == Shape{2});
  REQUIRE(parameter_views(zeros)[0].shape() == Shape{2, 3, 4});
  REQUIRE(zeros.weight.isZero(0));
  REQUIRE(parameter_count(layer) == 26);
  REQUIRE(ParameterView<float>{"", nullptr, 2, 5, false}.shape() == Shape{2, 5});
}

struct OfEigen {
  using ScalarType = float;

  PlainMatrix<float> weight = PlainMatrix<float>::Ones(2, 3);
  Eigen::VectorXf column = Eigen::VectorXf::LinSpaced(4, 0, 3);

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    visitor(prefix + "weight", weight);
    visitor(prefix + "column", column);
  }
};

TEST_CASE("a column is a vector like a row", "[parameter]") {
  OfEigen layer;
  const auto views = parameter_views(layer);
  REQUIRE((views[0].shape() == std::vector<Index>{2, 3} && !views[0].is_vector));
  REQUIRE((views[1].shape() == std::vector<Index>{4} && views[1].is_vector));
  REQUIRE((views[1].rows == 1 && views[1].cols == 4 && views[1].array()(3) == 3));
}

template <class Layer>
concept GivesViews = requires(Layer&& layer) {
  parameter_views(std::forward<Layer>(layer));
};

TEST_CASE("a temporary layer gives no views", "[parameter]") {
  static_assert(GivesViews<OfEigen&> && !GivesViews<OfEigen>);
}

}  // namespace parameter_test
