// What a gate does to the tokens that flow through a stack of blocks: soft or hard deletion, and its gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/selection.hpp>
#include <merganser/merge/token_state.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// When what hard deletion removes leaves.
enum class Removal {
  now,
  delayed,  ///< not here: it is weakened and marked as under soft deletion, until `RemoveDeleted` takes it out
};

/// One application of gate values to a token state. Kept as the cache of its own backward pass.
///
/// Soft: the gate value of each token is added to its key bias; no row moves. Hard: tokens at or below the threshold
/// go; survivors keep their gate value as key bias or lose it (`SurvivorBias`). Hard and delayed: as soft, but
/// survivors that lose their gate value do so here. Of pads (forced) and of tokens whose gate value is no number nobody
/// hears again: soft deletion hides them. Kallini et al. 2025, arXiv 2410.20771, section 3.1.
template <Real Scalar>
class DeletionStep {
 public:
  DeletionStep() = default;

  /// `before` has T tokens, `gate_values` [T]; `removals` [N], or empty: what the options say.
  /// @throws std::invalid_argument if a length is not T, the threshold is no number, or the mode is neither soft nor
  /// hard
  DeletionStep(const TokenState<Scalar>& before, std::span<const Scalar> gate_values, double threshold,
               const DeletionOptions& options, std::span<const Index> removals = {}, Removal removal = Removal::now)
      : hard_(options.mode == DeletionMode::hard && removal == Removal::now),
        survivors_lose_bias_(options.mode == DeletionMode::hard && options.survivor_bias == SurvivorBias::dropped),
        carries_bias_(!hard_ || !survivors_lose_bias_),
        tokens_(before.total()),
        had_bias_(!before.key_bias.empty()) {
    check_argument(options.mode == DeletionMode::hard || options.mode == DeletionMode::soft, "DeletionStep",
                   "options.mode", options.mode == DeletionMode::none ? "none" : "everything", "soft or hard");
    check_argument(!std::isnan(threshold), "DeletionStep", "threshold", threshold, "a gate value, no NaN");
    check_equal("DeletionStep", "gate_values.size()", std::ssize(gate_values), before.total());
    if (had_bias_) check_equal("DeletionStep", "key_bias.size()", before.key_bias.size(), before.total());
    Marks(before.hidden).check("DeletionStep", "hidden", before.total());
    Marks(before.forced).check("DeletionStep", "forced", before.total());
    Marks(before.deleted).check("DeletionStep", "deleted", before.total());
    Vector<Scalar> bias = before.key_bias;
    if (carries_bias_) {
      bias.resize(tokens_, Scalar{0});
      std::transform(bias.begin(), bias.end(), gate_values.begin(), bias.begin(), std::plus<>());
    }
    compaction_ = Compaction<Scalar>(
        deletion_plans(gate_values, before.offsets, threshold, options, before.gone(), removals), before.offsets);
    if (!hard_) {
      after_ = before;
      after_.key_bias = std::move(bias);
      if (survivors_lose_bias_)
        for (const Index row : kept_rows()) after_.key_bias[row] = had_bias_ ? before.key_bias[row] : Scalar{0};
      mark_deleted(gate_values);
      return;
    }
    after_ = before.merged(compaction_);
    after_.key_bias = bias.empty() ? bias : compaction_.pick(std::span<const Scalar>(bias));
    after_.deleted.clear();
  }

  /// The tokens from here on.
  const TokenState<Scalar>& after() const { return after_; }

  /// Rows of the incoming T that hard deletion keeps, rising; in soft mode those it would keep, delayed those it will.
  Vector<Index> kept_rows() const { return compaction_.representatives(); }

  /// [T] the row behind the step that each token is, or -1: removed. Empty where no row moves.
  Vector<Index> groups() const { return hard_ ? compaction_.groups() : Vector<Index>{}; }

  /// Vectors [T x D] to those that go on.
  Matrix<Scalar> forward(Matrix<Scalar> x) const {
    if (!hard_) return x;
    return compaction_.compact(x);
  }

  /// Gradient of `forward`.
  Matrix<Scalar> backward(Matrix<Scalar> grad) const {
    if (!hard_) return grad;
    return compaction_.compact_backward(grad);
  }

  /// The gradient of the key bias after the step, [T'] or empty, becomes that of the gate values (written to
  /// `grad_gate`, [T] or empty: no gradient) and that of the key bias before the step (returned; empty if there was
  /// none).
  Vector<Scalar> backward_bias(std::span<const Scalar> grad_after, Vector<Scalar>& grad_gate) const {
    grad_gate.clear();
    if (grad_after.empty()) return {};
    check_equal("DeletionStep::backward_bias", "grad_after.size()", std::ssize(grad_after), after_.total());
    Vector<Scalar> grad(grad_after.begin(), grad_after.end());
    if (hard_) grad = compaction_.pick_backward(grad);
    if (carries_bias_) grad_gate = grad;
    if (carries_bias_ && survivors_lose_bias_)
      for (const Index row : kept_rows()) grad_gate[row] = 0;
    return had_bias_ ? grad : Vector<Scalar>{};
  }

  Index input_tokens() const { return tokens_; }

 private:
  /// After soft deletion, where hard deletion would leave no row.
  void mark_deleted(std::span<const Scalar> gate_values) {
    after_.deleted.assign(tokens_, 1);
    for (const Index row : kept_rows()) after_.deleted[row] = 0;
    add_marks(after_.forced, after_.hidden);
    for (Index row = 0; row < tokens_; ++row) {
      if (!std::isnan(gate_values[static_cast<std::size_t>(row)])) continue;
      after_.hidden.resize(tokens_, 0);
      after_.hidden[row] = 1;
      after_.key_bias[row] = 0;
    }
  }

  bool hard_ = false;  ///< rows leave here
  bool survivors_lose_bias_ = false;
  bool carries_bias_ = false;
  Index tokens_ = 0;
  bool had_bias_ = false;
  Compaction<Scalar> compaction_;
  TokenState<Scalar> after_;
};

}  // namespace merganser::merge
