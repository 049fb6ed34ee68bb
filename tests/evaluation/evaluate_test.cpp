// Evaluation: against a direct computation, in every mode, with a clock that the test turns.
#include <merganser/evaluation/evaluate.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include <merganser/nn/cross_entropy.hpp>
#include "support/catch.hpp"

namespace evaluate_test {

using namespace merganser;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using evaluation::compare;
using evaluation::Comparison;
using evaluation::evaluate;
using evaluation::EvaluationConfig;
using evaluation::EvaluationResult;
using merge::DeletionMode;

using Model = models::EncoderDecoder<float>;

Model small_model(Vector<io::GateConfig> gates) {
  Model::Config config;
  config.vocabulary = 30;
  config.encoder.width = 12;
  config.encoder.heads = 2;
  config.encoder.head_width = 5;
  config.encoder.feed_forward_width = 14;
  config.encoder.blocks = 2;
  Model model(config, io::placements_of<float>({std::move(gates), {}}, config.encoder));
  Rng rng(4);
  model.initialize(rng);
  return model;
}

io::GateConfig learned_gate() {
  io::GateConfig gate;
  gate.block = 1;
  gate.initial_bias = 0.0;
  return gate;
}

io::GateConfig random_gate() {
  io::GateConfig gate = learned_gate();
  gate.kind = io::GateKind::random;
  gate.rate = 0.4;
  return gate;
}

/// Two batches of ragged sequences; sources end with 1, one label is ignored.
std::vector<data::Batch> small_batches() {
  Rng rng(9);
  std::vector<data::Batch> batches(2);
  for (data::Batch& batch : batches)
    for (const int length : {9, 1, 14}) {
      data::Example example;
      for (int t = 0; t < length; ++t) example.source.push_back(static_cast<TokenId>(3 + rng.below(27)));
      example.source.push_back(1);
      for (int t = 0; t < length / 2 + 1; ++t) example.target.push_back(static_cast<TokenId>(3 + rng.below(27)));
      batch.push_back(example);
    }
  batches[1].target.ids[2] = ignored_label;
  return batches;
}

Model::ForwardOptions with_mode(DeletionMode mode) {
  Model::ForwardOptions options;
  options.deletion.mode = mode;
  return options;
}

void check_same_scores(const EvaluationResult& a, const EvaluationResult& b) {
  CHECK(a.deletion_rate == b.deletion_rate);
  CHECK(a.bits_per_byte == b.bits_per_byte);
  CHECK(a.token_accuracy == b.token_accuracy);
  CHECK(a.sequence_accuracy == b.sequence_accuracy);
  CHECK(a.deletion.kept == b.deletion.kept);
}

/// Time as the test sets it.
struct FakeClock {
  using duration = std::chrono::milliseconds;
  using time_point = std::chrono::time_point<FakeClock, duration>;
  static inline int now_ms = 0;
  static time_point now() { return time_point(duration(now_ms)); }
};

/// A model of 30 ids that always says 1, takes the next of the given times and notes its modes.
struct FakeModel {
  using ScalarType = double;
  struct ForwardOptions {
    merge::DeletionOptions deletion;
    Rng* rng = nullptr;
  };
  struct Encoded {
    merge::DeletionStatistics deletion;
  };
  struct Output {
    Matrix<double> logits;
    Encoded encoded;
  };

  Output forward_targets(const TokenBatch& source, const TokenBatch& target, const ForwardOptions& options) const {
    FakeClock::now_ms += calls.size() < times.size() ? times[calls.size()] : 1;
    calls.push_back(options.deletion);
    Output output;
    output.logits = Matrix<double>::Zero(target.total(), 30);
    output.logits.col(1).setOnes();
    for (Index i = 0; i < source.count(); ++i) {
      output.encoded.deletion.tokens.push_back(source.offsets.length(i));
      output.encoded.deletion.kept.push_back(1);
    }
    return output;
  }

  std::vector<int> times;
  mutable std::vector<merge::DeletionOptions> calls;
};

TEST_CASE("The median", "[evaluation][evaluate]") {
  CHECK(evaluation::median({}) == 0.0);
  CHECK(evaluation::median({4}) == 4.0);
  CHECK(evaluation::median({9, 1, 4}) == 4.0);
  CHECK(evaluation::median({9, 1, 4, 6}) == 5.0);
}

TEST_CASE("A result is what a direct computation gives", "[evaluation][evaluate]") {
  const Model model = small_model({learned_gate()});
  const std::vector<data::Batch> batches = small_batches();
  for (const DeletionMode mode :
       {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything}) {
    CAPTURE(static_cast<int>(mode));
    const Model::ForwardOptions options = with_mode(mode);
    double nats = 0, right = 0, right_sequences = 0;
    Index labels = 0, kept = 0;
    for (const data::Batch& batch : batches) {
      const auto output = model.forward_targets(batch.source, batch.target, options);
      const auto loss = nn::CrossEntropy<float>().forward(output.logits, batch.target.ids);
      nats += loss.mean * static_cast<double>(loss.counted);
      labels += loss.counted;
      for (Index i = 0; i < batch.target.count(); ++i) {
        bool all = true;
        for (Index t = batch.target.offsets.begin(i); t < batch.target.offsets.end(i); ++t) {
          const TokenId label = batch.target.ids[t];
          if (label == ignored_label) continue;
          Index best = 0;
          output.logits.row(t).maxCoeff(&best);
          right += best == label ? 1 : 0;
          all = all && best == label;
        }
        right_sequences += all ? 1 : 0;
      }
      for (const Index survivors : output.encoded.deletion.kept) kept += survivors;
    }
    const EvaluationResult result = evaluate(model, batches, options);
    CHECK(result.sequences == 6);
    CHECK(result.source_tokens == 2 * (10 + 2 + 15));
    CHECK(result.source_bytes == 2 * (9 + 1 + 14));
    CHECK(result.target_tokens == labels);
    CHECK(labels == 2 * (5 + 1 + 8) - 1);
    CHECK_THAT(result.bits_per_byte, WithinRel(nats / std::log(2.0) / 48, 1e-5));
    CHECK_THAT(result.token_accuracy, WithinAbs(right / static_cast<double>(labels), 1e-12));
    CHECK_THAT(result.sequence_accuracy, WithinAbs(right_sequences / 6, 1e-12));
    CHECK_THAT(result.deletion_rate, WithinAbs(1 - static_cast<double>(kept) / 54, 1e-12));
    CHECK(result.deletion.tokens == std::vector<Index>{10, 2, 15, 10, 2, 15});
    CHECK(result.deletion.kept.size() == 6);
    CHECK(result.milliseconds > 0);
  }
}

TEST_CASE("The end id decides what a byte is", "[evaluation][evaluate]") {
  const Model model = small_model({});
  const std::vector<data::Batch> batches = small_batches();
  const EvaluationResult usual = evaluate(model, batches, {});
  const EvaluationResult other = evaluate(model, batches, {}, {.end_id = 2});
  CHECK(other.source_bytes == 54);
  CHECK_THAT(other.bits_per_byte * 54, WithinRel(usual.bits_per_byte * 48, 1e-12));
}

TEST_CASE("Comparison runs every mode", "[evaluation][evaluate]") {
  const Model model = small_model({learned_gate()});
  const std::vector<data::Batch> batches = small_batches();
  const Comparison all = compare(model, batches, with_mode(DeletionMode::everything), {.timing_repetitions = 2});
  check_same_scores(all.none, evaluate(model, batches, with_mode(DeletionMode::none)));
  check_same_scores(all.soft, evaluate(model, batches, with_mode(DeletionMode::soft)));
  check_same_scores(all.hard, evaluate(model, batches, with_mode(DeletionMode::hard)));
  check_same_scores(all.everything, evaluate(model, batches, with_mode(DeletionMode::everything)));
  Model::ForwardOptions reference = with_mode(DeletionMode::hard);
  reference.deletion.survivor_bias = merge::SurvivorBias::dropped;
  check_same_scores(all.hard_reference, evaluate(model, batches, reference));

  CHECK(all.none.deletion_rate == 0.0);
  CHECK(all.everything.deletion_rate == 1.0);
  CHECK(all.hard.deletion_rate > 0.0);
  CHECK(all.hard.deletion_rate < 1.0);
  CHECK(all.soft.deletion_rate == all.hard.deletion_rate);
  CHECK(all.hard.bits_per_byte != all.hard_reference.bits_per_byte);
  CHECK(all.hard.bits_per_byte != all.none.bits_per_byte);
  CHECK(all.everything.bits_per_byte != all.none.bits_per_byte);
  CHECK(all.speed_up() == all.none.milliseconds / all.hard.milliseconds);
  CHECK(all.soft_hard_gap() == std::abs(all.hard.bits_per_byte - all.soft.bits_per_byte) / all.soft.bits_per_byte);
}

TEST_CASE("Comparison keeps the other options", "[evaluation][evaluate]") {
  const Model model = small_model({learned_gate()});
  Model::ForwardOptions options;
  options.deletion.target_rate = 0.5;
  const Comparison all = compare(model, small_batches(), options);
  CHECK(all.hard.deletion.kept == std::vector<Index>{5, 1, 7, 5, 1, 7});
  CHECK(all.hard_reference.deletion.kept == all.hard.deletion.kept);
  CHECK(all.none.deletion_rate == 0.0);
}

TEST_CASE("Without gates nothing is deleted in any mode but the control", "[evaluation][evaluate]") {
  const Comparison all = compare(small_model({}), small_batches(), {});
  check_same_scores(all.soft, all.none);
  check_same_scores(all.hard, all.none);
  check_same_scores(all.hard_reference, all.none);
  CHECK(all.none.deletion_rate == 0.0);
  CHECK(all.everything.deletion_rate == 1.0);
  CHECK(all.soft_hard_gap() == 0.0);
}

TEST_CASE("Random gates repeat, and the caller's generator stays where it was", "[evaluation][evaluate]") {
  const Model model = small_model({random_gate()});
  const std::vector<data::Batch> batches = small_batches();
  Rng rng(21);
  Model::ForwardOptions options = with_mode(DeletionMode::hard);
  options.rng = &rng;
  const EvaluationResult first = evaluate(model, batches, options, {.timing_repetitions = 3});
  check_same_scores(first, evaluate(model, batches, options));
  CHECK(rng.state() == Rng(21).state());
  CHECK(first.deletion_rate > 0.0);
  const Comparison all = compare(model, batches, options);
  check_same_scores(all.hard, first);
  CHECK(all.soft.deletion.kept == first.deletion.kept);
  // The second batch goes on where the first one stopped.
  const EvaluationResult second_alone = evaluate(model, std::span(batches).subspan(1), options);
  CHECK(second_alone.deletion.kept != std::vector<Index>(first.deletion.kept.begin() + 3, first.deletion.kept.end()));
  options.rng = nullptr;
  CHECK_THROWS_AS(evaluate(model, batches, options), std::invalid_argument);
}

TEST_CASE("Batches without anything give zeros", "[evaluation][evaluate]") {
  const Model model = small_model({learned_gate()});
  const EvaluationResult nothing = evaluate(model, {}, {});
  CHECK(nothing.bits_per_byte == 0.0);
  CHECK(nothing.deletion_rate == 0.0);
  CHECK(nothing.token_accuracy == 0.0);
  CHECK(nothing.sequence_accuracy == 0.0);
  CHECK(nothing.milliseconds == 0.0);
  CHECK(nothing.sequences == 0);
  const Comparison none = compare(model, {}, {});
  CHECK(none.soft_hard_gap() == 0.0);
  CHECK(none.speed_up() == 1.0);

  std::vector<data::Batch> batches(1);
  CHECK(compare(model, batches, {}).hard.sequences == 0);
  batches[0].push_back({{}, {}});
  const Comparison empty = compare(model, batches, {});
  CHECK(empty.hard.sequences == 1);
  CHECK(empty.hard.bits_per_byte == 0.0);
  CHECK(empty.everything.bits_per_byte == 0.0);
  batches[0].push_back({{1}, {1}});
  batches[0].push_back({{}, {5}});
  const EvaluationResult no_bytes = evaluate(model, batches, {});
  CHECK(no_bytes.source_bytes == 0);
  CHECK(no_bytes.target_tokens == 2);
  CHECK(no_bytes.bits_per_byte == std::numeric_limits<double>::infinity());
}

TEST_CASE("Milliseconds are the median over the passes of the sum over the batches", "[evaluation][evaluate]") {
  const std::vector<data::Batch> batches = small_batches();
  FakeModel model;
  model.times = {5, 6, 100, 1, 20, 3};
  const EvaluationResult result = evaluate<FakeClock>(model, batches, {}, {.timing_repetitions = 3});
  CHECK(result.milliseconds == 23.0);  // of 11, 101, 23
  CHECK(model.calls.size() == 6);
  CHECK(result.deletion_rate == 1 - 6.0 / 54);
  CHECK_THROWS_AS(evaluate<FakeClock>(model, batches, {}, {.timing_repetitions = 0}), std::invalid_argument);
}

TEST_CASE("Modes take turns after one untimed batch", "[evaluation][evaluate]") {
  std::vector<data::Batch> batches(2);
  for (data::Batch& batch : batches) batch.push_back({{5, 6, 1}, {1}});
  FakeModel model;
  model.times.assign(1, 1000);
  for (int repetition = 0; repetition < 3; ++repetition)
    for (int mode = 1; mode <= 5; ++mode)
      for (int batch = 0; batch < 2; ++batch) model.times.push_back(mode * 10 + repetition);
  const Comparison all = compare<FakeClock>(model, batches, {}, {.timing_repetitions = 3});
  CHECK(all.none.milliseconds == 22.0);
  CHECK(all.soft.milliseconds == 42.0);
  CHECK(all.hard.milliseconds == 62.0);
  CHECK(all.hard_reference.milliseconds == 82.0);
  CHECK(all.everything.milliseconds == 102.0);
  CHECK(all.speed_up() == 22.0 / 62.0);
  CHECK(all.hard.token_accuracy == 1.0);
  REQUIRE(model.calls.size() == 1 + 3 * 5 * 2);
  for (std::size_t call = 1; call < model.calls.size(); ++call) {
    const DeletionMode order[] = {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::hard,
                                  DeletionMode::everything};
    const std::size_t mode = (call - 1) / 2 % 5;
    CHECK(model.calls[call].mode == order[mode]);
    CHECK((model.calls[call].survivor_bias == merge::SurvivorBias::dropped) == (mode == 3));
  }
}

TEST_CASE("The gap is relative to soft deletion", "[evaluation][evaluate]") {
  Comparison all;
  CHECK(all.soft_hard_gap() == 0.0);
  all.soft.bits_per_byte = 0.4;
  all.hard.bits_per_byte = 0.5;
  CHECK_THAT(all.soft_hard_gap(), WithinAbs(0.25, 1e-12));
  all.hard.bits_per_byte = 0.3;
  CHECK_THAT(all.soft_hard_gap(), WithinAbs(0.25, 1e-12));
  all.soft.bits_per_byte = 0.0;
  CHECK(all.soft_hard_gap() == std::numeric_limits<double>::infinity());
}

TEST_CASE("A classifier is evaluated by the same function", "[evaluation][evaluate]") {
  STATIC_REQUIRE(evaluation::EvaluableModel<Model>);
  STATIC_REQUIRE(evaluation::EvaluableModel<models::EncoderDecoder<double>>);
  STATIC_REQUIRE_FALSE(evaluation::EvaluableModel<Rng>);
  models::SequenceClassifier<float>::Config config;
  config.vocabulary = 30;
  config.encoder.width = 12;
  config.classes = 3;
  models::SequenceClassifier<float> model(config, io::placements_of<float>({{learned_gate()}, {}}, config.encoder));
  Rng rng(6);
  model.initialize(rng);
  std::vector<data::Batch> batches(1);
  batches[0].push_back({{7, 8, 9, 1}, {2}});
  batches[0].push_back({{4, 1}, {0}});
  const Comparison all = compare(model, batches, {});
  CHECK(all.hard.target_tokens == 2);
  CHECK(all.hard.token_accuracy == all.hard.sequence_accuracy);
  CHECK(all.hard.bits_per_byte > 0.0);
}

TEST_CASE("Pads of the source count as nothing", "[evaluation][evaluate]") {
  const Model model = small_model({learned_gate()});
  const std::vector<data::Batch> batches = small_batches();
  std::vector<data::Batch> padded(2);
  for (std::size_t b = 0; b < 2; ++b)
    for (Index i = 0; i < 3; ++i) {
      const auto source = batches[b].source.sequence(i), target = batches[b].target.sequence(i);
      data::Example example{{source.begin(), source.end()}, {target.begin(), target.end()}};
      example.source.resize(20, model.config().pad);
      padded[b].push_back(example);
    }
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
    const EvaluationResult expected = evaluate(model, batches, with_mode(mode)),
                           result = evaluate(model, padded, with_mode(mode));
    CHECK(result.source_bytes == 48);
    CHECK(result.source_tokens == 54);
    CHECK_THAT(result.bits_per_byte, WithinRel(expected.bits_per_byte, 1e-5));
    CHECK(result.deletion_rate == expected.deletion_rate);
  }
}

TEST_CASE("A model whose logits are no numbers is not scored", "[evaluation][evaluate]") {
  Model model = small_model({});
  model.lm_head.weight.matrix()(3, 2) = std::numeric_limits<float>::quiet_NaN();
  const std::vector<data::Batch> batches = small_batches();
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "nothing thrown";
  };
  const std::string expected =
      "evaluate: logits: got nan, expected numbers; are the model's weights finite, and none far too large?";
  CHECK(message([&] { evaluate(model, batches, {}); }) == expected);
  CHECK(message([&] { compare(model, batches, {}); }) == expected);
}

}  // namespace evaluate_test
