// Random shapes and the comparison of bytes, for the tests that no bit of a result depends on the number of threads or
// on what else is in a batch.
//
// They are compiled as users compile, with full optimisation and for several instruction sets, each file by itself:
// what a compiler makes of a product and a sum differs from one inlined copy to the next.
#pragma once

#include <cstring>

#include <merganser/core/executor.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/models/stack_config.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

inline constexpr int shapes = 12;  // of every case

/// A number in [lowest, highest].
inline Index between(Index lowest, Index highest, Rng& rng) {
  return lowest + static_cast<Index>(rng.below(static_cast<std::uint64_t>(highest - lowest + 1)));
}

inline bool coin(Rng& rng) { return rng.bernoulli(0.5); }

/// Rows [first, first + rows.rows()) of `all` are `rows`, byte for byte.
template <Real Scalar>
bool same_rows(const Matrix<Scalar>& all, Index first, const Matrix<Scalar>& rows) {
  return rows.cols() == all.cols() && first + rows.rows() <= all.rows() &&
         std::memcmp(all.data() + first * all.cols(), rows.data(),
                     static_cast<std::size_t>(rows.size()) * sizeof(Scalar)) == 0;
}

template <class List>
bool same(const List& a, const List& b) {
  return a.size() == b.size() &&
         (a.size() == 0 ||
          std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(*a.data())) == 0);
}

/// What run() gives on a pool.
template <class Run>
auto on_pool(int threads, Run&& run) {
  ThreadPool pool(threads);
  const ExecutorScope scope(pool);
  return run();
}

inline models::StackConfig random_stack(Rng& rng) {
  models::StackConfig stack;
  stack.width = between(1, 150, rng);
  stack.heads = between(1, 6, rng);
  stack.head_width = between(1, 40, rng);
  stack.feed_forward_width = between(1, 160, rng);
  stack.blocks = 2;
  stack.activation = coin(rng) ? nn::Activation::gated_gelu : nn::Activation::relu;
  stack.softmax = coin(rng) ? nn::SoftmaxKind::softmax1 : nn::SoftmaxKind::softmax;
  const Index bound = between(0, 2, rng);
  if (bound == 1) stack.score_bound = nn::ScoreBound::soft_cap(8);
  if (bound == 2) stack.score_bound = nn::ScoreBound::normalised(10);
  return stack;
}

inline TokenBatch random_batch(Index sequences, Index longest, Rng& rng) {
  Vector<Index> lengths;
  for (Index i = 0; i < sequences; ++i) lengths.push_back(between(1, longest, rng));
  return random_tokens(lengths, 60, rng.next());
}

}  // namespace merganser::testing
