// Answers about MultiHeadAttention, from what its forward pass left.
#pragma once

#include <algorithm>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/types.hpp>
#include <merganser/kernels/attention_weights.hpp>
#include <merganser/kernels/packet_loop.hpp>
#include <merganser/nn/attention_taps.hpp>
#include <merganser/nn/multi_head_attention.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// Self-attention behind `MultiHeadAttention::record` or a forward pass with a cache. Looks at its arguments, which
/// outlive it.
template <Real Scalar>
class RecordedAttention final : public AttentionTaps<Scalar> {
 public:
  using Layer = MultiHeadAttention<Scalar>;

  RecordedAttention(const Layer& layer, const AttentionContext<Scalar>& context, const typename Layer::Cache& cache)
      : layer_(layer), context_(context), cache_(cache) {}

  Matrix<Scalar> mean_keys(Index sequence) const override {
    const RowRange range = context_.keys[sequence];
    const Index heads = layer_.config().heads, width = layer_.config().head_width;
    Matrix<Scalar> mean = Matrix<Scalar>::Zero(range.length, width);
    const Scalar share = Scalar{1} / static_cast<Scalar>(heads);
    for (Index t = 0; t < range.length; ++t) {
      const auto keys = cache_.key_values.keys.row(range.begin + t);
      for (Index head = 0; head < heads; ++head) mean.row(t) += keys.segment(head * width, width);
      mean.row(t) *= share;
    }
    return mean;
  }

  Matrix<Scalar> values(Index sequence) const override {
    const RowRange range = context_.keys[sequence];
    return cache_.key_values.values.middleRows(range.begin, range.length);
  }

  Matrix<Scalar> row(Index sequence, Index query) const override {
    Matrix<Scalar> result = Matrix<Scalar>::Zero(layer_.config().heads, context_.keys[sequence].length);
    for_each_head(sequence, [&](HeadOfSequence part) {
      part.queries = {part.queries.begin + query, 1};
      visit(part, [&](Index, Index first, Index keys, const Scalar* weights) {
        std::copy_n(weights, keys, result.row(part.head).data() + first);
      });
    });
    return result;
  }

  Matrix<Scalar> received(Index sequence, std::span<const Scalar> query_weights, OwnWeight own) const override {
    const Index tokens = context_.keys[sequence].length;
    if (!query_weights.empty())
      check_equal("RecordedAttention::received", "query_weights.size()", std::ssize(query_weights), tokens);
    Matrix<Scalar> result = Matrix<Scalar>::Zero(layer_.config().heads, tokens), own_weights = result;
    for_each_head(sequence, [&](const HeadOfSequence& part) {
      visit(part, [&](Index query, Index first, Index keys, const Scalar* weights) {
        const Scalar weight = query_weights.empty() ? Scalar{1} : query_weights[static_cast<std::size_t>(query)];
        kernels::add_scaled(keys, weight, weights, result.row(part.head).data() + first);
        if (own == OwnWeight::left_out && first <= query && query < first + keys)
          own_weights(part.head, query) = weight * weights[query - first];
      });
    });
    result -= own_weights;
    return result;
  }

  Matrix<Scalar> weights(Index sequence, Index head) const override {
    const RowRange range = context_.keys[sequence];
    Matrix<Scalar> result = Matrix<Scalar>::Zero(range.length, range.length);
    visit({head, layer_.config().head_width, context_.queries[sequence], range},
          [&](Index query, Index first, Index keys, const Scalar* row) {
            std::copy_n(row, keys, result.row(query).data() + first);
          });
    return result;
  }

 private:
  template <class Visit>
  void for_each_head(Index sequence, Visit&& visit_head) const {
    for (Index head = 0; head < layer_.config().heads; ++head)
      visit_head(HeadOfSequence{head, layer_.config().head_width, context_.queries[sequence], context_.keys[sequence]});
  }

  template <class Visit>
  void visit(const HeadOfSequence& part, Visit&& visit_run) const {
    if (part.queries.length == 0 || part.keys.length == 0) return;
    kernels::visit_weights<Scalar>(part.query_block(cache_.queries), part.key_block(cache_.key_values.keys),
                                   layer_.head_scores(context_, part),
                                   {cache_.largest_scores.row(part.head).data() + part.queries.begin,
                                    cache_.softmax_factors.row(part.head).data() + part.queries.begin},
                                   visit_run);
  }

  const Layer& layer_;
  const AttentionContext<Scalar>& context_;
  const typename Layer::Cache& cache_;
};

}  // namespace merganser::nn
