// A unit with layers of its own, compiled several times with different flags and another NAME.
#include <merganser/core/ragged_batch.hpp>
#include <merganser/kernels/softmax.hpp>
#include <merganser/nn/linear.hpp>
#include <merganser/nn/rms_norm.hpp>

#ifdef MAKES_MATRICES
merganser::Matrix<float> make_matrix() { return merganser::Matrix<float>::Ones(3, 5); }
#else
double NAME() {
  using namespace merganser;
  nn::Linear<float> layer({37, 21});
  Matrix<float>& weight = layer.weight.matrix();
  for (Index i = 0; i < weight.size(); ++i) weight.data()[i] = static_cast<float>(i % 7) * 0.25F - 0.5F;
  Matrix<float> x(11, 37);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 5) * 0.5F - 0.75F;
  Matrix<float> y = layer.forward(nn::RmsNorm<float>({37}).forward(x));
  double sum = 0;
  for (Index row = 0; row < y.rows(); ++row) {
    sum += static_cast<double>(kernels::softmax_row(y.cols(), y.row(row).data(), kernels::SoftmaxKind::softmax1));
    sum += static_cast<double>(y.row(row).sum());
  }
  return sum;
}
#endif
