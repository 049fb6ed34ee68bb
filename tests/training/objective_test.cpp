#include <merganser/training/objective.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/random_values.hpp"
#include "training/scripted_model.hpp"

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using merge::GateRegulariser;

namespace {

/// Four labels, one ignored, and two gates with a forced token.
struct Setup {
  ScriptedModel::Output output;
  Vector<TokenId> labels{2, 0, ignored_label, 1};

  Setup() {
    Rng rng(1);
    output.logits = random_matrix<double>(4, 3, rng);
    output.score_excess = 0.7;
    output.encoded.gates.resize(2);
    output.encoded.gates[0].gate = {{2.0, -1.0, 0.5}, {-3.6, -21.9, -11.3}};
    output.encoded.gates[1].gate = {{-4.0, 3.0}, {-29.5, -1.4}};
    output.encoded.gates[1].forced = {0, 1};
  }
};

double cross_entropy(const Setup& s) {
  double sum = 0;
  for (Index t = 0; t < 4; ++t)
    if (const TokenId label = s.labels[t]; label != ignored_label)
      sum += std::log(s.output.logits.row(t).array().exp().sum()) - s.output.logits(t, label);
  return sum / 3;
}

}  // namespace

TEST_CASE("the objective is the weighted sum of its named parts", "[objective]") {
  const Setup s;
  const auto result =
      evaluate_objective<ScriptedModel>(s.output, s.labels, {GateRegulariser::mean_gate, 0.4, 5.0}, 0.05);
  REQUIRE(result.parts.size() == 3);
  REQUIRE(result.parts[0].name == "cross_entropy");
  REQUIRE(result.parts[1].name == "gate");
  REQUIRE(result.parts[2].name == "score_excess");
  const double gate = ((-3.6 - 21.9 - 11.3) / 3 - 29.5) / 2;  // the mean of a gate without its forced tokens
  REQUIRE_THAT(result.part("cross_entropy"), WithinRel(cross_entropy(s), 1e-12));
  REQUIRE_THAT(result.part("gate"), WithinRel(gate, 1e-12));
  REQUIRE(result.part("score_excess") == 0.7);
  REQUIRE(result.part("no such part") == 0.0);
  REQUIRE_THAT(result.total, WithinRel(cross_entropy(s) + 0.05 * gate + 0.4 * 0.7, 1e-12));
  REQUIRE(result.counted == 3);
}

TEST_CASE("labels with the largest logit are counted, ignored ones are not", "[objective]") {
  Setup s;
  s.output.logits << 0, 1, 2, /**/ 0, 1, 2, /**/ 0, 1, 2, /**/ 0, 3, 2;
  const auto result = evaluate_objective<ScriptedModel>(s.output, s.labels, {}, 0);
  REQUIRE(result.counted == 3);
  REQUIRE(result.correct == 2);
}

TEST_CASE("the gradients of every regulariser agree with finite differences, times the factor", "[objective]") {
  for (const auto kind : {GateRegulariser::mean_gate, GateRegulariser::clamped_logits, GateRegulariser::logits,
                          GateRegulariser::variance}) {
    Setup s;
    const double factor = 0.25, alpha = 0.3;
    const auto value = [&] {
      return factor * evaluate_objective<ScriptedModel>(s.output, s.labels, {kind, 0.4, 5.0}, alpha).total;
    };
    auto result = evaluate_objective<ScriptedModel>(s.output, s.labels, {kind, 0.4, 5.0}, alpha, factor);
    REQUIRE(result.grad.gates.size() == 2);
    REQUIRE_THAT(numeric_derivative(value, s.output.score_excess), WithinRel(result.grad.score_excess, 1e-9));
    for (Index i = 0; i < 12; ++i)
      REQUIRE_THAT(numeric_derivative(value, s.output.logits.data()[i]), WithinAbs(result.grad.logits.data()[i], 1e-9));
    for (Index g = 0; g < 2; ++g) {
      auto& gate = s.output.encoded.gates[g].gate;
      for (Index t = 0; t < gate.values.size(); ++t) {
        const auto at = [t](const Vector<double>& grad) { return grad.empty() ? 0.0 : grad[t]; };
        CAPTURE(static_cast<int>(kind), g, t);
        REQUIRE_THAT(numeric_derivative(value, gate.values[t]), WithinAbs(at(result.grad.gates[g].values), 1e-9));
        REQUIRE_THAT(numeric_derivative(value, gate.logits[t]), WithinAbs(at(result.grad.gates[g].logits), 1e-9));
      }
    }
  }
}

TEST_CASE("without gates and without labels the objective is 0", "[objective]") {
  Setup s;
  s.output.encoded.gates.clear();
  s.output.score_excess = 0;
  REQUIRE_THAT(evaluate_objective<ScriptedModel>(s.output, s.labels, {}, 1.0).total,
               WithinRel(cross_entropy(s), 1e-12));
  s.labels.assign(4, ignored_label);
  const auto ignored = evaluate_objective<ScriptedModel>(s.output, s.labels, {}, 1.0);
  REQUIRE(ignored.total == 0.0);
  REQUIRE(ignored.counted == 0);
  REQUIRE(ignored.grad.logits.isZero(0));
  s.output.logits.resize(0, 3);
  REQUIRE(evaluate_objective<ScriptedModel>(s.output, {}, {}, 1.0).total == 0.0);
}

TEST_CASE("labels that do not fit are refused", "[objective]") {
  Setup s;
  s.labels.pop_back();
  REQUIRE_THROWS_AS(evaluate_objective<ScriptedModel>(s.output, s.labels, {}, 0), std::invalid_argument);
  s.labels.push_back(3);
  REQUIRE_THROWS_AS(evaluate_objective<ScriptedModel>(s.output, s.labels, {}, 0), std::invalid_argument);
}

namespace {

/// A model whose output has the report of a boundary predictor.
struct PooledModel : ScriptedModel {
  struct Encoded : ScriptedModel::Encoded {
    struct Report {
      struct {
        Vector<std::uint8_t> hard{1, 0, 0, 1, 1};
      } boundaries;
      SequenceOffsets offsets = SequenceOffsets::from_lengths(Vector<Index>{4, 1});
      Vector<Index> trials{4, 1};
      double prior = 0.3;
    };
    std::optional<Report> pooling = Report();
  };
  struct Output {
    Matrix<double> logits = Matrix<double>::Zero(1, 3);
    Encoded encoded;
    double score_excess = 0;
  };
  struct OutputGradients : ScriptedModel::OutputGradients {
    Vector<double> boundaries;
  };
};

}  // namespace

TEST_CASE("the prior loss of boundaries is a part of the objective", "[objective]") {
  PooledModel::Output output;
  const Vector<TokenId> labels{1};
  ObjectiveConfig config;
  config.boundary_weight = 0.6;
  const auto result = evaluate_objective<PooledModel>(output, labels, config, 0.0, 0.5);
  // 2 of 4, 1 of 1: (-log(6 0.3^2 0.7^2) / 4 - log(0.3)) / 2
  const double prior = (-std::log(6 * 0.09 * 0.49) / 4 - std::log(0.3)) / 2;
  REQUIRE_THAT(result.part("boundary_prior"), WithinRel(prior, 1e-12));
  REQUIRE_THAT(result.total, WithinRel(std::log(3.0) + 0.6 * prior, 1e-12));
  const auto whole = merge::boundary_prior_loss<double>(output.encoded.pooling->boundaries.hard,
                                                        output.encoded.pooling->offsets, Vector<Index>{4, 1}, 0.3);
  for (Index t = 0; t < 5; ++t)
    REQUIRE_THAT(result.grad.boundaries[t], WithinRel(0.6 * 0.5 * whole.grad_boundaries[t], 1e-12));
  output.encoded.pooling->trials.clear();  // a pooling without a boundary predictor
  REQUIRE(evaluate_objective<PooledModel>(output, labels, config, 0.0).parts.size() == 3);
  output.encoded.pooling.reset();
  const auto without = evaluate_objective<PooledModel>(output, labels, config, 0.0);
  REQUIRE(without.parts.size() == 3);
  REQUIRE(without.grad.boundaries.empty());
}
