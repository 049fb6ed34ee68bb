// What training minimises: a sum of named parts.
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/types.hpp>
#include <merganser/merge/boundary_prior.hpp>
#include <merganser/merge/gate_regulariser.hpp>
#include <merganser/nn/cross_entropy.hpp>
#include <merganser/training/batch_share.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// total = cross entropy + alpha * gate regulariser + beta * score excess, or + gamma * boundary prior loss where a
/// boundary predictor stands in place of gates.
///
/// Kallini et al. 2025, arXiv 2410.20771, sections 3.2 and 3.3. alpha comes from the controller at every step.
struct ObjectiveConfig {
  merge::GateRegulariser regulariser = merge::GateRegulariser::mean_gate;
  double score_penalty = 0.0;  ///< beta, on the mean of max(score - score_limit, 0); wanted with unbounded scores
  double score_limit = 5.0;
  double boundary_weight = 1.0;  ///< gamma
};

/// One term of the objective.
struct ObjectivePart {
  std::string name;    ///< "cross_entropy", "gate", "score_excess"; with a boundary predictor "boundary_prior"
  double value = 0.0;  ///< before weighting
  double weight = 1.0;
  double share = 1.0;  ///< that the batch has in the mean over all batches of a step, see BatchShare
};

/// The objective of one batch and its gradients.
template <class Model>
struct ObjectiveResult {
  double total = 0.0;
  Vector<ObjectivePart> parts;
  Index counted = 0;                     ///< labels that are not ignored
  Index correct = 0;                     ///< of those, labels that had the largest logit
  typename Model::OutputGradients grad;  ///< of factor * total

  double part(const std::string& name) const {
    for (const ObjectivePart& p : parts)
      if (p.name == name) return p.value;
    return 0.0;
  }
};

/// The gate regulariser averaged over the gates of an output, and its gradients times `weight`.
template <class Model>
double regularise_gates(const typename Model::Output& output, merge::GateRegulariser kind, double weight,
                        typename Model::OutputGradients& grad) {
  using Scalar = typename Model::ScalarType;
  const auto& reports = output.encoded.gates;
  double sum = 0;
  for (const auto& report : reports) {
    auto result =
        merge::regularise<Scalar>(kind, report.gate.values, report.gate.logits, report.forced, report.threshold);
    sum += result.value;
    const auto share = static_cast<Scalar>(weight / static_cast<double>(reports.size()));
    for (Scalar& g : result.grad_values) g *= share;
    for (Scalar& g : result.grad_logits) g *= share;
    grad.gates.push_back({std::move(result.grad_values), std::move(result.grad_logits)});
  }
  return reports.empty() ? 0.0 : sum / static_cast<double>(reports.size());
}

/// The prior loss of an output's boundaries, and its gradient times `weight`; nothing without a boundary predictor. A
/// model's output need not know of poolings.
template <class Model>
std::optional<double> regularise_boundaries(const typename Model::Output& output, double weight,
                                            typename Model::OutputGradients& grad) {
  if constexpr (requires { output.encoded.pooling; }) {
    const auto& report = output.encoded.pooling;
    if (!report || report->trials.empty()) return std::nullopt;
    using Scalar = typename Model::ScalarType;
    auto result =
        merge::boundary_prior_loss<Scalar>(report->boundaries.hard, report->offsets, report->trials, report->prior);
    grad.boundaries = std::move(result.grad_boundaries);
    for (Scalar& g : grad.boundaries) g *= static_cast<Scalar>(weight);
    return result.value;
  }
  return std::nullopt;
}

/// Evaluates the objective of one forward pass. `labels` are those of the logit rows; `share` scales the gradients of
/// each part. Exact over several batches but for the variance of gates, which is no mean, the tokens of a second gate
/// under hard deletion, and score excess where lengths differ (it is a mean over pairs of tokens).
template <class Model>
ObjectiveResult<Model> evaluate_objective(const typename Model::Output& output, std::span<const TokenId> labels,
                                          const ObjectiveConfig& config, double alpha, const BatchShare& share = {}) {
  using Scalar = typename Model::ScalarType;
  ObjectiveResult<Model> result;
  const nn::CrossEntropy<Scalar> cross_entropy;
  typename nn::CrossEntropy<Scalar>::Cache cache;
  const auto loss = cross_entropy.forward(output.logits, labels, cache);
  result.counted = loss.counted;
  for (Index t = 0; t < output.logits.rows(); ++t) {
    Index best = 0;
    output.logits.row(t).maxCoeff(&best);
    if (labels[static_cast<std::size_t>(t)] == best) ++result.correct;
  }
  result.grad.logits = cross_entropy.backward(share.labels, cache);
  result.parts.push_back({"cross_entropy", loss.mean, 1.0, share.labels});
  const double gate = regularise_gates<Model>(output, config.regulariser, alpha * share.tokens, result.grad);
  result.parts.push_back({"gate", gate, alpha, share.tokens});
  result.grad.score_excess = config.score_penalty * share.tokens;
  result.parts.push_back({"score_excess", output.score_excess, config.score_penalty, share.tokens});
  const auto prior = regularise_boundaries<Model>(output, config.boundary_weight * share.sequences, result.grad);
  if (prior) result.parts.push_back({"boundary_prior", *prior, config.boundary_weight, share.sequences});
  for (const ObjectivePart& part : result.parts) result.total += part.weight * part.value;
  return result;
}

}  // namespace merganser::training
