// What attention can be asked for, once it has run.
#pragma once

#include <span>

#include <merganser/core/types.hpp>

namespace merganser::inline MERGANSER_ISA::nn {

/// Whether what a token gives to itself counts.
enum class OwnWeight { counted, left_out };

/// Answers questions about self-attention of N sequences, sequence by sequence; t tokens, H heads of width K. An
/// interface, so that anybody's attention can answer. Nothing is computed unless asked for, and no gradient flows
/// through an answer.
template <Real Scalar>
class AttentionTaps {
 public:
  virtual ~AttentionTaps() = default;

  /// [t x K]: keys, averaged over heads. Cost: t H K additions.
  virtual Matrix<Scalar> mean_keys(Index sequence) const = 0;

  /// [t x H K].
  virtual Matrix<Scalar> values(Index sequence) const = 0;

  /// [H x t]: the weights of one query. Cost: 2 t H K.
  virtual Matrix<Scalar> row(Index sequence, Index query) const = 0;

  /// [H x t]: the weights that each key received, summed over queries, each times its weight in `query_weights` [t]
  /// (empty: 1). Cost: half of the attention.
  virtual Matrix<Scalar> received(Index sequence, std::span<const Scalar> query_weights, OwnWeight own) const = 0;

  /// [t x t]: the weights of one head, a row a query. Cost: that of `received`, of one head.
  virtual Matrix<Scalar> weights(Index sequence, Index head) const = 0;
};

}  // namespace merganser::nn
