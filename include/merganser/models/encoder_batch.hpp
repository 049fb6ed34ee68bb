// What goes into an encoder and what comes out: batches, gate reports, survivors; and what its blocks look at.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/delete_gate.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/merge/token_pooling.hpp>
#include <merganser/nn/attention_context.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// In the place of a pad's id: the model has none.
inline constexpr TokenId no_pad = -1;

/// Marks the places [T] where `ids` equals `id`; empty when there is none.
inline Vector<std::uint8_t> mark_ids(std::span<const TokenId> ids, TokenId id) {
  Vector<std::uint8_t> marks(std::ssize(ids), 0);
  std::transform(ids.begin(), ids.end(), marks.begin(),
                 [id](TokenId other) { return static_cast<std::uint8_t>(other == id ? 1 : 0); });
  if (std::find(marks.begin(), marks.end(), std::uint8_t{1}) == marks.end()) marks.clear();
  return marks;
}

/// A batch on its way into the encoder.
template <Real Scalar>
struct EncoderInput {
  RaggedBatch<Scalar> embedded;                 ///< [T x D] with original positions
  std::span<const TokenId> ids = {};            ///< [T]; only fixed-rule gates look at them
  Marks hidden = {};                            ///< [T] or none: where no query may look (pads)
  Marks forced = {};                            ///< [T] or none: where gates must delete (pads)
  Rng* rng = nullptr;                           ///< needed by random gates at inference
  std::span<const double> boundary_noise = {};  ///< [T] or empty: draws for a boundary predictor in place of rng's
};

/// What one gate said and did.
template <Real Scalar>
struct GateReport {
  Index block = 0;
  SequenceOffsets offsets;         ///< of the T_g tokens that reached the gate
  merge::GateValues<Scalar> gate;  ///< [T_g]
  Vector<std::uint8_t> forced;     ///< [T_g] or empty
  Vector<Index> kept;              ///< rows of the T_g that survive (soft: that would), rising
  double threshold = 0.0;          ///< in force in this call
};

/// What the encoder hands on.
template <Real Scalar>
struct EncoderOutput {
  RaggedBatch<Scalar> hidden;        ///< [T' x D] behind the final norm, with original positions
  Vector<Scalar> key_bias;           ///< [T'] or empty: sum of gate values, for cross-attention and pooling
  Vector<std::uint8_t> hidden_keys;  ///< [T'] or empty: not 0 where nobody may look
  Vector<std::uint8_t> deleted;      ///< [T'] or empty: not 0 where a row is softly deleted: readouts pass it over
  Vector<Index> kept;                ///< [T'] row of the incoming batch of every row handed on
  Vector<GateReport<Scalar>> gates;  ///< in block order; empty when deletion is off
  std::optional<merge::PoolingReport<Scalar>> pooling;
  merge::DeletionStatistics deletion;  ///< over all gates, or the pooling; soft: what hard deletion would do
};

/// Gradients of a loss with respect to what a gate said; either may be empty.
template <Real Scalar>
struct GateGradient {
  Vector<Scalar> values;  ///< [T_g]
  Vector<Scalar> logits;  ///< [T_g]
};

/// Requires the parts of an input to be as long as its batch, so that nothing is read beyond an end.
/// @throws std::invalid_argument if one is not
template <Real Scalar>
void check_input(const char* where, const EncoderInput<Scalar>& input, Index width) {
  const RaggedBatch<Scalar>& embedded = input.embedded;
  check_equal(where, "embedded.values.cols()", embedded.values.cols(), width);
  check_equal(where, "embedded.values.rows()", embedded.values.rows(), embedded.total());
  check_equal(where, "embedded.positions.size()", embedded.positions.size(), embedded.total());
  const auto fits = [&](const char* name, const auto& values) {
    if (!values.empty()) check_equal(where, name, std::ssize(values), embedded.total());
  };
  fits("ids.size()", input.ids);
  input.hidden.check(where, "hidden", embedded.total());
  input.forced.check(where, "forced", embedded.total());
  fits("boundary_noise.size()", input.boundary_noise);
}

/// Unmarks everything in `alive` [T] that is not among the rows `survivors`.
inline void keep_only(std::span<const Index> survivors, Vector<std::uint8_t>& alive) {
  Vector<std::uint8_t> still(alive.size(), 0);
  for (const Index row : survivors) still[row] = alive[row];
  alive = std::move(still);
}

/// Adds gradients of one length; an empty one is 0.
/// @throws std::invalid_argument if the lengths differ
template <Real Scalar>
void add_gradient(std::span<const Scalar> more, Vector<Scalar>& sum) {
  if (sum.empty()) sum.resize(std::ssize(more), Scalar{0});
  if (!more.empty()) check_equal("add_gradient", "more.size()", std::ssize(more), sum.size());
  if (!more.empty()) std::transform(sum.begin(), sum.end(), more.begin(), sum.begin(), std::plus<>());
}

/// What self-attention in a state may look at. The context points into its arguments.
template <Real Scalar>
nn::AttentionContext<Scalar> self_attention_context(const merge::TokenState<Scalar>& state,
                                                    const nn::DistanceBias<Scalar>& bias,
                                                    const std::optional<double>& excess_limit) {
  nn::AttentionContext<Scalar> context;
  context.queries = context.keys = state.offsets.ranges();
  context.query_positions = context.key_positions = state.positions;
  if (bias.values.size() > 0) context.position_bias = &bias;
  context.key_bias = state.key_bias;
  context.hidden_keys = state.hidden;
  if (excess_limit) context.excess_limit = &*excess_limit;
  return context;
}

/// The report of gate `number` on x [T_g x D] in a state of the input's tokens; `kept` is left empty. `caches` points
/// to one a gate for training, when `rng` must be there, or is null.
template <Real Scalar, class CachesPointer>
GateReport<Scalar> ask_gate(const merge::Gate<Scalar>& gate, [[maybe_unused]] Index number, const Matrix<Scalar>& x,
                            const merge::TokenState<Scalar>& state, const EncoderInput<Scalar>& input,
                            const merge::DeletionOptions& options, Rng* rng, CachesPointer caches) {
  Vector<TokenId> ids;
  if (!input.ids.empty())
    for (const Index row : state.origin) ids.push_back(input.ids[static_cast<std::size_t>(row)]);
  const merge::GateInput gate_input{state.offsets, ids, state.forced, options.fixed_rule_scope};
  GateReport<Scalar> report;
  report.block = gate.config().block;
  report.offsets = state.offsets;
  report.forced = state.forced;
  report.threshold = options.threshold.value_or(gate.config().effective_threshold());
  if constexpr (std::same_as<CachesPointer, std::nullptr_t>)
    report.gate = gate.forward(x, gate_input, rng);
  else
    report.gate = gate.forward(x, gate_input, *rng, (*caches)[number]);
  return report;
}

}  // namespace merganser::models
