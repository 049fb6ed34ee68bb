// Attention of one sequence that is given by its weights.
#pragma once

#include <span>
#include <utility>

#include <merganser/core/types.hpp>
#include <merganser/nn/attention_taps.hpp>

namespace merganser::testing {

/// Answers from one matrix [t x t] a head, and from keys and values where they are given.
template <Real Scalar>
class GivenAttention final : public nn::AttentionTaps<Scalar> {
 public:
  explicit GivenAttention(Vector<Matrix<Scalar>> weights, Matrix<Scalar> mean_keys = {}, Matrix<Scalar> values = {})
      : weights_(std::move(weights)), mean_keys_(std::move(mean_keys)), values_(std::move(values)) {}

  Matrix<Scalar> mean_keys(Index) const override { return mean_keys_; }
  Matrix<Scalar> values(Index) const override { return values_; }
  Matrix<Scalar> row(Index, Index query) const override {
    Matrix<Scalar> result(weights_.size(), weights_.front().cols());
    for (Index head = 0; head < weights_.size(); ++head) result.row(head) = weights_[head].row(query);
    return result;
  }
  Matrix<Scalar> received(Index, std::span<const Scalar> query_weights, nn::OwnWeight own) const override {
    Matrix<Scalar> result = Matrix<Scalar>::Zero(weights_.size(), weights_.front().cols());
    for (Index head = 0; head < weights_.size(); ++head)
      for (Index query = 0; query < weights_[head].rows(); ++query) {
        const Scalar weight = query_weights.empty() ? Scalar{1} : query_weights[static_cast<std::size_t>(query)];
        result.row(head) += weight * weights_[head].row(query);
        if (own == nn::OwnWeight::left_out) result(head, query) -= weight * weights_[head](query, query);
      }
    return result;
  }
  Matrix<Scalar> weights(Index, Index head) const override { return weights_[head]; }

 private:
  Vector<Matrix<Scalar>> weights_;
  Matrix<Scalar> mean_keys_, values_;
};

}  // namespace merganser::testing
