// The laws of policies, whatever they are: functions of `merge::Policy`, so that they are compiled once.
#include "support/policy_laws.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <type_traits>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/merge/policy.hpp>

#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/policy_batch.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

namespace detail {

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

/// A policy and the call that its laws name.
template <Real Scalar>
struct TriedPolicy {
  const merge::Policy<Scalar>& policy;
  const PolicyLaws& laws;
  std::deque<RowAttention<Scalar>> attention = {};  ///< of all batches that contexts were made of

  merge::PolicyContext<Scalar> context(const PolicyBatch<Scalar>& batch, Rng* rng) {
    merge::PolicyContext<Scalar> made = batch.context(laws.options, rng);
    made.size_bias = laws.size_bias;
    if (policy.traits().reads_attention) made.attention = &attention.emplace_back(batch);
    return made;
  }

  merge::Reduction<Scalar> run(const PolicyBatch<Scalar>& batch, const Vector<Index>& removals = {}) {
    Rng rng(7);
    merge::PolicyContext<Scalar> made = context(batch, &rng);
    made.removals = removals;
    return policy.forward(batch.x, made);
  }

  void require_consistent(const PolicyBatch<Scalar>& batch, const merge::Reduction<Scalar>& after) const {
    detail::require_consistent(batch, after, laws.shared_tokens);
  }
};

/// Two lists, of which an empty one is `usual` for each: where a sequence alone had nothing to merge, others of its
/// batch may have had.
template <class T>
bool same_from(const Vector<T>& part, const Vector<T>& whole, const RowRange& range, T usual) {
  for (Index row = 0; row < range.length; ++row)
    if ((part.empty() ? usual : part[row]) != (whole.empty() ? usual : whole[range.begin + row])) return false;
  return true;
}

/// N sequences are N times one, bit for bit.
template <Real Scalar>
void require_alone(TriedPolicy<Scalar>& tried, const PolicyBatch<Scalar>& batch,
                   const merge::Reduction<Scalar>& together) {
  Rng stream(7);
  for (Index i = 0; i < batch.state.offsets.count(); ++i) {
    const PolicyBatch<Scalar> one = batch.sequence(i);
    const merge::Reduction<Scalar> alone = tried.policy.forward(one.x, tried.context(one, &stream));
    tried.require_consistent(one, alone);
    const RowRange range = together.state.offsets.range(i);
    REQUIRE(identical(alone.x, Matrix<Scalar>(together.x.middleRows(range.begin, range.length))));
    REQUIRE(alone.state.total() == range.length);
    REQUIRE(
        std::equal(alone.state.origin.begin(), alone.state.origin.end(), together.state.origin.begin() + range.begin));
    REQUIRE(same_from(alone.state.key_bias, together.state.key_bias, range, Scalar{0}));
    REQUIRE(same_from(alone.state.sizes, together.state.sizes, range, Scalar{1}));
  }
}

/// Pads are in no row, and all is as if they were not there.
template <Real Scalar>
void require_pads_vanish(TriedPolicy<Scalar>& tried, const PolicyBatch<Scalar>& batch,
                         const merge::Reduction<Scalar>& together) {
  Vector<Index> rows;
  const PolicyBatch<Scalar> padded = batch.padded(rows);
  const merge::Reduction<Scalar> without = tried.run(padded);
  tried.require_consistent(padded, without);
  for (const auto* marks : {&without.state.hidden, &without.state.forced})
    REQUIRE(std::count(marks->begin(), marks->end(), std::uint8_t{0}) == marks->size());
  if (tried.laws.draws) return;
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

/// What rows stand for is what their members stood for, each by itself or all together.
template <Real Scalar>
void require_sizes(const PolicyBatch<Scalar>& batch, const merge::Reduction<Scalar>& after, RowSizes sizes) {
  if (sizes == RowSizes::own) return;
  const auto size = [](const Vector<Scalar>& all, Index i) { return all.empty() ? Scalar{1} : all[i]; };
  Vector<Scalar> sums(after.state.total(), Scalar{0});
  for (Index t = 0; t < batch.state.total(); ++t)
    if (const Index row = after.report.group[t]; row >= 0) sums[row] += size(batch.state.sizes, t);
  Scalar rest = 0, all = 0;
  for (Index row = 0; row < sums.size(); ++row) {
    if (sizes == RowSizes::of_members) REQUIRE(sums[row] == size(after.state.sizes, row));
    rest += sums[row] - size(after.state.sizes, row);
    all += sums[row];
  }
  REQUIRE(std::abs(rest) <= static_cast<Scalar>(agreement<Scalar>) * all);
}

inline const Vector<Index> law_lengths = {1, 2, 3, 7, 16, 33};

/// Rows of every kind and lengths of every kind: what comes out is sound, also of numbers that are none.
template <Real Scalar>
void require_every_kind(TriedPolicy<Scalar>& tried, bool aged) {
  for (const RowKind kind : {RowKind::random, RowKind::equal, RowKind::zeros, RowKind::some_nan, RowKind::all_nan}) {
    CAPTURE(aged, static_cast<int>(kind));
    PolicyBatch<Scalar> batch(law_lengths, tried.laws.width);
    if (aged) batch.age();
    batch.fill(kind);
    const merge::Reduction<Scalar> after = tried.run(batch);
    tried.require_consistent(batch, after);
    tried.require_consistent(batch, tried.run(batch, law_lengths));
    const bool numbers = kind != RowKind::some_nan && kind != RowKind::all_nan;
    if (numbers || tried.laws.sizes == RowSizes::of_members) require_sizes(batch, after, tried.laws.sizes);
    if (numbers) require_alone(tried, batch, after);
    if (kind != RowKind::equal || !tried.laws.keeps_equal) continue;
    const Matrix<Scalar> same = batch.x.topRows(1).replicate(after.x.rows(), 1);
    REQUIRE(relative_difference(after.x, same) <= agreement<Scalar> + tried.laws.equal_within);
  }
}

/// To remove nothing is the identity, and more removals never leave more rows but as many as were asked for.
template <Real Scalar>
void require_budget(TriedPolicy<Scalar>& tried) {
  if (!tried.policy.traits().has_budget) return;
  for (const RowKind kind : {RowKind::random, RowKind::equal, RowKind::zeros}) {
    const PolicyBatch<Scalar> batch = PolicyBatch<Scalar>(law_lengths, tried.laws.width).age().fill(kind);
    Vector<Index> last = law_lengths;
    for (const Index asked : {0, 1, 2, 3, 5, 8, 15, 16, 17, 32, 33, 1000}) {
      CAPTURE(static_cast<int>(kind), asked);
      const merge::Reduction<Scalar> after = tried.run(batch, Vector<Index>(law_lengths.size(), asked));
      tried.require_consistent(batch, after);
      if (asked == 0 && !tried.laws.may_take_more) {
        REQUIRE(identical(after.x, batch.x));
        REQUIRE(after.state.origin == batch.state.origin);
        REQUIRE(after.state.sizes == batch.state.sizes);
      }
      for (Index i = 0; i < last.size(); ++i) {
        const Index n = law_lengths[i], rows = after.state.offsets.length(i);
        const Index most = tried.laws.at_most_half ? n / 2 : n - 1;
        REQUIRE(rows <= last[i]);
        REQUIRE(rows <= n - std::min(asked, most));
        REQUIRE((tried.laws.may_take_more || rows == n - std::min(asked, most)));
        last[i] = rows;
      }
    }
  }
}

/// Of each row its last member, or -1 where it is the first row of none.
template <Real Scalar>
Vector<Index> last_members(const merge::Reduction<Scalar>& after) {
  Vector<Index> last(after.state.total(), -1);
  for (Index t = 0; t < after.report.group.size(); ++t)
    if (const Index row = after.report.group[t]; row >= 0) last[row] = t;
  return last;
}

/// A row hangs on nothing behind its last member: neither on what the tokens there are, nor on whether there are any.
template <Real Scalar>
void require_causal_policy(TriedPolicy<Scalar>& tried) {
  if (!tried.policy.traits().is_causal || tried.laws.options.target_rate) return;
  const PolicyBatch<Scalar> batch =
      PolicyBatch<Scalar>(law_lengths, tried.laws.width).age().sequence(law_lengths.size() - 1);
  const merge::Reduction<Scalar> whole = tried.run(batch);
  const Vector<Index> last = last_members(whole);
  for (Index cut = 1; cut < batch.x.rows(); cut += cut < 8 ? 1 : 5) {
    CAPTURE(cut);
    PolicyBatch<Scalar> other = batch;
    other.x.bottomRows(batch.x.rows() - cut).array() += Scalar{1};
    for (Index t = cut; t < batch.x.rows(); ++t) other.ids[t] = (batch.ids[t] + 1) % 7;
    const merge::Reduction<Scalar> front = tried.run(batch.part_of({0, cut})), changed = tried.run(other);
    const Vector<Index> last_changed = last_members(changed);
    for (Index row = 0; row < last.size() && last[row] < cut; ++row) {
      if (last[row] < 0) continue;
      const auto require_same_row = [&](const merge::Reduction<Scalar>& also) {
        REQUIRE(row < also.state.total());
        REQUIRE(identical(Matrix<Scalar>(also.x.row(row)), Matrix<Scalar>(whole.x.row(row))));
        REQUIRE(also.state.origin[row] == whole.state.origin[row]);
        REQUIRE((whole.state.sizes.empty() || also.state.sizes[row] == whole.state.sizes[row]));
        REQUIRE((whole.state.key_bias.empty() || also.state.key_bias[row] == whole.state.key_bias[row]));
      };
      require_same_row(front);
      REQUIRE(row < last_changed.size());
      if (last_changed[row] < cut) require_same_row(changed);  // else it has got further members
    }
  }
}

/// What becomes of a copy is nothing to the original.
template <Real Scalar>
void require_deep_copies(TriedPolicy<Scalar>& tried) {
  const PolicyBatch<Scalar> batch({7, 0, 1, 9}, tried.laws.width);
  const merge::Reduction<Scalar> before = tried.run(batch);
  merge::Policy<Scalar> copy = tried.policy;
  TriedPolicy<Scalar> tried_copy{copy, tried.laws};
  require_same(tried_copy.run(batch), before);
  for (const ParameterView<Scalar>& parameter : parameter_views(copy))
    for (Index i = 0; i < parameter.size(); ++i) parameter.data[i] = parameter.data[i] * Scalar{-2} + Scalar{1};
  require_same(tried.run(batch), before);
  copy = tried.policy;
  require_same(tried_copy.run(batch), before);
}

/// The laws of a batch of random rows.
template <Real Scalar>
void require_batch_laws(TriedPolicy<Scalar>& tried, bool aged) {
  const Vector<Index> lengths = {7, 0, 1, 9, 4};
  PolicyBatch<Scalar> batch(lengths, tried.laws.width);
  if (aged) batch.age();
  CAPTURE(aged);
  const merge::Reduction<Scalar> together = tried.run(batch);
  tried.require_consistent(batch, together);
  REQUIRE((together.state.total() < batch.state.total() && together.state.total() > 0));
  require_alone(tried, batch, together);
  require_same_bits_with_threads([&] { return tried.run(batch).x; });
  require_pads_vanish(tried, batch, together);

  // With a cache it does the same, again and again with one cache.
  typename merge::Policy<Scalar>::Cache cache;
  for (const int repetition : {0, 1}) {
    CAPTURE(repetition);
    Rng rng(7);
    const merge::Reduction<Scalar> trained = tried.policy.forward(batch.x, tried.context(batch, nullptr), rng, cache);
    tried.require_consistent(batch, trained);
    if (tried.laws.quiet_training) require_same(trained, together);
  }

  // One token stays, whatever is asked.
  const merge::Reduction<Scalar> greedy = tried.run(batch, lengths);
  tried.require_consistent(batch, greedy);
  if (tried.policy.traits().has_budget && !tried.laws.at_most_half)
    REQUIRE(greedy.state.offsets == SequenceOffsets::from_lengths(Vector<Index>{1, 0, 1, 1, 1}));

  if (tried.laws.copies)
    for (Index row = 0; row < together.x.rows(); ++row)
      REQUIRE(identical(Matrix<Scalar>(together.x.row(row)), Matrix<Scalar>(batch.x.row(together.report.kept[row]))));
}

template <Real Scalar>
void require_policy_laws_of(const merge::Policy<Scalar>& policy, const PolicyLaws& laws) {
  TriedPolicy<Scalar> tried{policy, laws};
  for (const bool aged : {false, true}) {
    require_batch_laws(tried, aged);
    require_every_kind(tried, aged);
  }
  require_budget(tried);
  require_causal_policy(tried);
  require_deep_copies(tried);
  for (const Vector<Index>& lengths : {Vector<Index>{}, Vector<Index>{0, 0}}) {
    const PolicyBatch<Scalar> none(lengths, laws.width);
    const merge::Reduction<Scalar> after = tried.run(none);
    tried.require_consistent(none, after);
    REQUIRE(after.state.offsets.count() == lengths.size());
  }
}

void require_laws(const merge::Policy<float>& policy, const PolicyLaws& laws) {
  require_policy_laws_of<float>(policy, laws);
}

void require_laws(const merge::Policy<double>& policy, const PolicyLaws& laws) {
  require_policy_laws_of<double>(policy, laws);
}

void require_first_alone(const merge::Policy<double>& policy, Index count, const PolicyLaws& laws) {
  TriedPolicy<double> tried{policy, laws};
  for (const RowKind kind : {RowKind::random, RowKind::equal, RowKind::zeros, RowKind::some_nan})
    for (const Vector<Index>& removals : {Vector<Index>{}, law_lengths}) {
      CAPTURE(count, static_cast<int>(kind), removals.size());
      const auto batch = PolicyBatch<double>(law_lengths, laws.width).age().fill(kind);
      const merge::Reduction<double> after = tried.run(batch, removals);
      tried.require_consistent(batch, after);
      for (Index i = 0; i < law_lengths.size(); ++i) {
        const RowRange tokens = batch.state.offsets.range(i);
        for (Index t = 0; t < std::min(count, tokens.length); ++t) {
          const Index row = after.state.offsets.begin(i) + t;
          REQUIRE(row < after.state.offsets.end(i));
          REQUIRE(after.report.kept[row] == tokens.begin + t);
          REQUIRE(std::count(after.report.group.begin(), after.report.group.end(), row) == 1);
          const Matrix<double> own = batch.x.row(tokens.begin + t);
          REQUIRE((own.hasNaN() || identical(Matrix<double>(after.x.row(row)), own)));
        }
      }
    }
}

void require_float_policy_follows_double(const merge::Policy<float>& of_floats, const merge::Policy<double>& of_doubles,
                                         const PolicyLaws& laws) {
  const auto run = [&]<Real Scalar>(const merge::Policy<Scalar>& policy) {
    return TriedPolicy<Scalar>{policy, laws}.run(PolicyBatch<Scalar>({7, 0, 1, 9, 4}, laws.width).age());
  };
  const auto single = run(of_floats);
  const auto twice = run(of_doubles);
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

}  // namespace detail

}  // namespace merganser::testing
