// Where a model may be saved, what is written beside it, and how much it deletes.
#include <merganser/runs/saved_model.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include "io/temporary_directory.hpp"
#include "runs/small_text_model.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace saved_model_test {

using namespace merganser;
using namespace merganser::runs;
using namespace merganser::testing;

TextModel small_model(GateChoice gate = GateChoice::learned) {
  ModelOptions options = small_run().model;
  options.gate = gate;
  return make_model(design_model(options, std::nullopt), 3);
}

TEST_CASE("a place for a model is tried before it is needed, and nothing is made", "[saved_model]") {
  const TemporaryDirectory directory;
  const TextModel model = small_model();
  const std::string place = (directory / "new" / "model").string();
  CHECK_NOTHROW(check_can_save(model, place, Overwrite::no));
  CHECK(directory.entries().empty());
  std::ofstream(directory / "config.json") << "{}";
  CHECK(argument_error([&] {
          check_can_save(model, directory.path().string(), Overwrite::no);
        }).ends_with("there is a model already; --force writes over it"));
  CHECK_NOTHROW(check_can_save(model, directory.path().string(), Overwrite::yes));
  std::filesystem::create_directory(directory / "task.json");
  CHECK_THROWS_AS(check_can_save(model, directory.path().string(), Overwrite::yes), IoError);
  CHECK_THROWS_AS(check_can_write((directory / "config.json").string(), "a file"), IoError);
  CHECK_THROWS_AS(check_regular_files(directory.path(), {"task.json"}), IoError);
  TextModel other = model;
  other.encoder.policies[0].site = merge::Site::after_attention;
  CHECK(argument_error([&] {
          check_can_save(other, place, Overwrite::no);
        }).starts_with("hf_config: policies: got one that config.json has no words for"));
}

TEST_CASE("a saved model answers as it did, and has its task", "[saved_model]") {
  const TemporaryDirectory directory;
  const TextModel model = small_model();
  io::ModelTask task;
  task.name = "copy";
  std::ofstream(directory / "calibration.json") << "of another model";
  save_trained_model(model, task, directory.path().string(), "", {});
  CHECK(io::check_selftest(io::load_for_inference<float>(directory.path()), directory.path()) == 5);
  CHECK(io::read_task(directory.path())->name == "copy");
  CHECK_FALSE(std::filesystem::exists(directory / "calibration.json"));
  std::string warning;
  save_trained_model(model, task, directory.path().string(), "/no/such/model",
                     [&](const std::string& text) { warning = text; });
  CHECK(warning.find("/no/such/model") != std::string::npos);
}

TEST_CASE("a calibration stays while the weights are the same", "[saved_model]") {
  const TemporaryDirectory directory;
  const std::string place = directory.path().string();
  const TextModel model = make_model(design_model(small_run().model, std::nullopt), 1);
  const TextModel other = make_model(design_model(small_run().model, std::nullopt), 2);
  const auto save = [&](const TextModel& saved) {
    save_trained_model(saved, io::ModelTask{"denoise", {}, {}, {}}, place, "", {});
  };
  save(model);
  io::write_file_atomically(directory.path() / io::calibration_file_name, std::string_view("a table"));
  save(model);
  CHECK(io::read_text_file(directory.path() / io::calibration_file_name) == "a table");
  save(other);
  CHECK_FALSE(std::filesystem::exists(directory.path() / io::calibration_file_name));
}

TEST_CASE("rates are for models with gates", "[saved_model]") {
  const TemporaryDirectory directory;
  const std::string place = directory.path().string();
  RateOptions rate;
  CHECK_NOTHROW(deletion_options(rate, place, small_model(GateChoice::none), {}));
  rate.target = 0.5;
  CHECK(deletion_options(rate, place, small_model(), {}).target_rate == 0.5);
  CHECK(argument_error([&] {
          deletion_options(rate, place, small_model(GateChoice::none), {});
        }).ends_with("has no gate and deletes nothing"));
  ModelOptions pooled = small_run().model;
  pooled.pooling = io::PoolingConfig{.kind = io::PoolingKind::strided, .rate = 2};
  CHECK(argument_error([&] {
          deletion_options(rate, place, make_model(design_model(pooled, std::nullopt), 3), {});
        }).ends_with("has a pooling, whose rate is fixed, and no gate"));
  RateOptions calibrated;
  calibrated.rate = 0.5;
  CHECK_THROWS_AS(deletion_options(calibrated, place, small_model(), {}), IoError);
}

}  // namespace saved_model_test
