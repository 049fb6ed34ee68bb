// Neither the executor nor the number of threads changes a bit of a whole model or of its training.
#include <memory>
#include <string>
#include <vector>

#include <merganser/core/parallel.hpp>
#include <merganser/data/diagnostic_tasks.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/training/trainer.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"
#include "support/reverse_executor.hpp"

namespace executors_test {

using namespace merganser;
using namespace merganser::testing;

using Model = models::EncoderDecoder<float>;

Model model_of(std::uint64_t seed) {
  Design<Model> config;
  config.encoder = small_stack();
  config.decoder_blocks = 1;
  config.gates = {gate_at(1)};
  Model model = config.make();
  fill_model(model, seed, 0.3);
  return model;
}

Matrix<float> encoded(const Model& model) {
  const TokenBatch source = random_tokens({70, 1, 0, 33, 128}, model.config().vocabulary, 5);
  const auto output = model.encode(source, {});
  REQUIRE(output.deletion.deletion_rate() > 0.0);
  return output.hidden.values;
}

Vector<float> trained() {
  Model model = model_of(2);
  training::Trainer<Model>::Config config;
  config.deletion.hard_probability = 0.5;
  config.seed = 3;
  training::Trainer<Model> trainer(model, config);
  Rng rng(4);
  for (int step = 0; step < 3; ++step) {
    Vector<data::Example> examples;
    for (int i = 0; i < 6; ++i)
      examples.push_back(data::make_diagnostic_example(data::DiagnosticTask::vowel_removal, 20, rng));
    trainer.step(data::make_batch(examples));
  }
  return numbers_of(model);
}

Vector<std::unique_ptr<Executor>> executors() {
  Vector<std::unique_ptr<Executor>> result;
  for (const int threads : {1, 2, 3, 8}) result.push_back(std::make_unique<ThreadPool>(threads));
  result.push_back(std::make_unique<ReverseExecutor>());
#ifdef _OPENMP
  result.push_back(std::make_unique<OpenmpExecutor>());
#endif
  return result;
}

TEST_CASE("every executor gives the same bits of an encoder", "[executors]") {
  const Model model = model_of(1);
  SerialExecutor serial;
  const ExecutorScope outer(serial);
  const Matrix<float> expected = encoded(model);
  for (const auto& executor : executors()) {
    const ExecutorScope scope(*executor);
    REQUIRE(identical(encoded(model), expected));
  }
}

TEST_CASE("every executor gives the same bits of a training step", "[executors]") {
  SerialExecutor serial;
  const ExecutorScope outer(serial);
  const Vector<float> expected = trained();
  for (const auto& executor : executors()) {
    const ExecutorScope scope(*executor);
    REQUIRE(trained() == expected);
  }
}

TEST_CASE("the model of these tests has loops that are shared", "[executors]") {
  ReverseExecutor reverse;
  const ExecutorScope scope(reverse);
  encoded(model_of(1));
  REQUIRE(reverse.loops > 5);
  reverse.loops = 0;
  trained();
  REQUIRE(reverse.loops > 50);
}

}  // namespace executors_test
