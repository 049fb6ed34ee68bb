// What a model to train is to be, by itself and from another one.
#include <merganser/runs/model_design.hpp>

#include <string>

#include <merganser/core/parameter.hpp>

#include "io/temporary_directory.hpp"
#include "runs/small_text_model.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace model_design_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

TEST_CASE("a model without a start has the sizes asked for and the gate of the recipe", "[model_design]") {
  const ModelDesign design = design_model(ModelOptions(), std::nullopt);
  CHECK(design.config.encoder.width == 96);
  CHECK(design.config.encoder.score_bound == nn::ScoreBound::soft_cap(8));
  REQUIRE(design.policies.gates.size() == 1);
  CHECK(design.policies.gates.front().block == 2);
  CHECK(design.policies.gates.front().initial_bias == 3.0);
  CHECK(gate_word(design.policies) == "learned");
  ModelOptions options = small_run().model;
  options.gate = GateChoice::random;
  options.gate_blocks = {0, 1};
  const ModelDesign two = design_model(options, 0.25);
  CHECK(two.policies.gates.size() == 2);
  CHECK(two.policies.gates.front().rate == 0.25);
  CHECK(gate_word(two.policies) == "random");
  options.gate_blocks = {1, 1};
  CHECK_THROWS_AS(design_model(options, 0.25), std::invalid_argument);
  options.gate = GateChoice::none;
  options.gate_blocks.clear();
  CHECK(gate_word(design_model(options, std::nullopt).policies) == "none");
  options.score_bound = nn::ScoreBoundKind::none;
  options.score_bound_value = 8;
  CHECK(argument_error([&] { design_model(options, std::nullopt); }).starts_with("--score-bound-value has no effect"));
}

TEST_CASE("a model with a start has its weights, and says where it differs", "[model_design]") {
  const TemporaryDirectory directory;
  ModelOptions options = small_run().model;
  const TextModel first = make_model(design_model(options, std::nullopt), 5);
  io::save_model(first, directory.path());
  ModelOptions from;
  from.start_from = directory.path().string();
  from.gate = GateChoice::none;
  from.score_bound = nn::ScoreBoundKind::none;
  ModelDesign design = design_model(from, std::nullopt);
  REQUIRE(design.differences.size() == 2);
  CHECK(design.differences[0] == "score bound: none, where " + from.start_from + " has soft_cap 8");
  CHECK(design.differences[1] == "gate: none, where " + from.start_from + " has learned at block 1");
  const TextModel twin = make_model(std::move(design), 6);
  CHECK(twin.shared.weight == first.shared.weight);
  from.width = 32;
  CHECK(argument_error([&] { design_model(from, std::nullopt); }).starts_with("--width: got 32, expected 16"));
  from.width.reset();
  io::save_model(twin, directory.path());
  from.gate.reset();
  from.gate_noise = merge::GateNoise::gumbel;
  CHECK(
      argument_error([&] { design_model(from, std::nullopt); }).ends_with("has no gate; --gate learned gives it one"));
}

TEST_CASE("options that steer what is not there are refused", "[model_design]") {
  TrainOptions options = small_run();
  const auto policies = [&] { return design_model(options.model, std::nullopt).policies; };
  options.given = {"--kp", "--open-probability", "--batch"};
  CHECK_NOTHROW(check_option_effects(options, policies()));
  options.model.gate = GateChoice::random;
  CHECK(argument_error([&] { check_option_effects(options, policies()); }) ==
        "--kp has no effect: the model has no gate that learns");
  options.given.erase("--kp");
  CHECK_NOTHROW(check_option_effects(options, policies()));
  options.model.gate = GateChoice::none;
  CHECK(argument_error([&] { check_option_effects(options, policies()); }) ==
        "--open-probability has no effect: the model has no gate");
}

TEST_CASE("texts longer than the positions of a model are refused", "[model_design]") {
  const TextModel relative = make_model(design_model(small_run().model, std::nullopt), 1);
  CHECK_NOTHROW(check_length(relative, 100000, "text"));
  TextModel::Config config = relative.config();
  config.encoder.positions = models::PositionScheme::absolute;
  config.encoder.max_positions = 8;
  const TextModel absolute(config);
  CHECK_NOTHROW(check_length(absolute, 8, "text"));
  CHECK(argument_error([&] { check_length(absolute, 9, "text"); }) ==
        "text: got 9 tokens, expected at most 8, the positions of this model");
  CHECK_THROWS_AS(check_lengths(absolute, {{{3, 1}, std::vector<TokenId>(9, 3)}}), std::invalid_argument);
}

}  // namespace model_design_test
