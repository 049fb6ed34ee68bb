#include <merganser/models/sequence_classifier.hpp>

#include "bits/random_shapes.hpp"

namespace classifiers_test {

using namespace merganser;
using namespace merganser::testing;

TEMPLATE_TEST_CASE("classifiers give the same bits alone and in a batch, serially and on a pool", "[bits]", float,
                   double) {
  Rng rng(3);
  for (int shape = 0; shape < shapes; ++shape) {
    typename models::SequenceClassifier<TestType>::Config config;
    config.vocabulary = 60;
    config.classes = 3;
    config.encoder = random_stack(rng);
    models::SequenceClassifier<TestType> model(config);
    model.initialize(rng);
    const TokenBatch batch = random_batch(between(2, 5, rng), 150, rng);
    CAPTURE(shape, config.encoder.width);
    const auto together = model.forward(batch).logits;
    REQUIRE(same(on_pool(3, [&] { return model.forward(batch).logits; }), together));
    for (Index i = 0; i < batch.count(); ++i) REQUIRE(same_rows(together, i, model.forward(alone(batch, i)).logits));
  }
}

}  // namespace classifiers_test
