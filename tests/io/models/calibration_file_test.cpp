#include <merganser/io/models/calibration_file.hpp>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <merganser/io/checkpoints/checkpoint_directory.hpp>
#include <merganser/io/models/generation_config.hpp>
#include <merganser/io/models/inference_loading.hpp>
#include <merganser/io/models/model_directory.hpp>

#include "io/temporary_directory.hpp"
#include "io/tiny_run.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace calibration_file_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using evaluation::Calibration;
using Json = nlohmann::json;

Calibration two_points() {
  return Calibration({{-29.5, 0.0, 1.0 / 3, 0.9, 0.5, 10}, {-1.4e-45, 0.6, 1e300, 1.0, 0.0, 0.1}},
                     {123'456'789'012, 7, 16, merge::SurvivorBias::dropped});
}

std::string error_of(const std::string& text) {
  return error_text<IoError>([&] { parse_calibration(text, "c.json"); });
}

template <class Value>
std::string error_with(const std::string& place, const Value& value) {
  Json object = Json::parse(to_json(two_points()));
  object[Json::json_pointer(place)] = value;
  return error_of(object.dump());
}

std::string error_without(const std::string& parent, const std::string& key) {
  Json object = Json::parse(to_json(two_points()));
  object[Json::json_pointer(parent)].erase(key);
  return error_of(object.dump());
}

TEST_CASE("a calibration comes back from its text", "[calibration_file]") {
  const Calibration one({{0, 1, 0, 0, 0, 0}}, {1, 1, 1, merge::SurvivorBias::kept});
  for (const Calibration& calibration : {two_points(), one}) {
    const std::string text = to_json(calibration);
    CHECK(parse_calibration(text, "c.json") == calibration);
    CHECK(Json::parse(text)["version"] == 1);
    CHECK(Json::parse(text)["mode"] == "hard");
  }
  const TemporaryDirectory directory;
  write_calibration(one, directory.path());
  write_calibration(two_points(), directory.path());
  CHECK(read_calibration(directory.path()) == two_points());
  CHECK(directory.entries() == std::vector<std::string>{"calibration.json"});
}

TEST_CASE("a directory without a calibration is an error that names the file", "[calibration_file]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_WITH(read_calibration(directory.path()), ContainsSubstring("calibration.json: file: got no such file"));
  CHECK_THROWS_AS(write_calibration(two_points(), directory / "nowhere"), IoError);
  std::filesystem::create_directory(directory / "calibration.json");
  CHECK_THROWS_AS(read_calibration(directory.path()), IoError);
  CHECK_THROWS_AS(write_calibration(two_points(), directory.path()), IoError);
}

TEST_CASE("errors in a calibration name the field", "[calibration_file]") {
  CHECK_THAT(error_of("[]"), ContainsSubstring("c.json: file: got array"));
  CHECK_THAT(error_of(""), ContainsSubstring("c.json: file: "));
  CHECK_THAT(error_of("{\"version\":1,\"version\":1}"), ContainsSubstring("version: got this key twice"));
  CHECK_THAT(error_of(std::string(100, '[')), ContainsSubstring("deeper nesting"));
  for (const char* key : {"version", "mode", "survivor_bias", "source_bytes", "sequences", "threads", "points"}) {
    CHECK_THAT(error_without("", key), ContainsSubstring("c.json: " + std::string(key) + ": got no such key"));
    CHECK_THAT(error_with("/" + std::string(key), nullptr),
               ContainsSubstring("c.json: " + std::string(key) + ": got "));
    CHECK_THAT(error_with("/" + std::string(key), "x"), ContainsSubstring("c.json: " + std::string(key) + ": got "));
  }
  for (const char* key : {"threshold", "deletion_rate", "bits_per_byte", "token_accuracy", "sequence_accuracy",
                          "milliseconds_per_kilobyte"}) {
    const std::string place = "points[1]." + std::string(key);
    CHECK_THAT(error_without("/points/1", key), ContainsSubstring("c.json: " + place + ": got no such key"));
    CHECK_THAT(error_with("/points/1/" + std::string(key), nullptr), ContainsSubstring(place + ": got null"));
    CHECK_THAT(error_with("/points/1/" + std::string(key), "0.5"), ContainsSubstring(place + ": got \"0.5\""));
    if (std::string(key) == "threshold") continue;
    CHECK_THAT(error_with("/points/1/" + std::string(key), -0.5), ContainsSubstring(place + ": got -0.5"));
  }
  for (const char* key : {"deletion_rate", "token_accuracy", "sequence_accuracy"})
    CHECK_THAT(error_with("/points/0/" + std::string(key), 1.5),
               ContainsSubstring("points[0]." + std::string(key) + ": got 1.5, expected a number in [0, 1]"));
  for (const char* place : {"/more", "/points/0/more"})
    CHECK_THAT(error_with(place, 1), ContainsSubstring("more: got an unknown key"));
  for (const char* key : {"source_bytes", "sequences", "threads"}) {
    CHECK_THAT(error_with("/" + std::string(key), 0), ContainsSubstring(std::string(key) + ": got 0"));
    CHECK_THAT(error_with("/" + std::string(key), 1.5), ContainsSubstring(std::string(key) + ": got 1.5"));
  }
  CHECK_THAT(error_with("/threads", 1LL << 31), ContainsSubstring("threads: got 2147483648"));
  CHECK_THAT(error_with("/version", 3), ContainsSubstring("version: got 3, expected a whole number in 1 .. 2"));
  CHECK_THAT(error_with("/version", 2), ContainsSubstring("weights: got no such key, expected a text"));
  CHECK_THAT(error_with("/weights", "0"), ContainsSubstring("weights: got an unknown key"));
  CHECK_THAT(error_with("/mode", "soft"), ContainsSubstring("mode: got \"soft\", expected \"hard\""));
  CHECK_THAT(error_with("/survivor_bias", "lost"), ContainsSubstring("survivor_bias: got \"lost\""));
  CHECK_THAT(error_with("/points", Json::array()), ContainsSubstring("points: got no points"));
  CHECK_THAT(error_with("/points", Json::object()), ContainsSubstring("points: got no array"));
  CHECK_THAT(error_with("/points/0", 5), ContainsSubstring("points[0]: got 5, expected an object"));
  for (const double falling : {-29.5, -30.0})
    CHECK_THAT(error_with("/points/1/threshold", falling),
               ContainsSubstring("points[1].threshold: got " + to_text(falling) + ", expected more than"));
  std::string infinite = to_json(two_points());
  infinite.replace(infinite.find("-29.5"), 5, "-1e999");
  CHECK_THAT(error_of(infinite), ContainsSubstring("c.json: file: got a number out of range"));
}

TEST_CASE("a calibration names its weights and its machine, and others are warned of", "[calibration_file]") {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory / "calibration.json";
  TinyRun<float> run;
  const auto warnings = [&] {
    std::vector<std::string> heard;
    CHECK(read_calibration(directory.path(), [&](const std::string& text) { heard.push_back(text); }) == two_points());
    return heard;
  };
  save_model(run.model, directory.path());
  write_calibration(two_points(), directory.path());
  CHECK(warnings().empty());
  save_model(run.model, directory.path());  // the same weights
  CHECK(warnings().empty());
  Json object = Json::parse(read_text_file(path));
  CHECK(object["version"] == 2);
  object["machine"] = "another one";
  write_file_atomically(path, object.dump());
  if (!machine_name().empty()) {
    REQUIRE(warnings().size() == 1);
    CHECK(warnings()[0] ==
          path.string() + ": machine: is another one, and this one " + machine_name() + ": times may differ");
  }
  object["machine"] = machine_name();
  write_file_atomically(path, object.dump());
  run.model.shared.weight(0, 0) += 1;
  save_model(run.model, directory.path());
  REQUIRE(warnings().size() == 1);
  CHECK_THAT(warnings()[0], ContainsSubstring("calibration.json: weights: are others than those beside it"));
  write_calibration(two_points(), directory.path());
  save_model(run.model, directory.path(), {.dtype = {}, .max_shard_bytes = 2000});
  CHECK(warnings().size() == 1);  // other files
  write_calibration(two_points(), directory.path());
  CHECK(warnings().empty());
  write_file_atomically(path, to_json(two_points()));  // as version 0.1 did
  REQUIRE(warnings().size() == 1);
  CHECK_THAT(warnings()[0], ContainsSubstring("calibration.json: weights: are not named"));
}

TEST_CASE("for models and checkpoints a calibration is a foreign file", "[calibration_file]") {
  const TemporaryDirectory directory;
  TinyRun<float> run;
  run.run_to(2);
  const std::filesystem::path model = directory / "model";
  save_model(run.model, model);
  const std::string bits = bits_of(run.model);
  for (const bool damaged : {false, true}) {
    if (damaged)
      write_file_atomically(model / "calibration.json", std::string_view("\xff not JSON"));
    else
      write_calibration(two_points(), model);
    CHECK(bits_of(load_model<float>(model)) == bits);
    CHECK_NOTHROW(load_for_inference<float>(model));
    CHECK(read_generation_config(model) == GenerationConfig{});
    save_model(run.model, model);
    CHECK(std::filesystem::exists(model / "calibration.json"));
  }

  CheckpointDirectory checkpoints(directory / "run", {.keep = 3});
  checkpoints.save(run.model, run.checkpoint());
  const auto newest = newest_checkpoint(directory / "run");
  REQUIRE(newest.has_value());
  write_calibration(two_points(), newest->path);
  const auto again = newest_checkpoint(directory / "run");
  REQUIRE(again.has_value());
  CHECK(again->path == newest->path);
  CHECK(again->skipped.empty());
  CHECK(read_calibration(again->path) == two_points());
  TinyRun<float> resumed;
  resumed.resume(again->path);
  CHECK(resumed.bits() == run.bits());
}

}  // namespace calibration_file_test
