#include <merganser/training/recipe.hpp>

#include <stdexcept>

#include <merganser/models/encoder_decoder.hpp>

#include "models/tiny_models.hpp"
#include "support/catch.hpp"

namespace recipe_test {

using namespace merganser;
using namespace merganser::training;
using namespace merganser::testing;
using Catch::Matchers::WithinAbs;

using Model = models::EncoderDecoder<float>;

Model model_of(const Vector<Index>& blocks, io::GateKind kind = io::GateKind::learned) {
  Design<Model> config;
  config.vocabulary = 9;
  config.encoder = tiny_stack();
  config.encoder.blocks = 3;
  for (const Index block : blocks) {
    config.gates.push_back(gate_at(block));
    config.gates.back().kind = kind;
    config.gates.back().rate = 0.4;
  }
  return config.make();
}

TEST_CASE("what is not given goes by the length of the run", "[recipe]") {
  const Model model = model_of({1});
  const auto long_run = trainer_config(Recipe(), model, 10000, 7);
  CHECK(long_run.seed == 7);
  CHECK(long_run.schedule.total_steps == 10000);
  CHECK(long_run.schedule.warmup_steps == 200);
  CHECK(long_run.deletion.gate_open_until == 2000);
  CHECK(long_run.deletion.regulariser_from == 2000);
  CHECK(long_run.deletion.target_ramp == 1250);
  const auto short_run = trainer_config(Recipe(), model, 100, 7);
  CHECK(short_run.schedule.warmup_steps == 100);
  CHECK(short_run.deletion.gate_open_until == 40);
  Recipe given;
  given.gate_open_until = 30;
  given.regulariser_from = 50;
  given.target_ramp = 0;
  const auto own = trainer_config(given, model, 100, 7);
  CHECK(own.deletion.gate_open_until == 30);
  CHECK(own.deletion.regulariser_from == 50);
  CHECK(own.deletion.target_ramp == 0);
}

TEST_CASE("gates are those policies that say so", "[recipe]") {
  CHECK(gates_of(model_of({})).count == 0);
  const GateSummary two = gates_of(model_of({1, 2}));
  CHECK(two.count == 2);
  CHECK(two.learns);
  CHECK_FALSE(two.expected_rate);
  Model model = model_of({1}, io::GateKind::random);
  CHECK_FALSE(gates_of(model).learns);
  CHECK(gates_of(model).expected_rate == 0.4);
  // A pooling is none; one learned gate among others is enough to steer by.
  model.encoder.policies.insert(model.encoder.policies.begin(),
                                merge::before_block(0, merge::StridedPooling<float>({6, 2})));
  CHECK(gates_of(model).count == 1);
  CHECK(gates_of(model).expected_rate == 0.4);
  model.encoder.policies.push_back(merge::after_attention(2, merge::DeleteGate<float>({.width = 6})));
  CHECK(gates_of(model).count == 2);
  CHECK(gates_of(model).learns);
  CHECK(target_rate(Recipe(), model) == default_target);
}

TEST_CASE("the target is the one asked for, or that of a gate which does not learn", "[recipe]") {
  Recipe recipe;
  CHECK(target_rate(recipe, model_of({})) == default_target);
  CHECK(target_rate(recipe, model_of({1})) == default_target);
  CHECK(target_rate(recipe, model_of({1}, io::GateKind::random)) == 0.4);
  recipe.target = 0.6;
  CHECK(target_rate(recipe, model_of({1}, io::GateKind::random)) == 0.6);
}

TEST_CASE("hard steps draw from a tenth about the target where one gate learns", "[recipe]") {
  Recipe recipe;
  recipe.target = 0.5;
  const auto rates = hard_rates(recipe, model_of({1}));
  REQUIRE(rates);
  CHECK_THAT(rates->lowest, WithinAbs(0.4, 1e-12));
  CHECK_THAT(rates->highest, WithinAbs(0.6, 1e-12));
  recipe.target = 0.05;
  CHECK(hard_rates(recipe, model_of({1}))->lowest == 0);
  recipe.target = 0.95;
  CHECK(hard_rates(recipe, model_of({1}))->highest == 1);

  CHECK_FALSE(hard_rates(recipe, model_of({})));
  CHECK_FALSE(hard_rates(recipe, model_of({1}, io::GateKind::random)));
  CHECK_FALSE(hard_rates(recipe, model_of({1, 2})));
  recipe.hard_rates = RateRange{0.2, 0.3};
  CHECK(hard_rates(recipe, model_of({1, 2}))->lowest == 0.2);
  recipe.hard_by_threshold = true;
  CHECK_FALSE(hard_rates(recipe, model_of({1})));
  recipe.hard_by_threshold = false;
  recipe.hard_probability = 1;
  CHECK_THROWS_AS(hard_rates(recipe, model_of({1})), std::invalid_argument);
  recipe.hard_rates.reset();
  CHECK_FALSE(hard_rates(recipe, model_of({1})));
}

TEST_CASE("nothing is chosen without a gate, and nothing steered where none learns", "[recipe]") {
  const auto twin = trainer_config(Recipe(), model_of({}), 100, 1).deletion;
  CHECK(twin.open_probability == 0);
  CHECK(twin.hard_probability == 0);
  const auto random = trainer_config(Recipe(), model_of({1}, io::GateKind::random), 100, 1).deletion;
  CHECK(random.hard_probability == 0.5);
  CHECK(random.controller.proportional_gain == 0);
  CHECK(random.controller.integral_gain == 0);
  const auto learned = trainer_config(Recipe(), model_of({1}), 100, 1).deletion;
  CHECK(learned.controller.proportional_gain == 0.5);
  CHECK(learned.controller.range == merge::ControllerRange::two_sided);
}

TEST_CASE("the recipe of MrT5 applies the gate from the first step, softly", "[recipe]") {
  const auto config = trainer_config(Recipe::mrt5(), model_of({1}), 1000, 1).deletion;
  CHECK(config.gate_open_until == 0);
  CHECK(config.regulariser_from == 0);
  CHECK(config.target_ramp == 0);
  CHECK(config.open_probability == 0);
  CHECK(config.hard_probability == 0);
  CHECK(config.controller.integral_gain == 1e-5);
  CHECK(config.controller.range == merge::ControllerRange::non_negative);
}

TEST_CASE("every recipe makes a trainer", "[recipe]") {
  for (const Recipe& recipe : {Recipe(), Recipe::mrt5()})
    for (const Vector<Index>& blocks : {Vector<Index>{}, Vector<Index>{1}, Vector<Index>{1, 2}}) {
      Model model = model_of(blocks);
      CHECK_NOTHROW(Trainer<Model>(model, trainer_config(recipe, model, 50, 1)));
    }
}

}  // namespace recipe_test
