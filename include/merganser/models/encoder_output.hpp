// What goes into an encoder and what comes out: batches, reports, survivors; and what its blocks look at.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include <merganser/core/check.hpp>
#include <merganser/core/marks.hpp>
#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/merge/token_state.hpp>
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
  RaggedBatch<Scalar> embedded;       ///< [T x D] with original positions
  std::span<const TokenId> ids = {};  ///< [T]; for policies that look at them
  Marks hidden = {};                  ///< [T] or none: where no query may look
  Marks forced = {};                  ///< [T] or none: pads; nobody looks at them, and no policy keeps them
  Rng* rng = nullptr;                 ///< needed by random policies at inference
};

/// What the encoder hands on.
template <Real Scalar>
struct EncoderOutput {
  RaggedBatch<Scalar> hidden;  ///< [T' x D] behind the final norm, with original positions
  Vector<Scalar> key_bias;     ///< [T'] or empty: sum of gate values and log sizes, for cross-attention and readouts
  Vector<std::uint8_t> hidden_keys;  ///< [T'] or empty: not 0 where nobody may look
  Vector<std::uint8_t> deleted;      ///< [T'] or empty: not 0 where a row is softly deleted: readouts pass it over
  Vector<Index> origin;              ///< [T'] row of the incoming batch whose place each row handed on takes
  Vector<Index> group;               ///< [T] row handed on that each incoming one is in, of several the first, or -1
  Vector<merge::PolicyReport<Scalar>> reports;  ///< of the policies that acted, in their order
  merge::DeletionStatistics deletion;           ///< over all policies; soft: what hard deletion would do
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
}

/// Unmarks everything in `alive` [T] that is not among the rows `survivors`.
inline void keep_only(std::span<const Index> survivors, Vector<std::uint8_t>& alive) {
  Vector<std::uint8_t> still(alive.size(), 0);
  for (const Index row : survivors) still[row] = alive[row];
  alive = std::move(still);
}

using merge::add_gradient;

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

}  // namespace merganser::models
