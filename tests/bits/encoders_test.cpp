#include "bits/random_model.hpp"

namespace encoders_test {

using namespace merganser;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("encoders give the same bits alone and in a batch, serially and on a pool", "[bits]", float,
                   double) {
  Rng rng(2);
  for (int shape = 0; shape < shapes; ++shape) {
    const bool gated = coin(rng);
    auto model = random_model<TestType>(gated, rng);
    const TokenBatch batch = random_batch(between(2, 5, rng), 150, rng);
    typename models::EncoderDecoder<TestType>::ForwardOptions options;
    options.deletion = deletion(!gated      ? merge::DeletionMode::none
                                : coin(rng) ? merge::DeletionMode::soft
                                            : merge::DeletionMode::hard);
    CAPTURE(shape, model.config().encoder.width, model.config().encoder.head_width, gated);
    for (const bool prepared : {false, true}) {
      if (prepared) model.prepare_for_inference();
      const auto encoded = model.encode(batch, options).hidden;
      REQUIRE(same(on_pool(3, [&] { return model.encode(batch, options).hidden.values; }), encoded.values));
      for (Index i = 0; i < batch.count(); ++i)
        REQUIRE(
            same_rows(encoded.values, encoded.offsets.begin(i), model.encode(alone(batch, i), options).hidden.values));
    }
  }
}

}  // namespace encoders_test
