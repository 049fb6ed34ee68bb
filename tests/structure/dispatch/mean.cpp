#include "mean.h"

#include <merganser/core/types.hpp>

double mean_of(const float* numbers, int count) {
  const merganser::RowVector<float> row = Eigen::Map<const merganser::PlainRowVector<float>>(numbers, count);
  return static_cast<double>(row.mean());
}
