#include <merganser/training/trainer.hpp>

#include "bits/random_model.hpp"

namespace training_test {

using namespace merganser;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("training gives the same bits serially and on a pool", "[bits]", float, double) {
  using Model = models::EncoderDecoder<TestType>;
  Rng rng(4);
  for (int shape = 0; shape < shapes / 2; ++shape) {
    const Model untrained = random_model<TestType>(true, rng);
    const TokenBatch source = random_batch(4, 80, rng), target = random_batch(4, 40, rng);
    const auto trained = [&] {
      Model model = untrained;
      typename training::Trainer<Model>::Config config;
      config.optimizer.weight_decay = 0.01;
      config.schedule = {.peak = 1e-3, .warmup_steps = 1, .total_steps = 10};
      training::Trainer<Model> trainer(model, config);
      data::Batch batch;
      batch.source = source;
      batch.target = target;
      for (int step = 0; step < 2; ++step) trainer.step(batch);
      return numbers_of(model);
    };
    CAPTURE(shape, untrained.config().encoder.width);
    const auto expected = trained();
    REQUIRE_FALSE(same(expected, numbers_of(untrained)));
    for (const int threads : {2, 3}) REQUIRE(same(on_pool(threads, trained), expected));
  }
}

}  // namespace training_test
