// Inference and training on a thread with the least stack that is promised: 64 KB.
#include <merganser/core/memory_reserve.hpp>
#include <merganser/models/encoder_decoder.hpp>
#include <merganser/training/trainer.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_THREAD__) && __has_include(<pthread.h>)
#include <pthread.h>
#define MERGANSER_TEST_SMALL_STACK
#endif

namespace small_stack_test {

#ifdef MERGANSER_TEST_SMALL_STACK

using namespace merganser;
using namespace merganser::testing;

constexpr std::size_t promised = 64 * 1024;

/// Calls run() on a thread with that much stack.
template <class Run>
void on_small_stack(Run run) {
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, promised) == 0);
  pthread_t thread;
  const auto body = [](void* argument) -> void* {
    (*static_cast<Run*>(argument))();
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, body, &run) == 0);
  REQUIRE(pthread_join(thread, nullptr) == 0);
  REQUIRE(pthread_attr_destroy(&attributes) == 0);
}

TEMPLATE_TEST_CASE("inference and training need no more than 64 KB of stack", "[small_stack]", float, double) {
  if (!memory_is_reserved) return;  // the address sanitizer makes frames of its own size
  using Model = models::EncoderDecoder<TestType>;
  for (const Index head_width : {8, 128}) {
    Design<Model> config;
    config.vocabulary = 60;
    config.encoder = small_stack();
    config.encoder.head_width = head_width;
    config.encoder.score_bound = nn::ScoreBound::soft_cap(8);
    config.gates = {gate_at(1)};
    Model model = config.make();
    fill_model(model, 1, 0.2);
    const TokenBatch batch = random_tokens({300, 40}, 60, 2);

    TestType sum = 0;
    on_small_stack([&] { sum += model.encode(batch).hidden.values.sum(); });
    bool stepped = false;
    on_small_stack([&] {
      training::Trainer<Model> trainer(model, {});
      trainer.step({batch, batch});
      stepped = true;
    });
    model.prepare_for_inference(kernels::Precision::full);
    on_small_stack([&] { sum += model.encode(batch).hidden.values.sum(); });
    REQUIRE(std::isfinite(sum));
    REQUIRE(stepped);
  }
}

#else

TEST_CASE("inference and training need no more than 64 KB of stack", "[small_stack]") {
  WARN("not measured: frames are larger without optimisation and under the thread sanitizer");
}

#endif

}  // namespace small_stack_test
