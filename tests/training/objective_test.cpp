#include <merganser/training/objective.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/laws.hpp"
#include "support/random_values.hpp"
#include "training/scripted_model.hpp"

namespace objective_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using merge::MeanOver;

/// Four labels, one ignored, and two gates.
struct Setup {
  ScriptedModel::Output output;
  Vector<TokenId> labels{2, 0, ignored_label, 1};

  Setup() {
    Rng rng(1);
    output.logits = random_matrix<double>(4, 3, rng);
    output.score_excess = 0.7;
    output.encoded.reports.resize(2);
    output.encoded.reports[0].auxiliaries = {{"gate", -12.5, true}};
    output.encoded.reports[1].auxiliaries = {{"gate", -29.5, true}};
  }
};

double cross_entropy(const Setup& s) {
  double sum = 0;
  for (Index t = 0; t < 4; ++t)
    if (const TokenId label = s.labels[t]; label != ignored_label)
      sum += std::log(s.output.logits.row(t).array().exp().sum()) - s.output.logits(t, label);
  return sum / 3;
}

TEST_CASE("the objective is the weighted sum of its named parts", "[objective]") {
  const Setup s;
  const auto result = evaluate_objective<ScriptedModel>(s.output, s.labels, {0.4, 5.0}, 0.05);
  REQUIRE(result.parts.size() == 3);
  REQUIRE(result.parts[0].name == "cross_entropy");
  REQUIRE(result.parts[1].name == "gate");
  REQUIRE(result.parts[2].name == "score_excess");
  const double gate = (-12.5 - 29.5) / 2;
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

/// Auxiliaries of every kind: two that are steered, two of one name in different policies, one that is a mean over
/// sequences, and a policy that has none.
Setup with_auxiliaries() {
  Setup s;
  auto& reports = s.output.encoded.reports;
  reports[0].auxiliaries.push_back({"balance", 0.3});
  reports[1].auxiliaries.push_back({"prior", 1.9, false, MeanOver::sequences});
  reports.resize(4);
  reports[3].auxiliaries.push_back({"balance", 0.6});
  return s;
}

TEST_CASE("steered auxiliaries are averaged and weighed by alpha, others added up by name", "[objective]") {
  const Setup s = with_auxiliaries();
  const ObjectiveConfig config{0.4, 5.0, 0.7};
  const auto result = evaluate_objective<ScriptedModel>(s.output, s.labels, config, 0.05);
  REQUIRE(result.parts.size() == 5);
  REQUIRE(result.parts[1].name == "gate");
  REQUIRE(result.parts[1].value == -21);
  REQUIRE(result.parts[1].weight == 0.05);
  REQUIRE(result.parts[2].name == "score_excess");
  REQUIRE(result.parts[3].name == "balance");
  REQUIRE_THAT(result.parts[3].value, WithinRel(0.9, 1e-15));
  REQUIRE(result.parts[3].weight == 0.7);
  REQUIRE(result.parts[4].name == "prior");
  REQUIRE(result.parts[4].value == 1.9);
  REQUIRE_THAT(result.total, WithinRel(cross_entropy(s) - 0.05 * 21 + 0.4 * 0.7 + 0.7 * (0.9 + 1.9), 1e-12));
}

TEST_CASE("the gradients of the objective agree with finite differences, times the factor", "[objective]") {
  Setup s = with_auxiliaries();
  const double factor = 0.25, alpha = 0.3;
  const ObjectiveConfig config{0.4, 5.0, 0.7};
  const auto value = [&] {
    return factor * evaluate_objective<ScriptedModel>(s.output, s.labels, config, alpha).total;
  };
  auto result = evaluate_objective<ScriptedModel>(s.output, s.labels, config, alpha, factor);
  REQUIRE(result.grad.reports.size() == 4);
  REQUIRE_THAT(numeric_derivative(value, s.output.score_excess), WithinRel(result.grad.score_excess, 1e-9));
  for (Index i = 0; i < 12; ++i)
    REQUIRE_THAT(numeric_derivative(value, s.output.logits.data()[i]), WithinAbs(result.grad.logits.data()[i], 1e-9));
  for (Index r = 0; r < 4; ++r) {
    auto& auxiliaries = s.output.encoded.reports[r].auxiliaries;
    REQUIRE(result.grad.reports[r].scores.empty());
    REQUIRE(result.grad.reports[r].auxiliaries.size() == auxiliaries.size());
    for (Index a = 0; a < auxiliaries.size(); ++a) {
      CAPTURE(r, a);
      REQUIRE_THAT(numeric_derivative(value, auxiliaries[a].value),
                   WithinAbs(result.grad.reports[r].auxiliaries[a], 1e-9));
    }
  }
}

TEST_CASE("an auxiliary has the share of what it is a mean over", "[objective]") {
  const Setup s = with_auxiliaries();
  BatchShare share;
  share.labels = 0.5;
  share.tokens = 0.25;
  share.sequences = 0.125;
  const auto result = evaluate_objective<ScriptedModel>(s.output, s.labels, {0.4, 5.0, 0.7}, 0.3, share);
  const auto& reports = result.grad.reports;
  REQUIRE_THAT(reports[0].auxiliaries[0], WithinRel(0.3 * 0.25 / 2, 1e-15));
  REQUIRE_THAT(reports[0].auxiliaries[1], WithinRel(0.7 * 0.25, 1e-15));
  REQUIRE_THAT(reports[1].auxiliaries[1], WithinRel(0.7 * 0.125, 1e-15));
  REQUIRE(result.parts[1].share == 0.25);
  REQUIRE(result.parts[3].share == 0.25);
  REQUIRE(result.parts[4].share == 0.125);
}

TEST_CASE("without gates and without labels the objective is 0", "[objective]") {
  Setup s;
  s.output.encoded.reports.clear();
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

TEST_CASE("the prior loss of boundaries is a part of the objective", "[objective]") {
  ScriptedModel::Output output;
  output.logits = Matrix<double>::Zero(1, 3);
  // 2 of 4, 1 of 1: (-log(6 0.3^2 0.7^2) / 4 - log(0.3)) / 2
  const double prior = (-std::log(6 * 0.09 * 0.49) / 4 - std::log(0.3)) / 2;
  output.encoded.reports.resize(1);
  output.encoded.reports[0].auxiliaries = {{"boundary_prior", prior, false, MeanOver::sequences}};
  const Vector<TokenId> labels{1};
  ObjectiveConfig config;
  config.auxiliary_weight = 0.6;
  const auto result = evaluate_objective<ScriptedModel>(output, labels, config, 0.0, 0.5);
  REQUIRE(result.part("boundary_prior") == prior);
  REQUIRE_THAT(result.total, WithinRel(std::log(3.0) + 0.6 * prior, 1e-12));
  REQUIRE_THAT(result.grad.reports[0].auxiliaries[0], WithinRel(0.6 * 0.5, 1e-15));
  output.encoded.reports[0].auxiliaries.clear();  // a pooling without a boundary predictor
  REQUIRE(evaluate_objective<ScriptedModel>(output, labels, config, 0.0).parts.size() == 3);
  output.encoded.reports.clear();
  const auto without = evaluate_objective<ScriptedModel>(output, labels, config, 0.0);
  REQUIRE(without.parts.size() == 3);
  REQUIRE(without.grad.reports.empty());
}

TEST_CASE("a report that asks gets the loss of every sequence", "[objective]") {
  Setup s;
  auto& reports = s.output.encoded.reports;
  reports[0].auxiliaries.clear();
  reports[1].auxiliaries.clear();
  const SequenceOffsets sequences = SequenceOffsets::from_lengths(Vector<Index>{1, 0, 3});
  const auto evaluate = [&] {
    return evaluate_objective<ScriptedModel>(s.output, s.labels, {}, 0.3, BatchShare(0.5), sequences);
  };
  const auto unasked = evaluate();
  REQUIRE(unasked.grad.reports.empty());
  reports[1].wants_sequence_losses = true;
  const auto result = evaluate();
  REQUIRE(result.total == unasked.total);
  REQUIRE(identical(result.grad.logits, unasked.grad.logits));
  REQUIRE(result.grad.reports.size() == 2);
  REQUIRE(result.grad.reports[0].sequence_losses.empty());
  const auto& losses = result.grad.reports[1].sequence_losses;
  REQUIRE(losses.size() == 3);
  const auto surprise = [&](Index t) {
    return std::log(s.output.logits.row(t).array().exp().sum()) - s.output.logits(t, s.labels[t]);
  };
  REQUIRE_THAT(losses[0].mean, WithinAbs(surprise(0), 1e-14));
  REQUIRE_THAT(losses[2].mean, WithinAbs((surprise(1) + surprise(3)) / 2, 1e-14));
  REQUIRE_THAT(losses[0].weight, WithinAbs(0.5 / 3, 1e-15));
  REQUIRE_THAT(losses[2].weight, WithinAbs(0.5 * 2 / 3, 1e-15));
  REQUIRE((losses[1].mean == 0 && losses[1].weight == 0));
  double sum = 0;
  for (const merge::SequenceLoss& loss : losses) sum += loss.weight * loss.mean;
  REQUIRE_THAT(sum, WithinAbs(0.5 * cross_entropy(s), 1e-14));
  reports[0].auxiliaries = {{"gate", -12.5, true}};
  REQUIRE(evaluate().grad.reports[0].auxiliaries.size() == 1);
  REQUIRE(evaluate().grad.reports[1].sequence_losses.size() == 3);
  s.labels.assign(4, ignored_label);
  for (const auto ignored = evaluate(); const auto& loss : ignored.grad.reports[1].sequence_losses)
    REQUIRE(loss.weight == 0);
  REQUIRE_THROWS_AS(evaluate_objective<ScriptedModel>(s.output, s.labels, {}, 0.3), std::invalid_argument);
}

}  // namespace objective_test
