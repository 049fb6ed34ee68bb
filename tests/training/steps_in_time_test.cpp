#include <merganser/training/steps_in_time.hpp>

#include <merganser/data/batcher.hpp>
#include <merganser/models/encoder_decoder.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/laws.hpp"

namespace steps_in_time_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;

TEST_CASE("steps that fit into a time leave the model and its data alone", "[steps_in_time]") {
  using Model = models::EncoderDecoder<float>;
  Design<Model> config;
  config.vocabulary = 9;
  config.encoder = tiny_stack();
  config.gates = {gate_at(1)};
  Model model = config.make();
  Rng rng(1);
  model.initialize(rng);
  const Vector<float> before = numbers_of(model);
  Rng data(2);
  const auto drawn_before = data.state();
  const auto next = [data]() mutable {
    return data::make_random_batch(
        [](Rng& draw) {
          return data::Example{{static_cast<TokenId>(2 + draw.below(7)), 1}, {3, 1}};
        },
        2, data);
  };
  CHECK(steps_in_time(model, Recipe(), next, 0.0, 1) == 1);
  CHECK(steps_in_time(model, Recipe(), next, 3600.0, 1) > 1);
  CHECK(numbers_of(model) == before);
  CHECK(data.state() == drawn_before);
}

}  // namespace steps_in_time_test
