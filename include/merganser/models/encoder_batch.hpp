// What goes into an encoder and what comes out: batches, gate reports, survivors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/delete_gate.hpp>
#include <merganser/merge/deletion_statistics.hpp>

namespace merganser::models {

/// Marks the places [T] where `ids` equals `id`; empty when there is none.
inline std::vector<std::uint8_t> mark_ids(std::span<const TokenId> ids, TokenId id) {
  std::vector<std::uint8_t> marks(ids.size(), 0);
  std::transform(ids.begin(), ids.end(), marks.begin(),
                 [id](TokenId other) { return static_cast<std::uint8_t>(other == id ? 1 : 0); });
  if (std::find(marks.begin(), marks.end(), std::uint8_t{1}) == marks.end()) marks.clear();
  return marks;
}

/// A batch on its way into the encoder.
template <Real Scalar>
struct EncoderInput {
  RaggedBatch<Scalar> embedded;               ///< [T x D] with original positions
  std::span<const TokenId> ids = {};          ///< [T]; only fixed-rule gates look at them
  std::span<const std::uint8_t> hidden = {};  ///< [T] or empty: not 0 where no query may look (pads)
  std::span<const std::uint8_t> forced = {};  ///< [T] or empty: not 0 where gates must delete (pads)
  Rng* rng = nullptr;                         ///< needed by random gates at inference
};

/// What one gate said and did.
template <Real Scalar>
struct GateReport {
  Index block = 0;
  SequenceOffsets offsets;           ///< of the T_g tokens that reached the gate
  merge::GateValues<Scalar> gate;    ///< [T_g]
  std::vector<std::uint8_t> forced;  ///< [T_g] or empty
  std::vector<Index> kept;           ///< rows of the T_g that survive (soft: that would), rising
  double threshold = 0.0;            ///< in force in this call
};

/// What the encoder hands on.
template <Real Scalar>
struct EncoderOutput {
  RaggedBatch<Scalar> hidden;             ///< [T' x D] behind the final norm, with original positions
  std::vector<Scalar> key_bias;           ///< [T'] or empty: sum of gate values, for cross-attention and pooling
  std::vector<std::uint8_t> hidden_keys;  ///< [T'] or empty: not 0 where nobody may look
  std::vector<Index> kept;                ///< [T'] row of the incoming batch of every row handed on
  std::vector<GateReport<Scalar>> gates;  ///< in block order; empty when deletion is off
  merge::DeletionStatistics deletion;     ///< over all gates; soft: what hard deletion would do
};

/// Gradients of a loss with respect to what a gate said; either may be empty.
template <Real Scalar>
struct GateGradient {
  std::vector<Scalar> values;  ///< [T_g]
  std::vector<Scalar> logits;  ///< [T_g]
};

}  // namespace merganser::models
