// Laws that every way back keeps, to be called from its own test with a way to make it for numbers of any type.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <merganser/merge/plan_policy.hpp>
#include <merganser/merge/recovery.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/policy_laws.hpp"
#include "support/random_values.hpp"

namespace merganser::testing {

/// A planner to come back from: means of one, two, three, one, ... tokens, at the place of the first.
struct RunsOfTokens {
  bool drops = false;      ///< every fifth token is in no row
  bool is_causal = false;  ///< ways back that call themselves causal must bear that a row hangs on its last member

  merge::PolicyTraits traits() const { return {.is_causal = is_causal}; }

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    merge::MergePlan<Scalar> plan(tokens.count());
    for (Index first = 0, run = 1; first < tokens.count(); first += run, run = run % 3 + 1) {
      Vector<Index> members;
      for (Index t = first; t < std::min(first + run, tokens.count()); ++t)
        if (!drops || t % 5 != 4) members.push_back(t);
      if (members.empty()) continue;
      plan.open(members.front());
      for (const Index t : members) plan.add(t, Scalar{1} / static_cast<Scalar>(members.size()));
    }
    return plan;
  }
};

/// Another: of three tokens the first stays.
struct FirstOfThree {
  static constexpr merge::PolicyTraits traits{.is_causal = true};

  template <Real Scalar>
  merge::MergePlan<Scalar> plan(const merge::Tokens<Scalar>& tokens) const {
    merge::MergePlan<Scalar> plan(tokens.count());
    for (Index t = 0; t < tokens.count(); t += 3) plan.keep(t);
    return plan;
  }
};

/// Tokens, what a policy made of them, and rows that are to come back.
template <Real Scalar>
struct ReducedBatch {
  PolicyBatch<Scalar> batch;
  merge::Reduction<Scalar> reduction;
  Matrix<Scalar> y;  ///< [T' x D']

  /// Scores in (0, 1) where the policy gives none.
  ReducedBatch(PolicyBatch<Scalar> tokens, const merge::Policy<Scalar>& policy, Index back_width)
      : batch(std::move(tokens)) {
    const merge::DeletionOptions options;
    Rng rng(7);
    merge::PolicyContext<Scalar> context = batch.context(options, &rng);
    const RowAttention<Scalar> attention(batch);
    if (policy.traits().reads_attention) context.attention = &attention;
    reduction = policy.forward(batch.x, context);
    if (reduction.report.scores.empty())
      for (Index t = 0; t < batch.x.rows(); ++t) reduction.report.scores.push_back(1 / (1 + std::exp(-batch.x(t, 0))));
    Rng values(11);
    y = random_matrix<Scalar>(reduction.x.rows(), back_width, values);
  }

  merge::Reduced<Scalar> reduced() const { return {batch.x, batch.state, reduction}; }
};

/// What a recovery is like, and the batch that it is tried on.
struct RecoveryLaws {
  Index width = 6;              ///< D
  Index back_width = 6;         ///< D', of y
  bool returns_alone = false;   ///< a token that alone is its row comes back as that row
  bool check_gradients = true;  ///< false where they are those of a surrogate, which the caller's own test knows
};

namespace detail {

template <Real Scalar>
Matrix<Scalar> rows_of(const Matrix<Scalar>& x, const RowRange& range) {
  return x.middleRows(range.begin, range.length);
}

template <Real Scalar>
void require_same_gradient(const merge::RecoveryGradient<Scalar>& a, const merge::RecoveryGradient<Scalar>& b) {
  REQUIRE(identical(a.y, b.y));
  REQUIRE(identical(a.x, b.x));
  REQUIRE(identical(a.reduced, b.reduced));
  REQUIRE(a.scores == b.scores);
}

/// Rows at and in front of a token hang on nothing behind it: neither on tokens and scores there, nor on rows with a
/// member there.
template <Real Scalar>
void require_causal(const merge::Recovery<Scalar>& recovery, const ReducedBatch<Scalar>& all) {
  const Matrix<Scalar> whole = recovery.forward(all.y, all.reduced());
  const auto& report = all.reduction.report;
  for (Index i = 0; i < all.batch.state.offsets.count(); ++i)
    for (Index t = all.batch.state.offsets.begin(i); t + 1 < all.batch.state.offsets.end(i); ++t) {
      ReducedBatch<Scalar> other = all;
      Vector<Index> last = report.kept;
      for (Index token = 0; token < report.group.size(); ++token)
        if (report.group[token] >= 0) last[report.group[token]] = std::max(last[report.group[token]], token);
      for (Index token = t + 1; token < all.batch.state.offsets.end(i); ++token) {
        other.batch.x.row(token).array() += Scalar{1};
        other.reduction.report.scores[token] *= Scalar{0.5};
      }
      for (Index row = 0; row < last.size(); ++row)
        if (last[row] > t) {
          other.y.row(row).array() += Scalar{3};
          other.reduction.x.row(row).array() -= Scalar{2};
        }
      const Matrix<Scalar> changed = recovery.forward(other.y, other.reduced());
      const RowRange seen{all.batch.state.offsets.begin(i), t + 1 - all.batch.state.offsets.begin(i)};
      REQUIRE(identical(rows_of(changed, seen), rows_of(whole, seen)));
    }
}

template <Real Scalar, class Make, class MakePolicy>
void require_recovery_laws_of(Make& make, MakePolicy& make_policy, const RecoveryLaws& laws) {
  const merge::Recovery<Scalar> recovery = make.template operator()<Scalar>();
  const merge::Policy<Scalar> policy = make_policy.template operator()<Scalar>();
  using Batch = PolicyBatch<Scalar>;
  typename merge::Recovery<Scalar>::Cache cache;
  for (const bool aged : {false, true}) {
    CAPTURE(aged);
    Batch tokens({7, 0, 1, 12, 4}, laws.width);
    if (aged) tokens.age();
    const ReducedBatch<Scalar> all(tokens, policy, laws.back_width);
    const SequenceOffsets& inner = all.reduction.state.offsets;
    const Matrix<Scalar> together = recovery.forward(all.y, all.reduced());
    REQUIRE(together.rows() == tokens.x.rows());
    REQUIRE(together.cols() == laws.back_width);
    REQUIRE(together.allFinite());

    // N sequences are N times one, bit for bit.
    for (Index i = 0; i < inner.count(); ++i) {
      ReducedBatch<Scalar> one(tokens.sequence(i), policy, laws.back_width);
      one.y = rows_of(all.y, inner.range(i));
      const RowRange range = tokens.state.offsets.range(i);
      if (!all.reduction.report.scores.empty())
        for (Index t = 0; t < range.length; ++t)
          one.reduction.report.scores[t] = all.reduction.report.scores[range.begin + t];
      REQUIRE(identical(recovery.forward(one.y, one.reduced()), rows_of(together, range)));
    }

    // With a cache it does the same, again and again with one cache; and so do gradients.
    Rng rng(5);
    const Matrix<Scalar> probe = random_matrix<Scalar>(together.rows(), laws.back_width, rng);
    merge::RecoveryGradient<Scalar> first;
    for (const int repetition : {0, 1}) {
      REQUIRE(identical(recovery.forward(all.y, all.reduced(), cache), together));
      merge::Recovery<Scalar> gradients = zeros_like(recovery);
      merge::RecoveryGradient<Scalar> grad = recovery.backward(probe, cache, gradients);
      REQUIRE((grad.y.rows() == all.y.rows() && grad.y.cols() == all.y.cols()));
      REQUIRE((grad.x.size() == 0 || (grad.x.rows() == tokens.x.rows() && grad.x.cols() == laws.width)));
      REQUIRE((grad.reduced.size() == 0 || relative_difference(grad.reduced, all.reduction.x) < 1e30));
      REQUIRE((grad.scores.empty() || grad.scores.size() == tokens.x.rows()));
      if (repetition > 0) require_same_gradient(grad, first);
      first = std::move(grad);
    }
    require_same_bits_with_threads([&] { return recovery.forward(all.y, all.reduced()); });
    require_same_bits_with_threads([&] {
      merge::Recovery<Scalar> gradients = zeros_like(recovery);
      return recovery.backward(probe, cache, gradients).y;
    });

    // Pads come back as 0, and all else is as if they were not there.
    Vector<Index> rows;
    const ReducedBatch<Scalar> padded(tokens.padded(rows), policy, laws.back_width);
    REQUIRE(padded.reduction.state.offsets == inner);
    const Matrix<Scalar> with_pads = recovery.forward(padded.y, padded.reduced());
    Matrix<Scalar> expected = Matrix<Scalar>::Zero(padded.batch.x.rows(), laws.back_width);
    for (Index t = 0; t < rows.size(); ++t) expected.row(rows[t]) = together.row(t);
    REQUIRE(identical(with_pads, expected));

    if (laws.returns_alone) {
      Vector<Index> members(inner.total(), 0);
      for (const Index row : all.reduction.report.group)
        if (row >= 0) ++members[row];
      bool seen = false;
      for (Index t = 0; t < together.rows(); ++t) {
        const Index row = all.reduction.report.group[t];
        if (row < 0 || members[row] != 1) continue;
        seen = true;
        REQUIRE(identical(Matrix<Scalar>(together.row(t)), Matrix<Scalar>(all.y.row(row))));
      }
      REQUIRE(seen);
    }
    if (recovery.is_causal() && policy.traits().is_causal) require_causal(recovery, all);
  }
  for (const Vector<Index>& lengths : {Vector<Index>{}, Vector<Index>{0, 0}}) {
    const ReducedBatch<Scalar> none(Batch(lengths, laws.width), policy, laws.back_width);
    REQUIRE(recovery.forward(none.y, none.reduced(), cache).rows() == 0);
    merge::Recovery<Scalar> gradients = zeros_like(recovery);
    REQUIRE(recovery.backward(Matrix<Scalar>(0, laws.back_width), cache, gradients).y.rows() == 0);
  }
}

inline ParameterView<double> list_view(const char* name, Vector<double>& list) {
  return {name, list.data(), 1, list.size(), true};
}

}  // namespace detail

/// The gradients of y, x, what went on, scores and parameters against finite differences in double; pads among the
/// tokens. What backward leaves empty must be 0.
template <class MakePolicy>
void require_recovery_gradients(merge::Recovery<double> recovery, MakePolicy&& make_policy,
                                const RecoveryLaws& laws = {}) {
  Vector<Index> rows;
  const PolicyBatch<double> tokens = PolicyBatch<double>({7, 0, 1, 12, 4}, laws.width).padded(rows);
  ReducedBatch<double> all(tokens, make_policy.template operator()<double>(), laws.back_width);
  merge::Recovery<double>::Cache cache;
  const Matrix<double> output = recovery.forward(all.y, all.reduced(), cache);
  Rng rng(3);
  const Matrix<double> probe = random_matrix<double>(output.rows(), output.cols(), rng);
  merge::Recovery<double> gradients = zeros_like(recovery);
  merge::RecoveryGradient<double> grad = recovery.backward(probe, cache, gradients);
  const auto filled = [](Matrix<double>& matrix, const Matrix<double>& like) -> Matrix<double>& {
    if (matrix.size() == 0) matrix = Matrix<double>::Zero(like.rows(), like.cols());
    return matrix;
  };
  Vector<double>& scores = all.reduction.report.scores;
  if (grad.scores.empty()) grad.scores.assign(scores.size(), 0.0);
  auto parameters = parameter_views(recovery), analytic = parameter_views(gradients);
  parameters.push_back(tensor_view("y", all.y));
  analytic.push_back(tensor_view("y", grad.y));
  parameters.push_back(tensor_view("x", all.batch.x));
  analytic.push_back(tensor_view("x", filled(grad.x, all.batch.x)));
  parameters.push_back(tensor_view("reduced", all.reduction.x));
  analytic.push_back(tensor_view("reduced", filled(grad.reduced, all.reduction.x)));
  parameters.push_back(detail::list_view("scores", scores));
  analytic.push_back(detail::list_view("scores", grad.scores));
  require_gradients([&] { return probe_sum(probe, recovery.forward(all.y, all.reduced())); }, parameters, analytic);
  if (!parameter_views(recovery).empty())
    require_backward_adds(recovery, [&](merge::Recovery<double>& sums) { recovery.backward(probe, cache, sums); });
}

/// Shape, bits and gradients of the way back that `make.operator()<Scalar>()` makes, of the same parameters in float
/// and in double, from what the policy of `make_policy.operator()<Scalar>()` makes.
template <class Make, class MakePolicy>
requires(!std::is_same_v<std::decay_t<MakePolicy>, RecoveryLaws>) void require_recovery_laws(
    Make&& make, MakePolicy&& make_policy, const RecoveryLaws& laws = {}) {
  detail::require_recovery_laws_of<float>(make, make_policy, laws);
  detail::require_recovery_laws_of<double>(make, make_policy, laws);
  const auto run = [&]<Real Scalar>() {
    const merge::Recovery<Scalar> recovery = make.template operator()<Scalar>();
    const ReducedBatch<Scalar> all(PolicyBatch<Scalar>({7, 0, 1, 12, 4}, laws.width),
                                   make_policy.template operator()<Scalar>(), laws.back_width);
    return recovery.forward(all.y, all.reduced());
  };
  require_float_follows_double([&] { return run.template operator()<float>(); },
                               [&] { return run.template operator()<double>(); });
  if (laws.check_gradients) require_recovery_gradients(make.template operator()<double>(), make_policy, laws);
}

/// From means of runs of tokens, where every token is in a row and where some are dropped; and from tokens that stay.
template <class Make>
void require_recovery_laws(Make&& make, const RecoveryLaws& laws = {}) {
  for (const bool drops : {false, true}) {
    CAPTURE(drops);
    require_recovery_laws(
        make, [&]<Real Scalar>() { return merge::Policy<Scalar>(RunsOfTokens{drops}); }, laws);
  }
  require_recovery_laws(
      make, []<Real Scalar>() { return merge::Policy<Scalar>(FirstOfThree{}); }, laws);
}

}  // namespace merganser::testing
