#include <merganser/io/models/model_extras.hpp>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <merganser/io/models/calibration_file.hpp>
#include <merganser/io/models/model_directory.hpp>
#include <merganser/io/models/task_file.hpp>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"

namespace model_extras_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Json = nlohmann::json;
using Model = models::EncoderDecoder<float>;

Model tiny_model(Index vocabulary) {
  Model::Config config;
  config.vocabulary = vocabulary;
  config.encoder = tiny_stack();
  Model model(config);
  fill_model(model, 1);
  return model;
}

Json config_of(const std::filesystem::path& directory) {
  return Json::parse(read_text_file(directory / "config.json"));
}

TEST_CASE("what stands beside a model goes where it is saved", "[model_extras]") {
  const TemporaryDirectory parent;
  const std::filesystem::path from = parent / "from", to = parent / "to";
  save_model(tiny_model(11), from);
  Json config = config_of(from);
  config.update({{"my_key", {1, "two"}},
                 {"use_cache", false},
                 {"tokenizer_class", "ByT5Tokenizer"},
                 {"torch_dtype", "float32"},
                 {"architectures", {"Mine"}}});
  write_file_atomically(from / "config.json", config.dump());
  for (const char* name : {"generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "calibration.json"})
    write_file_atomically(from / name, "{\"of\": \"" + std::string(name) + "\"}");
  write_file_atomically(from / "selftest.json", std::string_view("{}"));

  const ModelExtras extras = read_model_extras(from);
  CHECK(extras.files.size() == 5);
  save_model(tiny_model(12), to, {}, extras);  // another model: what says what it is, is its own
  const Json saved = config_of(to);
  CHECK(saved["my_key"] == Json{1, "two"});
  CHECK(saved["use_cache"] == false);
  CHECK(saved["tokenizer_class"] == "ByT5Tokenizer");
  CHECK(saved["vocab_size"] == 12);
  CHECK(saved["architectures"] == Json{"T5ForConditionalGeneration"});
  CHECK_FALSE(saved.contains("torch_dtype"));
  for (const auto& [name, text] : extras.files) CHECK(read_text_file(to / name) == text);
  CHECK_FALSE(std::filesystem::exists(to / "selftest.json"));
  CHECK(load_model<float>(to).config().vocabulary == 12);

  const ModelExtras again = read_model_extras(to);
  CHECK(again.files == extras.files);
  CHECK(Json::parse(again.config_keys) == Json::parse(extras.config_keys));
}

TEST_CASE("tasks and calibrations are among the files that go along", "[model_extras]") {
  const auto& carried = io::detail::carried_files;
  for (const std::string_view name : {task_file_name, calibration_file_name})
    CHECK(std::find(std::begin(carried), std::end(carried), name) != std::end(carried));
}

TEST_CASE("a directory may have nothing besides", "[model_extras]") {
  const TemporaryDirectory directory;
  save_model(tiny_model(11), directory.path());
  const ModelExtras extras = read_model_extras(directory.path());
  CHECK(extras.files.empty());
  CHECK(extras.config_keys.empty());
  CHECK_THROWS_AS(read_model_extras(directory / "nowhere"), IoError);
}

TEST_CASE("what is said about a model goes with it, the rest of the directory stays", "[model_extras]") {
  const TemporaryDirectory directory;
  save_model(tiny_model(11), directory.path());
  for (const char* name : {"spiece.model", "generation_config.json", "tokenizer_config.json", "task.json"})
    write_file_atomically(directory / name, "{}");
  write_file_atomically(directory / "notes.txt", "mine");
  remove_model_extras(directory.path());
  for (const char* name : {"spiece.model", "generation_config.json", "tokenizer_config.json", "task.json"})
    CHECK(!std::filesystem::exists(directory / name));
  for (const char* name : {"notes.txt", "config.json", "model.safetensors"})
    CHECK(std::filesystem::exists(directory / name));
  remove_model_extras(directory / "missing");
}

}  // namespace model_extras_test
