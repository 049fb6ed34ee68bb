// An encoder pass with and without hard deletion, and a training step, on the sizes of the demo.
#include <benchmark/benchmark.h>

#include <vector>

#include <merganser/core/parallel.hpp>
#include <merganser/data/diagnostic_tasks.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/training/trainer.hpp>

namespace {

using namespace merganser;
using Model = models::EncoderDecoder<float>;

Model make_model() {
  Model::Config config;
  config.encoder.width = 96;
  config.encoder.head_width = 24;
  config.encoder.feed_forward_width = 192;
  config.encoder.blocks = 4;
  merge::GateConfig gate;
  gate.block = 2;
  config.gates = {gate};
  Model model(config);
  Rng rng(1);
  model.initialize(rng);
  return model;
}

TokenBatch random_source(Index sequences, Index length) {
  Rng rng(2);
  TokenBatch batch;
  for (Index i = 0; i < sequences; ++i) {
    std::vector<TokenId> ids;
    for (Index t = 0; t < length; ++t) ids.push_back(static_cast<TokenId>(3 + rng.below(256)));
    batch.push_back(ids);
  }
  return batch;
}

/// 32 sequences of the given length; `keep_permille` of the tokens reach the blocks behind the gate.
void BM_Encode_forward(benchmark::State& state) {
  set_thread_count(1);
  const Model model = make_model();
  const TokenBatch source = random_source(32, state.range(0));
  Model::ForwardOptions options;
  options.deletion.target_rate = 1.0 - static_cast<double>(state.range(1)) / 1000;
  if (state.range(1) == 1000) options.deletion = merge::DeletionOptions::with_mode(merge::DeletionMode::none);
  for (auto _ : state) benchmark::DoNotOptimize(model.encode(source, options).hidden.values.data());
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(source.total()), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_Encode_forward)
    ->ArgsProduct({{128, 512}, {1000, 700, 500}})
    ->ArgNames({"tokens", "keep_permille"})
    ->Unit(benchmark::kMillisecond);

/// One step of the demo's training: 32 strings of 34 tokens.
void BM_Trainer_step(benchmark::State& state) {
  set_thread_count(static_cast<int>(state.range(0)));
  Model model = make_model();
  training::Trainer<Model> trainer(model, {});
  Rng rng(3);
  std::vector<data::Example> examples;
  for (int i = 0; i < 32; ++i)
    examples.push_back(data::make_diagnostic_example(data::DiagnosticTask::vowel_removal, 34, rng));
  const data::Batch batch = data::make_batch(examples);
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch).total);
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(batch.source.total()), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_Trainer_step)->Arg(1)->Arg(2)->ArgName("threads")->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
