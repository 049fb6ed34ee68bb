#include <merganser/runs/curve_measurement.hpp>

#include <cmath>
#include <string>

#include <merganser/core/random.hpp>
#include <merganser/data/batcher.hpp>
#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <support/catch.hpp>

namespace curve_measurement_test {

using namespace merganser;
using namespace merganser::runs;

using Model = models::EncoderDecoder<float>;

Model small_model() {
  Model::Config config;
  config.encoder.width = 8;
  config.encoder.heads = 2;
  config.encoder.head_width = 4;
  config.encoder.feed_forward_width = 8;
  config.encoder.blocks = 2;
  config.decoder_blocks = 1;
  Model model(config, {merge::before_block(1, merge::RandomGate{0.5})});
  Rng rng(1);
  model.initialize(rng);
  return model;
}

/// Two languages with as many lines.
TrainingData small_data() {
  TrainingData data;
  data.kind = AnswerKind::texts;
  for (const char* language : {"en", "de"}) {
    std::vector<data::Example> examples;
    for (const TokenId id : {70, 71, 72}) examples.push_back({{id, id, id, 80, 1}, {id, 80, 1}});
    data.validation.insert(data.validation.end(), examples.begin(), examples.end());
    data.languages.push_back({language, {12, 12, 3}, data::make_batches(examples)});
  }
  return data;
}

RunRow measured(const std::string& policy, const TrainingData& data) {
  CurveOptions options;
  options.timing_repetitions = 1;
  RunRow row;
  row.policy = policy;
  measure(small_model(), data, options, 3, row);
  return row;
}

TEST_CASE("A row has the figures of every mode and of every language", "[runs][curve]") {
  const RunRow row = measured("random", small_data());
  CHECK(row.none.deletion_rate == 0);
  CHECK(row.hard.deletion_rate > 0.2);
  CHECK(row.hard.deletion_rate < 0.8);
  CHECK(row.everything.deletion_rate == 1);
  CHECK(row.none.bits_per_byte > 0);
  CHECK(std::isfinite(row.hard.token_accuracy));
  CHECK(std::isnan(row.hard.class_accuracy));
  CHECK(row.sequences == 6);
  CHECK(row.source_tokens == 30);
  CHECK(row.total_ms_hard > 0);
  CHECK(row.encoder_ms_hard > 0);
  CHECK(row.predicted_cost_ratio < 1);
  REQUIRE(row.languages.size() == 2);
  CHECK(row.languages[0].language == "en");
  CHECK(row.languages[0].tokens == 15);
  CHECK(row.languages[0].premium_before == 1);
  CHECK(row.bytes_per_character_spread == 1);
  CHECK(row.premium_spread == 1);
}

TEST_CASE("The control is measured without its source alone", "[runs][curve]") {
  const RunRow row = measured(all_deleted, small_data());
  CHECK(row.none.bits_per_byte == row.everything.bits_per_byte);
  CHECK(row.hard.deletion_rate == 1);
  CHECK(std::isnan(row.total_ms_hard));
  CHECK(std::isnan(row.soft_hard_gap));
  CHECK(row.languages.empty());
}

TEST_CASE("Answers that are classes are counted as such", "[runs][curve]") {
  TrainingData data = small_data();
  data.languages.clear();
  data.kind = AnswerKind::classes;
  const RunRow row = measured("random", data);
  CHECK(std::isfinite(row.hard.class_accuracy));
  CHECK(std::isnan(row.hard.token_accuracy));
  CHECK(std::isnan(row.hard.sequence_accuracy));
  CHECK(row.languages.empty());
}

}  // namespace curve_measurement_test
