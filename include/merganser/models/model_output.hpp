// What a whole model gives, and what training hands back to it.
#pragma once

#include <merganser/core/types.hpp>
#include <merganser/models/encoder.hpp>

namespace merganser::inline MERGANSER_ISA::models {

/// What a forward pass of a model gives. L logit rows: target tokens of an encoder-decoder, sequences of a classifier.
template <Real Scalar>
struct ModelOutput {
  Matrix<Scalar> logits;          ///< [L x vocabulary or classes]
  EncoderOutput<Scalar> encoded;  ///< survivors, gate values, deletion statistics
  /// Training, if asked for: mean max(score - limit, 0), averaged over the layers whose keys a gate can weaken (encoder
  /// blocks from the first gate on and all cross-attentions).
  double score_excess = 0.0;
};

/// Gradients of a loss with respect to a ModelOutput.
template <Real Scalar>
struct ModelOutputGradients {
  Matrix<Scalar> logits;  ///< as the logits
  double score_excess = 0.0;
  Vector<merge::ReportGradient<Scalar>> reports;  ///< one a report of a policy, or none
};

}  // namespace merganser::models
