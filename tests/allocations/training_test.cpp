#include <merganser/merganser.hpp>

#include "allocations/counter.hpp"
#include "models/small_planners.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"

namespace training_test {

using namespace merganser;
using namespace merganser::testing;

using Model = models::EncoderDecoder<float>;
using Trainer = training::Trainer<Model>;

Design<Model> config_with_gate() {
  Design<Model> config;
  config.vocabulary = 41;
  config.encoder = small_stack();
  config.encoder.blocks = 3;
  config.encoder.dropout = 0.1;
  config.gates = {gate_at(1)};
  config.gates[0].noise = merge::GateNoise::gumbel;
  config.decoder_blocks = 2;
  return config;
}

Trainer::Config trainer_config() {
  Trainer::Config config;
  config.deletion.gate_open_until = 1;
  config.deletion.regulariser_from = 2;
  config.deletion.hard_probability = 0.4;
  config.deletion.open_probability = 0.2;
  config.objective.score_penalty = 0.1;
  return config;
}

data::Batch batch_of(const Vector<Index>& sources, const Vector<Index>& targets) {
  return {random_tokens(sources, 41, 1), random_tokens(targets, 41, 2)};
}

/// Steps over a large batch until the memory is there, then counts steps over batches of every size up to it.
void require_steps_without_allocation(Model model, const Trainer::Config& config) {
  if (!memory_is_reserved) return;
  Rng rng(5);
  model.initialize(rng, 1.0, 0.3);
  Trainer trainer(model, config);
  const data::Batch large = batch_of({60, 31, 44}, {20, 17, 30});
  const data::Batch smaller = batch_of({48, 30, 11}, {18, 9, 21}), smallest = batch_of({20, 1, 9}, {8, 4, 7});
  CHECK(allocations_in([&] { trainer.step(large); }) > 0);
  for (int step = 0; step < 20; ++step) trainer.step(large);
  for (int step = 0; step < 20; ++step) {
    INFO("step " << step);
    CHECK(allocations_in([&] { trainer.step(large); }) == 0);
    CHECK(allocations_in([&] { trainer.step(smaller); }) == 0);
    CHECK(allocations_in([&] { trainer.step(smallest); }) == 0);
  }
  MemoryReserve::set_limit(0);
  CHECK(allocations_in([&] { trainer.step(large); }) > 0);
  MemoryReserve::set_limit(MemoryReserve::default_limit);
}

TEST_CASE("a training step allocates nothing after the first ones", "[allocations]") {
  require_steps_without_allocation(config_with_gate().make(), trainer_config());
}

TEST_CASE("nor does one of other models", "[allocations]") {
  auto model = config_with_gate();
  model.head = models::Head::tied;
  model.encoder.activation = nn::Activation::relu;
  model.encoder.score_bound = nn::ScoreBound::normalised(5);
  model.encoder.positions = models::PositionScheme::absolute;
  model.gates.push_back(gate_at(2));
  require_steps_without_allocation(model.make(), trainer_config());
}

TEST_CASE("nor does one of models with poolings", "[allocations]") {
  for (const io::PoolingKind kind : {io::PoolingKind::boundaries, io::PoolingKind::strided}) {
    auto model = config_with_gate();
    model.gates.clear();
    model.pooling = io::PoolingConfig{.block = 1, .kind = kind};
    require_steps_without_allocation(model.make(), trainer_config());
  }
}

TEST_CASE("nor does one of models with policies of every kind at several places", "[allocations]") {
  Model model = config_with_gate().make();
  model.encoder.policies = {merge::before_block(0, PairMerge{}, merge::SizeBias::log_size),
                            merge::before_block(0, DropByLot{}),
                            merge::after_attention(1, model.encoder.policies[0].policy),
                            merge::before_block(2, merge::BoundaryPooling<float>({20, 37})),
                            merge::after_attention(2, DropThirds{}),
                            merge::before_block(3, PairMerge{})};
  require_steps_without_allocation(model, trainer_config());
}

TEST_CASE("reports, callbacks and several batches a step take nothing either", "[allocations]") {
  if (!memory_is_reserved) return;
  Model model = config_with_gate().make();
  Rng rng(5);
  model.initialize(rng, 1.0, 0.3);
  auto config = trainer_config();
  config.accumulated_batches = 2;
  Trainer trainer(model, config);
  const std::array batches{batch_of({60, 31, 44}, {20, 17, 30}), batch_of({50, 33, 14}, {10, 27, 13})};
  double total = 0;
  training::TrainerCallbacks callbacks;
  callbacks.on_step = [&](const training::StepReport& report) {
    total += report.total;
    return merganser::Continue::yes;
  };
  const auto step = [&] { trainer.step(batches, callbacks); };
  for (int i = 0; i < 20; ++i) step();
  for (int i = 0; i < 10; ++i) CHECK(allocations_in(step) == 0);
  CHECK(total > 0);
}

}  // namespace training_test
