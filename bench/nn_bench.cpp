// The layers of a block at inference: norm, attention, feed-forward; and the delete gate. 1024 tokens of `small` and
// `demo`.
#include <string>
#include <vector>

#include <merganser/core/random.hpp>
#include <merganser/evaluation/cost_model.hpp>
#include <merganser/merge/policies/delete_gate.hpp>
#include <merganser/models/encoder_block.hpp>
#include <merganser/nn/feed_forward.hpp>
#include <merganser/nn/multi_head_attention.hpp>
#include <merganser/nn/rms_norm.hpp>
#include <merganser/nn/score_bound.hpp>

#include "measure/benchmark_program.hpp"
#include "measure/program.hpp"
#include "measure/shapes.hpp"

namespace {

using namespace merganser;
using namespace merganser::bench;

constexpr Index tokens = 1024;

Matrix<float> random_rows(Index width) {
  Rng rng(2);
  Matrix<float> x(tokens, width);
  nn::fill_normal(x, 1.0, rng);
  return x;
}

std::string case_name(const std::string& type, Shape shape, int threads) {
  return type + "/shape:" + name_of(shape) + "/tokens:" + std::to_string(tokens) +
         "/threads:" + std::to_string(threads);
}

void add_feed_forward(Shape shape, int threads) {
  add_case(case_name("BM_FeedForward", shape, threads), [=](benchmark::State& state) {
    const auto config = model_config(shape);
    nn::FeedForward<float> layer(models::feed_forward_config<float>(config.encoder));
    Rng rng(1);
    layer.initialize(1.0, rng);
    const Matrix<float> x = random_rows(config.encoder.width);
    Meter meter(state, threads, false);
    for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
    meter.finish({.flops = evaluation::feed_forward_flops(evaluation::cost_shape(config), tokens),
                  .text_bytes = static_cast<double>(tokens)});
  });
}

struct NamedBound {
  std::string name;
  nn::ScoreBound bound;
};

/// Self-attention with position bias, before deletion.
void add_attention(Shape shape, const NamedBound& bound, int threads) {
  add_case(case_name("BM_Attention/bound:" + bound.name, shape, threads), [=](benchmark::State& state) {
    auto config = model_config(shape);
    config.encoder.score_bound = bound.bound;
    nn::MultiHeadAttention<float> layer(models::attention_config<float>(config.encoder));
    nn::RelativePositionBias<float> positions({.heads = config.encoder.heads});
    Rng rng(1);
    layer.initialize(1.0, rng);
    positions.initialize(1.0, rng);
    const Matrix<float> x = random_rows(config.encoder.width);
    const SequenceOffsets offsets = SequenceOffsets::single(tokens);
    const Vector<Position> places = counting_positions(offsets);
    const nn::DistanceBias<float> bias = positions.by_distance(tokens - 1);
    nn::AttentionContext<float> context;
    context.queries = context.keys = offsets.ranges();
    context.query_positions = context.key_positions = places;
    context.position_bias = &bias;
    Meter meter(state, threads, false);
    for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x, x, context).data());
    const auto cost = evaluation::cost_shape(config);
    meter.finish({.flops = evaluation::encoder_block_flops(cost, tokens) - evaluation::feed_forward_flops(cost, tokens),
                  .text_bytes = static_cast<double>(tokens)});
  });
}

/// Read once, written once.
void add_norm(Shape shape, int threads) {
  add_case(
      case_name("BM_RmsNorm", shape, threads),
      [=](benchmark::State& state) {
        const Index width = model_config(shape).encoder.width;
        const nn::RmsNorm<float> layer({.width = width});
        const Matrix<float> x = random_rows(width);
        Meter meter(state, threads, true);
        for (auto _ : state) benchmark::DoNotOptimize(layer.forward(x).data());
        meter.finish(
            {.bytes = 2.0 * sizeof(float) * static_cast<double>(x.size()), .text_bytes = static_cast<double>(tokens)});
      },
      benchmark::kMicrosecond);
}

void add_gate(Shape shape, int threads) {
  add_case(
      case_name("BM_DeleteGate", shape, threads),
      [=](benchmark::State& state) {
        const Index width = model_config(shape).encoder.width;
        merge::DeleteGate<float> gate({.width = width});
        Rng rng(1);
        gate.initialize(1.0, rng);
        const Matrix<float> x = random_rows(width);
        Meter meter(state, threads, true);
        for (auto _ : state) benchmark::DoNotOptimize(gate.forward({x}).values.data());
        meter.finish(
            {.bytes = sizeof(float) * static_cast<double>(x.size()), .text_bytes = static_cast<double>(tokens)});
      },
      benchmark::kMicrosecond);
}

void add_cases(Selection) {
  const std::vector<NamedBound> bounds = {{"none", nn::ScoreBound::none()},
                                          {"soft_cap", nn::ScoreBound::soft_cap(8)},
                                          {"normalised", nn::ScoreBound::normalised(8)}};
  for (const Shape shape : {Shape::small, Shape::demo})
    for (const int threads : {1, 2}) {
      add_feed_forward(shape, threads);
      for (const NamedBound& bound : bounds) add_attention(shape, bound, threads);
      add_norm(shape, threads);
      add_gate(shape, threads);
    }
}

}  // namespace

int bench_program(int argc, char** argv) { return merganser::bench::run_program(argc, argv, add_cases); }
