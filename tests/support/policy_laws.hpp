// Laws that every policy keeps, to be called from its own test with a way to make it for numbers of any type.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <span>
#include <type_traits>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/merge/policy.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

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

  merge::PolicyContext<Scalar> context(const merge::DeletionOptions& options, Rng* rng = nullptr) const {
    return {.state = state, .options = options, .ids = ids, .rng = rng};
  }

  /// One of the sequences by itself.
  PolicyBatch sequence(Index i) const {
    const RowRange range = state.offsets.range(i);
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

/// What a policy is like, and the call that it is tried in.
struct PolicyLaws {
  Index width = 6;
  merge::DeletionOptions options = {};  ///< rows must move: no soft deletion by a gate
  merge::SizeBias size_bias = merge::SizeBias::none;
  bool quiet_training = true;  ///< training has no noise of its own
  bool draws = false;          ///< inference reads numbers from the generator, one a token
  bool copies = false;         ///< every row is one token
  bool at_most_half = false;   ///< of the tokens go
  bool shared_tokens = false;  ///< tokens are in several rows: a row may be the first of none
};

namespace detail {

template <Real Scalar>
void require_same(const merge::Reduction<Scalar>& a, const merge::Reduction<Scalar>& b) {
  REQUIRE(identical(a.x, b.x));
  REQUIRE(a.state.offsets == b.state.offsets);
  REQUIRE(a.state.positions == b.state.positions);
  REQUIRE(a.state.origin == b.state.origin);
  REQUIRE(a.state.key_bias == b.state.key_bias);
  REQUIRE(a.state.sizes == b.state.sizes);
  REQUIRE(a.state.deleted == b.state.deleted);
  REQUIRE(a.report.kept == b.report.kept);
  REQUIRE(a.report.group == b.report.group);
  REQUIRE(a.report.scores == b.report.scores);
  REQUIRE(a.report.logits == b.report.logits);
}

/// State and report say the same of what came in.
template <Real Scalar>
void require_consistent(const PolicyBatch<Scalar>& batch, const merge::Reduction<Scalar>& after,
                        bool shared_tokens = false) {
  const merge::TokenState<Scalar>& state = after.state;
  const merge::PolicyReport<Scalar>& report = after.report;
  const Index tokens = batch.state.total(), rows = state.total();
  REQUIRE(after.x.rows() == rows);
  REQUIRE(after.x.cols() == batch.x.cols());
  REQUIRE(report.offsets == batch.state.offsets);
  REQUIRE(report.forced == batch.state.forced);
  REQUIRE(report.kept.size() == rows);
  REQUIRE(std::is_sorted(report.kept.begin(), report.kept.end()));
  REQUIRE(state.positions.size() == rows);
  REQUIRE(state.origin.size() == rows);
  const auto fits = [](const auto& values, Index count) { return values.empty() || values.size() == count; };
  REQUIRE((fits(state.key_bias, rows) && fits(state.hidden, rows) && fits(state.forced, rows)));
  REQUIRE((fits(state.deleted, rows) && fits(state.sizes, rows)));
  REQUIRE((fits(report.scores, tokens) && fits(report.logits, tokens)));
  REQUIRE(report.group.size() == tokens);
  REQUIRE(state.offsets.count() == batch.state.offsets.count());
  Vector<Index> counted(rows, 0);
  const merge::DeletionStatistics deletion = report.deletion();
  for (Index i = 0; i < state.offsets.count(); ++i) {
    Index real = 0;
    for (Index t = batch.state.offsets.begin(i); t < batch.state.offsets.end(i); ++t) {
      const bool pad = !batch.state.forced.empty() && batch.state.forced[t] != 0;
      if (!pad) ++real;
      const Index row = report.group[t];
      if (row < 0) continue;
      REQUIRE_FALSE(pad);
      REQUIRE((row >= state.offsets.begin(i) && row < state.offsets.end(i)));
      ++counted[row];
    }
    REQUIRE((state.offsets.length(i) > 0) == (real > 0));
    REQUIRE(deletion.tokens[i] == real);
    for (Index row = state.offsets.begin(i); row < state.offsets.end(i); ++row) {
      const Index token = report.kept[row];
      REQUIRE((token >= batch.state.offsets.begin(i) && token < batch.state.offsets.end(i)));
      REQUIRE(state.positions[row] == batch.state.positions[token]);
      REQUIRE(state.origin[row] == batch.state.origin[token]);
    }
  }
  for (const Index members : counted) REQUIRE((members > 0 || shared_tokens));
}

template <Real Scalar, class Make>
void require_policy_laws_of(Make& make, const PolicyLaws& laws) {
  using Batch = PolicyBatch<Scalar>;
  const merge::Policy<Scalar> policy = make.template operator()<Scalar>();
  typename merge::Policy<Scalar>::Cache cache;
  std::deque<RowAttention<Scalar>> attention;  // of all batches that contexts are made of
  const auto context = [&](const Batch& batch, Rng* rng) {
    merge::PolicyContext<Scalar> made = batch.context(laws.options, rng);
    made.size_bias = laws.size_bias;
    if (policy.traits().reads_attention) made.attention = &attention.emplace_back(batch);
    return made;
  };
  const auto run = [&](const Batch& batch, std::uint64_t seed = 7) {
    Rng rng(seed);
    return policy.forward(batch.x, context(batch, &rng));
  };
  for (const bool aged : {false, true}) {
    Batch batch({7, 0, 1, 9, 4}, laws.width);
    if (aged) batch.age();
    CAPTURE(aged);
    const merge::Reduction<Scalar> together = run(batch);
    require_consistent(batch, together, laws.shared_tokens);
    REQUIRE((together.state.total() < batch.state.total() && together.state.total() > 0));

    // N sequences are N times one, bit for bit.
    Rng stream(7);
    for (Index i = 0; i < batch.state.offsets.count(); ++i) {
      const Batch one = batch.sequence(i);
      const merge::Reduction<Scalar> alone = policy.forward(one.x, context(one, &stream));
      require_consistent(one, alone, laws.shared_tokens);
      const RowRange range = together.state.offsets.range(i);
      REQUIRE(identical(alone.x, Matrix<Scalar>(together.x.middleRows(range.begin, range.length))));
      // What is empty is one for each: where a sequence alone had nothing to merge, others of the batch may have had.
      const auto same = [&](const auto& part, const auto& whole, Scalar usual) {
        for (Index row = 0; row < range.length; ++row) {
          const auto own = part.empty() ? usual : part[row];
          if (own != (whole.empty() ? usual : whole[range.begin + row])) return false;
        }
        return true;
      };
      REQUIRE(alone.state.total() == range.length);
      REQUIRE(std::equal(alone.state.origin.begin(), alone.state.origin.end(),
                         together.state.origin.begin() + range.begin));
      REQUIRE(same(alone.state.key_bias, together.state.key_bias, 0));
      REQUIRE(same(alone.state.sizes, together.state.sizes, 1));
    }

    // With a cache it does the same, again and again with one cache.
    for (const int repetition : {0, 1}) {
      CAPTURE(repetition);
      Rng rng(7);
      const merge::Reduction<Scalar> trained = policy.forward(batch.x, context(batch, nullptr), rng, cache);
      require_consistent(batch, trained, laws.shared_tokens);
      if (laws.quiet_training) require_same(trained, together);
    }
    require_same_bits_with_threads([&] { return run(batch).x; });

    // Pads are in no row, and all is as if they were not there.
    Vector<Index> rows;
    const Batch padded = batch.padded(rows);
    const merge::Reduction<Scalar> without = run(padded);
    require_consistent(padded, without, laws.shared_tokens);
    for (const auto* marks : {&without.state.hidden, &without.state.forced})
      REQUIRE(std::count(marks->begin(), marks->end(), std::uint8_t{0}) == marks->size());
    if (!laws.draws) {
      REQUIRE(identical(without.x, together.x));
      REQUIRE(without.state.offsets == together.state.offsets);
      REQUIRE(without.state.positions == together.state.positions);
      REQUIRE(without.state.key_bias == together.state.key_bias);
      REQUIRE(without.state.sizes == together.state.sizes);
      for (Index row = 0; row < together.report.kept.size(); ++row)
        REQUIRE(without.report.kept[row] == rows[together.report.kept[row]]);
      for (Index t = 0; t < rows.size(); ++t) {
        REQUIRE(without.report.group[rows[t]] == together.report.group[t]);
        if (!together.report.scores.empty()) REQUIRE(without.report.scores[rows[t]] == together.report.scores[t]);
      }
    }

    // One token stays, whatever is asked.
    merge::PolicyContext<Scalar> greedy = context(batch, nullptr);
    const Vector<Index> all = {7, 0, 1, 9, 4};
    greedy.removals = all;
    Rng rng(3);
    greedy.rng = &rng;
    require_consistent(batch, policy.forward(batch.x, greedy), laws.shared_tokens);
    if (policy.traits().has_budget && !laws.at_most_half)
      REQUIRE(policy.forward(batch.x, greedy).state.offsets ==
              SequenceOffsets::from_lengths(Vector<Index>{1, 0, 1, 1, 1}));

    if (laws.copies)
      for (Index row = 0; row < together.x.rows(); ++row)
        REQUIRE(identical(Matrix<Scalar>(together.x.row(row)), Matrix<Scalar>(batch.x.row(together.report.kept[row]))));
  }
  for (const Vector<Index>& lengths : {Vector<Index>{}, Vector<Index>{0, 0}}) {
    const Batch none(lengths, laws.width);
    const merge::Reduction<Scalar> after = run(none);
    require_consistent(none, after, laws.shared_tokens);
    REQUIRE(after.state.offsets.count() == lengths.size());
  }
}

}  // namespace detail

/// The gradients of a planner's merge, the plan as it is, against finite differences in double.
template <class P>
void require_planner_gradients(const P& planner, Index width = 6) {
  for (const merge::SizeBias size_bias : {merge::SizeBias::none, merge::SizeBias::log_size}) {
    PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, width).age();
    const merge::DeletionOptions options;
    merge::PolicyContext<double> context = batch.context(options);
    context.size_bias = size_bias;
    const PolicyBatch<double> unmoved = batch;  // what attention answers is a constant
    const RowAttention<double> taps(unmoved);
    if (merge::traits_of(planner).reads_attention) context.attention = &taps;
    merge::PlanPolicy<double, P> policy(planner), gradients;
    typename merge::PlanPolicy<double, P>::Cache cache;
    Rng rng(1);
    const auto output = policy.forward(batch.x, context, rng, cache);
    REQUIRE(output.x.rows() < batch.x.rows());
    const Matrix<double> probe = random_matrix<double>(output.x.rows(), width, rng);
    const Vector<double> bias_probe = random_values<double>(output.state.key_bias.size(), rng);
    auto grad = policy.backward({probe, bias_probe, {}}, cache, gradients);
    Vector<ParameterView<double>> parameters = {tensor_view("x", batch.x)}, analytic = {tensor_view("x", grad.x)};
    parameters.push_back({"key_bias", batch.state.key_bias.data(), 1, batch.state.key_bias.size(), true});
    analytic.push_back({"key_bias", grad.key_bias.data(), 1, grad.key_bias.size(), true});
    require_gradients(
        [&] {
          const auto moved = policy.forward(batch.x, context);
          double sum = probe_sum(probe, moved.x);
          for (Index row = 0; row < bias_probe.size(); ++row) sum += bias_probe[row] * moved.state.key_bias[row];
          return sum;
        },
        parameters, analytic);
  }
}

/// Gives plans that were made before, one a sequence, whatever it is shown.
struct FrozenPlanner {
  Vector<merge::MergePlan<double>> plans;

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    return plans[tokens.sequence];
  }
};

/// The same for a planner whose weights hang on what it is shown: the gradient is that of the merge with the plan as it
/// is.
template <class P>
void require_frozen_plan_gradients(const P& planner, Index width = 6) {
  const PolicyBatch<double> batch = PolicyBatch<double>({7, 0, 1, 9}, width).age();
  const RowAttention<double> taps(batch);
  FrozenPlanner frozen;
  for (Index i = 0; i < batch.state.offsets.count(); ++i) {
    const PolicyBatch<double> alone = batch.sequence(i);
    merge::Tokens<double> tokens{alone.x, alone.state.positions, alone.state.sizes, alone.ids};
    if (merge::traits_of(planner).reads_attention) tokens.attention = &taps;
    tokens.sequence = i;
    frozen.plans.push_back(alone.x.rows() > 0 ? planner.plan(tokens) : merge::MergePlan<double>(0));
  }
  require_planner_gradients(frozen, width);
}

/// Shape and bits of what `make.operator()<Scalar>()` does, a policy of the same parameters in float and in double.
template <class Make>
void require_policy_laws(Make&& make, const PolicyLaws& laws = {}) {
  detail::require_policy_laws_of<float>(make, laws);
  detail::require_policy_laws_of<double>(make, laws);
  const auto run = [&]<Real Scalar>() {
    const merge::Policy<Scalar> policy = make.template operator()<Scalar>();
    const PolicyBatch<Scalar> batch = PolicyBatch<Scalar>({7, 0, 1, 9, 4}, laws.width).age();
    Rng rng(7);
    merge::PolicyContext<Scalar> context = batch.context(laws.options, &rng);
    context.size_bias = laws.size_bias;
    const RowAttention<Scalar> attention(batch);
    if (policy.traits().reads_attention) context.attention = &attention;
    return policy.forward(batch.x, context);
  };
  const auto single = run.template operator()<float>();
  const auto twice = run.template operator()<double>();
  REQUIRE(single.report.kept == twice.report.kept);
  REQUIRE(single.report.group == twice.report.group);
  require_float_follows_double([&] { return single.x; }, [&] { return twice.x; });
  const auto as_row = []<Real Scalar>(const Vector<Scalar>& values) {
    Matrix<Scalar> row(1, values.size());
    std::copy(values.begin(), values.end(), row.data());
    return row;
  };
  REQUIRE(relative_difference(as_row(single.state.key_bias), as_row(twice.state.key_bias)) <= agreement<float>);
  REQUIRE(relative_difference(as_row(single.report.scores), as_row(twice.report.scores)) <= agreement<float>);
}

}  // namespace merganser::testing
