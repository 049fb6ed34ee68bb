// Matrix products of the library beside Eigen's own, one thread, shapes of the demo model.
#include <tuple>

#include <benchmark/benchmark.h>

#include <merganser/core/parallel.hpp>
#include <merganser/core/random.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/nn/linear.hpp>

namespace {

using namespace merganser;

Matrix<float> random_matrix(Index rows, Index cols) {
  Rng rng(1);
  Matrix<float> m(rows, cols);
  nn::fill_normal(m, 1.0, rng);
  return m;
}

void count_flops(benchmark::State& state, Index rows, Index cols, Index depth) {
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(depth);
  state.counters["FLOP/s"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

/// y = x W^T with the weight packed anew, as in a training step.
void BM_Multiply_forward(benchmark::State& state) {
  const Index rows = state.range(0), cols = state.range(1), depth = state.range(2);
  const Matrix<float> x = random_matrix(rows, depth), weight = random_matrix(cols, depth);
  Matrix<float> y(rows, cols);
  set_thread_count(1);
  kernels::PackedMatrix<float> packed;
  for (auto _ : state) {
    packed.assign(weight, kernels::Orientation::transposed);
    kernels::multiply<float>(x, packed, y);
    benchmark::DoNotOptimize(y.data());
  }
  count_flops(state, rows, cols, depth);
}

/// The same by Eigen.
void BM_EigenProduct_forward(benchmark::State& state) {
  const Index rows = state.range(0), cols = state.range(1), depth = state.range(2);
  const Matrix<float> x = random_matrix(rows, depth), weight = random_matrix(cols, depth);
  Matrix<float> y(rows, cols);
  set_thread_count(1);
  for (auto _ : state) {
    y.noalias() = x * weight.transpose();
    benchmark::DoNotOptimize(y.data());
  }
  count_flops(state, rows, cols, depth);
}

/// grad W = grad_y^T x, the product of the backward pass.
void BM_Multiply_backward(benchmark::State& state) {
  const Index rows = state.range(0), cols = state.range(1), depth = state.range(2);
  const Matrix<float> x = random_matrix(rows, depth), grad_y = random_matrix(rows, cols);
  Matrix<float> grad(cols, depth);
  set_thread_count(1);
  kernels::PackedMatrix<float> packed;
  for (auto _ : state) {
    packed.assign(x, kernels::Orientation::as_is);
    kernels::multiply_transposed<float>(grad_y, packed, grad);
    benchmark::DoNotOptimize(grad.data());
  }
  count_flops(state, rows, cols, depth);
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const auto& [rows, cols, depth] :
       {std::tuple<int, int, int>{1056, 96, 96}, {1056, 192, 96}, {1056, 96, 192}, {1024, 1472, 384}})
    bench->Args({rows, cols, depth});
  bench->ArgNames({"rows", "cols", "depth"});
}

BENCHMARK(BM_Multiply_forward)->Apply(shapes);
BENCHMARK(BM_EigenProduct_forward)->Apply(shapes);
BENCHMARK(BM_Multiply_backward)->Apply(shapes);

}  // namespace
