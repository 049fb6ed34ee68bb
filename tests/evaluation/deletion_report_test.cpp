// What a model deletes of a text: windows, ends, gates one behind the other.
#include <merganser/evaluation/deletion_report.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/merge/policies/strided_pooling.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include "support/catch.hpp"

namespace deletion_report_test {

using namespace merganser;
using namespace merganser::evaluation;

using Model = models::EncoderDecoder<float>;

Model model_with(Vector<Index> blocks) {
  Model::Config config;
  config.vocabulary = 50;
  config.encoder.width = 12;
  config.encoder.heads = 2;
  config.encoder.head_width = 5;
  config.encoder.feed_forward_width = 14;
  config.encoder.blocks = 3;
  Vector<merge::Placement<float>> gates;
  for (const Index block : blocks) gates.push_back(merge::before_block(block, merge::RandomGate{0.4}));
  Model model(config, gates);
  Rng rng(4);
  model.initialize(rng);
  return model;
}

std::vector<TokenId> text_of(std::size_t length) {
  std::vector<TokenId> text(length);
  std::iota(text.begin(), text.end(), 3);
  return text;
}

TEST_CASE("a model without a gate keeps everything; ends are counted", "[evaluation][deletion_report]") {
  const DeletionReport report = report_deletion(model_with({}), text_of(20), 8, {}, 1);
  CHECK(report.kept == std::vector<std::uint8_t>(20, 1));
  CHECK(report.gates.empty());
  CHECK(report.tokens == 23);  // windows of 8, 8 and 4
  CHECK(report.deleted_tokens == 0);
  CHECK(report.deletion_rate() == 0);
  CHECK(report.deleted() == 0);
}

TEST_CASE("kept tokens are those of the encoder, window by window", "[evaluation][deletion_report]") {
  const Model model = model_with({1, 2});
  const std::vector<TokenId> text = text_of(20);
  const DeletionReport report = report_deletion(model, text, 8, {}, 7);
  Rng rng(7);
  Model::ForwardOptions options;
  options.rng = &rng;
  Index deleted = 0;
  for (std::size_t begin = 0; begin < 20; begin += 8) {
    const std::size_t length = std::min<std::size_t>(8, 20 - begin);
    Vector<TokenId> ids;
    ids.append(text.begin() + static_cast<std::ptrdiff_t>(begin),
               text.begin() + static_cast<std::ptrdiff_t>(begin + length));
    ids.push_back(model.config().end);
    TokenBatch source;
    source.push_back(ids);
    const auto encoded = model.encode(source, options);
    deleted += static_cast<Index>(length) + 1 - encoded.origin.size();
    std::vector<std::uint8_t> expected(length + 1, 0);
    for (const Index row : encoded.origin) expected[static_cast<std::size_t>(row)] = 1;
    for (std::size_t i = 0; i < length; ++i) {
      CAPTURE(begin, i);
      CHECK(report.kept[begin + i] == expected[i]);
    }
  }
  CHECK(report.deleted_tokens == deleted);
  CHECK(report.deleted() > 0);
}

TEST_CASE("what the first gate deletes has no value at the second", "[evaluation][deletion_report]") {
  const DeletionReport report = report_deletion(model_with({1, 2}), text_of(40), 40, {}, 5);
  REQUIRE(report.gates.size() == 2);
  CHECK(report.gates[0].block == 1);
  CHECK(report.gates[1].block == 2);
  bool passed_on = false, held_back = false;
  for (std::size_t t = 0; t < 40; ++t) {
    REQUIRE(report.gates[0].values[t].has_value());
    const bool survives = *report.gates[0].values[t] > report.gates[0].threshold;
    CHECK(report.gates[1].values[t].has_value() == survives);
    CHECK((report.kept[t] != 0) == (survives && *report.gates[1].values[t] > report.gates[1].threshold));
    (survives ? passed_on : held_back) = true;
  }
  CHECK(passed_on);
  CHECK(held_back);
}

TEST_CASE("of tokens that a policy merged that one is kept which lends the row its place",
          "[evaluation][deletion_report]") {
  Model model = model_with({});
  model.encoder.policies = {merge::before_block(1, merge::StridedPooling<float>({12, 3})),
                            merge::after_attention(1, merge::RandomGate{0.4})};
  const DeletionReport report = report_deletion(model, text_of(40), 40, {}, 5);
  REQUIRE(report.gates.size() == 1);
  CHECK(report.gates[0].block == 1);
  CHECK(report.tokens == 41);
  Index kept = 0;
  for (std::size_t t = 0; t < 40; ++t) {
    CAPTURE(t);
    REQUIRE(report.gates[0].values[t].has_value() == (t % 3 == 0));
    const bool survives = t % 3 == 0 && *report.gates[0].values[t] > report.gates[0].threshold;
    CHECK((report.kept[t] != 0) == survives);
    kept += survives ? 1 : 0;
  }
  CHECK(kept > 0);
  CHECK(report.deleted_tokens == 41 - kept);  // the end is the second of its group
}

TEST_CASE("an empty text is one window; a window of nothing is refused", "[evaluation][deletion_report]") {
  const DeletionReport report = report_deletion(model_with({1}), {}, 8, {}, 1);
  CHECK(report.tokens == 1);
  CHECK(report.kept.empty());
  CHECK_THROWS_AS(report_deletion(model_with({1}), text_of(3), 0, {}, 1), std::invalid_argument);
}

}  // namespace deletion_report_test
