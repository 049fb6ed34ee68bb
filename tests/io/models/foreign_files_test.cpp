#include <merganser/io/models/foreign_files.hpp>

#include <filesystem>
#include <string>

#include <merganser/io/models/model_directory.hpp>

#include "io/temporary_directory.hpp"
#include "models/tiny_models.hpp"
#include "support/catch.hpp"
#include "support/error_text.hpp"

namespace foreign_files_test {

using namespace merganser;
using namespace merganser::io;
using namespace merganser::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using Model = models::EncoderDecoder<float>;

Model tiny_model() {
  Model::Config config;
  config.vocabulary = 11;
  config.encoder = tiny_stack();
  Model model(config);
  fill_model(model, 1);
  return model;
}

std::string error_of(const std::filesystem::path& directory, const LoadModelOptions& options = {}) {
  return io_error([&] { load_model<float>(directory, options); });
}

TEST_CASE("weights in another format are named, and how to convert them", "[foreign_files]") {
  for (const auto& [name, what] :
       {std::pair("pytorch_model.bin", "weights of PyTorch"), std::pair("pytorch_model.bin.index.json", "PyTorch"),
        std::pair("tf_model.h5", "another framework"), std::pair("model-q4.gguf", "quantised weights of llama.cpp"),
        std::pair("model-00001-of-00002.safetensors", "a shard"), std::pair("adapter_config.json", "an adapter")}) {
    INFO(name);
    const TemporaryDirectory directory;
    save_model(tiny_model(), directory.path());
    std::filesystem::rename(directory / "model.safetensors", directory / name);
    CHECK_THAT(error_of(directory.path()),
               StartsWith((directory / "model.safetensors").string() + ": file: got no such file but " + name) &&
                   ContainsSubstring(what));
    std::filesystem::remove(directory / "config.json");
    CHECK_THAT(error_of(directory.path()),
               StartsWith((directory / "config.json").string() + ": file: got no such file but " + name));
  }
  const TemporaryDirectory directory;
  save_model(tiny_model(), directory.path());
  std::filesystem::rename(directory / "model.safetensors", directory / "pytorch_model.bin");
  CHECK_THAT(error_of(directory.path()), ContainsSubstring("transformers.AutoModelForSeq2SeqLM.from_pretrained(\"" +
                                                           directory.path().string() + "\").save_pretrained("));
}

TEST_CASE("a directory with another tokenizer is refused unless told", "[foreign_files]") {
  const TemporaryDirectory directory;
  const Model model = tiny_model();
  save_model(model, directory.path());
  LoadModelOptions accept;
  accept.foreign_tokenizer = ForeignTokenizer::accept;
  const auto refused = [&](const std::string& start) {
    CHECK_THAT(error_of(directory.path()),
               StartsWith((directory / start).string()) && ContainsSubstring("ForeignTokenizer::accept"));
    CHECK(numbers_of(load_model<float>(directory.path(), accept)) == numbers_of(model));
    CHECK_NOTHROW(load_for_inference<float>(directory.path(), accept));
  };
  for (const char* name : {"spiece.model", "tokenizer.json"}) {
    write_file_atomically(directory / name, std::string_view("anything"));
    refused(std::string(name) + ": file: got a tokenizer that makes no ids of bytes");
    std::filesystem::remove(directory / name);
  }
  const std::filesystem::path file = directory / "tokenizer_config.json";
  write_file_atomically(file, std::string_view(R"({"tokenizer_class": "T5Tokenizer"})"));
  refused("tokenizer_config.json: tokenizer_class: got T5Tokenizer, expected ByT5Tokenizer");
  for (const char* text : {R"({"tokenizer_class": "ByT5Tokenizer"})", "{}", R"({"tokenizer_class": null})"}) {
    write_file_atomically(file, std::string_view(text));
    CHECK(error_of(directory.path()).empty());
  }
  // The key of config.json counts where no tokenizer_config.json names a class.
  std::string config = read_text_file(directory / "config.json");
  write_file_atomically(directory / "config.json", config.insert(1, R"("tokenizer_class": "T5TokenizerFast",)"));
  refused("config.json: tokenizer_class: got T5TokenizerFast");
  write_file_atomically(file, std::string_view(R"({"tokenizer_class": "ByT5Tokenizer"})"));
  CHECK(error_of(directory.path()).empty());
}

}  // namespace foreign_files_test
