// The weights that attention of one head gave, computed again block by block.
#pragma once

#include <algorithm>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_panels.hpp>
#include <merganser/kernels/attention_rules.hpp>
#include <merganser/kernels/gradient_block.hpp>
#include <merganser/kernels/head_scores.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/kernels/query_group.hpp>

namespace merganser::inline MERGANSER_ISA::kernels {

/// Calls visit(query, first key, number of keys, weights) for runs of the weights of q [t_q x K] and k [t_k x K], from
/// what `attend` left of the softmax in `rows`; weights in no run are 0. Runs of one query come in the order of their
/// keys. Cost: half of that of `attend`, and memory constant in t_q and t_k.
/// @throws std::invalid_argument if the shapes do not fit
template <Real Scalar, class Visit>
void visit_weights(const MatrixRef<Scalar>& q, const MatrixRef<Scalar>& k, const HeadScores<Scalar>& scores,
                   SoftmaxRows<const Scalar> rows, Visit&& visit) {
  using detail::gradient_rows;
  using Block = detail::GradientBlock<Scalar>;
  constexpr Index block = detail::gradient_keys<Scalar>;
  check_equal("kernels::visit_weights", "k.cols()", k.cols(), q.cols());
  scores.check("kernels::visit_weights", q.rows(), k.rows());
  if (k.rows() == 0) return;
  const HeadGradients<Scalar> none;
  const Index table_size = detail::DistanceTable<Scalar>::size(scores);
  detail::CallMemory<Scalar> memory(
      {block * q.cols(), table_size, Block::numbers, Block::numbers, scores.soft_cap != 0 ? Block::numbers : 0, 0});
  Scalar* const key_rows = memory.take(block * q.cols());
  detail::AttentionRules<Scalar> rules(scores, k.rows(), memory.take(table_size));
  Block part(scores, none, memory);
  for (Index first = 0; first < k.rows(); first += block) {
    const Index count = std::min(block, k.rows() - first);
    rules.enter(first, count);
    detail::pack_rows<Scalar>(k.middleRows(first, count), key_rows);
    for (Index query = 0; query < q.rows(); query += gradient_rows) {
      const auto group = detail::QueryGroup::of(rules, count, query, std::min<Index>(gradient_rows, q.rows() - query));
      if (group.columns == 0) continue;
      detail::multiply_panels<Scalar>(group.rows, q.cols(), group.columns, group.template rows_of<Scalar>(q),
                                      detail::Panels<Scalar>::packed(key_rows, q.cols()), part.weights, Block::stride,
                                      detail::BlockStart::zero);
      part.to_weights(rules, none, group, rows);
      for (Index r = 0; r < group.rows; ++r)
        visit(query + r, first, group.keys, static_cast<const Scalar*>(part.weights + r * Block::stride));
    }
  }
}

}  // namespace merganser::kernels
