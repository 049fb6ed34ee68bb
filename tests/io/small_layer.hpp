// A layer of three small tensors, to save and load.
#pragma once

#include <string>

#include <merganser/core/types.hpp>

namespace merganser::testing {

template <Real Scalar>
struct SmallLayer {
  using ScalarType = Scalar;

  Matrix<Scalar> weight = Matrix<Scalar>::Zero(2, 3);
  RowVector<Scalar> bias = RowVector<Scalar>::Zero(3);
  Matrix<Scalar> row = Matrix<Scalar>::Zero(1, 3);

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    visitor(prefix + "weight", weight);
    visitor(prefix + "bias", bias);
    visitor(prefix + "row", row);
  }

  static SmallLayer filled() {
    SmallLayer layer;
    layer.weight << Scalar(0.1), 2, 3, 4, 5, 6;
    layer.bias << 7, 8, Scalar(0.9);
    layer.row << 10, 11, 12;
    return layer;
  }

  bool operator==(const SmallLayer& other) const {
    return weight == other.weight && bias == other.bias && row == other.row;
  }
};

}  // namespace merganser::testing
