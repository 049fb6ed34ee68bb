// What training minimises: a sum of named parts.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include <merganser/core/check.hpp>
#include <merganser/core/sequence_offsets.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/policy_layer.hpp>
#include <merganser/nn/cross_entropy.hpp>
#include <merganser/training/batch_share.hpp>

namespace merganser::inline MERGANSER_ISA::training {

/// total = cross entropy + alpha * gate regulariser + beta * score excess + gamma * what other auxiliary losses the
/// policies of the model have, such as the prior of a boundary predictor.
///
/// Kallini et al. 2025, arXiv 2410.20771, sections 3.2 and 3.3. alpha comes from the controller at every step.
struct ObjectiveConfig {
  double score_penalty = 0.0;  ///< beta, on the mean of max(score - score_limit, 0); wanted with unbounded scores
  double score_limit = 5.0;
  double auxiliary_weight = 1.0;  ///< gamma
};

/// One term of the objective.
struct ObjectivePart {
  std::string
      name;  ///< "cross_entropy", "gate", "score_excess", and those of other auxiliaries, such as "boundary_prior"
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

/// The auxiliary losses of an output's policies: first "gate", the mean of the steered ones, weighed by alpha, then the
/// others, weighed by gamma and added up by name. Their gradients go into `grad`.
template <class Model>
Vector<ObjectivePart> weigh_auxiliaries(const typename Model::Output& output, double alpha, double gamma,
                                        const BatchShare& share, typename Model::OutputGradients& grad) {
  const auto& reports = output.encoded.reports;
  Vector<ObjectivePart> parts = {{"gate", 0.0, alpha, share.tokens}};
  double steered = 0, auxiliaries = 0;
  for (const auto& report : reports) {
    for (const merge::Auxiliary& auxiliary : report.auxiliaries) {
      auxiliaries += 1;
      if (auxiliary.steered) parts[0].value += auxiliary.value, steered += 1;
    }
  }
  if (steered > 0) parts[0].value /= steered;
  if (auxiliaries == 0) return parts;
  for (const auto& report : reports) {
    auto& grad_report = grad.reports.emplace_back();
    for (const merge::Auxiliary& auxiliary : report.auxiliaries) {
      const double part = auxiliary.over == merge::MeanOver::tokens ? share.tokens : share.sequences;
      grad_report.auxiliaries.push_back(auxiliary.steered ? alpha * part / steered : gamma * part);
      if (auxiliary.steered) continue;
      const auto same = std::find_if(parts.begin() + 1, parts.end(),
                                     [&](const ObjectivePart& other) { return other.name == auxiliary.name; });
      if (same == parts.end())
        parts.push_back({auxiliary.name, auxiliary.value, gamma, part});
      else
        same->value += auxiliary.value;
    }
  }
  return parts;
}

namespace detail {

/// What each sequence of labels adds to factor * cross entropy.
template <Real Scalar>
Vector<merge::SequenceLoss> sequence_losses(const typename nn::CrossEntropy<Scalar>::Result& loss,
                                            std::span<const TokenId> labels, const SequenceOffsets& sequences,
                                            double factor) {
  check_equal("evaluate_objective", "sequences.total()", sequences.total(), std::ssize(labels));
  Vector<merge::SequenceLoss> result;
  for (const RowRange& range : sequences.ranges()) {
    double sum = 0, counted = 0;
    for (Index t = range.begin; t < range.end(); ++t) {
      sum += static_cast<double>(loss.per_label[t]);
      if (labels[static_cast<std::size_t>(t)] != ignored_label) ++counted;
    }
    if (counted > 0)
      result.push_back({sum / counted, factor * counted / static_cast<double>(loss.counted)});
    else
      result.emplace_back();
  }
  return result;
}

}  // namespace detail

/// Evaluates the objective of one forward pass. `labels` are those of the logit rows; `sequences`, which of them are
/// one sequence's, is read where a report asks for the losses of sequences; `share` scales the gradients of each part.
/// Exact over several batches but for the variance of gates, which is no mean, the tokens of a second gate under hard
/// deletion, and score excess where lengths differ (it is a mean over pairs of tokens).
/// @throws std::invalid_argument if labels, or sequences that are asked for, do not fit
template <class Model>
ObjectiveResult<Model> evaluate_objective(const typename Model::Output& output, std::span<const TokenId> labels,
                                          const ObjectiveConfig& config, double alpha, const BatchShare& share = {},
                                          const SequenceOffsets& sequences = {}) {
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
  const Vector<ObjectivePart> auxiliaries =
      weigh_auxiliaries<Model>(output, alpha, config.auxiliary_weight, share, result.grad);
  result.parts.push_back(auxiliaries.front());
  const auto& reports = output.encoded.reports;
  for (Index r = 0; r < reports.size(); ++r) {
    if (!reports[r].wants_sequence_losses) continue;
    result.grad.reports.resize(reports.size());
    result.grad.reports[r].sequence_losses = detail::sequence_losses<Scalar>(loss, labels, sequences, share.labels);
  }
  result.grad.score_excess = config.score_penalty * share.tokens;
  result.parts.push_back({"score_excess", output.score_excess, config.score_penalty, share.tokens});
  result.parts.append(auxiliaries.begin() + 1, auxiliaries.end());
  for (const ObjectivePart& part : result.parts) result.total += part.weight * part.value;
  return result;
}

}  // namespace merganser::training
