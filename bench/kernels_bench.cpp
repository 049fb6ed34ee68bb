// Matrix products, attention of one head, softmax and the elementwise passes, beside Eigen's own product.
#include <string>
#include <vector>

#include <merganser/core/parallel.hpp>
#include <merganser/core/random.hpp>
#include <merganser/kernels/attention.hpp>
#include <merganser/kernels/attention_backward.hpp>
#include <merganser/kernels/elementwise.hpp>
#include <merganser/kernels/matmul.hpp>
#include <merganser/kernels/softmax.hpp>
#include <merganser/nn/linear.hpp>

#include "measure/benchmark_program.hpp"
#include "measure/program.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;

Matrix<float> random_matrix(Index rows, Index cols) {
  Rng rng(1);
  Matrix<float> m(rows, cols);
  nn::fill_normal(m, 1.0, rng);
  return m;
}

/// c [rows x cols], sums over depth.
struct Extents {
  Index rows, cols, depth;

  double flops() const {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(depth);
  }
  std::string name() const {
    return "/rows:" + std::to_string(rows) + "/cols:" + std::to_string(cols) + "/depth:" + std::to_string(depth);
  }
};

/// Products of 1024 tokens in `small` and `demo`, scores and weighted values of one head, a step of the demo's
/// training.
const std::vector<Extents> products{{1024, 384, 1472}, {1024, 1472, 384}, {1024, 3584, 1472}, {1024, 1472, 3584},
                                    {1024, 256, 256},  {1024, 512, 256},  {1024, 256, 512},   {1024, 1024, 64},
                                    {1024, 64, 1024},  {8, 1472, 384},    {1056, 96, 192}};

/// Products of one token with weights that do not fit in a cache of the core: memory is the limit.
const std::vector<Extents> matrix_vector_products{{1, 3584, 1472}, {1, 1472, 3584}, {1, 1472, 384}};

std::string threads_suffix(int threads) { return "/threads:" + std::to_string(threads); }

/// y = x W^T over weights that were laid out beforehand.
void add_multiply(const Extents& e, int threads) {
  add_case("BM_Multiply" + e.name() + threads_suffix(threads), [e, threads](benchmark::State& state) {
    const Matrix<float> x = random_matrix(e.rows, e.depth);
    const kernels::PackedMatrix<float> weight(random_matrix(e.cols, e.depth), kernels::Orientation::transposed);
    Matrix<float> y(e.rows, e.cols);
    Meter meter(state, threads, false);
    for (auto _ : state) {
      kernels::multiply<float>(x, weight, y);
      benchmark::DoNotOptimize(y.data());
    }
    meter.finish({.flops = e.flops()});
  });
}

/// The same over so many copies of the weights, one after the other, that they come from memory each time.
void add_matrix_vector(const Extents& e, int threads) {
  add_case("BM_MatrixVector" + e.name() + threads_suffix(threads), [e, threads](benchmark::State& state) {
    const Matrix<float> x = random_matrix(e.rows, e.depth), source = random_matrix(e.cols, e.depth);
    const double bytes = sizeof(float) * static_cast<double>(e.cols) * static_cast<double>(e.depth);
    constexpr double beyond_caches = 400e6;
    std::vector<kernels::PackedMatrix<float>> weights(static_cast<std::size_t>(beyond_caches / bytes) + 1);
    for (auto& weight : weights) weight.assign(source, kernels::Orientation::transposed);
    Matrix<float> y(e.rows, e.cols);
    std::size_t next = 0;
    Meter meter(state, threads, true);
    for (auto _ : state) {
      kernels::multiply<float>(x, weights[next], y);
      next = (next + 1) % weights.size();
      benchmark::DoNotOptimize(y.data());
    }
    meter.finish({.flops = e.flops(), .bytes = bytes, .bound_flops = 0});
  });
}

/// y = x W^T with the weight laid out anew, as a training step does.
void add_multiply_and_pack(const Extents& e) {
  add_case("BM_MultiplyAndPack" + e.name() + threads_suffix(1), [e](benchmark::State& state) {
    const Matrix<float> x = random_matrix(e.rows, e.depth), weight = random_matrix(e.cols, e.depth);
    Matrix<float> y(e.rows, e.cols);
    kernels::PackedMatrix<float> packed;
    Meter meter(state, 1, false);
    for (auto _ : state) {
      packed.assign(weight, kernels::Orientation::transposed);
      kernels::multiply<float>(x, packed, y);
      benchmark::DoNotOptimize(y.data());
    }
    meter.finish({.flops = e.flops()});
  });
}

/// grad W = grad_y^T x, the product of the backward pass.
void add_multiply_transposed(const Extents& e) {
  add_case("BM_MultiplyTransposed" + e.name() + threads_suffix(1), [e](benchmark::State& state) {
    const Matrix<float> x = random_matrix(e.rows, e.depth), grad_y = random_matrix(e.rows, e.cols);
    Matrix<float> grad(e.cols, e.depth);
    kernels::PackedMatrix<float> packed;
    Meter meter(state, 1, false);
    for (auto _ : state) {
      packed.assign(x, kernels::Orientation::as_is);
      kernels::multiply_transposed<float>(grad_y, packed, grad);
      benchmark::DoNotOptimize(grad.data());
    }
    meter.finish({.flops = e.flops()});
  });
}

void add_eigen_product(const Extents& e) {
  add_case("BM_EigenProduct" + e.name() + threads_suffix(1), [e](benchmark::State& state) {
    const Matrix<float> x = random_matrix(e.rows, e.depth), weight = random_matrix(e.cols, e.depth);
    Matrix<float> y(e.rows, e.cols);
    Meter meter(state, 1, false);
    for (auto _ : state) {
      y.noalias() = x * weight.transpose();
      benchmark::DoNotOptimize(y.data());
    }
    meter.finish({.flops = e.flops()});
  });
}

/// What a head adds to its products.
struct HeadKind {
  std::string name;
  kernels::SoftmaxKind softmax = kernels::SoftmaxKind::softmax1;
  float soft_cap = 0;
  bool has_bias = true;        ///< position bias from distance
  bool has_survivors = false;  ///< every other position is gone, and keys carry gate values
  kernels::Visibility visibility = kernels::Visibility::all;
};

/// One head of one text.
struct Head {
  static constexpr Index width = 64, radius = 128;

  Matrix<float> q, k, v, y, bias;
  std::vector<Position> positions;
  std::vector<float> key_bias;
  std::vector<float> largest, factors;
  kernels::HeadScores<float> scores;

  Head(Index tokens, const HeadKind& kind)
      : q(random_matrix(tokens, width) / 8),
        k(random_matrix(tokens, width)),
        v(random_matrix(tokens, width)),
        y(tokens, width),
        bias(random_matrix(1, 2 * radius + 1)),
        largest(static_cast<std::size_t>(tokens)),
        factors(largest.size()) {
    for (Index t = 0; t < tokens; ++t) positions.push_back(static_cast<Position>(kind.has_survivors ? 2 * t : t));
    if (kind.has_survivors) key_bias.assign(positions.size(), -2.0f);
    scores.softmax = kind.softmax;
    scores.soft_cap = kind.soft_cap;
    scores.visibility = kind.visibility;
    if (kind.has_bias) {
      scores.distance_bias = bias.data();
      scores.radius = radius;
    }
    scores.query_positions = scores.key_positions = positions;
    scores.key_bias = key_bias;
  }

  /// Two products of forward, all pairs.
  double flops() const {
    return 4.0 * static_cast<double>(q.rows()) * static_cast<double>(k.rows()) * static_cast<double>(width);
  }

  void attend() { kernels::attend<float>(q, k, v, scores, y, {largest.data(), factors.data()}); }
};

const std::vector<HeadKind> head_kinds{
    {.name = "plain", .has_bias = false},
    {.name = "softmax", .softmax = kernels::SoftmaxKind::softmax},
    {.name = "softmax1"},
    {.name = "soft_cap", .soft_cap = 8},
    {.name = "survivors", .has_survivors = true},
    {.name = "causal", .visibility = kernels::Visibility::causal},
};

void add_attend(const HeadKind& kind, Index tokens) {
  const std::string suffix = "/kind:" + kind.name + "/tokens:" + std::to_string(tokens) + threads_suffix(1);
  add_case("BM_Attend" + suffix, [kind, tokens](benchmark::State& state) {
    Head head(tokens, kind);
    Meter meter(state, 1, false);
    for (auto _ : state) {
      head.attend();
      benchmark::DoNotOptimize(head.y.data());
    }
    meter.finish({.flops = head.flops()});
  });
}

/// Five products for the two of forward: the scores are computed again. Useful are four.
void add_attend_backward(const HeadKind& kind, Index tokens) {
  const std::string suffix = "/kind:" + kind.name + "/tokens:" + std::to_string(tokens) + threads_suffix(1);
  add_case("BM_AttendBackward" + suffix, [kind, tokens](benchmark::State& state) {
    Head head(tokens, kind);
    head.attend();
    const Matrix<float> grad_y = random_matrix(tokens, Head::width);
    Matrix<float> grad_q = Matrix<float>::Zero(tokens, Head::width), grad_k = grad_q, grad_v = grad_q;
    Matrix<float> grad_bias = Matrix<float>::Zero(1, head.bias.cols());
    std::vector<float> grad_key_bias(head.key_bias.size());
    kernels::HeadGradients<float> gradients;
    if (kind.has_bias) gradients.distance_bias = grad_bias.data();
    if (!grad_key_bias.empty()) gradients.key_bias = grad_key_bias.data();
    Meter meter(state, 1, false);
    for (auto _ : state) {
      kernels::attend_backward<float>(head.q, head.k, head.v, head.scores, head.y,
                                      {head.largest.data(), head.factors.data()}, grad_y, grad_q, grad_k, grad_v,
                                      gradients);
      benchmark::DoNotOptimize(grad_k.data());
    }
    meter.finish({.flops = 2 * head.flops()});
  });
}

/// A pass over a [rows x cols] block: `arrays` of its size are read or written.
void add_pass(const std::string& name, Index rows, Index cols, int arrays,
              const std::function<void(const Matrix<float>&, Matrix<float>&)>& pass) {
  const std::string suffix = "/rows:" + std::to_string(rows) + "/cols:" + std::to_string(cols) + threads_suffix(1);
  add_case(
      name + suffix,
      [=](benchmark::State& state) {
        const Matrix<float> x = random_matrix(rows, cols);
        Matrix<float> y(rows, cols);
        Meter meter(state, 1, true);
        for (auto _ : state) {
          pass(x, y);
          benchmark::DoNotOptimize(y.data());
        }
        meter.finish({.bytes = arrays * 4.0 * static_cast<double>(x.size())});
      },
      benchmark::kMicrosecond);
}

void add_passes() {
  add_pass("BM_Softmax", 64, 1024, 3, [](const Matrix<float>& x, Matrix<float>& y) {
    y = x;
    for (Index r = 0; r < y.rows(); ++r)
      kernels::softmax_row(y.cols(), y.row(r).data(), kernels::SoftmaxKind::softmax1);
  });
  add_pass("BM_Exp", 64, 1024, 2, [](const Matrix<float>& x, Matrix<float>& y) {
    kernels::transform(
        x.size(), y.data(), [](const auto& p) { return kernels::packet_exp<float>(p); }, x.data());
  });
  add_pass("BM_Tanh", 64, 1024, 2, [](const Matrix<float>& x, Matrix<float>& y) {
    kernels::transform(
        x.size(), y.data(), [](const auto& p) { return kernels::packet_tanh<float>(p); }, x.data());
  });
  add_pass("BM_GatedGelu", 1024, 512, 2,
           [](const Matrix<float>& x, Matrix<float>& y) { kernels::gated_gelu(x, x, y); });
  add_pass("BM_GatedGelu", 1024, 3584, 2,
           [](const Matrix<float>& x, Matrix<float>& y) { kernels::gated_gelu(x, x, y); });
}

void add_cases(Selection) {
  for (const Extents& e : products) add_multiply(e, 1);
  for (const Extents& e : {products[2], products[5]}) add_multiply(e, 2);
  for (const Extents& e : matrix_vector_products)
    for (const int threads : {1, 2}) add_matrix_vector(e, threads);
  for (const Extents& e : {products[2], products[5], products[10]}) {
    add_multiply_and_pack(e);
    add_multiply_transposed(e);
    add_eigen_product(e);
  }
  for (const HeadKind& kind : head_kinds) add_attend(kind, 1024);
  for (const Index tokens : {256, 4096}) add_attend(head_kinds[2], tokens);
  for (const HeadKind& kind : head_kinds) add_attend_backward(kind, 1024);
  add_passes();
}

}  // namespace

int bench_program(int argc, char** argv) { return merganser::bench::run_program(argc, argv, add_cases); }
