// What version 0.1 wrote is read as it was: a model directory, a checkpoint and a calibration, in version_0_1/.
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <merganser/core/parameter.hpp>
#include <merganser/io/checkpoints/checkpoint.hpp>
#include <merganser/io/models/calibration_file.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/io/models/selftest.hpp>
#include <merganser/training/trainer.hpp>

#include "support/catch.hpp"

namespace version_0_1_test {

using namespace merganser;
using Model = models::EncoderDecoder<float>;
namespace fs = std::filesystem;

const fs::path files = fs::path(MERGANSER_GOLDEN_DIR).parent_path() / "io" / "version_0_1";

/// The Config that the files were made with.
Model::Config config_0_1() {
  Model::Config config;
  config.vocabulary = 7;
  config.encoder.width = 4;
  config.encoder.heads = 1;
  config.encoder.head_width = 2;
  config.encoder.feed_forward_width = 3;
  config.encoder.blocks = 2;
  config.encoder.buckets = 4;
  config.encoder.max_distance = 4;
  config.encoder.dropout = 0.1;
  config.encoder.score_bound = nn::ScoreBound::soft_cap(7.5);
  config.encoder.softmax = nn::SoftmaxKind::softmax1;
  config.encoder.activation = nn::Activation::gated_gelu;
  config.decoder_blocks = 1;
  return config;
}

/// The gate that stands in it.
io::EncoderPolicies policies_0_1() {
  io::GateConfig gate;
  gate.block = 1;
  gate.scale = -30;
  gate.threshold = -14.5;
  gate.norm = merge::GateNorm::rms;
  gate.noise = merge::GateNoise::gumbel;
  return {{gate}, {}};
}

double sum_of(const Model& model) {
  double sum = 0;
  for (const auto& view : parameter_views(const_cast<Model&>(model)))
    for (Index i = 0; i < view.size(); ++i) sum += static_cast<double>(view.data[i]);
  return sum;
}

TEST_CASE("a model directory of 0.1 has its configuration, its weights and its answers", "[version_0_1]") {
  Model model = io::load_model<float>(files / "model");
  CHECK(io::hf_config(model) == io::hf_config(config_0_1(), policies_0_1()));
  CHECK(io::describe_policies(model.encoder.policies).gates == policies_0_1().gates);
  Index at = 0;
  for (const auto& view : parameter_views(model))
    for (Index i = 0; i < view.size(); ++i, ++at) REQUIRE(view.data[i] == static_cast<float>(at * 37 % 101 - 50) / 64);
  CHECK(at == 345);
  CHECK(io::check_selftest(model, files / "model") == 3);
  CHECK(io::check_selftest(io::load_for_inference<float>(files / "model"), files / "model") == 3);
}

TEST_CASE("a calibration of 0.1 has its points and its sample", "[version_0_1]") {
  const evaluation::Calibration table = io::read_calibration(files / "model");
  REQUIRE(table.points().size() == 2);
  const evaluation::CalibrationPoint& first = table.points()[0];
  CHECK(first.threshold == -29.5);
  CHECK(first.deletion_rate == 0.125);
  CHECK(first.bits_per_byte == 1.25);
  CHECK(first.token_accuracy == 0.5);
  CHECK(first.sequence_accuracy == 0.25);
  CHECK(first.milliseconds_per_kilobyte == 20.5);
  CHECK(table.points()[1].threshold == -14.5);
  CHECK(table.sample().source_bytes == 1234);
  CHECK(table.sample().sequences == 12);
  CHECK(table.sample().threads == 2);
  CHECK(table.sample().survivor_bias == merge::SurvivorBias::kept);
}

TEST_CASE("a checkpoint of 0.1 has its run and goes on", "[version_0_1]") {
  Model model(config_0_1(), io::placements_of<float>(policies_0_1(), config_0_1().encoder));
  const auto checkpoint = io::load_checkpoint(model, files / "checkpoint");
  CHECK(checkpoint.trainer.step == 3);
  CHECK(checkpoint.trainer.attempts == 3);
  CHECK(checkpoint.trainer.updates == 3);
  CHECK(checkpoint.trainer.controller.proportional == 0.01583333333333333);
  CHECK(checkpoint.trainer.controller.integral == 3.333333333333333e-06);
  CHECK(checkpoint.trainer.rng.state() ==
        Rng::State{7059455132063414078u, 15560289766073014951u, 9711700566337826063u, 9068123403767038053u});
  CHECK(checkpoint.data.random.state() ==
        Rng::State{8897924890625906980u, 9173398068541917810u, 13834562464839165750u, 8726087049205192364u});
  CHECK(checkpoint.data.epoch == 2);
  CHECK(checkpoint.data.position == 5);
  CHECK(checkpoint.metric == 1.25);
  CHECK(checkpoint.best == io::RatedStep{3, 1.25});
  CHECK(checkpoint.settings.at("--text") ==
        "a\xff"
        "b");
  CHECK(sum_of(model) == Approx(-0.0995297916));
  CHECK(sum_of(checkpoint.trainer.first_moment) == Approx(-0.0719199553));
  CHECK(sum_of(checkpoint.trainer.second_moment) == Approx(0.0006791583));

  training::Trainer<Model>::Config settings;
  settings.schedule = {1e-2, 2, 20, training::Decay::cosine};
  training::Trainer<Model> trainer(model, settings);
  trainer.set_state(checkpoint.trainer);
  data::Batch batch;
  batch.source.push_back(std::vector<TokenId>{2, 3, 4});
  batch.target.push_back(std::vector<TokenId>{2, 3, 4, 1});
  trainer.run(1, [&] { return batch; });
  CHECK(trainer.steps_taken() == 4);
}

}  // namespace version_0_1_test
