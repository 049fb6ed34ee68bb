#include <merganser/models/stack_config.hpp>

#include <merganser/models/decoder_block.hpp>
#include <merganser/models/encoder_block.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"

namespace stack_config_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;

TEST_CASE("the default stack is a small T5 1.1 with bounded scores, softmax1 and no dropout", "[StackConfig]") {
  const StackConfig stack;
  REQUIRE(stack.heads * stack.head_width == stack.width);
  REQUIRE(stack.activation == nn::Activation::gated_gelu);
  REQUIRE(stack.softmax == nn::SoftmaxKind::softmax1);
  REQUIRE(stack.score_bound == nn::ScoreBound::soft_cap(8));
  REQUIRE(stack.dropout == 0.0);
  REQUIRE(stack.norm_epsilon == 1e-6);
  REQUIRE(stack.positions == PositionScheme::relative);
  REQUIRE(stack.buckets == 32);
  REQUIRE(stack.max_distance == 128);
}

TEST_CASE("both kinds of block take their sizes and choices from the stack", "[StackConfig]") {
  StackConfig stack = tiny_stack();
  stack.softmax = nn::SoftmaxKind::softmax;
  stack.score_bound = nn::ScoreBound::soft_cap(8);
  stack.dropout = 0.25;
  const auto attention = attention_config<float>(stack);
  REQUIRE(attention.width == 6);
  REQUIRE(attention.heads == 2);
  REQUIRE(attention.head_width == 4);
  REQUIRE(attention.softmax == nn::SoftmaxKind::softmax);
  REQUIRE(attention.score_bound == nn::ScoreBound::soft_cap(8));
  const auto feed_forward = feed_forward_config<float>(stack);
  REQUIRE(feed_forward.width == 6);
  REQUIRE(feed_forward.hidden == 5);
  REQUIRE(feed_forward.activation == nn::Activation::gated_gelu);
  REQUIRE(feed_forward.dropout == 0.25);

  const EncoderBlock<float> encoder_block(stack);
  const DecoderBlock<float> decoder_block(stack);
  REQUIRE(encoder_block.attention.config().score_bound == stack.score_bound);
  REQUIRE(decoder_block.self_attention.config().heads == 2);
  REQUIRE(decoder_block.cross_attention.config().head_width == 4);
  REQUIRE(decoder_block.feed_forward.wi.out_features() == 5);
}

TEST_CASE("a stack that cannot be is refused by its block", "[StackConfig]") {
  const auto error = [](auto change) {
    StackConfig stack = tiny_stack();
    change(stack);
    return argument_error([&] { EncoderBlock<float>{stack}; });
  };
  REQUIRE(error([](StackConfig& stack) { stack.width = 0; }) == "RmsNorm: width: got 0, expected at least 1");
  REQUIRE(error([](StackConfig& stack) { stack.heads = -1; }) ==
          "MultiHeadAttention: heads: got -1, expected at least 1");
  REQUIRE(error([](StackConfig& stack) { stack.feed_forward_width = 0; }) ==
          "FeedForward: hidden: got 0, expected at least 1");
  REQUIRE(error([](StackConfig& stack) { stack.dropout = 1; }) == "Dropout: rate: got 1, expected a rate in [0, 1)");
  REQUIRE(error([](StackConfig& stack) { stack.score_bound = nn::ScoreBound::soft_cap(0); }) ==
          "MultiHeadAttention: score_bound.value: got 0, expected a positive number");
}

}  // namespace stack_config_test
