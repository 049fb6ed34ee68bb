// The cost model: known totals, a small case by hand, gates, the decoder.
#include <merganser/evaluation/cost_model.hpp>

#include <stdexcept>
#include <vector>

#include <merganser/merge/placement.hpp>
#include <merganser/merge/policies/baseline_gates.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/models/sequence_classifier.hpp>
#include "support/catch.hpp"

namespace cost_model_test {

using namespace merganser;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using evaluation::CostShape;
using evaluation::decoder_flops;
using evaluation::encoder_flops;
using evaluation::FeedForwardKind;
using merge::Site;

using Lengths = std::vector<Index>;

CostShape byt5_small() {
  CostShape shape{1472, 6, 64, 3584, 12, FeedForwardKind::gated};
  shape.policies = {{3}};
  shape.decoder_blocks = 4;
  return shape;
}

TEST_CASE("ByT5-small at 1024 bytes", "[evaluation][cost_model]") {
  const CostShape shape = byt5_small();
  const double full = encoder_flops(shape, Lengths{1024});
  const double half = encoder_flops(shape, Lengths{1024}, Lengths{512});
  CHECK_THAT(full / 1e9, WithinAbs(464, 0.5));
  CHECK_THAT(half / 1e9, WithinAbs(286, 0.5));
  CHECK_THAT(half / full, WithinAbs(0.617, 0.0005));
  const double decoder = decoder_flops(shape, Lengths{189}, Lengths{512}, 384);
  CHECK_THAT((half + decoder) / 1e9, WithinAbs(321, 0.5));
}

TEST_CASE("The demo's model at three lengths", "[evaluation][cost_model]") {
  const CostShape shape{256, 4, 64, 512, 6, FeedForwardKind::gated};
  CHECK_THAT(encoder_flops(shape, Lengths{256}) / 1e9, WithinAbs(2.4, 0.05));
  CHECK_THAT(encoder_flops(shape, Lengths{1024}) / 1e9, WithinAbs(14.5, 0.05));
  CHECK_THAT(encoder_flops(shape, Lengths{2048}) / 1e9, WithinAbs(41.9, 0.05));
  const auto attention_share = [&](double length) {
    return 6 * evaluation::attention_flops(shape, length * length) / encoder_flops(shape, Lengths{Index(length)});
  };
  CHECK_THAT(attention_share(256), WithinAbs(0.17, 0.006));
  CHECK_THAT(attention_share(1024), WithinAbs(0.44, 0.006));
  CHECK_THAT(attention_share(2048), WithinAbs(0.62, 0.006));
}

TEST_CASE("Ragged batches, generation and a training step", "[evaluation][cost_model]") {
  const CostShape small = byt5_small();
  CostShape demo{256, 4, 64, 512, 6, FeedForwardKind::gated};
  demo.policies = {{3}};
  demo.decoder_blocks = 2;
  const Lengths lengths{128, 256, 384, 512, 640, 768, 896, 1024}, halves{64, 128, 192, 256, 320, 384, 448, 512};
  CHECK_THAT(encoder_flops(small, lengths) / 1e9, WithinAbs(2060, 5));
  CHECK_THAT(encoder_flops(small, lengths, halves) / 1e9, WithinAbs(1270, 10));
  CHECK_THAT(encoder_flops(demo, lengths) / 1e9, WithinAbs(56.7, 0.1));
  CHECK_THAT(evaluation::training_step_flops(demo, Lengths(16, 256), Lengths(16, 64), 384) / 1e9, WithinAbs(134, 1));
  // 4 * (6 * 1472 * 384 + 3 * 1472 * 3584) + 1472 * 384
  CHECK(evaluation::generation_step_weights(small, 384) == 77438976);
  CHECK(evaluation::generation_step_weights(demo, 384) == 2 * (6 * 256 * 256 + 3 * 256 * 512) + 256 * 384);
}

TEST_CASE("A small block counted by hand", "[evaluation][cost_model]") {
  CostShape shape{5, 2, 3, 7, 1, FeedForwardKind::gated};
  // 4 tokens: q, k, v, o 4 * 2*4*5*6 = 960; scores and values 2 * 2*4*4*6 = 384; feed-forward 3 * 2*4*5*7 = 840.
  CHECK(encoder_flops(shape, Lengths{4}) == 960 + 384 + 840);
  shape.feed_forward = FeedForwardKind::plain;
  CHECK(encoder_flops(shape, Lengths{4}) == 960 + 384 + 560);
  CHECK(encoder_flops(shape, Lengths{}) == 0);
  CHECK(encoder_flops(shape, Lengths{0, 0}) == 0);
  CHECK(encoder_flops(shape, Lengths{4, 0, 4}) == 2 * encoder_flops(shape, Lengths{4}));
}

TEST_CASE("Blocks before a gate see all tokens, the others what it leaves", "[evaluation][cost_model]") {
  CostShape shape{5, 2, 3, 7, 4, FeedForwardKind::gated};
  const auto block = [&](Index tokens) { return evaluation::encoder_block_flops(shape, tokens); };
  const double gate = 2 * 5;  // a product with one vector, for each token
  shape.policies = {{1}};
  CHECK(encoder_flops(shape, Lengths{8}, Lengths{3}) == block(8) + 8 * gate + 3 * block(3));
  CHECK(encoder_flops(shape, Lengths{8, 2}, Lengths{3, 1}) ==
        encoder_flops(shape, Lengths{8}, Lengths{3}) + encoder_flops(shape, Lengths{2}, Lengths{1}));
  CHECK(encoder_flops(shape, Lengths{8}) == 4 * block(8));

  shape.policies = {{0}, {2}};
  const std::vector<Lengths> kept{{6, 5}, {1, 5}};
  CHECK(encoder_flops(shape, Lengths{9, 5}, kept) ==
        (9 * gate + 2 * block(6) + 6 * gate + 2 * block(1)) + (10 * gate + 4 * block(5)));
}

TEST_CASE("A policy behind an attention shortens what the feed-forward layer reads", "[evaluation][cost_model]") {
  CostShape shape{5, 2, 3, 7, 2, FeedForwardKind::gated};
  const double policy = 2 * 5;
  const auto attention = [&](Index tokens) { return evaluation::attention_block_flops(shape, tokens); };
  const auto feed_forward = [&](Index tokens) { return evaluation::feed_forward_flops(shape, tokens); };
  CHECK(attention(8) + feed_forward(8) == evaluation::encoder_block_flops(shape, 8));
  shape.policies = {{0, Site::after_attention}};
  CHECK(encoder_flops(shape, Lengths{8}, Lengths{3}) ==
        attention(8) + 8 * policy + feed_forward(3) + evaluation::encoder_block_flops(shape, 3));
  // Two at one place, one behind it, and one behind the last block.
  shape.policies = {{0}, {0}, {0, Site::after_attention}, {2}};
  const std::vector<Lengths> kept{{7}, {6}, {4}, {1}};
  CHECK(encoder_flops(shape, Lengths{8}, kept) == 8 * policy + 7 * policy + attention(6) + 6 * policy +
                                                      feed_forward(4) + evaluation::encoder_block_flops(shape, 4) +
                                                      4 * policy);
}

TEST_CASE("Lengths and gates that cannot be are refused", "[evaluation][cost_model]") {
  CostShape shape{5, 2, 3, 7, 4, FeedForwardKind::gated};
  CHECK_THROWS_AS(encoder_flops(shape, Lengths{-1}), std::invalid_argument);
  CHECK_THROWS_AS(encoder_flops(shape, Lengths{4}, Lengths{2}), std::invalid_argument);  // no gate
  shape.policies = {{1}};
  CHECK_THROWS_AS(encoder_flops(shape, Lengths{4}, Lengths{5}), std::invalid_argument);
  CHECK_THROWS_AS(encoder_flops(shape, Lengths{4}, Lengths{-1}), std::invalid_argument);
  CHECK_THROWS_AS(encoder_flops(shape, Lengths{4}, Lengths{1, 1}), std::invalid_argument);
  for (const CostShape::Place place : {CostShape::Place{5}, {-1}, {4, Site::after_attention}}) {
    shape.policies = {place};
    CHECK_THROWS_AS(encoder_flops(shape, Lengths{4}, Lengths{1}), std::invalid_argument);
  }
  shape.policies = {{2}, {1}};
  CHECK_THROWS_AS(encoder_flops(shape, Lengths{4}), std::invalid_argument);
  shape.policies = {{2, Site::after_attention}, {2}};
  CHECK_THROWS_AS(encoder_flops(shape, Lengths{4}), std::invalid_argument);
  CHECK_THROWS_AS(decoder_flops(shape, Lengths{1}, Lengths{}, 9), std::invalid_argument);
  CHECK_THROWS_AS(decoder_flops(shape, Lengths{-1}, Lengths{1}, 9), std::invalid_argument);
  CHECK_THROWS_AS(decoder_flops(shape, Lengths{1}, Lengths{-1}, 9), std::invalid_argument);
}

TEST_CASE("A small decoder counted by hand", "[evaluation][cost_model]") {
  CostShape shape{5, 2, 3, 7, 0, FeedForwardKind::gated};
  shape.decoder_blocks = 2;
  // 3 labels, 4 memories. Self: 4 * 2*3*5*6 = 720 and 6 pairs, 4*6*6 = 144. Cross: 2 * 2*3*5*6 = 360, 2 * 2*4*5*6 = 480
  // and 12 pairs, 4*12*6 = 288. Feed-forward 3 * 2*3*5*7 = 630. Head 2*3*5*11 = 330.
  CHECK(decoder_flops(shape, Lengths{3}, Lengths{4}, 11) == 2 * (720 + 144 + 360 + 480 + 288 + 630) + 330);
  CHECK(decoder_flops(shape, Lengths{3}, Lengths{0}, 11) == 2 * (720 + 144 + 360 + 630) + 330);
  CHECK(decoder_flops(shape, Lengths{0}, Lengths{4}, 11) == 2 * 480);
  CHECK(decoder_flops(shape, Lengths{}, Lengths{}, 11) == 0);
}

TEST_CASE("The parts of generation add up to the decoder", "[evaluation][cost_model]") {
  CostShape shape{5, 2, 3, 7, 0, FeedForwardKind::gated};
  shape.decoder_blocks = 2;
  CHECK(evaluation::memory_projection_flops(shape, Lengths{4, 0, 1}) == 2 * (480 + 120));
  // Two tokens, 3 memories: 3 and 6 pairs of a key and a value, 6 numbers each.
  CHECK(evaluation::generation_cached_numbers(shape, 2, 3) == 2 * (3 + 6) * 2 * 6);
  // A product with one row does 2 operations a weight; attention 2 a number of its keys and values.
  for (const Index memory : {0, 1, 9})
    CHECK(2 * evaluation::generation_step_weights(shape, 11) +
              2 * evaluation::generation_cached_numbers(shape, 1, memory) +
              evaluation::memory_projection_flops(shape, Lengths{memory}) ==
          decoder_flops(shape, Lengths{1}, Lengths{memory}, 11));
  CHECK(evaluation::training_step_flops(shape, Lengths{}, Lengths{}, 11) == 0);
  CHECK(evaluation::training_step_flops(shape, Lengths{4}, Lengths{3}, 11) ==
        3 * (encoder_flops(shape, Lengths{4}) + decoder_flops(shape, Lengths{3}, Lengths{4}, 11)));
  CHECK_THROWS_AS(evaluation::training_step_flops(shape, Lengths{1}, Lengths{}, 9), std::invalid_argument);
}

TEST_CASE("The shape of a model comes from its Config", "[evaluation][cost_model]") {
  models::EncoderDecoder<float>::Config config;
  config.encoder.width = 20;
  config.encoder.heads = 3;
  config.encoder.head_width = 4;
  config.encoder.feed_forward_width = 31;
  config.encoder.blocks = 5;
  config.encoder.activation = nn::Activation::relu;
  config.decoder_blocks = 6;
  const CostShape shape = evaluation::cost_shape(config);
  CHECK(shape.width == 20);
  CHECK(shape.heads == 3);
  CHECK(shape.head_width == 4);
  CHECK(shape.feed_forward_width == 31);
  CHECK(shape.blocks == 5);
  CHECK(shape.feed_forward == FeedForwardKind::plain);
  CHECK(shape.policies.empty());
  CHECK(shape.decoder_blocks == 6);

  // Placements in any order; tokens meet them by block and site.
  const Vector<merge::Placement<float>> placements{merge::before_block(4, merge::RandomGate{}),
                                                   merge::after_attention(1, merge::RandomGate{}),
                                                   merge::before_block(1, merge::RandomGate{})};
  const std::vector<CostShape::Place> expected{{1}, {1, Site::after_attention}, {4}};
  CHECK(evaluation::cost_shape(config, placements).policies == expected);
  CHECK(evaluation::cost_shape(config, placements).width == 20);

  models::SequenceClassifier<float>::Config classifier;
  classifier.encoder.activation = nn::Activation::gated_gelu;
  CHECK(evaluation::cost_shape(classifier).feed_forward == FeedForwardKind::gated);
  CHECK(evaluation::cost_shape(classifier).decoder_blocks == 0);
}

}  // namespace cost_model_test
