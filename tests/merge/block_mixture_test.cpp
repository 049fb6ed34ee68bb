#include <merganser/merge/block_mixture.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace block_mixture_test {

using namespace merganser;
using namespace merganser::merge;
using namespace merganser::testing;

using Blocks = Vector<BlockSize>;

Matrix<double> mixed(const Blocks& blocks, Index rate, bool consensus, Edges edges, const Matrix<double>& x,
                     const RowVector<double>& w, BlockMixture<double>::Cache& cache) {
  Matrix<double> y((x.rows() + rate - 1) / rate, x.cols());
  BlockMixture<double>(blocks, rate, consensus, edges).forward(x, w, y, cache);
  return y;
}

/// Row by row from the formula.
Matrix<double> slow(const Blocks& blocks, Index rate, bool consensus, Edges edges, const Matrix<double>& x,
                    const RowVector<double>& w) {
  const Index n = x.rows(), count = blocks.size();
  Index rows = n, all = 1;
  for (const BlockSize& block : blocks) all = std::lcm(all, block.size);
  while (edges == Edges::zero_rows && rows % all != 0) ++rows;
  const auto mean = [&](Index k, Index t) {
    const Index size = blocks[k].size, shift = (size - blocks[k].offset) % size;
    RowVector<double> sum = RowVector<double>::Zero(x.cols());
    double real = 0;
    for (Index u = 0; u < n; ++u)
      if ((u + shift) / size == (t + shift) / size) {
        sum += x.row(u);
        real += 1;
      }
    return RowVector<double>(sum / (edges == Edges::zero_rows ? static_cast<double>(size) : real));
  };
  Matrix<double> p(rows, count);
  for (Index t = 0; t < rows; ++t) {
    double sum = 0;
    for (Index k = 0; k < count; ++k) sum += p(t, k) = std::exp(mean(k, t).dot(w));
    p.row(t) /= sum;
  }
  Matrix<double> q = p;
  for (Index t = 0; t < rows && consensus; ++t) {
    double sum = 0;
    q.row(t).setZero();
    for (Index u = 0; u < rows; ++u) {
      const double e = std::exp(p.row(t).dot(p.row(u)));
      q.row(t) += e * p.row(u);
      sum += e;
    }
    q.row(t) /= sum;
  }
  Matrix<double> y = Matrix<double>::Zero((n + rate - 1) / rate, x.cols());
  for (Index t = 0; t < n; ++t)
    for (Index k = 0; k < count; ++k) {
      const Index members = edges == Edges::zero_rows ? rate : std::min(rate, n - t / rate * rate);
      y.row(t / rate) += q(t, k) * mean(k, t) / static_cast<double>(members);
    }
  return y;
}

const Vector<Blocks> kinds = {{{1}}, {{1}, {2}, {3}, {4}}, {{1}, {3}, {3, 1}, {3, 2}}, {{5, 3}, {2, 1}}};

TEST_CASE("a block mixture follows its formula", "[BlockMixture]") {
  Rng rng(1);
  for (const Blocks& blocks : kinds)
    for (const Index n : {0, 1, 2, 3, 7, 12, 16})
      for (const Index rate : {1, 2, 5})
        for (const bool consensus : {false, true})
          for (const Edges edges : {Edges::real_rows, Edges::zero_rows}) {
            const Matrix<double> x = random_matrix<double>(n, 3, rng);
            const RowVector<double> w = random_matrix<double>(1, 3, rng);
            BlockMixture<double>::Cache cache;
            const Matrix<double> y = mixed(blocks, rate, consensus, edges, x, w, cache);
            CAPTURE(n, rate, consensus, edges == Edges::zero_rows);
            REQUIRE(relative_difference(y, slow(blocks, rate, consensus, edges, x, w)) < 1e-12);
          }
}

TEST_CASE("equal rows are their own mixture", "[BlockMixture]") {
  Matrix<double> x(7, 2);
  x.rowwise() = RowVector<double>::Constant(2, 3.0);
  BlockMixture<double>::Cache cache;
  for (const Blocks& blocks : kinds)
    REQUIRE(
        (mixed(blocks, 3, true, Edges::real_rows, x, RowVector<double>::Ones(2), cache).array() - 3).abs().maxCoeff() <
        1e-12);
}

TEST_CASE("the gradients of a block mixture agree with finite differences", "[BlockMixture]") {
  for (const Blocks& blocks : kinds)
    for (const bool consensus : {false, true})
      for (const Edges edges : {Edges::real_rows, Edges::zero_rows}) {
        Rng rng(1);
        Matrix<double> x = random_matrix<double>(7, 3, rng);
        RowVector<double> w = random_matrix<double>(1, 3, rng), grad_w = RowVector<double>::Zero(3);
        const Matrix<double> probe = random_matrix<double>(4, 3, rng);
        BlockMixture<double>::Cache cache, other;
        mixed(blocks, 2, consensus, edges, x, w, cache);
        Matrix<double> grad_x(7, 3);
        BlockMixture<double>(blocks, 2, consensus, edges).backward(probe, w, cache, grad_x, grad_w);
        require_gradients([&] { return probe_sum(probe, mixed(blocks, 2, consensus, edges, x, w, other)); },
                          {tensor_view("x", x), tensor_view("w", w)},
                          {tensor_view("x", grad_x), tensor_view("w", grad_w)});
      }
}

}  // namespace block_mixture_test
