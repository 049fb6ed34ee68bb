#include <merganser/merganser.hpp>

#include "allocations/counter.hpp"
#include "models/small_planners.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"

namespace inference_test {

using namespace merganser;
using namespace merganser::models;
using namespace merganser::testing;
using merge::DeletionMode;

using Model = EncoderDecoder<float>;

enum class Weights { as_trained, prepared };

Design<Model> config_with_gates() {
  Design<Model> config;
  config.vocabulary = 41;
  config.encoder = small_stack();
  config.encoder.blocks = 3;
  config.gates = {gate_at(1), gate_at(2)};
  config.decoder_blocks = 2;
  return config;
}

Model model_of(const Design<Model>& config, Weights weights = Weights::as_trained) {
  Model model = config.make();
  fill_model(model, 3, 0.2);
  if (weights == Weights::prepared) model.prepare_for_inference();
  return model;
}

/// Requires that run() takes memory the first time on this thread, and never again; and that the count would tell.
template <class Run>
void require_no_allocation_after_the_first(Run&& run) {
  if (!memory_is_reserved) return;
  MemoryReserve::clear();
  CHECK(allocations_in(run) > 0);
  for (int repeat = 0; repeat < 3; ++repeat) CHECK(allocations_in(run) == 0);
  MemoryReserve::set_limit(0);
  CHECK(allocations_in(run) > 0);
  MemoryReserve::set_limit(MemoryReserve::default_limit);
}

Model::ForwardOptions with_mode(DeletionMode mode) {
  Model::ForwardOptions options;
  options.deletion.mode = mode;
  return options;
}

const Vector<Index> ragged_lengths{23, 9, 0, 1, 140};

TEST_CASE("encoding allocates nothing after the first call", "[allocations]") {
  for (const Weights weights : {Weights::as_trained, Weights::prepared}) {
    const Model model = model_of(config_with_gates(), weights);
    const TokenBatch source = random_tokens(ragged_lengths, 41, 1), one = random_tokens({77}, 41, 2);
    for (const DeletionMode mode :
         {DeletionMode::none, DeletionMode::soft, DeletionMode::hard, DeletionMode::everything}) {
      INFO("mode " << static_cast<int>(mode) << (weights == Weights::prepared ? " prepared" : ""));
      require_no_allocation_after_the_first([&] { model.encode(source, with_mode(mode)); });
      require_no_allocation_after_the_first([&] { model.encode(one, with_mode(mode)); });
    }
    auto by_rate = with_mode(DeletionMode::hard);
    by_rate.deletion.target_rate = 0.4;
    require_no_allocation_after_the_first([&] { model.encode(source, by_rate); });
    auto dropped = with_mode(DeletionMode::hard);
    dropped.deletion.survivor_bias = merge::SurvivorBias::dropped;
    require_no_allocation_after_the_first([&] { model.encode(source, dropped); });
  }
}

TEST_CASE("what a call gave may be kept while the next one runs", "[allocations]") {
  if (!memory_is_reserved) return;
  const Model model = model_of(config_with_gates());
  const TokenBatch source = random_tokens(ragged_lengths, 41, 1);
  MemoryReserve::clear();
  EncoderOutput<float> kept;
  const auto run = [&] { kept = model.encode(source, with_mode(DeletionMode::hard)); };
  run();
  run();
  CHECK(allocations_in(run) == 0);
}

TEST_CASE("smaller batches use the memory of larger ones", "[allocations]") {
  if (!memory_is_reserved) return;
  const Model model = model_of(config_with_gates());
  const auto run = [&](const TokenBatch& batch, DeletionMode mode) { model.encode(batch, with_mode(mode)); };
  const TokenBatch large = random_tokens({150, 60, 90}, 41, 1);
  const TokenBatch smaller = random_tokens({100, 60, 80}, 41, 1), smallest = random_tokens({50, 30, 40}, 41, 1);
  for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
    MemoryReserve::clear();
    run(large, mode);
    run(large, mode);
    INFO("mode " << static_cast<int>(mode));
    CHECK(allocations_in([&] { run(smaller, mode); }) == 0);
    CHECK(allocations_in([&] { run(smallest, mode); }) == 0);
    CHECK(allocations_in([&] { run(large, mode); }) == 0);
  }
}

TEST_CASE("decoding and generating allocate nothing after the first call", "[allocations]") {
  auto tied = config_with_gates();
  tied.head = Head::tied;
  for (const auto& config : {config_with_gates(), tied})
    for (const Weights weights : {Weights::as_trained, Weights::prepared}) {
      const Model model = model_of(config, weights);
      const TokenBatch source = random_tokens({23, 9, 31}, 41, 1), target = random_tokens({7, 12, 5}, 41, 2);
      const auto options = with_mode(DeletionMode::hard);
      require_no_allocation_after_the_first([&] { model.forward(source, target, options); });
      GenerationOptions generation;
      generation.max_length = 20;
      require_no_allocation_after_the_first([&] { generate(model, source, generation, options); });
      generation.sampling.method = Sampling::random;
      generation.sampling.top_k = 7;
      require_no_allocation_after_the_first([&] { generate(model, source, generation, options); });
      BeamSearchOptions beams;
      beams.max_length = 12;
      require_no_allocation_after_the_first([&] { beam_search(model, source, beams, options); });
    }
}

TEST_CASE("several threads allocate nothing after the first call", "[allocations]") {
  if (!memory_is_reserved) return;
  const Model model = model_of(config_with_gates());
  const TokenBatch source = random_tokens({300, 200, 250}, 41, 1);
  ThreadPool pool(2);
  const ExecutorScope scope(pool);
  const auto run = [&] { model.encode(source, with_mode(DeletionMode::hard)); };
  for (int repeat = 0; repeat < 3; ++repeat) run();  // the first sleep of a thread may set something up
  CHECK(allocations_in(run) == 0);
}

TEST_CASE("bounded scores, positions and other gates allocate nothing after the first call", "[allocations]") {
  auto config = config_with_gates();
  config.encoder.score_bound = nn::ScoreBound::soft_cap(8);
  config.encoder.activation = nn::Activation::relu;
  config.encoder.positions = PositionScheme::absolute;
  config.gates[1].kind = io::GateKind::random;
  const TokenBatch source = random_tokens(ragged_lengths, 41, 1);
  Rng rng(1);
  auto options = with_mode(DeletionMode::hard);
  options.rng = &rng;
  const auto check = [&] {
    const Model model = model_of(config);
    require_no_allocation_after_the_first([&] {
      rng = Rng(1);
      model.encode(source, options);
    });
  };
  check();
  config.encoder.score_bound = nn::ScoreBound::normalised(10);
  config.gates[1].kind = io::GateKind::fixed;
  config.gates[1].separators = {5, 6};
  check();
}

TEST_CASE("planners at several places allocate nothing after the first call", "[allocations]") {
  Model model = model_of(config_with_gates());
  model.encoder.policies = {merge::before_block(0, PairMerge{}, merge::SizeBias::log_size),
                            merge::before_block(0, DropByLot{}),
                            merge::after_attention(1, model.encoder.policies[0].policy),
                            merge::after_attention(2, DropThirds{}), merge::before_block(3, PairMerge{})};
  const TokenBatch source = random_tokens(ragged_lengths, 41, 1), target = random_tokens({7, 1, 2, 3, 4}, 41, 2);
  Rng rng(1);
  auto options = with_mode(DeletionMode::hard);
  options.rng = &rng;
  for (const bool by_rate : {false, true}) {
    if (by_rate) options.deletion.target_rate = 0.7;
    require_no_allocation_after_the_first([&] {
      rng = Rng(1);
      model.forward(source, target, options);
    });
    GenerationOptions generation;
    generation.max_length = 9;
    require_no_allocation_after_the_first([&] {
      rng = Rng(1);
      generate(model, source, generation, options);
    });
  }
}

TEST_CASE("poolings and classifiers allocate nothing after the first call", "[allocations]") {
  const TokenBatch source = random_tokens(ragged_lengths, 41, 1), target = random_tokens({7, 1, 2, 3, 4}, 41, 2);
  for (const io::PoolingKind kind : {io::PoolingKind::boundaries, io::PoolingKind::strided}) {
    auto config = config_with_gates();
    config.gates.clear();
    config.pooling = io::PoolingConfig{.block = 1, .kind = kind};
    const Model model = model_of(config);
    require_no_allocation_after_the_first([&] { model.forward(source, target); });
  }
  Design<SequenceClassifier<float>> config;
  config.vocabulary = 41;
  config.encoder = small_stack();
  config.gates = {gate_at(1)};
  config.classes = 3;
  for (const Readout readout : {Readout::mean, Readout::first}) {
    config.readout = readout;
    SequenceClassifier<float> classifier = config.make();
    fill_model(classifier, 4, 0.2);
    for (const DeletionMode mode : {DeletionMode::none, DeletionMode::soft, DeletionMode::hard}) {
      SequenceClassifier<float>::ForwardOptions options;
      options.deletion.mode = mode;
      require_no_allocation_after_the_first([&] { classifier.forward(source, options); });
    }
  }
}

}  // namespace inference_test
