// What the cost model says of a model that runs over batches.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/data/example.hpp>
#include <merganser/evaluation/cost_model.hpp>

namespace merganser::inline MERGANSER_ISA::evaluation {

/// Floating-point operations of passes over the same batches.
struct PredictedCost {
  double without = 0.0;  ///< deletion
  double with = 0.0;

  /// Above 1: deletion saves operations. 1 of no batches.
  double speed_up() const { return with > 0 ? without / with : 1.0; }
  double ratio() const { return without > 0 ? with / without : 1.0; }
};

/// The lengths [N] of sequences.
inline std::vector<Index> lengths_of(const SequenceOffsets& offsets) {
  std::vector<Index> lengths;
  for (Index i = 0; i < offsets.count(); ++i) lengths.push_back(offsets.length(i));
  return lengths;
}

/// What a policy left of each sequence [N].
/// @param report has `offsets` of the tokens that reached it and `kept`, those whose places the rows behind it take
template <class Report>
std::vector<Index> kept_lengths(const Report& report) {
  std::vector<Index> lengths(static_cast<std::size_t>(report.offsets.count()), 0);
  Index sequence = 0;
  for (const Index row : report.kept) {
    while (row >= report.offsets.end(sequence)) ++sequence;
    ++lengths[static_cast<std::size_t>(sequence)];
  }
  return lengths;
}

/// Runs the model over the batches to see what its policies leave, and counts what that saves: `encoder_flops`, and
/// `decoder_flops` of a model that has a decoder. What a policy computes itself counts as what a gate does.
template <class Model>
PredictedCost predict_cost(const Model& model, std::span<const data::Batch> batches,
                           const typename Model::ForwardOptions& options) {
  const auto& config = model.config();
  const CostShape sizes = cost_shape(config);
  PredictedCost cost;
  for (const data::Batch& batch : batches) {
    const auto encoded = [&] {
      if constexpr (requires { model.encode(batch.source, options); })
        return model.encode(batch.source, options);
      else
        return model.forward_targets(batch.source, batch.target, options).encoded;
    }();
    const std::vector<Index> sources = lengths_of(batch.source.offsets);
    std::vector<std::vector<Index>> kept;
    CostShape shape = sizes;
    for (const auto& report : encoded.reports) {
      kept.push_back(kept_lengths(report));
      shape.policies.push_back({report.block, report.site});
    }
    const std::vector<Index>& memories = kept.empty() ? sources : kept.back();
    cost.without += encoder_flops(shape, sources);
    cost.with += encoder_flops(shape, sources, kept);
    if constexpr (requires { config.decoder_blocks; }) {
      const std::vector<Index> targets = lengths_of(batch.target.offsets);
      cost.without += decoder_flops(shape, targets, sources, config.vocabulary);
      cost.with += decoder_flops(shape, targets, memories, config.vocabulary);
    }
  }
  return cost;
}

}  // namespace merganser::evaluation
