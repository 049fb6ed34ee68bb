// Tokens on their way into a policy, as tests of policies make them.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/merge/policy.hpp>

#include "support/random_values.hpp"

namespace merganser::testing {

/// What the vectors of a batch are.
enum class RowKind {
  random,
  equal,  ///< all of them one random vector
  zeros,
  some_nan,  ///< random, and every third is no number
  all_nan,
};

/// Tokens on their way into a policy.
template <Real Scalar>
struct PolicyBatch {
  Matrix<Scalar> x;
  merge::TokenState<Scalar> state;
  Vector<TokenId> ids;

  PolicyBatch() = default;

  /// Random vectors, ids from 0 to 6, and positions that do not begin at 0.
  explicit PolicyBatch(const Vector<Index>& lengths, Index width, std::uint64_t seed = 1) {
    const SequenceOffsets offsets = SequenceOffsets::from_lengths(lengths);
    Vector<Position> positions = counting_positions(offsets);
    for (Position& position : positions) position = 2 * position + 1;
    state = merge::TokenState<Scalar>::start(offsets, positions);
    Rng rng(seed);
    x = random_matrix<Scalar>(offsets.total(), width, rng);
    for (Index t = 0; t < offsets.total(); ++t) ids.push_back(static_cast<TokenId>(rng.below(7)));
  }

  /// A key bias, sizes and origins, as behind earlier policies.
  PolicyBatch& age(std::uint64_t seed = 2) {
    Rng rng(seed);
    state.key_bias = random_values<Scalar>(state.total(), rng);
    for (Index t = 0; t < state.total(); ++t) state.sizes.push_back(static_cast<Scalar>(1 + rng.below(3)));
    for (Index& row : state.origin) row = 3 * row + 2;
    return *this;
  }

  PolicyBatch& fill(RowKind kind) {
    for (Index t = 0; t < x.rows(); ++t) {
      if (kind == RowKind::equal) x.row(t) = x.row(0).eval();
      if (kind == RowKind::zeros) x.row(t).setZero();
      if (kind == RowKind::all_nan || (kind == RowKind::some_nan && t % 3 == 1))
        x.row(t).setConstant(std::numeric_limits<Scalar>::quiet_NaN());
    }
    return *this;
  }

  merge::PolicyContext<Scalar> context(const merge::DeletionOptions& options, Rng* rng = nullptr) const {
    return {.state = state, .options = options, .ids = ids, .rng = rng};
  }

  /// One of the sequences by itself.
  PolicyBatch sequence(Index i) const { return part_of(state.offsets.range(i)); }

  /// Tokens that follow one another, as one sequence.
  PolicyBatch part_of(const RowRange& range) const {
    const auto part = [&](const auto& values) {
      return values.empty() ? values
                            : std::decay_t<decltype(values)>(values.begin() + range.begin,
                                                             values.begin() + range.begin + range.length);
    };
    PolicyBatch alone;
    alone.x = x.middleRows(range.begin, range.length);
    alone.ids = part(ids);
    alone.state = {SequenceOffsets::single(range.length),
                   part(state.positions),
                   part(state.origin),
                   part(state.key_bias),
                   part(state.hidden),
                   part(state.forced),
                   part(state.deleted),
                   part(state.sizes)};
    return alone;
  }

  /// The same with two pads at the end of every sequence, one in front of it and one behind each of its tokens of odd
  /// number. `rows` gets the row that each token is now.
  PolicyBatch padded(Vector<Index>& rows) const {
    PolicyBatch result;
    merge::TokenState<Scalar>& to = result.state;
    rows.clear();
    Vector<Index> from;  // of every new row its token, or -1
    for (Index i = 0; i < state.offsets.count(); ++i) {
      const Index begin = from.size();
      from.push_back(-1);
      for (Index t = 0; t < state.offsets.length(i); ++t) {
        rows.push_back(from.size());
        from.push_back(state.offsets.begin(i) + t);
        if (t % 2 == 1) from.push_back(-1);
      }
      from.resize(from.size() + 2, -1);
      to.offsets.push_back(from.size() - begin);
    }
    result.x = Matrix<Scalar>::Constant(from.size(), x.cols(), Scalar{9});
    const auto spread = [&](const auto& values, auto pad, auto& spread_out) {
      if (values.empty()) return;
      for (const Index token : from) spread_out.push_back(token < 0 ? pad : values[token]);
    };
    spread(ids, TokenId{3}, result.ids);
    spread(state.positions, Position{77}, to.positions);
    spread(state.origin, Index{0}, to.origin);
    spread(state.key_bias, Scalar{5}, to.key_bias);
    spread(state.sizes, Scalar{4}, to.sizes);
    for (Index row = 0; row < from.size(); ++row) {
      to.forced.push_back(from[row] < 0 ? 1 : 0);
      if (from[row] >= 0) result.x.row(row) = x.row(from[row]);
    }
    return result;
  }
};

/// Attention of the rows of a batch to each other, pads aside: anything that is the same for a sequence alone.
template <Real Scalar>
class RowAttention final : public nn::AttentionTaps<Scalar> {
 public:
  explicit RowAttention(const PolicyBatch<Scalar>& batch) : batch_(batch) {}

  Matrix<Scalar> mean_keys(Index sequence) const override { return rows(sequence) * Scalar{0.5}; }
  Matrix<Scalar> values(Index sequence) const override {
    Matrix<Scalar> values(rows(sequence).rows(), 2 * batch_.x.cols());
    values << rows(sequence), rows(sequence) * Scalar{2};
    return values;
  }
  Matrix<Scalar> row(Index sequence, Index query) const override {
    Matrix<Scalar> result(2, rows(sequence).rows());
    for (Index head = 0; head < 2; ++head) result.row(head) = weights(sequence, head).row(query);
    return result;
  }
  Matrix<Scalar> received(Index sequence, std::span<const Scalar> query_weights, nn::OwnWeight own) const override {
    Matrix<Scalar> result = Matrix<Scalar>::Zero(2, rows(sequence).rows());
    for (Index head = 0; head < 2; ++head) {
      const Matrix<Scalar> all = weights(sequence, head);
      for (Index query = 0; query < all.rows(); ++query)
        for (Index key = 0; key < all.cols(); ++key)
          if (own == nn::OwnWeight::counted || key != query)
            result(head, key) +=
                all(query, key) * (query_weights.empty() ? Scalar{1} : query_weights[static_cast<std::size_t>(query)]);
    }
    return result;
  }
  Matrix<Scalar> weights(Index sequence, Index head) const override {
    const Matrix<Scalar> x = rows(sequence);
    const Vector<std::uint8_t> pads = batch_.state.pads();
    Matrix<Scalar> result = Matrix<Scalar>::Zero(x.rows(), x.rows());
    for (Index query = 0; query < x.rows(); ++query) {
      Scalar sum = 0;
      for (Index key = 0; key < x.rows(); ++key) {
        if (!pads.empty() && pads[batch_.state.offsets.begin(sequence) + key] != 0) continue;
        Scalar product = 0;
        for (Index c = 0; c < x.cols(); ++c) product += x(query, c) * x(key, c);
        result(query, key) = std::exp(product / static_cast<Scalar>(head + 2));
        sum += result(query, key);
      }
      for (Index key = 0; key < x.rows(); ++key) result(query, key) /= sum;
    }
    return result;
  }

 private:
  Matrix<Scalar> rows(Index sequence) const {
    return batch_.x.middleRows(batch_.state.offsets.begin(sequence), batch_.state.offsets.length(sequence));
  }

  const PolicyBatch<Scalar>& batch_;
};

}  // namespace merganser::testing
