#include "part.hpp"

#include <merganser/kernels/softmax.hpp>

double softmax_sum(const merganser::RowVector<float>& scores) {
  merganser::RowVector<float> weights = scores;
  merganser::kernels::softmax_row(weights.size(), weights.data(), merganser::kernels::SoftmaxKind::softmax);
  return static_cast<double>(weights.sum());
}
