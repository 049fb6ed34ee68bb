// A mixture of block means of several sizes, weighed token by token.
#pragma once

#include <algorithm>
#include <numeric>
#include <span>

#include <merganser/core/types.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/softmax.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Tokens in blocks of so many; the first block begins `offset` tokens behind the first one, and what is in front of it
/// is a block.
struct BlockSize {
  Index size = 1;
  Index offset = 0;  ///< below the size
};

/// What counts in the mean of a block that the sequence does not fill.
enum class Edges {
  real_rows,  ///< the tokens that are there
  zero_rows,  ///< rows of 0 besides, up to a multiple of all sizes, as published
};

/// The mixture of block means of one sequence, and the means of it over groups.
///
/// Row t of size k is the mean r_kt of the block that t is in. p_t = softmax over k of r_kt . w; with consensus
/// q_t = sum over u of softmax_u(p_t . p_u) p_u, else q_t = p_t. y_t = sum over k of q_tk r_kt, and a row out is the
/// mean of y over `rate` tokens. Cost: n B D of B sizes, with consensus 2 n^2 B and n^2 exponentials; no matrix [n x n]
/// is made.
template <Real Scalar>
class BlockMixture {
 public:
  struct Cache {
    Index tokens = 0;                ///< n
    Vector<Matrix<Scalar>> means;    ///< of each size the means of its blocks
    Matrix<Scalar> weights, agreed;  ///< [n' x B] p and q; n' counts rows of 0 behind the end
  };

  BlockMixture(std::span<const BlockSize> sizes, Index rate, bool consensus, Edges edges)
      : sizes_(sizes), rate_(rate), consensus_(consensus), edges_(edges) {}

  /// x [n x D] and w [D] to [ceil(n / rate) x D], written to `y`.
  void forward(const MatrixRef<Scalar>& x, const RowVector<Scalar>& w, MutableMatrixRef<Scalar> y, Cache& cache) const {
    const Index n = cache.tokens = x.rows(), width = x.cols();
    cache.means.clear();
    cache.weights.resize(rows_of(n), count());
    for (Index k = 0; k < count(); ++k) {
      const Matrix<Scalar>& means = cache.means.emplace_back(block_means(k, x));
      for (Index t = 0; t < cache.weights.rows(); ++t)
        cache.weights(t, k) = kernels::dot(width, means.row(block_of(k, t)).data(), w.data());
    }
    for (Index t = 0; t < cache.weights.rows(); ++t)
      kernels::softmax_row(count(), cache.weights.row(t).data(), kernels::SoftmaxKind::softmax);
    cache.agreed = cache.weights;
    if (consensus_) agree(cache);
    y.setZero();
    for (Index t = 0; t < n; ++t)
      for (Index k = 0; k < count(); ++k)
        kernels::add_scaled(width, cache.agreed(t, k) * share(t, n), cache.means[k].row(block_of(k, t)).data(),
                            y.row(t / rate_).data());
  }

  /// The gradient of y to that of x [n x D], written to `grad_x`; that of w is added.
  void backward(const MatrixRef<Scalar>& grad_y, const RowVector<Scalar>& w, const Cache& cache,
                MutableMatrixRef<Scalar> grad_x, RowVector<Scalar>& grad_w) const {
    const Index n = cache.tokens, width = grad_y.cols();
    Vector<Matrix<Scalar>> grad_means;
    for (const Matrix<Scalar>& means : cache.means)
      grad_means.push_back(Matrix<Scalar>::Zero(means.rows(), means.cols()));
    Matrix<Scalar> grad = Matrix<Scalar>::Zero(cache.weights.rows(), count());  // of q, of p, of r . w
    for (Index t = 0; t < n; ++t)
      for (Index k = 0; k < count(); ++k) {
        const Scalar* grad_row = grad_y.row(t / rate_).data();
        const Index block = block_of(k, t);
        grad(t, k) = share(t, n) * kernels::dot(width, grad_row, cache.means[k].row(block).data());
        kernels::add_scaled(width, cache.agreed(t, k) * share(t, n), grad_row, grad_means[k].row(block).data());
      }
    if (consensus_) grad = agree_backward(grad, cache);
    for (Index t = 0; t < grad.rows(); ++t) {
      Scalar inner = 0;
      for (Index k = 0; k < count(); ++k) inner += grad(t, k) * cache.weights(t, k);
      for (Index k = 0; k < count(); ++k) {
        const Scalar of_score = cache.weights(t, k) * (grad(t, k) - inner);
        const Index block = block_of(k, t);
        kernels::add_scaled(width, of_score, cache.means[k].row(block).data(), grad_w.data());
        kernels::add_scaled(width, of_score, w.data(), grad_means[k].row(block).data());
      }
    }
    grad_x.setZero();
    for (Index k = 0; k < count(); ++k)
      for (Index t = 0; t < n; ++t)
        kernels::add_scaled(width, Scalar{1} / static_cast<Scalar>(counted(k, block_of(k, t), n)),
                            grad_means[k].row(block_of(k, t)).data(), grad_x.row(t).data());
  }

 private:
  Index count() const { return std::ssize(sizes_); }

  const BlockSize& size(Index k) const { return sizes_[static_cast<std::size_t>(k)]; }

  /// Rows in front of the first token that its block would have.
  Index before(Index k) const { return size(k).offset > 0 ? size(k).size - size(k).offset : 0; }

  Index block_of(Index k, Index t) const { return (t + before(k)) / size(k).size; }

  /// n, and rows of 0 behind.
  Index rows_of(Index n) const {
    if (edges_ == Edges::real_rows) return n;
    Index all = 1;
    for (const BlockSize& block : sizes_) all = std::lcm(all, block.size);
    return (n + all - 1) / all * all;
  }

  /// Rows that a block of a sequence of n tokens counts.
  Index counted(Index k, Index block, Index n) const {
    if (edges_ == Edges::zero_rows) return size(k).size;
    const Index begin = block * size(k).size - before(k);
    return std::min(begin + size(k).size, n) - std::max<Index>(begin, 0);
  }

  /// Of a token in the mean of its group.
  Scalar share(Index t, Index n) const {
    const Index group = edges_ == Edges::zero_rows ? rate_ : std::min(rate_, n - t / rate_ * rate_);
    return Scalar{1} / static_cast<Scalar>(group);
  }

  Matrix<Scalar> block_means(Index k, const MatrixRef<Scalar>& x) const {
    const Index n = x.rows(), rows = rows_of(n);
    Matrix<Scalar> means = Matrix<Scalar>::Zero(rows > 0 ? block_of(k, rows - 1) + 1 : 0, x.cols());
    for (Index t = 0; t < n; ++t)
      kernels::add_scaled(x.cols(), Scalar{1} / static_cast<Scalar>(counted(k, block_of(k, t), n)), x.row(t).data(),
                          means.row(block_of(k, t)).data());
    return means;
  }

  /// softmax_u(p_t . p_u), written to `row` [n'].
  void agreement(const Matrix<Scalar>& p, Index t, RowVector<Scalar>& row) const {
    row.resize(p.rows());
    for (Index u = 0; u < p.rows(); ++u) row[u] = kernels::dot(count(), p.row(t).data(), p.row(u).data());
    kernels::softmax_row(row.size(), row.data(), kernels::SoftmaxKind::softmax);
  }

  void agree(Cache& cache) const {
    RowVector<Scalar> row;
    cache.agreed.setZero();
    for (Index t = 0; t < cache.tokens; ++t) {
      agreement(cache.weights, t, row);
      for (Index u = 0; u < row.size(); ++u)
        kernels::add_scaled(count(), row[u], cache.weights.row(u).data(), cache.agreed.row(t).data());
    }
  }

  /// The gradient of q to that of p.
  Matrix<Scalar> agree_backward(const Matrix<Scalar>& grad, const Cache& cache) const {
    const Matrix<Scalar>& p = cache.weights;
    Matrix<Scalar> result = Matrix<Scalar>::Zero(p.rows(), count());
    RowVector<Scalar> row;
    for (Index t = 0; t < cache.tokens; ++t) {
      agreement(p, t, row);
      const Scalar inner = kernels::dot(count(), grad.row(t).data(), cache.agreed.row(t).data());
      for (Index u = 0; u < row.size(); ++u) {
        const Scalar of_score = row[u] * (kernels::dot(count(), grad.row(t).data(), p.row(u).data()) - inner);
        kernels::add_scaled(count(), row[u], grad.row(t).data(), result.row(u).data());
        kernels::add_scaled(count(), of_score, p.row(t).data(), result.row(u).data());
        kernels::add_scaled(count(), of_score, p.row(u).data(), result.row(t).data());
      }
    }
    return result;
  }

  std::span<const BlockSize> sizes_;
  Index rate_ = 1;
  bool consensus_ = true;
  Edges edges_ = Edges::real_rows;
};

}  // namespace merganser::merge
