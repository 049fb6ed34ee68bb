// What is saved, predicted: against a count by hand of what the gates left.
#include <merganser/evaluation/predicted_cost.hpp>

#include <span>
#include <utility>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include "support/catch.hpp"

namespace predicted_cost_test {

using namespace merganser;
using namespace merganser::evaluation;
using Catch::Matchers::WithinRel;

template <class Model>
Model small_model(Vector<merge::Placement<float>> policies) {
  typename Model::Config config;
  config.vocabulary = 30;
  config.encoder.width = 12;
  config.encoder.heads = 2;
  config.encoder.head_width = 5;
  config.encoder.feed_forward_width = 14;
  config.encoder.blocks = 3;
  Model model(config, std::move(policies));
  Rng rng(4);
  model.initialize(rng);
  return model;
}

using EncoderDecoder = models::EncoderDecoder<float>;

EncoderDecoder gated(Vector<Index> blocks) {
  Vector<merge::Placement<float>> gates;
  for (const Index block : blocks) gates.push_back(merge::before_block(block, merge::RandomGate{0.4}));
  return small_model<EncoderDecoder>(gates);
}

std::vector<data::Batch> batches() {
  Rng rng(9);
  std::vector<data::Example> examples;
  for (const std::size_t length : {7U, 1U, 12U, 4U}) {
    data::Example example{std::vector<TokenId>(length), std::vector<TokenId>(length + 1, 5)};
    for (TokenId& id : example.source) id = static_cast<TokenId>(3 + rng.below(20));
    examples.push_back(example);
  }
  return data::make_batches(examples, 3);
}

TEST_CASE("make_batches keeps the order and leaves a rest", "[evaluation][predicted_cost]") {
  const auto made = batches();
  REQUIRE(made.size() == 2);
  CHECK(made[0].count() == 3);
  CHECK(made[1].count() == 1);
  CHECK(lengths_of(made[0].source.offsets) == std::vector<Index>{7, 1, 12});
  CHECK(lengths_of(made[1].target.offsets) == std::vector<Index>{5});
  CHECK(data::make_batches({}).empty());
}

TEST_CASE("kept lengths count the rows of each sequence, of empty ones none", "[evaluation][predicted_cost]") {
  merge::PolicyReport<float> report;
  report.offsets = SequenceOffsets::from_lengths(std::vector<Index>{3, 0, 2, 4});
  report.kept = {0, 2, 5, 6, 8};
  CHECK(kept_lengths(report) == std::vector<Index>{2, 0, 0, 3});
}

TEST_CASE("a model without a gate saves nothing", "[evaluation][predicted_cost]") {
  const auto made = batches();
  const PredictedCost cost = predict_cost(gated({}), std::span<const data::Batch>(made), {});
  CHECK(cost.without > 0);
  CHECK(cost.speed_up() == 1);
  CHECK(cost.ratio() == 1);
  CHECK(predict_cost(gated({}), std::span<const data::Batch>(), {}).speed_up() == 1);
}

TEST_CASE("the prediction counts what each gate left, and the decoder's smaller memory",
          "[evaluation][predicted_cost]") {
  const auto made = batches();
  const EncoderDecoder model = gated({1, 2});
  const CostShape shape = cost_shape(model.config(), model.encoder.policies);
  Rng rng(3), again(3);
  EncoderDecoder::ForwardOptions options;
  options.rng = &rng;
  const PredictedCost cost = predict_cost(model, std::span<const data::Batch>(made), options);
  options.rng = &again;
  double without = 0, with = 0;
  for (const data::Batch& batch : made) {
    const auto encoded = model.encode(batch.source, options);
    REQUIRE(encoded.reports.size() == 2);
    std::vector<std::vector<Index>> kept(2);
    for (std::size_t g = 0; const auto& report : encoded.reports) {
      for (Index i = 0; i < batch.count(); ++i) {
        Index count = 0;
        for (const Index row : report.kept)
          count += row >= report.offsets.begin(i) && row < report.offsets.end(i) ? 1 : 0;
        kept[g].push_back(count);
      }
      ++g;
    }
    const auto sources = lengths_of(batch.source.offsets), targets = lengths_of(batch.target.offsets);
    without += encoder_flops(shape, sources) + decoder_flops(shape, targets, sources, 30);
    with += encoder_flops(shape, sources, kept) + decoder_flops(shape, targets, kept[1], 30);
  }
  CHECK_THAT(cost.without, WithinRel(without, 1e-12));
  CHECK_THAT(cost.with, WithinRel(with, 1e-12));
  CHECK(cost.speed_up() > 1.05);
}

TEST_CASE("a pooling counts as a gate, and a classifier has no decoder", "[evaluation][predicted_cost]") {
  const auto made = batches();
  const auto pooled = small_model<EncoderDecoder>({merge::before_block(1, merge::StridedPooling<float>({12, 4}))});
  CHECK(predict_cost(pooled, std::span<const data::Batch>(made), {}).speed_up() > 1.05);

  using Classifier = models::SequenceClassifier<float>;
  const auto classifier = small_model<Classifier>({});
  const PredictedCost cost = predict_cost(classifier, std::span<const data::Batch>(made), {});
  double encoder = 0;
  for (const data::Batch& batch : made)
    encoder += encoder_flops(cost_shape(classifier.config()), lengths_of(batch.source.offsets));
  CHECK_THAT(cost.without, WithinRel(encoder, 1e-12));
}

}  // namespace predicted_cost_test
