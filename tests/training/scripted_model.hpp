// A model that does what a test tells it: the least that the objective and the trainer ask of a model.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <merganser/core/ragged_batch.hpp>
#include <merganser/core/random.hpp>
#include <merganser/core/types.hpp>
#include <merganser/merge/deletion_options.hpp>
#include <merganser/merge/deletion_statistics.hpp>
#include <merganser/merge/policy_layer.hpp>

namespace merganser::testing {

/// Every label has the logits `bias` [3]; the reports of policies are those of the script.
struct ScriptedModel {
  using ScalarType = double;
  using Gradients = ScriptedModel;

  using Report = merge::PolicyReport<double>;

  struct Encoded {
    Vector<Report> reports;
    merge::DeletionStatistics deletion;
  };

  struct Output {
    Matrix<double> logits;  ///< [L x 3]
    Encoded encoded;
    double score_excess = 0;
  };

  struct OutputGradients {
    Matrix<double> logits;
    Vector<merge::ReportGradient<double>> reports;
    double score_excess = 0;
  };

  struct ForwardOptions {
    merge::DeletionOptions deletion;
    std::optional<double> excess_limit;
  };

  struct Cache {};

  /// What the model answers and what it was asked; shared by all copies of a model.
  struct Script {
    Index tokens = 10, kept = 10;  ///< of the statistics
    Vector<Report> reports;
    double score_excess = 0;
    double gradient_factor = 1;
    Index random_draws = 0;  ///< numbers that a forward pass draws
    Vector<ForwardOptions> asked;
  };

  RowVector<double> bias = RowVector<double>::Zero(3);
  Matrix<double> weight = Matrix<double>::Ones(2, 2);
  std::shared_ptr<Script> script = std::make_shared<Script>();

  Output forward_targets(const TokenBatch&, const TokenBatch& target, const ForwardOptions& options, Rng& rng,
                         Cache&) const {
    script->asked.push_back(options);
    for (Index i = 0; i < script->random_draws; ++i) rng.next();
    Output output;
    output.logits = bias.replicate(target.total(), 1);
    output.encoded.reports = script->reports;
    output.encoded.deletion.tokens = {script->tokens};
    output.encoded.deletion.kept = {script->kept};
    output.score_excess = options.excess_limit ? script->score_excess : 0;
    return output;
  }

  void backward(const OutputGradients& grad, const Cache&, ScriptedModel& gradients) const {
    gradients.bias += script->gradient_factor * grad.logits.colwise().sum();
  }

  template <class Visitor>
  void visit(Visitor&& visitor, const std::string& prefix) {
    visitor(prefix + "bias", bias);
    visitor(prefix + "weight", weight);
  }
};

}  // namespace merganser::testing
