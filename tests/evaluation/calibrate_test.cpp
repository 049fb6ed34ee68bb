// Measuring the table: thresholds against a count by hand, a model of scripted gates and times, and real models.
#include <merganser/evaluation/calibrate.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/core/thread_pool.hpp>
#include <merganser/io/models/encoder_policies.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include "support/catch.hpp"

namespace calibrate_test {

using namespace merganser;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using evaluation::calibrate;
using evaluation::CalibrateConfig;
using evaluation::Calibration;
using evaluation::calibration_thresholds;
using evaluation::CalibrationPoint;
using merge::DeletionMode;

template <Real Scalar>
Index deleted_by(double threshold, const std::vector<Scalar>& values) {
  return std::count_if(values.begin(), values.end(),
                       [&](Scalar value) { return !(value > static_cast<Scalar>(threshold)); });
}

/// Time as the model makes it.
struct FakeClock {
  using duration = std::chrono::milliseconds;
  using time_point = std::chrono::time_point<FakeClock, duration>;
  static inline int now_ms = 0;
  static time_point now() { return time_point(duration(now_ms)); }
};

/// A model whose gates say -id of each source token, the second gate half of that, and which takes 10 milliseconds for
/// each token it keeps. Ids of 0 are pads.
struct FakeModel {
  using ScalarType = float;
  struct ForwardOptions {
    merge::DeletionOptions deletion;
    Rng* rng = nullptr;
  };
  struct Report {
    bool is_gate = true;
    SequenceOffsets offsets;
    std::vector<float> scores;
    std::vector<std::uint8_t> forced;
    std::vector<Index> group;
  };
  struct Encoded {
    merge::DeletionStatistics deletion;
    std::vector<Report> reports;
  };
  struct Output {
    Matrix<float> logits;
    Encoded encoded;
  };

  Output forward_targets(const TokenBatch& source, const TokenBatch& target, const ForwardOptions& options) const {
    calls.push_back(options.deletion);
    Output output;
    output.logits = Matrix<float>::Zero(target.total(), 30);
    if (!scripted.empty()) {
      output.encoded.reports = scripted;
      return output;
    }
    for (int gate = 0; gate < gates; ++gate) {
      Report& report = output.encoded.reports.emplace_back();
      report.offsets = source.offsets;
      for (const TokenId id : source.ids) {
        report.scores.push_back(static_cast<float>(gate == 0 ? -id : -id / 2.0));
        report.forced.push_back(id == 0 ? 1 : 0);
      }
    }
    const double threshold = options.deletion.threshold.value_or(-15);
    for (Index i = 0; i < source.count(); ++i) {
      Index tokens = 0, kept = 0;
      for (const TokenId id : source.sequence(i)) {
        if (id == 0) continue;
        ++tokens;
        kept += static_cast<double>(-id) > threshold ? 1 : 0;
      }
      kept = std::max<Index>(kept, std::min<Index>(tokens, 1));
      output.encoded.deletion.tokens.push_back(tokens);
      output.encoded.deletion.kept.push_back(kept);
      FakeClock::now_ms += 10 * static_cast<int>(kept);
    }
    return output;
  }

  int gates = 1;
  std::vector<Report> scripted;  ///< if any, these are all it says
  mutable std::vector<merge::DeletionOptions> calls;
};

/// Sources of the ids 2 ... 21 in two batches, and the end id 1.
std::vector<data::Batch> twenty_ids() {
  std::vector<data::Batch> batches(2);
  for (TokenId id = 2; id < 22; id += 5)
    batches[id < 10 ? 0 : 1].push_back({{id, id + 1, id + 2, id + 3, id + 4}, {1}});
  return batches;
}

models::EncoderDecoder<float> small_model(const Vector<io::GateConfig>& gates) {
  models::EncoderDecoder<float>::Config config;
  config.vocabulary = 30;
  config.encoder.width = 12;
  config.encoder.heads = 2;
  config.encoder.head_width = 5;
  config.encoder.feed_forward_width = 14;
  config.encoder.blocks = 2;
  models::EncoderDecoder<float> model(config, io::placements_of<float>({gates, {}}, config.encoder));
  Rng rng(4);
  model.initialize(rng);
  return model;
}

io::GateConfig gate_on(Index block, io::GateKind kind = io::GateKind::learned) {
  io::GateConfig gate;
  gate.block = block;
  gate.kind = kind;
  gate.rate = 0.4;
  gate.initial_bias = 0.0;
  return gate;
}

std::vector<data::Batch> random_batches(int length) {
  Rng rng(9);
  std::vector<data::Batch> batches(2);
  for (data::Batch& batch : batches)
    for (int i = 0; i < 4; ++i) {
      data::Example example;
      for (int t = 0; t < length; ++t) example.source.push_back(static_cast<TokenId>(3 + rng.below(27)));
      example.source.push_back(1);
      example.target = {static_cast<TokenId>(3 + rng.below(27)), 1};
      batch.push_back(example);
    }
  return batches;
}

TEST_CASE("Thresholds delete evenly spaced shares", "[evaluation][calibrate]") {
  Rng rng(2);
  std::vector<float> values;
  for (int i = 0; i < 1000; ++i) values.push_back(-30 * static_cast<float>(rng.uniform()));
  for (const double highest : {0.9, 1.0, 0.37}) {
    const std::vector<double> thresholds = calibration_thresholds(values, 8, highest);
    REQUIRE(thresholds.size() == 8);
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK_THAT(static_cast<double>(deleted_by(thresholds[i], values)),
                 WithinAbs(highest * static_cast<double>(i) / 7 * 1000, 0.5001));
      CHECK(thresholds[i] == static_cast<double>(static_cast<float>(thresholds[i])));
    }
  }
  CHECK(calibration_thresholds<double>({-3, -1}, 3, 1.0) == std::vector<double>{std::nextafter(-3.0, -4.0), -2, -1});
}

TEST_CASE("Neighbouring numbers leave no room for a middle", "[evaluation][calibrate]") {
  const float low = -7.0F, high = std::nextafter(low, 0.0F);
  const std::vector<double> thresholds = calibration_thresholds<float>({high, low}, 3, 1.0);
  REQUIRE(thresholds.size() == 3);
  for (Index i = 0; i < 3; ++i)
    CHECK(deleted_by(thresholds[static_cast<std::size_t>(i)], std::vector<float>{low, high}) == i);
}

TEST_CASE("Equal values make one step of two thresholds", "[evaluation][calibrate]") {
  std::vector<float> values(400, -30.0F);
  values.resize(1000, 0.0F);
  const std::vector<double> thresholds = calibration_thresholds(values, 8, 0.9);
  REQUIRE(thresholds.size() == 4);
  const std::vector<Index> deleted{0, 400, 400, 1000};
  for (std::size_t i = 0; i < 4; ++i) CHECK(deleted_by(thresholds[i], values) == deleted[i]);
  CHECK(thresholds[1] == -30);
  CHECK_THAT(thresholds[0], WithinAbs(-30, 1e-5));
  CHECK_THAT(thresholds[2], WithinAbs(0, 1e-30));

  // All equal: nothing or everything.
  const std::vector<double> all = calibration_thresholds(std::vector<float>(7, -3.0F), 5, 1.0);
  REQUIRE(all.size() == 2);
  CHECK(deleted_by(all[0], std::vector<float>{-3}) == 0);
  CHECK(all[1] == -3);

  // A pair among many is no step: its nearer side counts.
  values.clear();
  for (int i = 0; i < 100; ++i) values.push_back(static_cast<float>(-i));
  values[49] = values[50];  // values 49 and 50 from above are equal
  const std::vector<double> half = calibration_thresholds(values, 3, 1.0);
  REQUIRE(half.size() == 3);
  CHECK_THAT(static_cast<double>(deleted_by(half[1], values)), WithinAbs(50, 1.001));
  CHECK(calibration_thresholds<float>({-5}, 10, 0.9).size() == 2);
}

TEST_CASE("Values that give no thresholds", "[evaluation][calibrate]") {
  const std::vector<float> values{-1, -2};
  CHECK_THROWS_AS(calibration_thresholds<float>({}, 10, 0.9), std::invalid_argument);
  CHECK_THROWS_AS(calibration_thresholds(values, 1, 0.9), std::invalid_argument);
  for (const double rate : {0.0, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(calibration_thresholds(values, 10, rate), std::invalid_argument);
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()})
    CHECK_THROWS_AS(calibration_thresholds<float>({-1, value}, 10, 0.9), std::invalid_argument);
}

TEST_CASE("A table is what its passes measured", "[evaluation][calibrate]") {
  const FakeModel model;
  FakeModel::ForwardOptions options;
  options.deletion.target_rate = 0.3;  // not looked at
  options.deletion.survivor_bias = merge::SurvivorBias::dropped;
  const std::vector<data::Batch> batches = twenty_ids();
  const Calibration table = calibrate<FakeClock>(model, batches, options, {.points = 3, .highest_rate = 1.0});
  CHECK(table.sample().source_bytes == 20);
  CHECK(table.sample().sequences == 4);
  CHECK(table.sample().threads == thread_count());
  CHECK(table.sample().survivor_bias == merge::SurvivorBias::dropped);
  REQUIRE(table.points().size() == 3);
  CHECK(table.points()[0].deletion_rate == 0.0);
  CHECK(table.points()[1].threshold == -11.5);
  CHECK(table.points()[1].deletion_rate == 1 - 12.0 / 20);  // ids 12 ... 21, but each of two sequences keeps one token
  CHECK(table.points()[2].deletion_rate == 1 - 4.0 / 20);
  CHECK(table.points()[0].milliseconds_per_kilobyte == 10'000);
  CHECK(table.points()[1].milliseconds_per_kilobyte == 6'000);
  CHECK(table.points()[2].milliseconds_per_kilobyte == 2'000);
  CHECK_THAT(table.points()[0].bits_per_byte, WithinAbs(4 * std::log2(30.0) / 20, 1e-6));
  // One soft pass, an untimed batch, and three rounds of the three thresholds.
  REQUIRE(model.calls.size() == 2 + 1 + 3 * 3 * 2);
  for (std::size_t i = 0; i < model.calls.size(); ++i) {
    const merge::DeletionOptions& call = model.calls[i];
    CHECK_FALSE(call.target_rate.has_value());
    CHECK((call.mode == DeletionMode::soft) == (i < 2));
    CHECK(call.survivor_bias == merge::SurvivorBias::dropped);
    if (i >= 3) CHECK(call.threshold == table.points()[(i - 3) / 2 % 3].threshold);
  }
}

TEST_CASE("Of several gates the lowest value counts, and pads do not", "[evaluation][calibrate]") {
  FakeModel model;
  model.gates = 2;
  std::vector<data::Batch> batches = twenty_ids();
  batches[0].push_back({{0, 0, 0, 0, 0, 0}, {1}});
  const std::vector<float> values = evaluation::lowest_gate_values(model, batches, {});
  std::vector<float> expected;
  for (int id = 2; id < 22; ++id) expected.push_back(static_cast<float>(-id));
  CHECK(values == expected);
}

TEST_CASE("A token that was merged has the values of its row, one that went has no more", "[evaluation][calibrate]") {
  const SequenceOffsets five = SequenceOffsets::single(5), two = SequenceOffsets::single(2);
  FakeModel model;
  model.scripted = {{true, five, {-3, -4, -1, -20, -2}, {0, 0, 0, 0, 1}, {0, 1, 2, -1, 3}},
                    {false, SequenceOffsets::single(4), {}, {}, {0, 0, 1, -1}},  // two become one, the pad goes
                    {true, two, {-9, -0.5F}, {}, {}}};
  std::vector<data::Batch> batches(1);
  batches[0].push_back({{5, 5, 5, 5, 0}, {1}});
  CHECK(evaluation::lowest_gate_values(model, batches, {}) == std::vector<float>{-9, -9, -1, -20});
  model.scripted.erase(model.scripted.begin());  // what nobody judged is not there
  model.scripted[0].offsets = SequenceOffsets::single(4);
  CHECK(evaluation::lowest_gate_values(model, batches, {}) == std::vector<float>{-9, -9, -0.5F});
}

TEST_CASE("What cannot be calibrated", "[evaluation][calibrate]") {
  STATIC_REQUIRE(evaluation::GatedModel<FakeModel>);
  STATIC_REQUIRE(evaluation::GatedModel<models::EncoderDecoder<float>>);
  STATIC_REQUIRE(evaluation::GatedModel<models::SequenceClassifier<double>>);
  STATIC_REQUIRE_FALSE(evaluation::GatedModel<Rng>);
  FakeModel model;
  CHECK_THROWS_WITH(calibrate(model, {}, {}), ContainsSubstring("got no gate values"));
  std::vector<data::Batch> batches(1);
  batches[0].push_back({{1}, {1}});
  CHECK_THROWS_WITH(calibrate(model, batches, {}), ContainsSubstring("got no source bytes"));
  CHECK_THROWS_AS(calibrate(model, twenty_ids(), {}, {.points = 1}), std::invalid_argument);
  CHECK_THROWS_AS(calibrate(model, twenty_ids(), {}, {.evaluation = {.timing_repetitions = 0}}), std::invalid_argument);
  model.gates = 0;
  CHECK_THROWS_WITH(calibrate(model, twenty_ids(), {}), ContainsSubstring("expected a model with gates"));
  CHECK_THROWS_AS(calibrate(small_model({}), random_batches(9), {}), std::invalid_argument);
}

TEST_CASE("A calibrated threshold has its rate in expectation", "[evaluation][calibrate]") {
  ThreadPool pool(2);
  const ExecutorScope scope(pool);
  const auto model = small_model({gate_on(1)});
  const std::vector<data::Batch> batches = random_batches(63);
  const Calibration table = calibrate(model, batches, {}, {.evaluation = {.timing_repetitions = 1}});
  CHECK(table.points().size() == 10);
  CHECK(table.sample() == evaluation::CalibrationSample{8 * 63, 8, 2, merge::SurvivorBias::kept});
  for (std::size_t i = 0; i < 10; ++i)
    CHECK_THAT(table.points()[i].deletion_rate, WithinAbs(static_cast<double>(i) / 10, 0.02));
  models::EncoderDecoder<float>::ForwardOptions options;
  for (const double rate : {0.13, 0.5, 0.77}) {
    options.deletion.target_rate.reset();
    options.deletion.threshold = table.threshold_for_rate(rate);
    const auto by_threshold = evaluation::evaluate(model, batches, options);
    CHECK_THAT(by_threshold.deletion_rate, WithinAbs(rate, 0.06));
    CHECK_THAT(table.expected_at(*options.deletion.threshold).deletion_rate, WithinAbs(rate, 1e-9));
    options.deletion.threshold.reset();
    options.deletion.target_rate = rate;
    const auto by_rate = evaluation::evaluate(model, batches, options);
    bool texts_differ = false;
    for (Index i = 0; i < 8; ++i) {
      CHECK_THAT(by_rate.deletion.deletion_rate(i), WithinAbs(rate, 0.5 / 64 + 1e-9));  // forced on each
      texts_differ = texts_differ || std::abs(by_threshold.deletion.deletion_rate(i) - rate) > 0.02;
    }
    CHECK(texts_differ);
  }
}

TEST_CASE("Random and fixed gates have two rates, and repeat", "[evaluation][calibrate]") {
  const std::vector<data::Batch> batches = random_batches(31);
  for (const io::GateKind kind : {io::GateKind::random, io::GateKind::fixed}) {
    io::GateConfig gate = gate_on(0, kind);
    gate.separators = {4, 9};
    const auto model = small_model({gate});
    Rng rng(3);
    models::EncoderDecoder<float>::ForwardOptions options;
    options.rng = &rng;
    const Calibration table = calibrate(model, batches, options, {.evaluation = {.timing_repetitions = 1}});
    const auto by_itself = evaluation::evaluate(model, batches, options);
    CHECK(by_itself.deletion_rate > 0.2);
    CHECK(table.points().size() <= 5);
    CHECK(table.lowest_rate() == 0.0);
    options.deletion.threshold = table.threshold_for_rate(by_itself.deletion_rate);
    CHECK_THAT(*options.deletion.threshold, WithinAbs(-15, 1e-4));  // far from both values
    CHECK(evaluation::evaluate(model, batches, options).deletion_rate == by_itself.deletion_rate);
    CHECK(rng.state() == Rng(3).state());
  }
}

TEST_CASE("Two gates and a classifier", "[evaluation][calibrate]") {
  const auto model = small_model({gate_on(0), gate_on(1)});
  const std::vector<data::Batch> batches = random_batches(40);
  const Calibration table = calibrate(model, batches, {}, {.points = 6, .evaluation = {.timing_repetitions = 1}});
  CHECK(table.points().size() == 6);
  CHECK(table.lowest_rate() == 0.0);
  CHECK_THAT(table.highest_rate(), WithinAbs(0.9, 0.05));
  models::EncoderDecoder<float>::ForwardOptions options;
  options.deletion.threshold = table.threshold_for_rate(0.5);
  CHECK_THAT(evaluation::evaluate(model, batches, options).deletion_rate, WithinAbs(0.5, 0.1));

  models::SequenceClassifier<float>::Config config;
  config.vocabulary = 30;
  config.encoder.width = 12;
  config.classes = 3;
  models::SequenceClassifier<float> classifier(config, io::placements_of<float>({{gate_on(1)}, {}}, config.encoder));
  Rng rng(6);
  classifier.initialize(rng);
  std::vector<data::Batch> texts(1);
  texts[0].push_back({{7, 8, 9, 12, 1}, {2}});
  texts[0].push_back({{4, 5, 6, 1}, {0}});
  CHECK(calibrate(classifier, texts, {}).points().size() >= 5);
}

}  // namespace calibrate_test
