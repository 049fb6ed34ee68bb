// A gate between two layers of an encoder of anyone's own: forwards while training, and back.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/deletion_step.hpp>
#include <merganser/merge/gate.hpp>
#include <merganser/models/encoder_batch.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// One application of a gate, which is the cache of its own backward pass. `Encoder` does the same between its blocks.
template <Real Scalar>
class GatedStep {
 public:
  /// The vectors of all tokens [T x D] become those of the T' that are left. What is known of them, with the key bias
  /// that soft deletion leaves, and what objective and statistics need go into `tokens` and `output`. In the mode
  /// `none` nothing happens.
  /// @param ids [T], for a fixed gate; may be empty for others
  /// @throws std::invalid_argument as Gate and DeletionStep
  Matrix<Scalar> forward(const merge::Gate<Scalar>& gate, Matrix<Scalar> x, std::span<const TokenId> ids,
                         const merge::DeletionOptions& options, Rng& rng, merge::TokenState<Scalar>& tokens,
                         EncoderOutput<Scalar>& output) {
    applied_ = options.mode != merge::DeletionMode::none;
    if (!applied_) return x;
    const double threshold = options.threshold.value_or(gate.config().effective_threshold());
    GateReport<Scalar> report;
    report.block = gate.config().block;
    report.offsets = tokens.offsets;
    report.gate = gate.forward(x, {tokens.offsets, ids, tokens.forced}, rng, cache_);
    report.forced = tokens.forced;
    report.threshold = threshold;
    step_ = merge::DeletionStep<Scalar>(tokens, report.gate.values, threshold, options);
    report.kept = step_.kept_rows();
    Vector<std::uint8_t> alive(x.rows(), 0);
    for (const Index row : report.kept) alive[row] = 1;
    output.deletion = merge::DeletionStatistics::count(tokens.offsets, alive, tokens.forced);
    output.gates.push_back(std::move(report));
    tokens = step_.after();
    return step_.forward(std::move(x));
  }

  /// The gradient of `forward`'s result [T' x D] becomes that of its argument [T x D]; the gate's own is added to.
  /// @param grad_bias of the key bias after the step, [T'] or empty
  /// @param grad_output of the loss with respect to what the gate said, as an objective gives it
  Matrix<Scalar> backward(const merge::Gate<Scalar>& gate, Matrix<Scalar> grad, std::span<const Scalar> grad_bias,
                          const Vector<GateGradient<Scalar>>& grad_output, merge::Gate<Scalar>& gradients) const {
    if (!applied_) return grad;
    Vector<Scalar> grad_values, grad_logits;
    step_.backward_bias(grad_bias, grad_values);
    for (const GateGradient<Scalar>& more : grad_output) {
      grad_values.resize(more.values.size());
      for (Index t = 0; t < more.values.size(); ++t) grad_values[t] += more.values[t];
      grad_logits = more.logits;
    }
    Matrix<Scalar> grad_x = step_.backward(std::move(grad));
    grad_x += gate.backward(grad_values, grad_logits, cache_, gradients, grad_x.rows(), grad_x.cols());
    return grad_x;
  }

 private:
  typename merge::Gate<Scalar>::Cache cache_;
  merge::DeletionStep<Scalar> step_;
  bool applied_ = false;
};

}  // namespace merganser::models
