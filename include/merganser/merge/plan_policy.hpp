// A planner as a policy: what it plans for one sequence, done to a batch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Plans every sequence by itself, so that N sequences are N times one, and carries the plans out. Pads are in no row.
/// The gradient is that of the merge with the plan as it is: no gradient flows through what was chosen.
template <Real Scalar, Planner<Scalar> P>
class PlanPolicy {
 public:
  using ScalarType = Scalar;
  using Gradients = PlanPolicy;
  using Inner = P;

  struct Cache {
    TokenState<Scalar> before;
    Compaction<Scalar> compaction;
    SizeBias size_bias = SizeBias::none;
    Matrix<Scalar> x;  ///< [T x D], where the gradient hangs on it
  };

  PlanPolicy() = default;
  explicit PlanPolicy(P inner) : planner(std::move(inner)) {}

  PolicyTraits traits() const { return traits_of(planner); }

  const P& inner() const { return planner; }
  P& inner() { return planner; }

  /// @throws std::invalid_argument if a plan is of another length, leaves a sequence without rows, or has rows that do
  /// not rise
  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    return carry_out(x, context, plan_all(x, context, context.rng));
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, Cache& cache) const {
    cache.before = context.state;
    cache.compaction = plan_all(x, context, &rng);
    cache.size_bias = context.size_bias;
    if (!cache.compaction.is_linear()) cache.x = x;
    return carry_out(x, context, cache.compaction);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients&) const {
    return {cache.compaction.is_linear() ? cache.compaction.compact_backward(grad.x)
                                         : cache.compaction.compact_backward(std::move(grad.x), cache.x),
            cache.before.merged_bias_backward(cache.compaction, grad.key_bias, cache.size_bias)};
  }

  P planner;

 private:
  /// The tokens of a sequence without its pads, for as long as they are looked at.
  struct Shown {
    Vector<Index> rows;  ///< [n] of the sequence; empty: all
    Matrix<Scalar> x;
    Vector<Position> positions;
    Vector<Scalar> sizes;
    Vector<TokenId> ids;
  };

  Compaction<Scalar> plan_all(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, Rng* rng) const {
    const TokenState<Scalar>& state = context.state;
    check_equal("PlanPolicy::forward", "x.rows()", x.rows(), state.total());
    const Vector<std::uint8_t> marks = state.pads();
    std::optional<std::uint64_t> seed;
    if (rng != nullptr) seed = rng->next();
    Vector<MergePlan<Scalar>> plans;
    for (Index i = 0; i < state.offsets.count(); ++i) {
      const RowRange range = state.offsets.range(i);
      const Marks pads = Marks(marks).of(range);
      const Shown shown = show(x, context, range, pads);
      Tokens<Scalar> tokens = view(x, context, range, shown);
      tokens.attention = context.attention;
      tokens.sequence = i;
      tokens.rows = shown.rows;
      std::optional<Rng> stream;
      if (seed) tokens.rng = &stream.emplace(*seed ^ key_of(tokens, i));
      if (!context.removals.empty()) {  // what is hidden goes besides, and is a part of what was asked for
        const Index unseen = range.length - tokens.count() - Marks(state.forced).of(range).count();
        tokens.removals = std::max<Index>(context.removals[static_cast<std::size_t>(i)] - unseen, 0);
      }
      plans.push_back(planned(tokens, shown.rows, range.length));
    }
    return Compaction<Scalar>(std::move(plans), state.offsets);
  }

  MergePlan<Scalar> planned(const Tokens<Scalar>& tokens, const Vector<Index>& rows, Index length) const {
    if (tokens.count() == 0) return MergePlan<Scalar>(length);
    MergePlan<Scalar> plan = planner.plan(tokens);
    check_equal("PlanPolicy::forward", "plan.input_count()", plan.input_count(), tokens.count());
    check_argument(plan.output_count() > 0, "PlanPolicy::forward", "plan", "no rows", "a row where there is a token");
    Index last = 0;
    for (const Index place : plan.representatives()) {
      check_argument(place >= last, "PlanPolicy::forward", "representatives", place, "rising ones");
      last = place;
    }
    return rows.empty() ? plan : plan.within(rows, length);
  }

  static Shown show(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, const RowRange& range, Marks pads) {
    Shown shown;
    if (pads.list().empty() || !pads.any()) return shown;
    const TokenState<Scalar>& state = context.state;
    for (Index row = 0; row < range.length; ++row)
      if (!pads[row]) shown.rows.push_back(row);
    shown.x.resize(shown.rows.size(), x.cols());
    for (Index n = 0; n < shown.rows.size(); ++n) {
      const Index row = range.begin + shown.rows[n];
      shown.x.row(n) = x.row(row);
      shown.positions.push_back(state.positions[row]);
      if (!state.sizes.empty()) shown.sizes.push_back(state.sizes[row]);
      if (!context.ids.empty()) shown.ids.push_back(context.ids[static_cast<std::size_t>(row)]);
    }
    return shown;
  }

  static Tokens<Scalar> view(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context, const RowRange& range,
                             const Shown& shown) {
    if (shown.positions.size() > 0 || (range.length > 0 && shown.x.cols() > 0))
      return {shown.x, shown.positions, shown.sizes, shown.ids};
    const TokenState<Scalar>& state = context.state;
    Tokens<Scalar> tokens{x.middleRows(range.begin, range.length), range.of(std::span(state.positions))};
    if (!state.sizes.empty()) tokens.sizes = range.of(std::span(state.sizes));
    if (!context.ids.empty()) tokens.ids = range.of(context.ids);
    return tokens;
  }

  /// The same for the same tokens, wherever they stand in whichever batch, if their ids are known.
  static std::uint64_t key_of(const Tokens<Scalar>& tokens, Index sequence) {
    if (tokens.ids.empty()) return static_cast<std::uint64_t>(sequence);
    std::uint64_t key = 14695981039346656037U;  // FNV-1a
    for (const TokenId id : tokens.ids) key = (key ^ static_cast<std::uint64_t>(id)) * 1099511628211U;
    return key;
  }

  static Reduction<Scalar> carry_out(const Matrix<Scalar>& x, const PolicyContext<Scalar>& context,
                                     const Compaction<Scalar>& compaction) {
    return {compaction.compact(x), context.state.merged(compaction, context.size_bias).without_pads(),
            PolicyReport<Scalar>::of_merge(context.state, compaction)};
  }
};

}  // namespace merganser::merge
