// Rows that a gate has marked as deleted leave.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include <merganser/core/marks.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/merge_plan.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/selection.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Removes the rows that gates in front of it marked as deleted (`Removal::delayed`), pads among them, so that between
/// the two blocks still write to what goes, and what goes can still hand on what it knows; the idea of arXiv
/// 2506.05345. Survivors keep the key bias that they have.
///
/// It removes all that is marked by then, whichever gate marked it. Where the marks leave nothing of a sequence, as a
/// merge in between can bring about, its row of largest key bias stays. Soft deletion leaves everything as it is, and
/// without marks nothing goes. It has no budget: that is the gate's. Cost: one pass over the rows.
template <Real Scalar>
class RemoveDeleted {
 public:
  using ScalarType = Scalar;
  using Gradients = RemoveDeleted;

  static constexpr PolicyTraits traits{.is_causal = true};

  struct Cache {
    std::optional<Compaction<Scalar>> compaction;  ///< none: no row moved
  };

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context) const {
    Cache cache;
    return run(std::move(x), context, cache);
  }

  Reduction<Scalar> forward(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng&, Cache& cache) const {
    return run(std::move(x), context, cache);
  }

  TokenGradient<Scalar> backward(ReductionGradient<Scalar> grad, const Cache& cache, Gradients&) const {
    if (!cache.compaction) return {std::move(grad.x), std::move(grad.key_bias)};
    TokenGradient<Scalar> result{cache.compaction->compact_backward(grad.x), {}};
    if (!grad.key_bias.empty()) result.key_bias = cache.compaction->pick_backward(grad.key_bias);
    return result;
  }

 private:
  static Reduction<Scalar> run(Matrix<Scalar> x, const PolicyContext<Scalar>& context, Cache& cache) {
    const TokenState<Scalar>& state = context.state;
    check_equal("RemoveDeleted::forward", "x.rows()", x.rows(), state.total());
    Marks(state.deleted).check("RemoveDeleted::forward", "deleted", state.total());
    cache.compaction.reset();
    Compaction<Scalar> compaction(plans(state), state.offsets);
    auto report = PolicyReport<Scalar>::of_merge(state, compaction);
    if (context.options.mode != DeletionMode::hard || state.deleted.empty()) {
      report.group.clear();  // what is kept is what hard deletion would keep
      return {std::move(x), state, std::move(report)};
    }
    Reduction<Scalar> result{compaction.compact(x), state.merged(compaction), std::move(report)};
    result.state.deleted.clear();
    cache.compaction = std::move(compaction);
    return result;
  }

  static Vector<MergePlan<Scalar>> plans(const TokenState<Scalar>& state) {
    const Vector<std::uint8_t> gone = state.deleted.empty() ? Vector<std::uint8_t>{} : state.gone(),
                               pads = state.pads();
    const Vector<Scalar> bias = state.key_bias.empty() ? Vector<Scalar>(state.total(), Scalar{0}) : state.key_bias;
    Vector<MergePlan<Scalar>> plans;
    for (Index i = 0; i < state.offsets.count(); ++i) {
      const RowRange range = state.offsets.range(i);
      Vector<Index> kept;
      for (Index row = 0; row < range.length; ++row)
        if (!Marks(gone).of(range)[row]) kept.push_back(row);
      for (const Marks marks : {Marks(pads), Marks(state.forced)})
        if (kept.empty())
          kept = surviving_rows(range.of(std::span<const Scalar>(bias)), std::numeric_limits<double>::infinity(),
                                marks.of(range));
      plans.push_back(MergePlan<Scalar>::keeping(kept, range.length));
    }
    return plans;
  }
};

}  // namespace merganser::merge
