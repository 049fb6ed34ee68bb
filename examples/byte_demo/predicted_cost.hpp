// What the cost model says of a model that runs over batches.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <merganser/data/example.hpp>
#include <merganser/evaluation/cost_model.hpp>
#include <merganser/models/encoder_batch.hpp>

#include <options.hpp>

namespace byte_demo {

/// Examples in their order, 32 a batch.
inline std::vector<merganser::data::Batch> batches_of(const std::vector<merganser::data::Example>& examples) {
  constexpr std::size_t sequences_a_batch = 32;
  std::vector<merganser::data::Batch> batches;
  const std::span<const merganser::data::Example> all(examples);
  for (std::size_t begin = 0; begin < all.size(); begin += sequences_a_batch)
    batches.push_back(merganser::data::make_batch(all.subspan(begin, std::min(sequences_a_batch, all.size() - begin))));
  return batches;
}

inline std::vector<Index> lengths_of(const merganser::TokenBatch& batch) {
  std::vector<Index> lengths;
  for (Index i = 0; i < batch.count(); ++i) lengths.push_back(batch.offsets.length(i));
  return lengths;
}

/// What a gate left of each sequence.
inline std::vector<Index> kept_lengths(const models::GateReport<float>& report) {
  std::vector<Index> lengths(static_cast<std::size_t>(report.offsets.count()), 0);
  Index sequence = 0;
  for (const Index row : report.kept) {
    while (row >= report.offsets.end(sequence)) ++sequence;
    ++lengths[static_cast<std::size_t>(sequence)];
  }
  return lengths;
}

/// Floating-point operations of passes over the same batches.
struct PredictedCost {
  double without = 0.0;  ///< deletion
  double with = 0.0;

  double speed_up() const { return with > 0 ? without / with : 1.0; }
  double ratio() const { return without > 0 ? with / without : 1.0; }
};

/// A pooling counts as a gate that leaves as many rows as it makes; what it computes itself is small and left out.
template <class Model>
PredictedCost predict_cost(const Model& model, const std::vector<merganser::data::Batch>& batches,
                           const typename Model::ForwardOptions& options) {
  namespace evaluation = merganser::evaluation;
  const auto& config = model.config();
  evaluation::CostShape shape = evaluation::cost_shape(config);
  if (model.encoder.pooling) shape.gate_blocks.push_back(model.encoder.pooling->config().block);
  PredictedCost cost;
  for (const merganser::data::Batch& batch : batches) {
    const auto encoded = [&] {
      if constexpr (requires { model.encode(batch.source, options); })
        return model.encode(batch.source, options);
      else
        return model.forward_targets(batch.source, batch.target, options).encoded;
    }();
    const std::vector<Index> sources = lengths_of(batch.source), targets = lengths_of(batch.target);
    std::vector<std::vector<Index>> kept;
    for (const auto& report : encoded.gates) kept.push_back(kept_lengths(report));
    if (encoded.pooling) kept.emplace_back(encoded.pooling->lengths.begin(), encoded.pooling->lengths.end());
    const std::vector<Index>& memories = kept.empty() ? sources : kept.back();
    cost.without += evaluation::encoder_flops(shape, sources);
    cost.with += evaluation::encoder_flops(shape, sources, kept);
    if constexpr (requires { config.decoder_blocks; }) {
      cost.without += evaluation::decoder_flops(shape, targets, sources, config.vocabulary);
      cost.with += evaluation::decoder_flops(shape, targets, memories, config.vocabulary);
    }
  }
  return cost;
}

}  // namespace byte_demo
