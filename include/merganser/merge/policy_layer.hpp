// What goes into a policy and what comes out: tokens go in, fewer come out.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include <merganser/core/check.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/compaction.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/token_state.hpp>
#include <merganser/merge/tokens.hpp>

namespace merganser::inline MERGANSER_ISA::merge {

/// Where in a block a policy stands.
enum class Site {
  before_block,     ///< on entry to it
  after_attention,  ///< between its attention, with the shortcut around it, and its feed-forward layer
};

/// What a policy is told of a batch besides its vectors.
template <Real Scalar>
struct PolicyContext {
  const TokenState<Scalar>& state;       ///< of the T tokens
  const DeletionOptions& options;        ///< of the call
  std::span<const TokenId> ids = {};     ///< [T] or empty
  std::span<const Index> removals = {};  ///< [N] tokens that are to go here, or empty: as the options and settings say
  SizeBias size_bias = SizeBias::none;
  Rng* rng = nullptr;  ///< at inference, for random policies; null where the call has none
  const nn::AttentionTaps<Scalar>* attention = nullptr;  ///< that the tokens come from, for those that read it
};

/// What an auxiliary loss is a mean over.
enum class MeanOver { tokens, sequences };

/// A loss of a policy's own, which an objective adds to that of the model.
struct Auxiliary {
  std::string name;
  double value = 0.0;
  bool steered = false;  ///< weighed by the controller (alpha), because it falls as more is removed; others by gamma
  MeanOver over = MeanOver::tokens;
};

/// What a policy said and did.
template <Real Scalar>
struct PolicyReport {
  Index block = 0;
  Site site = Site::before_block;
  bool is_gate = false;
  SequenceOffsets offsets;      ///< of the T tokens that reached the policy
  Vector<Index> kept;           ///< [T'] of each row that goes on the token whose place it takes, rising; of a gate
                                ///< under soft deletion those that hard deletion would keep
  Vector<Index> group;          ///< [T] the row that each token is in, of several the first, or -1; empty: none moved
  Vector<Scalar> scores;        ///< [T] or empty: what tokens were chosen by, of a gate its values
  Vector<Scalar> logits;        ///< [T] or empty: the same before the activation
  Vector<std::uint8_t> forced;  ///< [T] or empty: pads
  double threshold = 0.0;       ///< of a gate, in force in this call
  Vector<Auxiliary> auxiliaries;
  bool wants_sequence_losses = false;  ///< in training, see ReportGradient

  /// What this policy alone removed, counted over the tokens that reached it.
  DeletionStatistics deletion() const {
    Vector<std::uint8_t> alive(offsets.total(), 0);
    for (const Index row : kept) alive[row] = 1;
    return DeletionStatistics::count(offsets, alive, forced);
  }

  /// Of tokens that were merged: who went where.
  static PolicyReport of_merge(const TokenState<Scalar>& before, const Compaction<Scalar>& compaction) {
    PolicyReport report;
    report.offsets = before.offsets;
    report.kept = compaction.representatives();
    report.group = compaction.groups();
    report.forced = before.forced;
    return report;
  }
};

/// What goes on.
template <Real Scalar>
struct Reduction {
  Matrix<Scalar> x;          ///< [T' x D]
  TokenState<Scalar> state;  ///< of the T' rows
  PolicyReport<Scalar> report;
};

/// What a sequence adds to the loss of a batch: weight * mean.
struct SequenceLoss {
  double mean = 0.0;    ///< nats a label of the sequence; 0 where it has none
  double weight = 0.0;  ///< the sequence's share of all labels, as the objective scales it; 0 where it has none
};

/// Gradients of a loss with respect to what a policy said; each may be empty: 0.
template <Real Scalar>
struct ReportGradient {
  Vector<Scalar> scores;                      ///< [T]
  Vector<double> auxiliaries;                 ///< one an auxiliary
  Vector<SequenceLoss> sequence_losses = {};  ///< [N] if the report asks for them: values, no gradients
};

/// Gradients of a loss with respect to what went on.
template <Real Scalar>
struct ReductionGradient {
  Matrix<Scalar> x;         ///< [T' x D]
  Vector<Scalar> key_bias;  ///< [T'] or empty
  ReportGradient<Scalar> report;
};

/// The same with respect to what came in.
template <Real Scalar>
struct TokenGradient {
  Matrix<Scalar> x;         ///< [T x D]
  Vector<Scalar> key_bias;  ///< [T] or empty
};

/// Adds gradients of one length; an empty one is 0.
/// @throws std::invalid_argument if the lengths differ
template <Real Scalar>
void add_gradient(std::span<const Scalar> more, Vector<Scalar>& sum) {
  if (sum.empty()) sum.resize(std::ssize(more), Scalar{0});
  if (!more.empty()) check_equal("add_gradient", "more.size()", std::ssize(more), sum.size());
  if (!more.empty()) std::transform(sum.begin(), sum.end(), more.begin(), sum.begin(), std::plus<>());
}

/// A policy that does everything itself, with parameters if it has any (`visit` and `initialize`, as other layers).
template <class L, class Scalar>
concept PolicyLayer = std::copy_constructible<L> && std::default_initializable<typename L::Cache> &&
    requires(const L& layer, Matrix<Scalar> x, const PolicyContext<Scalar>& context, Rng& rng, typename L::Cache& cache,
             ReductionGradient<Scalar> grad, L& gradients) {
  { layer.forward(x, context) } -> std::same_as<Reduction<Scalar>>;
  { layer.forward(x, context, rng, cache) } -> std::same_as<Reduction<Scalar>>;
  { layer.backward(grad, cache, gradients) } -> std::same_as<TokenGradient<Scalar>>;
};

}  // namespace merganser::merge
